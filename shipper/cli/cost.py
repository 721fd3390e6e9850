"""``shipper cost``: what a fleet of this size will cost in series, requests, objects and bytes, before there is one."""

from __future__ import annotations

import click

from shipper.config.schema_numbers import Requests
from shipper.config.units import parse_size
from shipper.dashboards.config import BoardConfig, load_board_config
from shipper.dashboards.cost import SERIES_LIMIT, FleetSize, HostSeries, Line, bill
from shipper.measure.catalogue import (
    CATALOGUE,
    EXPOSURE_EDGES,
    FALLBACK_HELPING,
    FAREWELLS,
    NOTICE_KINDS,
    OUTCOMES,
    Kind,
    Own,
)

_VALUES = {"kind": len(NOTICE_KINDS), "outcome": len(FAREWELLS)}
_SENT = len(set(OUTCOMES.values()))
_BOUNDS = 5  # edges of request durations, where none are set
_HEADINGS = {
    "raw": "In Prometheus, raw (to be kept for 2 hours)",
    "recorded": "In Prometheus, recorded (to be kept for 90 days)",
    "archive": "In the archive of the gateways",
}


@click.command()
@click.option("--hosts", type=click.IntRange(1), required=True, help="Hosts at one time, in all services.")
@click.option("--deploys", type=click.FloatRange(0), required=True, help="Deploys a day, in all services.")
@click.option("--services", type=click.IntRange(1), default=1, show_default=True, help="Services; a host runs one.")
@click.option("--destinations", type=click.IntRange(1), default=1, show_default=True, help="Destinations of each host.")
@click.option(
    "--gateways", type=click.IntRange(1), default=1, show_default=True, help="Gateways that write an archive."
)
@click.option("--logs", default="0", metavar="SIZE", help="What a host writes in a day, such as 2GB; not counted if 0.")
@click.option("--config", "path", metavar="FILE", help="The configuration that rules and boards are made from.")
def command(
    hosts: int, deploys: float, services: int, destinations: int, gateways: int, logs: str, path: str | None
) -> None:
    """Print what a fleet costs: series, samples, requests, PUTs and gigabytes.

    \b
    Example:
      shipper cost --hosts 500 --deploys 20 --services 4

    A deploy replaces all hosts of its service. Requests are counted for one service a host, without routes.
    """
    try:
        written = parse_size(logs)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint="--logs") from None
    if services > hosts:
        raise click.BadParameter(f"{services} services do not fit on {hosts} hosts", param_hint="--services")
    config = load_board_config(path) if path else BoardConfig()
    fleet = FleetSize(hosts, deploys, services, destinations, gateways, written)
    host = host_series()
    shown = ""
    for line in bill(config, fleet, host):
        if line.part != shown:
            click.echo(f"{'' if not shown else chr(10)}{_HEADINGS[line.part]}")
            shown = line.part
        click.echo(_written(line))
    if host.total(destinations, 1) > SERIES_LIMIT:
        click.echo(f"\nA host pushes more than {SERIES_LIMIT} series because it has {destinations} destinations.")


def host_series() -> HostSeries:
    """What a host pushes, counted from the catalogue of its metrics and the default buckets of request durations."""
    at_destination = [own for own in CATALOGUE if "destination" in own.labels and own is not FALLBACK_HELPING]
    of_itself = [own for own in CATALOGUE if "destination" not in own.labels]
    bounds = len(Requests().buckets) or _BOUNDS
    return HostSeries(sum(map(_width, of_itself)), sum(map(_width, at_destination)), 2 + _histogram(bounds))


def _width(own: Own) -> int:
    if own.kind is Kind.HISTOGRAM:
        return _histogram(len(EXPOSURE_EDGES))
    if own.name == "shipper.requests_sent":
        return _SENT
    width = 1
    for label in own.labels:
        width *= _VALUES.get(label, 1)
    return width


def _histogram(bounds: int) -> int:
    """Buckets with the last one, ``_sum`` and ``_count``."""
    return bounds + 1 + 2


def _written(line: Line) -> str:
    value = f"{line.value:,.0f}" if line.value >= 100 or line.value == int(line.value) else f"{line.value:.3g}"
    return f"  {line.what:<38} {value:>12} {line.unit:<14} {line.how}".rstrip()
