"""A comparison with a backend for people: a line for each life, then in words what it does and does not say."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from shipper.fleet.backends.report import MEANS, BackendReport, Compared, Row
from shipper.fleet.lines import printable
from shipper.fleet.table import console, moment, new_table

_COUNTS = ("acknowledged", "found", "missing", "more")


def show(report: BackendReport, out: Console | None = None) -> None:
    """Print the whole report."""
    out = out or console()
    since = f"since {moment(report.since_ns)}" if report.since_ns else "of all times it has"
    out.print(
        f"Compared with {printable(report.backend)} at {moment(report.at_ns)}, lives heard of {since}: {len(report.rows)}"
    )
    out.print(_table(report, plain=not out.is_terminal))
    for line in remarks(report):
        out.print(printable(line), soft_wrap=True)
    out.print(verdict(report), style="bold green" if report.ok else "bold red")


def verdict(report: BackendReport) -> str:
    """The comparison in one line."""
    totals = report.totals()
    parts = [f"acknowledged {totals['acknowledged']:,}", f"found {totals['found']:,}"]
    parts += [f"missing {totals['missing']:,}", f"more than acknowledged {totals['more']:,}"]
    results = [one.result for row in report.rows for one in row.counts]
    for result in ("not yet", "cannot be told"):
        if count := results.count(result):
            parts.append(f"{result} {count:,} lives")
    return ", ".join(parts)


def remarks(report: BackendReport) -> Iterator[str]:
    """In words, a line each; in part from outside, so not yet printable."""
    for row in report.rows:
        who = f"{row.life.host or '?'} {row.life.life}"
        for one in row.counts:
            if one.result == "missing":
                yield f"{who}: MISSING {one.missing:,} {one.what} that {one.destination} acknowledged"
            if one.pending and one.result != "not compared":
                yield f"{who}: {one.pending:,} {one.what} were not acknowledged when it said so last"
        for note in row.life.notes:
            yield f"{who}: {note}"
    yield from report.remarks
    yield from report.limits
    yield MEANS


def _table(report: BackendReport, *, plain: bool) -> Table:
    table = new_table("", plain=plain)
    for name in ("host", "life", "release", "generation", "born", "ended", "records", "by way of"):
        table.add_column(name, no_wrap=name != "ended")
    for name in _COUNTS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("result")
    for row in report.rows:
        for one in _telling(row):
            style = "red" if one.result == "missing" else "dim" if one.result == "not compared" else ""
            table.add_row(
                *map(printable, (*_who(row), one.what, one.destination, *_figures(one), _result(one))), style=style
            )
    table.add_section()
    totals = report.totals()
    table.add_row("all hosts", *[""] * 7, *(f"{totals[name]:,}" for name in _COUNTS), "", style="bold")
    return table


def _telling(row: Row) -> list[Compared]:
    """Without the kinds that a life has none of; but each life is shown."""
    some = [one for one in row.counts if one.result != "not compared" or one.found or one.acknowledged]
    return some or row.counts[:1]


def _who(row: Row) -> tuple[str, ...]:
    life = row.life
    ended = f"{life.ended} (gateway)" if life.role == "gateway" else life.ended
    if life.adopted_by:
        ended += f"; adopted by {life.adopted_by[-12:]}"
    labels = (life.labels.get(name, "") for name in ("release", "generation"))
    return (life.host or "?", life.life[-12:], *labels, moment(life.born_ns), ended)


def _figures(one: Compared) -> list[str]:
    if one.result != "not compared":
        return [f"{getattr(one, name):,}" for name in _COUNTS]
    return ["-", f"{one.found:,}", "-", "-"]


def _result(one: Compared) -> str:
    return f"{one.result}: {one.why}" if one.why else one.result
