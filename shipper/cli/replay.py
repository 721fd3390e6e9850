"""``shipper replay``: send an archive on, for example to another backend, or to a gateway that lost its own."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from shipper import __version__
from shipper.cli.archives import archive_argument, pairs, readable_archive, record_filters
from shipper.clock import SystemClock
from shipper.contracts import ExporterContext
from shipper.errors import DeliveryError
from shipper.ids import uuid7

if TYPE_CHECKING:
    from shipper.fleet.archive import Archive
    from shipper.fleet.records import Selection
    from shipper.fleet.replay import Replayed

MOST_REASONS = 5


@click.command()
@archive_argument
@click.option(
    "--to", "endpoint", required=True, metavar="ENDPOINT", help="OTLP/HTTP endpoint, for example http://host:4318."
)
@click.option("--header", "headers", metavar="KEY=VALUE", multiple=True, help="Request header (repeatable).")
@click.option(
    "--give-up",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds after which a destination that takes nothing ends the replay.",
)
@click.option("--signal", type=click.Choice(["logs", "traces", "metrics"]), default=None, help="Only this signal.")
@record_filters
def command(
    archive: str, options: tuple[str, ...], endpoint: str, headers: tuple[str, ...], give_up: float, **filters: Any
) -> None:
    """Send the records in ARCHIVE to ENDPOINT, every batch under its own key: a Shipper gateway stores none twice.

    Exit code 0; 1 when something was not taken or could not be read; 2 when the archive cannot be read at all.
    """
    from shipper.fleet.archive import Archive, damage_lines
    from shipper.fleet.records import selection

    with readable_archive():
        source = Archive.open(archive, pairs(options))
        settings: dict[str, Any] = {"endpoint": endpoint, **({"headers": pairs(headers)} if headers else {})}
        try:
            done = asyncio.run(_replay(source, settings, selection(**filters), give_up))
        except DeliveryError as error:
            raise click.ClickException(str(error)) from error
    click.echo(
        f"sent {done.records:,} records in {done.requests:,} requests, rejected {done.rejected:,}, refused {done.refused:,}"
    )
    for reason in done.refusals[:MOST_REASONS]:
        click.echo(f"not taken: {reason}", err=True)
    for said in damage_lines(done.damage):
        click.echo(said, err=True)
    if not done.ok:
        sys.exit(1)


async def _replay(source: Archive, settings: dict[str, Any], wanted: Selection, give_up: float) -> Replayed:
    from shipper.fleet.replay import replay
    from shipper.pump.load import make_exporter

    clock = SystemClock()
    context = ExporterContext(clock, uuid7(clock.wall_ns()), 1, f"Shipper/{__version__} (replay)")
    exporter = make_exporter("otlp", "replay", settings, context, where="--to")
    await exporter.start()
    try:
        return await replay(source, exporter, wanted, clock, give_up=give_up)
    finally:
        await exporter.aclose()
