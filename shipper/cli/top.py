"""``shipper top``: how this host, or a fleet, is doing now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from shipper.cli.archives import pairs
from shipper.cli.options import admin_socket, socket_option, state_dir_option

if TYPE_CHECKING:
    from shipper.top.source import Source


@click.command()
@click.option("--prometheus", default="", metavar="URL", help="A fleet, by what it pushes to this Prometheus.")
@click.option("--archive", default="", metavar="DIR|URL", help="A fleet, by what its hosts stated into this archive.")
@click.option(
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="For an archive in a bucket: region, endpoint, ... (repeatable).",
)
@click.option("--service", default="", metavar="NAME", help="Of a fleet only this service.")
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    default=None,
    help="Board settings that the rules in the Prometheus were made with, where they have other names or windows.",
)
@click.option("--once", "only_once", is_flag=True, help="Print one reading and exit; so it is without a terminal, too.")
@state_dir_option
@socket_option
def command(
    prometheus: str,
    archive: str,
    options: tuple[str, ...],
    service: str,
    config_file: str | None,
    only_once: bool,
    state_dir: str,
    socket: str,
) -> None:
    """Show this host, read anew every second, or a fleet: generations, hosts and their ends, deploys, alerts.

    \b
    Examples:
      shipper top
      shipper top --prometheus http://prometheus:9090
      shipper top --archive s3://telemetry --once

    q or Ctrl-C quits. Exit status: 0; 1 when the first reading fails; 2 for a wrong call.
    """
    if prometheus and archive:
        raise click.UsageError("--prometheus or --archive, not both")
    if (state_dir or socket) and (prometheus or archive):
        raise click.UsageError("--state-dir and --socket are of one host; --prometheus and --archive of a fleet")
    for given, flag, of in (
        (service and not (prometheus or archive), "--service", "a fleet"),
        (config_file and not prometheus, "--config", "--prometheus"),
        (options and not archive, "--option", "--archive"),
    ):
        if given:
            raise click.UsageError(f"{flag} is for {of}")
    if prometheus:
        source = _prometheus(prometheus, service, config_file)
    elif archive:
        source = _archive(archive, pairs(options), service)
    else:
        source = _host(state_dir, socket)
    asyncio.run(_show(source, only_once))


async def _show(source: Source, only_once: bool) -> None:
    from shipper.top.once import once
    from shipper.top.terminal import Terminal, can_be_drawn_on
    from shipper.top.watch import Watch

    if only_once or not can_be_drawn_on():
        await once(source)
    else:
        await Watch(source, Terminal()).run()


def _host(state_dir: str, socket: str) -> Source:
    from shipper.top.host import HostSource

    return HostSource(admin_socket(state_dir, socket))


def _prometheus(url: str, service: str, config_file: str | None) -> Source:
    from shipper.dashboards.config import load_board_config
    from shipper.top.fleet import FleetSource
    from shipper.top.query import Queries

    config = load_board_config(config_file) if config_file is not None else None
    return FleetSource(Queries(url), config=config, service=service)


def _archive(url: str, options: dict[str, str], service: str) -> Source:
    from shipper.top.archive import ArchiveSource

    return ArchiveSource(url, options, service=service)
