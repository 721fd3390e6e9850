"""``shipper fleet``: a fleet's generations, hosts and their ends, from its archive or a Prometheus: as table, JSON or page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shipper.cli.archives import Unusable, pairs, readable_archive
from shipper.cli.fleet_watch import WithWatch
from shipper.cli.options import SecondsRange
from shipper.errors import ConfigError

if TYPE_CHECKING:
    from shipper.fleet.page.reading import Read

HOURS = 24.0


@click.command(cls=WithWatch)
@click.argument("archive", metavar="[ARCHIVE]", default="")
@click.option(
    "--option",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="For a bucket: region, endpoint, ... (repeatable); credentials come from the usual environment.",
)
@click.option("--prometheus", "url", default="", metavar="URL", help="Ask this Prometheus instead of an archive.")
@click.option("--token-file", default="", metavar="FILE", help="A bearer token for it.")
@click.option("--service", default="", metavar="NAME", help="Of Prometheus: only this service.")
@click.option("--env", default="", metavar="NAME", help="Of Prometheus: only this environment.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True, max=24 * 31),
    default=None,
    help=f"Of Prometheus: how far to look back.  [default: {HOURS:g}]",
)
@click.option("--json", "as_json", is_flag=True, help="The machine form (shipper.fleet.page.story says what is in it).")
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write one self-contained page there: it needs neither a network nor a script to be read.",
)
@click.option(
    "--silence",
    type=SecondsRange(min=0),
    default=None,
    help="Of an archive: seconds without a word after which a life that said no farewell counts as dead.  [default: 60]",
)
def command(
    archive: str,
    options: tuple[str, ...],
    url: str,
    token_file: str,
    service: str,
    env: str,
    hours: float | None,
    as_json: bool,
    page: Path | None,
    silence: float | None,
) -> None:
    """Show which generation replaced which, how they did, and how their hosts ended: from ARCHIVE, or from a Prometheus.

    \b
    Examples:
      shipper fleet s3://telemetry/archive --html fleet.html
      shipper fleet --prometheus http://prometheus:9090 --service checkout --hours 6

    \b
    `shipper fleet watch` computes verdicts every minute: see `shipper fleet watch --help`.

    ARCHIVE is a directory or s3://, gs://, az://; only there it is known whether anything is missing. Exit code 0: nothing is
    missing, or nobody knows; 1: something is missing or damaged (the page is written all the same); 2: the archive cannot be
    read, Prometheus does not answer, or knows of no host.
    """
    from shipper.fleet.page.html import render
    from shipper.fleet.page.story import story
    from shipper.fleet.page.table import show

    of_archive = {"--option": options, "--silence": silence is not None}
    of_prometheus = {"--token-file": token_file, "--service": service, "--env": env, "--hours": hours is not None}
    for needs, there, given in (("--prometheus", url, of_prometheus), ("an ARCHIVE", archive, of_archive)):
        for name, value in given.items():
            if value and not there:
                raise click.UsageError(f"{name} goes with {needs}")
    if bool(archive) == bool(url):
        raise click.UsageError("name an ARCHIVE or --prometheus URL, one of the two")
    if url:
        told = story(_asked(url, token_file, service, env, hours or HOURS))
    else:
        told = story(_read(archive, options, 60.0 if silence is None else silence))
    if page is not None:
        write_page(page, render(told))
    if as_json:
        click.echo(json.dumps(told.as_json(), indent=2))
    else:
        show(told)
        if page is not None:
            click.echo(f"page: {page}")
    if not told.report.ok:
        sys.exit(1)


def _read(archive: str, options: tuple[str, ...], silence: float) -> Read:
    from shipper.fleet.page.reading import read

    with readable_archive():
        return read(archive, pairs(options), silence=silence)


def _asked(url: str, token_file: str, service: str, env: str, hours: float) -> Read:
    from shipper.fleet.deploys.send import NotTold, first_line
    from shipper.fleet.page.prometheus import NothingKnown, Wanted, read_prometheus
    from shipper.fleet.questions import NoAnswer
    from shipper.fleet.verdict.client import Client

    try:
        client = Client(url, token=first_line(token_file) if token_file else "")
        return read_prometheus(client, Wanted(hours, service, env), url)
    except (ConfigError, NotTold, NoAnswer, NothingKnown) as problem:
        raise Unusable(str(problem)) from problem


def write_page(file: Path, text: str) -> None:
    """Put a page there. Raises click.ClickException."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error
