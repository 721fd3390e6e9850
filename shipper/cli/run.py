"""``shipper run``: the sidecar."""

from __future__ import annotations

from typing import Any

import click

from shipper.cli.options import config_option, state_dir_option
from shipper.cli.start import start


@click.command()
@click.option("--tail", "tails", multiple=True, metavar="GLOB", help="Log files to tail; may be given several times.")
@click.option(
    "--endpoint",
    metavar="URL",
    default="",
    help="OTLP/HTTP endpoint; default: SHIPPER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option(
    "--ephemeral/--persistent",
    default=None,
    help="Whether a SIGTERM ends the life of the host, or only this run; default: found out.",
)
@click.option("--drain-deadline", metavar="TIME", default="", help="Time a drain may take, for example 20s.")
@click.option(
    "--metrics-listen",
    metavar="HOST:PORT",
    default=None,
    help="Where /metrics is served; '' for the admin socket only.",
)
@config_option
@state_dir_option
def command(
    tails: tuple[str, ...],
    endpoint: str,
    ephemeral: bool | None,
    drain_deadline: str,
    metrics_listen: str | None,
    config_file: str | None,
    state_dir: str,
) -> None:
    """Tail log files and ship them; drain on SIGTERM or SIGINT.

    \b
    Zero configuration:
      OTEL_EXPORTER_OTLP_ENDPOINT=http://gateway:4318 shipper run --tail '/var/log/app/*.log'

    Exit status: 0 drained, 3 the deadline came before everything was sent (the farewell names what is left), 1 cannot start.
    """
    overrides: dict[str, Any] = {}
    if tails:
        overrides["tail"] = list(tails)
    if endpoint:
        overrides["endpoint"] = endpoint
    if ephemeral is not None:
        overrides["drain.ephemeral"] = "true" if ephemeral else "false"
    if drain_deadline:
        overrides["drain.deadline"] = drain_deadline
    if metrics_listen is not None:
        overrides["admin.listen"] = metrics_listen
    if state_dir:
        overrides["state_dir"] = state_dir
    start("sidecar", config_file, overrides)
