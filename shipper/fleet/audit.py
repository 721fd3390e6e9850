"""What arrived and what did not, for every life: the hosts' claims held against what the archive really has.

A host's word is used for two things only: how much there was (read, filtered, given up), and which of it a destination
said to have. Whether it is here is decided by the archive's own bytes (`shipper.fleet.balance`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

import msgspec

from shipper.fleet.archive import Archive
from shipper.fleet.balance import Standing, balance, gaps
from shipper.fleet.cover import Cover, common, completed, cover, without
from shipper.fleet.holdings import Held, Holdings, Seen, Stored, take_stock
from shipper.fleet.labels import labels_of, named
from shipper.fleet.report import Adoption, AuditReport, Ended, Exposed, LifeReport, summed
from shipper.fleet.statements import Event, Life, StatedStream, Statement, lives
from shipper.fleet.truth import compare
from shipper.intervals import IntervalSet

SILENCE_SECONDS = 60.0  # four accounts


@dataclass(frozen=True, slots=True)
class Which:
    """Which lives to show; empty means all. ``since_ns``: those heard of since then."""

    host: str = ""
    life: str = ""
    since_ns: int = 0

    def takes(self, life: LifeReport) -> bool:
        """True for a life that is asked for."""
        if self.host and self.host not in (life.host, life.labels.get("host")):
            return False
        return named(life.life, self.life) and life.heard_ns >= self.since_ns


def audit(
    archive: Archive | str,
    *,
    truth: Mapping[str, int] | None = None,
    now_ns: int | None = None,
    silence: float = SILENCE_SECONDS,
    which: Which | None = None,
    destination: str = "",
    beside: Iterable[Archive] = (),
) -> AuditReport:
    """Audit an archive.

    ``truth``: what somebody outside counted, see `shipper.fleet.truth.compare`. ``silence``: seconds without a statement
    after which a life that said no farewell counts as dead. ``destination``: the name by which the hosts' accounts know
    the way into this archive; found out when empty. ``beside``: other archives of the same hosts, which with this one make
    one: those that a drain's fallback wrote. Without them, what went there is said to be
    elsewhere. Raises `StoreUnusable` or `StoreUnavailable`.
    """
    if isinstance(archive, str):
        archive = Archive.open(archive)
    now = time.time_ns() if now_ns is None else now_ns
    others = tuple(beside)
    found = take_stock(archive, *others)
    told = lives(found.events)
    report = AuditReport(
        " + ".join(each.name for each in (archive, *others)),
        now,
        found.objects,
        found.unlisted_objects,
        found.unlisted_records,
        list(found.damage),
    )
    quiet = now - round(silence * 1e9)
    late = _late_since(told.values(), quiet)
    # what a host said before that has had its time: it must be here even while the host goes on
    earlier = lives(event for event in found.events if late is not None and event.heard_ns < late)
    for life, streams in _by_life(found, told).items():
        row = _describe(life, told.get(life), found.seen.get(life), quiet)
        row.role = row.role or ("gateway" if life in found.gateways else "unknown")
        if which is None or which.takes(row):
            standing = Standing(
                going_on=_goes_on(row, quiet),
                on_the_way=late is not None and row.heard_ns >= late,
                provable=life in found.seen or life not in found.relayed,
            )
            if not standing.provable:
                row.notes.append("it came through something that keeps no ranges: what is here of it cannot be proved")
            carried = life in found.gateways
            _balance(
                row,
                told.get(life),
                earlier.get(life),
                streams,
                standing,
                destination,
                alone=not others,
                carried=carried,
            )
            report.lives.append(row)
    report.lives.sort(key=lambda row: (row.role == "gateway", row.born_ns, row.life))
    report.totals = summed(row.counts for row in report.lives if row.role != "gateway")
    if truth is not None:
        report.truth = compare(report, truth)
    return report


def roll_call(name: str, heard: Iterable[Event], *, now_ns: int, silence: float = SILENCE_SECONDS) -> AuditReport:
    """The lives as their statements tell of them: who, and how each ended; no figures, as no data is looked at."""
    quiet = now_ns - round(silence * 1e9)
    report = AuditReport(name, now_ns)
    report.lives = [_describe(life, told, None, quiet) for life, told in lives(heard).items()]
    report.lives.sort(key=lambda row: (row.role == "gateway", row.born_ns, row.life))
    return report


def _by_life(found: Holdings, told: Mapping[str, Life]) -> dict[str, dict[str, Held]]:
    by_life: dict[str, dict[str, Held]] = {life: {} for life in told}
    for (life, stream), held in found.streams.items():
        by_life.setdefault(life, {})[stream] = held
    return by_life


def _late_since(told: Iterable[Life], quiet: int) -> int | None:
    """Since when something a gateway took may not be here yet; None when no gateway is alive.

    A gateway acknowledges before it archives: what hosts said lately may still lie in its spool.
    """
    alive = [life for life in told if life.first.role == "gateway" and _ended(life, quiet) == "alive"]
    if not alive:
        return None
    waiting = min(life.heard_ns - round((life.exposure.get("oldest") or 0.0) * 1e9) for life in alive)
    return min(quiet, waiting)


def _ended(life: Life, quiet: int) -> Ended:
    """How it ended by its own word; what was said in its place later does not make it alive."""
    if life.own is not None and life.own.what == "farewell":
        statement = life.own.statement
        if not statement.ends_life:
            return "stopped"
        return "expired" if statement.outcome == "expired" else "drained"
    if not life.adopted_by and life.heard_ns >= quiet:
        return "alive"
    return "notice" if life.notice is not None else "silent"


def _adoption(life: Life) -> Adoption:
    """How far the shipping of what it left has come, by the word of the life that does it."""
    if not life.adopted_by:
        return ""
    if life.last.what != "farewell":
        return "under way"
    return "expired" if life.last.statement.outcome == "expired" else "drained"


def _goes_on(row: LifeReport, quiet: int) -> bool:
    """A run that just stopped may be started again, and what was left may be on its way; after a while of silence what is
    not here counts as missing."""
    if row.adopted_by:
        return row.adoption == "under way" and row.heard_ns >= quiet
    return row.ended == "alive" or (row.ended in ("stopped", "no account") and row.heard_ns >= quiet)


def _exposed(life: Life, at: Statement) -> Exposed:
    """What it had not got out by its last statement, at the destination that had least."""
    by_destination: dict[str, Exposed] = {}
    for stream in life.own_streams.values():
        for name, claims in stream.destinations.items():
            exposed = by_destination.setdefault(name, Exposed())
            done = IntervalSet([*claims.acknowledged_ranges, *claims.lost_ranges, *claims.quarantined_ranges])
            exposed.bytes += sum(
                end - start for start, end in done.missing(stream.start, max(stream.size, claims.read_to))
            )
            exposed.records += claims.pending
    worst = max(by_destination.values(), key=lambda each: each.bytes, default=Exposed())
    worst.oldest = at.exposure.get("oldest") or 0.0
    return worst


def _describe(life: str, told: Life | None, seen: Seen | None, quiet: int) -> LifeReport:
    """Who it is and how it ended; no figures yet."""
    if told is None:
        labels = labels_of(seen.resource) if seen else {}
        row = LifeReport(life, labels.get("host", ""), "", labels, "no account")
        return replace(row, born_ns=seen.first_ns, heard_ns=seen.last_ns) if seen else row
    ended = _ended(told, quiet)
    statement = told.last.statement
    own = told.own or told.last
    silent = ended in ("silent", "notice")
    return LifeReport(
        life=life,
        host=statement.host,
        role=statement.role,
        labels=dict(statement.labels),
        ended=ended,
        born_ns=told.first.born_ns,
        heard_ns=told.heard_ns,
        unknown_after_ns=own.statement.at_ns if silent else None,
        runs=own.statement.run - told.first.run + 1,
        reason=statement.reason,
        notes=list(told.notes) + ([] if told.born else ["its birth record is not here"]),
        refused=dict(told.refused),
        exposure=dict(told.exposure),
        exposed=_exposed(told, own.statement) if silent else None,
        notice=msgspec.to_builtins(told.notice) if told.notice is not None else None,
        adopted_by=told.adopted_by,
        adoption=_adoption(told),
        skipped_statements=told.skipped,
    )


def _balance(
    row: LifeReport,
    told: Life | None,
    earlier: Life | None,
    streams: Mapping[str, Held],
    standing: Standing,
    destination: str,
    *,
    alone: bool,
    carried: bool,
) -> None:
    """Fill in the figures, stream by stream. ``carried``: something here came through it."""
    stated = told.streams if told else {}
    if row.role == "gateway" and not carried:  # its own numbers may be here
        row.notes.append("nothing here came through it: what it says of its streams is about another archive")
        stated = {name: stream for name, stream in stated.items() if name in streams}
    covers = {stream: completed(cover(held.sound), held.beside) for stream, held in streams.items()}
    name = destination or _leading_here(stated.values(), covers)
    for stream in sorted(stated.keys() | streams.keys(), key=lambda stream: _place(stated.get(stream), stream)):
        whole = covers.get(stream) or Cover[Stored]()
        if stream in stated:
            held = streams.get(stream) or Held(stated[stream].signal)
            left = told.left if told else []
            out = IntervalSet((gap.start, gap.end) for gap in left if (gap.stream, gap.destination) == (stream, name))
            before = earlier.streams.get(stream) if earlier else None
            elsewhere = _elsewhere(stated[stream], name, told.fallback) if told and alone else IntervalSet()
            row.streams.append(balance(stated[stream], before, name, held, whole, out, standing, elsewhere))
        else:
            row.streams.append(gaps(stream, streams[stream], whole, standing))
    row.counts = summed(stream.counts for stream in row.streams)
    if size := sum(end - start for stream in row.streams for start, end in stream.elsewhere_ranges):
        fallback = told.fallback if told else ""
        where = "the destinations it stood in for have" if name == fallback else f"the fallback {fallback!r} has"
        row.notes.append(f"{where} {size:,} bytes that are not here; audit both archives together to see them")


def _elsewhere(stated: StatedStream, name: str, fallback: str) -> IntervalSet:
    """What ``name`` is not owed: what its fallback got; for the fallback itself, what all others got."""
    if not fallback or fallback not in stated.destinations:
        return IntervalSet()
    got = {
        each: IntervalSet(claims.acknowledged_ranges) if claims.trusted else IntervalSet()
        for each, claims in stated.destinations.items()
    }
    helper = got.pop(fallback)
    return helper if name != fallback else reduce(common, got.values(), next(iter(got.values()), IntervalSet()))


def _place(stated: StatedStream | None, stream: str) -> tuple[str, str]:
    return (stated.name if stated else "", stream)


def _leading_here(stated: Iterable[StatedStream], covers: Mapping[str, Cover[Stored]]) -> str:
    """The destination whose acknowledged ranges fit best what is here; the first one when none has anything here."""
    fit: dict[str, tuple[int, int]] = {}
    for stream in stated:
        here = covers[stream.id].ranges if stream.id in covers else IntervalSet()
        for name, claims in stream.destinations.items():
            acknowledged = IntervalSet(claims.acknowledged_ranges)
            shared, elsewhere = fit.get(name, (0, 0))
            shared += common(acknowledged, here).total()
            fit[name] = shared, elsewhere + without(acknowledged, here).total()
    return min(fit, key=lambda name: (-fit[name][0], fit[name][1]), default="")
