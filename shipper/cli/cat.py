"""``shipper cat``: the records of an archive, each once, or of a file of OTLP JSON lines; as lines or as OTLP JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from shipper.cli.archives import archive_argument, pairs, readable_archive, record_filters

if TYPE_CHECKING:
    from shipper.contracts import Signal
    from shipper.fleet.archive import Damage
    from shipper.fleet.records import Selection


@click.command()
@archive_argument
@record_filters
@click.option("--signal", type=click.Choice(["logs", "traces", "metrics"]), default=None, help="Only this signal.")
@click.option("--json", "as_json", is_flag=True, help="OTLP JSON, one request a line.")
def command(archive: str, options: tuple[str, ...], as_json: bool, **filters: Any) -> None:
    """Print the records in ARCHIVE, each once, every stream in its own order.

    ARCHIVE may also be a file of OTLP JSON lines, gzipped or not; of such a file every line is printed.
    Exit code 0, or 1 when something that is listed cannot be read, or 2 when the archive cannot.
    """
    from shipper.fleet.archive import damage_lines
    from shipper.fleet.lines import line
    from shipper.fleet.records import select, selection
    from shipper.otlp import decode

    wanted = selection(**filters)
    damage: list[Damage] = []
    with readable_archive():
        read = _of_file if os.path.isfile(archive) else _of_archive
        for signal, payload, life in read(archive, options, wanted, damage.append):
            payload = select(signal, payload, wanted, life)
            if as_json and payload:
                click.echo(decode.to_json(signal, payload))
            elif payload:
                click.echo("\n".join(line(record) for record in decode.records(signal, payload)))
    for said in damage_lines(damage):
        click.echo(said, err=True)
    if damage:
        sys.exit(1)


def _of_archive(
    archive: str, options: tuple[str, ...], wanted: Selection, damaged: Callable[[Damage], None]
) -> Iterator[tuple[Signal, bytes, str]]:
    from shipper.contracts import StreamKind
    from shipper.fleet.archive import Archive
    from shipper.fleet.records import loose, pieces

    source = Archive.open(archive, pairs(options))
    index = source.index()
    for damage in index.damage:
        damaged(damage)
    for piece in pieces(source, index, wanted, kinds=[StreamKind.DATA], damaged=damaged):
        yield piece.signal, piece.payload, piece.entry.life
    for content in loose(source, index, wanted, damaged):
        yield content.name.signal, content.payload, ""


def _of_file(
    path: str, _: tuple[str, ...], wanted: Selection, damaged: Callable[[Damage], None]
) -> Iterator[tuple[Signal, bytes, str]]:
    from shipper.fleet.otlp_lines import requests_in

    for signal, payload in requests_in(path, damaged):
        if wanted.may_hold(signal, None):
            yield signal, payload, ""
