"""``shipper gateway``: the same program off-host, with a receiver and an archive."""

from __future__ import annotations

from typing import Any

import click

from shipper.cli.options import config_option, state_dir_option
from shipper.cli.start import start


@click.command()
@click.option("--listen", metavar="HOST:PORT", default="", help="Where to receive OTLP/HTTP; default 127.0.0.1:4318.")
@click.option(
    "--archive", metavar="DIR|URL", default="", help="Directory, s3://, gs:// or az:// to keep everything in."
)
@click.option("--to", "endpoint", metavar="URL", default="", help="Also forward to this OTLP/HTTP endpoint.")
@click.option(
    "--insecure", is_flag=True, default=None, help="Allow an address that is not loopback without TLS and a token."
)
@config_option
@state_dir_option
def command(
    listen: str, archive: str, endpoint: str, insecure: bool | None, config_file: str | None, state_dir: str
) -> None:
    """Receive OTLP/HTTP, acknowledge once it is on disk, deduplicate, and write an archive that can be audited.

    \b
    Example:
      shipper gateway --listen 127.0.0.1:4318 --archive /var/lib/shipper-archive

    Exit status: 0 everything received is in the archive, 3 the deadline came first (the rest stays in the spool), 1 cannot start.
    """
    overrides: dict[str, Any] = {}
    if listen:
        overrides["gateway.listen"] = listen
    if archive:
        overrides["destinations.archive.type"] = "archive"
        overrides["destinations.archive.url"] = archive
    if endpoint:
        overrides["endpoint"] = endpoint
    if insecure:
        overrides["gateway.insecure"] = True
    if state_dir:
        overrides["state_dir"] = state_dir
    start("gateway", config_file, overrides)
