"""How the demo looks: a live view of the fleet while it runs, then what was found and whether it is all there."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from shipper.demo.findings import Findings
from shipper.demo.story import Fleet
from shipper.fleet.generations import GenerationRow, generations
from shipper.fleet.report import AuditReport
from shipper.fleet.table import new_table, verdict

LINES = 6  # of what happened, in the live view


class LiveView:
    """What is on the screen while the fleet lives; told each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: deque[str] = deque(maxlen=LINES)
        self._begun = time.monotonic()
        self.fleet: Fleet | None = None

    def say(self, line: str) -> None:
        """Something happened."""
        stamped = f"{time.monotonic() - self._begun:5.1f} s  {line}"
        self._said.append(stamped)
        if not self._console.is_terminal:
            self._console.print(stamped, markup=False, soft_wrap=True)

    def __rich__(self) -> RenderableType:
        if self.fleet is None:
            return Text("starting")
        table = new_table("", plain=False)
        for heading in ("generation", "release", "host", "condition"):
            table.add_column(heading)
        for heading in ("requests", "errors"):
            table.add_column(heading, justify="right")
        shown = [host for host in self.fleet.hosts if host.condition != "gone"]
        for host in shown:
            build = host.build
            table.add_row(
                build.generation, build.release, host.name, host.condition, str(host.requests), str(host.errors)
            )
        gone = len(self.fleet.hosts) - len(shown)
        gateway = self.fleet.gateway
        style = "bold red" if gateway.condition == "UNREACHABLE" else "green"
        head = Text.assemble(("gateway ", "bold"), (gateway.condition, style), f"   hosts gone {gone}")
        return Group(head, table, *(Text(line, style="dim") for line in self._said))


def show_generations(console: Console, report: AuditReport, findings: Findings) -> None:
    """Release, image, hosts, requests, errors, ratio, first and last seen."""
    table = new_table("Generations, as the archive tells it", plain=not console.is_terminal)
    for heading in ("generation", "release", "image"):
        table.add_column(heading)
    for heading in ("hosts", "requests", "errors", "error ratio"):
        table.add_column(heading, justify="right")
    for heading in ("first seen", "last seen"):
        table.add_column(heading)
    for row in generations(report):
        tally = findings.of(row.hosts)
        figures = (str(len(row.hosts)), f"{tally.requests:,}", f"{tally.errors:,}", f"{tally.error_ratio:.1%}")
        table.add_row(_again(row), row.release, row.image, *figures, _clock(row.first_ns), _clock(row.last_ns))
    console.print(table)


def _again(row: GenerationRow) -> str:
    return row.generation + (f" (the {row.episode}. time)" if row.episode > 1 else "")


def show_audit(console: Console, report: AuditReport, findings: Findings, archive: Path, *, kept: bool) -> None:
    """The audit beside the truth that each service counted, exposure, and where to look further."""
    table = new_table("Each host's own count beside the audit", plain=not console.is_terminal)
    table.add_column("host")
    for heading in ("emitted", "read", "archived", "missing", "duplicates"):
        table.add_column(heading, justify="right")
    for row in report.truth:
        figures = (row.emitted, row.read, row.archived, row.missing, row.duplicates)
        table.add_row(row.subject, *(f"{figure:,}" for figure in figures))
    console.print(table)
    _show_endings(console, report)
    console.print(
        f"exposure: p50 {findings.exposure(0.5) * 1000:.0f} ms, p99 {findings.exposure(0.99) * 1000:.0f} ms"
        f" (outages and crashes included), {len(findings.exposures):,} records",
        highlight=False,
    )
    where = f"archive: {archive}" if kept else "archive: removed (--keep keeps it)"
    console.print(where, highlight=False, soft_wrap=True)
    if kept:
        console.print(f"look again: shipper audit {archive}", highlight=False, soft_wrap=True)
    console.print(verdict(report), style="bold green" if report.ok else "bold red", highlight=False)


def _show_endings(console: Console, report: AuditReport) -> None:
    endings: dict[str, int] = {}
    for life in report.lives:
        if life.role != "gateway":
            endings[life.ended] = endings.get(life.ended, 0) + 1
    told = ", ".join(f"{count} by {how}" for how, count in sorted(endings.items()))
    console.print(f"lives: {sum(endings.values())}, ended {told}", highlight=False)


def _clock(at_ns: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ns / 1e9)) if at_ns else ""
