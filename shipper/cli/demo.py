"""``shipper demo``: the main job on one machine, with nothing else installed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.live import Live

from shipper.cli.fleet import write_page
from shipper.cli.preview import records_of
from shipper.demo.boards import Place, draw, given_prometheus, own_prometheus
from shipper.demo.findings import read_findings
from shipper.demo.show import LiveView, show_audit, show_generations
from shipper.demo.story import Fleet, Plan
from shipper.errors import ShipperError
from shipper.fleet.archive import Archive
from shipper.fleet.audit import audit
from shipper.fleet.page.html import render
from shipper.fleet.page.reading import read
from shipper.fleet.page.story import story
from shipper.fleet.table import console as table_console

SECONDS, PREVIEW_SECONDS = 24.0, 90.0
PUSH, PREVIEW_PUSH = 15.0, 1.5
HERE = "."
"""What ``--preview`` means by itself: a page in the directory that is kept, else in the one we are in."""


@click.command()
@click.option(
    "--hosts", type=click.IntRange(1, 50), default=4, show_default=True, help="Hosts in each of the three generations."
)
@click.option(
    "--rate", type=click.FloatRange(0.1, 2000), default=50.0, show_default=True, help="Requests a second to each host."
)
@click.option(
    "--seconds",
    type=click.FloatRange(3, 600),
    default=None,
    help=f"Seconds of traffic in all.  [default: {SECONDS:g}, with --preview {PREVIEW_SECONDS:g}]",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Keep everything in this new directory.",
)
@click.option(
    "--prometheus",
    default="",
    metavar="URL",
    help="Also push metrics there, such as http://127.0.0.1:9090/api/v1/write: for the dashboards.",
)
@click.option(
    "--push",
    type=click.FloatRange(1, 60),
    default=None,
    help=f"Seconds between two pushes of a host.  [default: {PUSH:g}, with a Prometheus of the preview's own "
    f"{PREVIEW_PUSH:g}]",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write the fleet's history there, one page for a browser; with --keep it is there as fleet.html anyway.",
)
@click.option(
    "--preview",
    "boards_page",
    is_flag=False,
    flag_value=HERE,
    metavar="[FILE]",
    default=None,
    help="Draw the dashboards of the fleet, one page for a browser: for who has no Grafana. Runs a Prometheus if one is "
    "installed, or asks the one of --prometheus. More goes wrong in this story, so that there is something to see.",
)
def command(
    hosts: int,
    rate: float,
    seconds: float | None,
    keep: Path | None,
    prometheus: str,
    push: float | None,
    page: Path | None,
    boards_page: str | None,
) -> None:
    """Run a fleet of ephemeral hosts, kill them in every way, and prove that nothing is missing.

    \b
    Three generations: release A, release B with more errors, and the rollback to A. Every host is a real process tree:
    a service that logs, and a real `shipper run`. On the way some services get SIGKILL, one sidecar is killed and
    restarted, and the gateway is unreachable for a few seconds.

    Exit status: 0 nothing is missing, 1 something is.
    """
    if prometheus and not _is_url(prometheus):
        raise click.UsageError(
            f"--prometheus: {prometheus[:200]!r} is no URL such as http://127.0.0.1:9090/api/v1/write"
        )
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise click.ClickException(f"{keep} is not empty; name a new directory")
    directory = keep.resolve() if keep is not None else Path(tempfile.mkdtemp(prefix="shipper-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    pages = Pages(
        page or (directory / "fleet.html" if keep is not None else None),
        _boards_page(boards_page, keep),
    )
    console = table_console()
    plan = Plan(hosts, rate, seconds or SECONDS, prometheus, push=push or PUSH)
    _interruptible()
    try:
        with _place(console, pages, plan, directory, own_push=push or PREVIEW_PUSH) as place:
            if place is not None:
                plan = replace(
                    plan,
                    seconds=seconds or PREVIEW_SECONDS,
                    prometheus=place.write_url,
                    asked=place.url,
                    push=push or place.push,
                    eventful=True,
                )
            ok = _run(console, plan, directory, pages, place, kept=keep is not None)
    except KeyboardInterrupt:
        console.print("interrupted: every process of the demo is gone")
        raise SystemExit(130) from None
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    raise SystemExit(0 if ok else 1)


@dataclass(frozen=True, slots=True)
class Pages:
    """Where which page goes, None for one that nobody wants."""

    fleet: Path | None
    boards: Path | None


def _boards_page(told: str | None, keep: Path | None) -> Path | None:
    if told != HERE:
        return Path(told) if told is not None else None
    return keep / "boards.html" if keep is not None else Path("shipper-boards.html")


@contextmanager
def _place(console: Console, pages: Pages, plan: Plan, directory: Path, *, own_push: float) -> Iterator[Place | None]:
    """Where the boards are asked, None where nobody wants them; where they cannot be had that is said, and the demo runs."""
    if pages.boards is None:
        yield None
        return
    with ExitStack() as stack:
        place = None
        try:
            place = (
                given_prometheus(plan.prometheus)
                if plan.prometheus
                else stack.enter_context(own_prometheus(directory / "prometheus", own_push))
            )
        except ShipperError as problem:
            console.print(f"no preview of the dashboards: {problem}", style="yellow", highlight=False, soft_wrap=True)
        yield place


def _run(console: Console, plan: Plan, directory: Path, pages: Pages, place: Place | None, *, kept: bool) -> bool:
    view = LiveView(console)
    fleet = Fleet(plan, directory, view.say)
    view.fleet = fleet
    with Live(view, console=console, refresh_per_second=4, transient=True) as live:
        if not console.is_terminal:
            live.stop()
        asyncio.run(_until_signalled(fleet))
    _interruptible()
    archive = _near(fleet.gateway.archive)
    report = audit(str(archive), truth=_emitted(fleet))
    findings = read_findings(Archive.open(str(archive)))
    show_generations(console, report, findings)
    if pages.fleet is not None:
        write_page(pages.fleet, render(story(read(str(archive)))))
        console.print(f"the fleet's history as a page: {pages.fleet}", highlight=False, soft_wrap=True)
    if place is not None and pages.boards is not None:
        _draw(console, place, fleet, pages.boards)
    show_audit(console, report, findings, archive, kept=kept)
    return report.ok and not report.totals.duplicates


def _near(place: Path) -> Path:
    """As people would name it from here."""
    return place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place


def _draw(console: Console, place: Place, fleet: Fleet, page: Path) -> None:
    """Write the page of the boards; where it cannot be drawn that is said, for the demo is about something else."""
    try:
        made = draw(place, fleet, records_of(str(_near(fleet.gateway.archive))))
        write_page(page, made.html)
    except (ShipperError, click.ClickException) as problem:
        console.print(f"no preview of the dashboards: {problem}", style="yellow", highlight=False, soft_wrap=True)
        return
    console.print(f"the dashboards as a page: {page}", highlight=False, soft_wrap=True)
    if made.empty:
        names = "; ".join(panel.title for panel in made.empty)
        console.print(f"{len(made.empty)} panels found nothing: {names}", highlight=False, soft_wrap=True)


def _interruptible() -> None:
    """A SIGTERM ends us as Ctrl-C does, with what was started; the event loop leaves it deadly behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _emitted(fleet: Fleet) -> dict[str, int]:
    """What every service counted itself: lines in its file, and spans through the SDK."""
    truths = [(host.name, host.truth()) for host in fleet.hosts]
    return {
        f"{name}:{signal}": n
        for name, truth in truths
        for signal, n in (("logs", truth.lines), ("traces", truth.spans))
    }


async def _until_signalled(fleet: Fleet) -> None:
    """Run the story; SIGTERM ends it as Ctrl-C does."""
    story = asyncio.ensure_future(fleet.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, story.cancel)
    try:
        await story
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        await fleet.destroy()


def _is_url(text: str) -> bool:
    """Whether one can write there at all; the rest is seen when it is tried."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
