"""``shipper audit``: what arrived and what did not, for every life of every host; in an archive, or by a backend's count."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from shipper.cli.archives import MOMENT, Unusable, optional_archive_argument, pairs, readable_archive
from shipper.cli.audit_backend import backend_options, chosen, compare
from shipper.cli.options import SecondsRange


@click.command()
@optional_archive_argument
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The machine form (shipper.fleet.report says what is in it; backends.report, too).",
)
@click.option("--host", default="", metavar="NAME", help="Only this host.")
@click.option("--life", default="", metavar="ID", help="Only this life (its id, or how that begins or ends).")
@click.option(
    "--since",
    type=MOMENT,
    default=0,
    help="Only lives heard of since (2026-11-23T04:00, or 10m ago as 10m); of Loki and Datadog 30d unless said.",
)
@click.option(
    "--silence",
    type=SecondsRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds without a word after which a life that said no farewell counts as dead, and what is not there as missing.",
)
@click.option(
    "--destination",
    default="",
    metavar="NAME",
    help="What the hosts call the way into this archive or backend; default: found out.",
)
@click.option(
    "--with",
    "beside",
    metavar="ARCHIVE",
    multiple=True,
    help="Another archive of the same hosts: what the fallback of their drains got (repeatable).",
)
@click.option(
    "--truth",
    type=click.Path(exists=True, dir_okay=False),
    help="JSON file: {subject: records emitted} to compare with.",
)
@backend_options
def command(
    archive: str | None,
    options: tuple[str, ...],
    as_json: bool,
    host: str,
    life: str,
    since: int,
    silence: float,
    destination: str,
    beside: tuple[str, ...],
    truth: str | None,
    backend: Mapping[str, Any],
) -> None:
    """Compare what hosts said with what ARCHIVE really holds, or with what a backend counts.

    ARCHIVE is a directory or s3://, gs://, az://. In its place --loki, --elasticsearch, --splunk or --datadog: what hosts
    say that it acknowledged is compared with its own count of records, life by life; that says accepted, not proved by
    range. Exit code 0: nothing is missing; 1: something is missing or damaged, or the host or life asked for was never
    heard of; 2: the archive cannot be read, the backend cannot be asked.
    """
    from shipper.fleet.audit import Which

    kind = chosen(backend)
    if bool(kind) is bool(archive):
        raise click.UsageError(
            f"ARCHIVE and --{kind} exclude each other" if kind else "name an ARCHIVE, or a backend such as --loki URL"
        )
    if not archive:
        if options or beside or truth:
            raise click.UsageError(f"--option, --with and --truth are for an archive, not for --{kind}")
        which = Which(host, life, since)
        compare(kind, backend, which, destination=destination, silence=silence, as_json=as_json)
        return

    from shipper.fleet.archive import Archive
    from shipper.fleet.audit import audit
    from shipper.fleet.table import show

    emitted = _truth(truth) if truth else None
    with readable_archive():
        report = audit(
            Archive.open(archive, pairs(options)),
            truth=emitted,
            silence=silence,
            which=Which(host, life, since),
            destination=destination,
            beside=[Archive.open(other, pairs(options)) for other in beside],
        )
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        show(report)
    if (host or life) and not report.lives:
        raise click.ClickException(f"no life of {host or life} was ever heard of here")
    if not report.ok:
        sys.exit(1)


def _truth(path: str) -> dict[str, int]:
    try:
        with open(path, encoding="utf-8") as file:
            truth = json.load(file)
    except (OSError, ValueError) as error:
        raise Unusable(f"{path}: {error}") from error
    if not isinstance(truth, dict) or not all(isinstance(count, int) for count in truth.values()):
        raise Unusable(f"{path}: must be a JSON object of subject: count")
    return truth
