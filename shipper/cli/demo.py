"""``shipper demo``: the main job on one machine, with nothing else installed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from shipper.cli.fleet import write_page
from shipper.demo.findings import read_findings
from shipper.demo.show import LiveView, show_audit, show_generations
from shipper.demo.story import Fleet, Plan
from shipper.fleet.archive import Archive
from shipper.fleet.audit import audit
from shipper.fleet.page.html import render
from shipper.fleet.page.reading import read
from shipper.fleet.page.story import story
from shipper.fleet.table import console as table_console


@click.command()
@click.option(
    "--hosts", type=click.IntRange(1, 50), default=4, show_default=True, help="Hosts in each of the three generations."
)
@click.option(
    "--rate", type=click.FloatRange(0.1, 2000), default=50.0, show_default=True, help="Requests a second to each host."
)
@click.option(
    "--seconds", type=click.FloatRange(3, 600), default=24.0, show_default=True, help="Seconds of traffic in all."
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
    default=15.0,
    show_default=True,
    help="Seconds between two pushes of a host.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write the fleet's history there, one page for a browser; with --keep it is there as fleet.html anyway.",
)
def command(
    hosts: int, rate: float, seconds: float, keep: Path | None, prometheus: str, push: float, page: Path | None
) -> None:
    """Run a fleet of ephemeral hosts, kill them in every way, and prove that nothing is missing.

    \b
    Three generations: release A, release B with more errors, and the rollback to A. Every host is a real process tree:
    a service that logs, and a real `shipper run`. On the way some services get SIGKILL, one sidecar is killed and
    restarted, and the gateway is unreachable for a few seconds.

    Exit status: 0 nothing is missing, 1 something is.
    """
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise click.ClickException(f"{keep} is not empty; name a new directory")
    directory = keep.resolve() if keep is not None else Path(tempfile.mkdtemp(prefix="shipper-demo-"))
    directory.mkdir(parents=True, exist_ok=True)
    page = page or (directory / "fleet.html" if keep is not None else None)
    console = table_console()
    try:
        ok = _run(console, Plan(hosts, rate, seconds, prometheus, push), directory, page, kept=keep is not None)
    except KeyboardInterrupt:
        console.print("interrupted: every process of the demo is gone")
        raise SystemExit(130) from None
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    raise SystemExit(0 if ok else 1)


def _run(console: Console, plan: Plan, directory: Path, page: Path | None, *, kept: bool) -> bool:
    view = LiveView(console)
    fleet = Fleet(plan, directory, view.say)
    view.fleet = fleet
    with Live(view, console=console, refresh_per_second=4, transient=True) as live:
        if not console.is_terminal:
            live.stop()
        asyncio.run(_until_signalled(fleet))
    archive = fleet.gateway.archive
    report = audit(str(archive), truth=_emitted(fleet))
    findings = read_findings(Archive.open(str(archive)))
    show_generations(console, report, findings)
    if page is not None:
        write_page(page, render(story(read(str(archive)))))
        console.print(f"the fleet's history as a page: {page}", highlight=False, soft_wrap=True)
    show_audit(console, report, findings, archive, kept=kept)
    return report.ok and not report.totals.duplicates


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
