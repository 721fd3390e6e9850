"""The audit for people: one line per life, then in words whatever is not as it should be."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from shipper.fleet.archive import damage_lines
from shipper.fleet.generations import GenerationRow, generations
from shipper.fleet.lines import printable
from shipper.fleet.report import AuditReport, Counts, LifeReport, StreamReport

MOST_RANGES = 6  # named per stream; the rest are in the JSON
PLAIN_WIDTH = 250  # where there is no terminal nothing is to be cut off


def console(file: TextIO | None = None) -> Console:
    """Where tables go: in colour and to the terminal's width, or plain and wide when it is not a terminal.

    Names in them come from hosts, so nothing in them is taken for markup.
    """
    file = file or sys.stdout
    return (
        Console(file=file, highlight=False, markup=False)
        if file.isatty()
        else Console(file=file, width=PLAIN_WIDTH, no_color=True, highlight=False, markup=False)
    )


def show(report: AuditReport, out: Console | None = None) -> None:
    """Print the whole report."""
    out = out or console()
    hosts = [life for life in report.lives if life.role != "gateway"]
    out.print(
        f"Audit of {report.archive} at {moment(report.at_ns)}: objects {report.objects}, lives {len(hosts)}",
        markup=False,
    )
    out.print(_lives_table(report, plain=not out.is_terminal))
    made = generations(report)
    if len(made) > 1:
        out.print(_generations_table(made, plain=not out.is_terminal))
    if report.truth:
        out.print(_truth_table(report, plain=not out.is_terminal))
    for line in remarks(report):
        out.print(printable(line), soft_wrap=True)
    out.print(verdict(report), style="bold green" if report.ok else "bold red")


def verdict(report: AuditReport) -> str:
    """The audit in one line; beside a truth from outside, read and archived are of what that truth counts."""
    total = report.totals
    read, archived, further = total.read, total.archived, 0
    parts = []
    if report.truth:
        parts.append(f"emitted {sum(row.emitted for row in report.truth):,}")
        read, archived = sum(row.read for row in report.truth), sum(row.archived for row in report.truth)
        further = total.archived - archived
    parts += [f"read {read:,}", f"archived {archived:,}"]
    for name in ("pending", "filtered", "sampled", "dropped", "quarantined", "rejected", "unproved"):
        if count := getattr(total, name):
            parts.append(f"{name} {count:,}")
    lost = max(total.missing, sum(row.missing for row in report.truth))
    ranges = sum(len(stream.missing_ranges) for life in report.lives for stream in life.streams)
    parts.append(f"missing {lost:,}" + (f" (in {ranges} ranges)" if ranges else ""))
    parts.append(f"duplicates {total.duplicates:,}")
    if report.damage:
        parts.append(f"damaged {len(report.damage)}")
    if further > 0:
        parts.append(f"{further:,} further records archived that nobody counted outside")
    return ", ".join(parts)


def moment(at_ns: int) -> str:
    """A time for people, UTC, to the second; empty for 0."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at_ns / 1e9)) if at_ns else ""


def new_table(title: str, *, plain: bool) -> Table:
    """An empty table in the style that fits the place."""
    return Table(title=title or None, title_justify="left", box=None if plain else box.SIMPLE_HEAD, pad_edge=False)


def _lives_table(report: AuditReport, *, plain: bool) -> Table:
    table = new_table("", plain=plain)
    for name in ("host", "life", "release", "generation", "born", "ended"):
        table.add_column(name, no_wrap=name != "ended")
    shown = [name for name in _COLUMNS if name in _ALWAYS or any(getattr(life.counts, name) for life in report.lives)]
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for life in report.lives:
        words = (life.host or "?", life.life[-12:], life.labels.get("release", ""), life.labels.get("generation", ""))
        style = "red" if not life.ok else "dim" if life.role == "gateway" else ""
        table.add_row(
            *map(printable, words),
            moment(life.born_ns),
            _ending(life),
            *_figures(life.counts, shown, life),
            style=style,
        )
    table.add_section()
    table.add_row("all hosts", "", "", "", "", "", *_figures(report.totals, shown), style="bold")
    return table


_UNKNOWN = "unknown after"
_COLUMNS = (
    "read",
    "archived",
    "pending",
    "filtered",
    "sampled",
    "dropped",
    "quarantined",
    "rejected",
    "unproved",
    "unread",
    "missing",
    "duplicates",
)
_ALWAYS = ("read", "archived", "pending", "missing", "duplicates")


def _figures(counts: Counts, shown: list[str], life: LifeReport | None = None) -> list[str]:
    texts = {name: f"{getattr(counts, name):,}" for name in shown}
    if life is not None and not life.ok and not counts.missing:
        texts["missing"] = "unknown"  # ranges are missing, and nobody said how many records they held
    return list(texts.values())


