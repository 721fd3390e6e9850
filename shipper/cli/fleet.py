"""``shipper fleet``: a fleet's generations, hosts and their ends from its archive, as a table, as JSON or as a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from shipper.cli.archives import archive_argument, pairs, readable_archive
from shipper.cli.fleet_watch import WithWatch


@click.command(cls=WithWatch)
@archive_argument
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
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds without a word after which a life that said no farewell counts as dead.",
)
def command(archive: str, options: tuple[str, ...], as_json: bool, page: Path | None, silence: float) -> None:
    """Show which generation replaced which, how they did, and how their hosts ended, from ARCHIVE alone.

    \b
    Example:
      shipper fleet s3://telemetry/archive --html fleet.html

    \b
    `shipper fleet watch` computes verdicts every minute: see `shipper fleet watch --help`.

    ARCHIVE is a directory or s3://, gs://, az://. Exit code 0: nothing is missing; 1: something is missing or damaged (the
    page is written all the same); 2: the archive cannot be read.
    """
    from shipper.fleet.page.html import render
    from shipper.fleet.page.reading import read
    from shipper.fleet.page.story import story
    from shipper.fleet.page.table import show

    with readable_archive():
        told = story(read(archive, pairs(options), silence=silence))
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


def write_page(file: Path, text: str) -> None:
    """Put a page there. Raises click.ClickException."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error
