"""``shipper fleet watch``: the verdict on every newest generation, every minute, as series for boards and alerts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from shipper.cli.archives import pairs
from shipper.cli.options import SecondsRange, config_option, set_up_logging
from shipper.errors import ConfigError
from shipper.signals import keep_stop_signals, take_over

if TYPE_CHECKING:
    from shipper.clock import Clock
    from shipper.events import Reporter
    from shipper.fleet.deploys.lease import Lease
    from shipper.fleet.watching.writers import ByExporter, ByOtlp, Every

NAME = "watch"
_TYPE = "prometheus"
_ARCHIVE = "archive"


class WithWatch(click.Command):
    """``shipper fleet`` with a verb of its own; an archive of that name is ``./watch``."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """See click: whose context this is, that one is invoked."""
        if args[:1] == [NAME]:
            return command.make_context(f"{info_name} {NAME}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


@click.command()
@click.option("--prometheus", required=True, metavar="URL", help="Prometheus, or what answers like it; its base URL.")
@click.option("--token-file", default="", metavar="FILE", help="A bearer token for it.")
@click.option("--service", "services", multiple=True, help="Only this service (repeatable).")
@click.option("--env", "environments", multiple=True, help="Only this environment (repeatable).")
@click.option(
    "--every", type=SecondsRange(5), default=60.0, show_default=True, help="Seconds from one look to the next."
)
@click.option(
    "--objective",
    type=SecondsRange(0, min_open=True),
    default=0.5,
    show_default=True,
    help="Seconds a request should take at most: where a bucket of the histogram ends.",
)
@click.option(
    "--write",
    default="",
    metavar="URL",
    help="Write there by remote write; default: to the destinations of the configuration.",
)
@click.option(
    "--archive",
    default="",
    metavar="DIR|URL",
    help="Of all that are given this archive one computes, by a lease in it. Without: this one does.",
)
@click.option("--option", "options", metavar="KEY=VALUE", multiple=True, help="For a bucket: region, endpoint, ...")
@config_option
def command(
    prometheus: str,
    token_file: str,
    services: tuple[str, ...],
    environments: tuple[str, ...],
    every: float,
    objective: float,
    write: str,
    archive: str,
    options: tuple[str, ...],
    config_file: str | None,
) -> None:
    """Judge the newest generation of every service again and again, and write the verdicts as series.

    What `shipper verdict` would say is then on the Triage board, and what its alerts go by (docs/verdict.md). Runs until it is
    told to stop; its series then end. A gateway does the same with `verdicts.prometheus`. Examples:

    \b
      shipper fleet watch --prometheus http://prometheus:9090 --write http://prometheus:9090/api/v1/write
      shipper fleet watch --prometheus http://prometheus:9090 --config /etc/shipper/shipper.yaml --archive s3://telemetry
    """
    from shipper.clock import SystemClock
    from shipper.events import Reporter
    from shipper.fleet.deploys.send import NotTold, first_line
    from shipper.fleet.verdict.client import Client
    from shipper.fleet.watching.newest import Wanted
    from shipper.fleet.watching.watcher import Watcher
    from shipper.verdict_names import SERIES

    clock = SystemClock()
    report = Reporter(clock)
    try:
        client = Client(prometheus, token=first_line(token_file) if token_file else "")
        writer = _writer(write, config_file, clock)
    except (ConfigError, NotTold) as problem:
        raise click.UsageError(str(problem)) from problem
    lease = _lease(archive, pairs(options), clock, report) if archive else None
    keep_stop_signals()
    set_up_logging("info", "text")

    async def watch() -> None:
        watcher = Watcher(
            client,
            replace(SERIES, objective=objective),
            Wanted(services, environments),
            writer,
            lease=lease,
            every=every,
            clock=clock,
            report=report,
        )
        stop = asyncio.Event()
        take_over(asyncio.get_running_loop(), lambda _: stop.set())
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(watcher.run())
                await stop.wait()
                running.cancel()
        finally:
            await watcher.settled()
            await watcher.aclose()
            await writer.aclose()

    asyncio.run(watch())


def _writer(url: str, config_file: str | None, clock: Clock) -> Every:
    """To ``url``, else to all that the configuration has and looks at metrics."""
    from shipper.fleet.watching.writers import ByExporter, Every

    if url:
        try:
            return Every([ByExporter(_TYPE, _TYPE, {"endpoint": url}, where="--write", clock=clock)])
        except ConfigError as problem:
            raise ConfigError("--write", problem.problem) from problem
    from shipper.config import load

    loaded = load(config_file, env=os.environ, complete=False)
    writers: list[ByExporter | ByOtlp] = []
    for name, destination in loaded.config.destinations.items():
        if destination.type == "otlp":
            writers += _otlp(name, destination.options, clock)
        elif destination.type != _ARCHIVE:  # which only keeps: nobody would look at them there
            writers += _by_exporter(destination.type, name, destination.options, clock)
    if not writers:
        raise ConfigError("", "where to write? --write URL, or a configuration with a destination that takes metrics")
    return Every(writers)


def _by_exporter(type_: str, name: str, options: Mapping[str, Any], clock: Clock) -> list[ByExporter]:
    from shipper.contracts import Signal
    from shipper.fleet.watching.writers import ByExporter

    writer = ByExporter(type_, name, options, where=f"destinations.{name}", clock=clock)
    return [writer] if Signal.METRICS in writer.exporter.signals else []


def _otlp(name: str, options: Mapping[str, Any], clock: Clock) -> list[ByOtlp]:
    from shipper.fleet.deploys.send import endpoint_of
    from shipper.fleet.watching.writers import ByOtlp

    endpoint = endpoint_of(options, "metrics", f"destinations.{name}")
    return [] if endpoint is None else [ByOtlp(endpoint, clock=clock)]


def _lease(place: str, options: Mapping[str, str], clock: Clock, report: Reporter) -> Lease:
    from shipper.fleet.deploys.lease import Lease
    from shipper.fleet.store import open_store
    from shipper.fleet.watching.watcher import KEEPS, LEASE_KEY
    from shipper.ids import uuid7

    store = open_store(place, options, create=True)
    return Lease(store, uuid7(clock.wall_ns()), clock=clock, report=report, key=LEASE_KEY, keeps=KEEPS)