def _ending(life: LifeReport) -> str:
    if life.unknown_after_ns is not None:
        words = f"ended after a notice, {_UNKNOWN}" if life.ended == "notice" else f"ended in silence, {_UNKNOWN}"
        return f"{words} {moment(life.unknown_after_ns)}" + _adopted(life)
    role = " (gateway)" if life.role == "gateway" else ""
    reason = f", {printable(life.reason)}" if life.reason and not life.adopted_by else ""
    return f"{life.ended}{role}{reason}{_adopted(life)}"


def _adopted(life: LifeReport) -> str:
    if not life.adopted_by:
        return ""
    how = {"drained": "all of it sent", "expired": "not all of it sent"}.get(life.adoption, "being sent")
    return f"; adopted by {printable(life.adopted_by[-12:])}, {how}"


def _generations_table(rows: list[GenerationRow], *, plain: bool) -> Table:
    """Which followed which; what hosts show of rollbacks and withdrawals is inferred."""
    table = new_table("generations, in the order of their start", plain=plain)
    for name in ("generation", "release", "image"):
        table.add_column(name, no_wrap=True)
    for name in ("hosts", "archived"):
        table.add_column(name, justify="right")
    for name in ("first born", "last heard", "inferred"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        seen = [f"the {row.episode}. time" if row.episode > 1 else "", "rollback" if row.rollback else ""]
        seen.append(f"withdrawn {moment(row.withdrawn_ns)}" if row.withdrawn_ns else "")
        table.add_row(
            *map(printable, (row.generation, row.release, row.image)),
            f"{len(row.hosts):,}",
            f"{row.records:,}",
            moment(row.first_ns),
            moment(row.last_ns),
            ", ".join(filter(None, seen)),
        )
    return table


def _truth_table(report: AuditReport, *, plain: bool) -> Table:
    table = new_table("compared with what was emitted", plain=plain)
    names = ("emitted", "read", "archived", "missing", "surplus", "duplicates")
    table.add_column("subject", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    for row in report.truth:
        table.add_row(row.subject, *(f"{getattr(row, name):,}" for name in names), style="red" if row.missing else "")
    return table


def remarks(report: AuditReport) -> Iterator[str]:
    """In words, a line each, whatever is not as it should be and all notes of hosts; from outside, so not yet printable."""
    for life in report.lives:
        who = f"{life.host or '?'} {life.life}"
        for stream in life.streams:
            for line in _stream_remarks(stream):
                yield f"{who} {stream.name or stream.id}: {line}"
        for note in life.notes:
            yield f"{who}: {note}"
        yield from (f"{who}: {line}" for line in _last_known(life))
        for receiver, count in life.refused.items():
            if count:
                yield f"{who}: receiver {receiver} refused {count:,}"
        if life.skipped_statements:
            yield f"{who}: {life.skipped_statements} of its statements are not here; later ones may make up for them"
    yield from damage_lines(report.damage)
    if report.unlisted_objects:
        yield f"{report.unlisted_objects} objects with {report.unlisted_records:,} records are in no range list: they prove no range"


def _last_known(life: LifeReport) -> Iterator[str]:
    """What a life that fell silent was known to lose at most when it was last heard of, and the word it had of its end."""
    if life.notice is not None:
        word = life.notice
        due = f", by {moment(word['deadline_ns'])}" if word.get("deadline_ns") else ""
        yield f"had a notice: {word.get('kind')} from {word.get('source')}{due}: {word.get('evidence')}"
    if life.exposed is not None and life.unknown_after_ns is not None:
        exposed = life.exposed
        yield (
            f"last statement at {moment(life.unknown_after_ns)}; then exposed: {exposed.bytes:,} bytes, "
            f"the oldest for {exposed.oldest:.3f} s"
        )


def _stream_remarks(stream: StreamReport) -> Iterator[str]:
    if stream.missing_ranges:
        yield f"MISSING {_ranges(stream.missing_ranges)}"
    elif stream.counts.missing:
        yield f"MISSING {stream.counts.missing:,} records of ranges that are there"
    if stream.damaged_ranges:
        yield f"stored but damaged {_ranges(stream.damaged_ranges)}"
    if stream.lost_ranges:
        yield f"given up {_ranges(stream.lost_ranges)}"
    if stream.quarantined_ranges:
        yield f"quarantined on the host {_ranges(stream.quarantined_ranges)}"
    if stream.elsewhere_ranges:
        yield f"not owed to {stream.destination}, in another destination {_ranges(stream.elsewhere_ranges)}"
    if stream.unproved_ranges:
        yield f"taken by the local relay {stream.destination}, not seen here {_ranges(stream.unproved_ranges)}"
    if stream.overlapping_ranges:
        yield f"stored twice in part {_ranges(stream.overlapping_ranges)}"
    if not stream.stated:
        yield "no account names it"


def _ranges(pairs: list[tuple[int, int]]) -> str:
    named = " ".join(f"[{start}, {end})" for start, end in pairs[:MOST_RANGES])
    return named + (f" and {len(pairs) - MOST_RANGES} more" if len(pairs) > MOST_RANGES else "")
