"""Audit without an archive: what each life says that a backend acknowledged, beside what the backend counts of it.

A life's farewell is itself a record that every destination gets, so the backend has both the claim and what it is about. Equal
counts say that it accepted them; that it has the very same records only an archive can prove, by range.
"""

from __future__ import annotations

from dataclasses import dataclass

from shipper.errors import ConfigError
from shipper.fleet.audit import SILENCE_SECONDS, Which, roll_call
from shipper.fleet.backends.model import DAY, HOUR, Backend, Heard, Span
from shipper.fleet.backends.report import BackendReport, Compared, Row
from shipper.fleet.report import LifeReport
from shipper.fleet.statements import Claims, Life, lives

_ASIDE = HOUR  # how wrong a host's clock may be


@dataclass(frozen=True, slots=True)
class _Kept:
    """What may be beyond retention: lives born before ``ns`` whose birth the backend has not."""

    ns: int

    def beyond(self, life: Life) -> bool:
        return not _from_birth(life) and life.first.born_ns < self.ns


def audit_backend(
    backend: Backend,
    *,
    now_ns: int,
    silence: float = SILENCE_SECONDS,
    which: Which | None = None,
    destination: str = "",
) -> BackendReport:
    """Compare each life that was heard of with the backend's own count.

    ``silence``: seconds after its last word in which what is not found yet does not count as missing. ``which``: the lives to
    show. ``destination``: what the hosts call the way into this backend; found out when empty. Raises `NoAnswer`, and `ConfigError`
    when the destination cannot be found out.
    """
    which = which or Which()
    since = which.since_ns or (now_ns - backend.reach_ns if backend.reach_ns else 0)
    heard = _hear(backend, since, now_ns)
    told = lives(heard.events)
    quiet = now_ns - round(silence * 1e9)
    report = BackendReport(backend.name, now_ns, since, backend.limits)
    asked = [
        row for row in roll_call(backend.name, heard.events, now_ns=now_ns, silence=silence).lives if which.takes(row)
    ]
    found = backend.counts([_span(told[row.life], now_ns) for row in asked if row.role != "gateway"])
    kept = _Kept(min(now_ns - DAY, min((event.heard_ns for event in heard.events), default=0)))
    for row in asked:
        shown = Row(row)
        if row.role == "gateway":
            shown.counts = [Compared(what, why="carries the records of others") for what in backend.counted]
        else:
            counts = found.get(row.life, {})
            for what in backend.counted:
                name, claims = _claims(told[row.life], backend, what, destination)
                compared = Compared(what, name, found=counts.get(what, 0))
                if claims:
                    compared.acknowledged = sum(one.acknowledged for one in claims)
                    compared.pending = sum(one.pending for one in claims)
                    _judge(compared, told[row.life], row, quiet, kept)
                else:
                    compared.why = _unstated(told[row.life], name, row)
                shown.counts.append(compared)
        report.rows.append(shown)
    report.remarks = [*dict.fromkeys(heard.unreadable), *backend.remarks]
    return report


def _hear(backend: Backend, since_ns: int, now_ns: int) -> Heard:
    """All statements since then, and the earlier ones of the same lives, up to their births."""
    heard = Heard()
    for said in backend.statements(since_ns, now_ns + _ASIDE):
        heard.add(said)
    unborn = {life.id: life for life in lives(heard.events).values() if not _from_birth(life)}
    first = min((life.first.born_ns for life in unborn.values()), default=since_ns) - _ASIDE
    if unborn and first < since_ns:
        before = Heard()
        for said in backend.statements(max(0, first), since_ns):
            before.add(said)
        heard.events += [event for event in before.events if event.statement.life in unborn]
    return heard


def _from_birth(life: Life) -> bool:
    """Whether what is known of it begins with its birth; each of its runs has one."""
    first = life.first
    return (life.born and first.run == 1) or first.at_ns - first.born_ns < _ASIDE


def _span(life: Life, now_ns: int) -> Span:
    """From its birth to when something of it may have come last."""
    ended = life.last.what == "farewell" and life.last.statement.ends_life
    return Span(life.id, life.first.born_ns or life.first.at_ns, life.heard_ns if ended else now_ns)


def _claims(life: Life, backend: Backend, what: str, destination: str) -> tuple[str, list[Claims]]:
    """The life's way into this backend, and what it says of it; nothing where it has no such records, or no such way.

    Raises `ConfigError` when the way may be one of several.
    """
    signals = backend.counted[what]
    by_name: dict[str, list[Claims]] = {}
    for stream in life.streams.values():
        if stream.kind == "data" and stream.signal in signals:
            for name, claims in stream.destinations.items():
                by_name.setdefault(name, []).append(claims)
    name = destination or _leading_there(by_name, backend, life)
    return name, by_name.get(name, [])


def _leading_there(by_name: dict[str, list[Claims]], backend: Backend, life: Life) -> str:
    """The only destination there is, or the only one that is called as the backend is, or one of several that say the same."""
    likely = [name for name in by_name if any(word in name.lower() for word in backend.usual)] or list(by_name)
    if len({sum(claims.acknowledged for claims in by_name[name]) for name in likely}) > 1:
        names = ", ".join(sorted(likely))
        raise ConfigError(
            "--destination",
            f"is needed: {life.first.host or life.id} sends to {names}, and they acknowledged different counts",
        )
    return min(likely, default="")


def _judge(compared: Compared, life: Life, row: LifeReport, quiet: int, kept: _Kept) -> None:
    """Say what the two counts mean."""
    ended = life.last.what == "farewell"
    compared.missing = max(0, compared.acknowledged - compared.found)
    compared.more = max(0, compared.found - compared.acknowledged)
    if compared.missing:
        if life.heard_ns >= quiet:
            compared.result, compared.why = "not yet", "heard of just now: ask again"
        elif kept.beyond(life):
            compared.result, compared.why = (
                "cannot be told",
                "its birth is not there: older than what the backend keeps",
            )
        else:
            compared.result = "missing"
    elif not ended:
        compared.result = "more" if compared.more else "equal"
        compared.why = f"by its last word; it {'goes on' if row.ended == 'alive' else 'said no farewell'}"
    elif compared.more:
        compared.result, compared.why = "more", _surplus(compared, life)
    else:
        compared.result = "equal"


def _unstated(life: Life, destination: str, row: LifeReport) -> str:
    if life.last.what == "farewell" or any(stream.destinations for stream in life.streams.values()):
        return f"it sent none to {destination}" if destination else "it had none to send"
    return "alive, no farewell yet" if row.ended == "alive" else "ended in silence: no farewell"


def _surplus(compared: Compared, life: Life) -> str:
    """Why there may be more than was acknowledged."""
    if not life.last.statement.ends_life:
        return "it may go on: this farewell ended a run, not the life"
    if compared.more <= compared.pending:
        return "arrived, though no answer came back in time"
    return f"{compared.more:,} more than acknowledged: resent after doubt"
