"""The story for a terminal: generations, then how their hosts ended."""

from __future__ import annotations

from rich.console import Console

from shipper.drawing.scale import duration, percent
from shipper.fleet.archive import damage_lines
from shipper.fleet.lines import printable
from shipper.fleet.page.story import SECOND, Generation, Life, Story
from shipper.fleet.table import console, moment, new_table, verdict

NO_AUDIT = "no archive was read: whether all of it arrived, shipper audit says"

MOST_LIVES = 50  # listed; all of them are in the JSON and, as lines, on the page


def show(story: Story, out: Console | None = None) -> None:
    """Print it."""
    out = out or console()
    plain = not out.is_terminal
    made = new_table(f"Generations in {story.report.archive}, in the order of their start", plain=plain)
    for name in ("service", "generation", "release", "image", "started"):
        made.add_column(name, no_wrap=True)
    for name in ("hosts", "requests", "errors", "ratio"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("how it ended")
    for one in story.generations:
        made.add_row(*_cells(one))
    out.print(made)
    hosts = [life for life in story.lives if life.generation >= 0]
    listed = sorted(
        hosts, key=lambda life: (life.report.ended in ("drained", "alive") and life.report.ok, -life.end_ns)
    )
    lived = new_table("Hosts: those that did not end well first", plain=plain)
    for name in ("host", "generation", "born", "lived", "ended"):
        lived.add_column(name, no_wrap=name != "ended")
    if story.audited:
        lived.add_column("archived", justify="right")
    for life in listed[:MOST_LIVES]:
        lived.add_row(*_life(story, life), style="" if life.report.ok else "red")
    out.print(lived)
    if len(listed) > MOST_LIVES:
        out.print(f"and {len(listed) - MOST_LIVES:,} more hosts: --json has all of them")
    for line in damage_lines(story.report.damage):
        out.print(printable(line), soft_wrap=True)
    alive = sum(life.report.ended == "alive" for life in story.lives)
    if alive and story.audited:
        lives = "1 life is" if alive == 1 else f"{alive:,} lives are"
        out.print(f"{lives} not over: the archive is still being written")
    if story.unplaced:
        out.print(f"{story.unplaced:,} requests were counted by hosts of no generation seen here; no figure has them")
    if not story.audited:
        out.print(NO_AUDIT, style="dim")
        return
    out.print(verdict(story.report), style="bold green" if story.report.ok else "bold red")


def _cells(one: Generation) -> tuple[str, ...]:
    ends = ", ".join(f"{count} {ended}" for ended, count in one.ends.items())
    figures = ("unknown", "unknown") if one.requests is None else (f"{one.requests:,}", f"{one.errors:,}")
    ratio = "" if one.ratio is None else percent(one.ratio)
    started = moment(one.started_ns)
    words = (one.service, one.name + (", rollback" if one.rollback else ""), one.release, one.image, started)
    return (*map(printable, words), f"{one.hosts:,}", *figures, ratio, printable(f"{one.outcome} (hosts: {ends})"))


def _life(story: Story, life: Life) -> tuple[str, ...]:
    report = life.report
    ended = report.ended + (f", {report.reason}" if report.reason else "")
    lived = duration((life.end_ns - life.born_ns) / SECOND)
    words = (report.host or report.life, story.generations[life.generation].name, moment(life.born_ns), lived)
    archived = (f"{report.counts.archived:,}",) if story.audited else ()
    return (*map(printable, words), printable(ended), *archived)
