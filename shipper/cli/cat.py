"""``shipper cat``: the records of an archive, each once, as lines or as OTLP JSON."""

from __future__ import annotations

import sys
from typing import Any

import click

from shipper.cli.archives import archive_argument, pairs, readable_archive, record_filters


@click.command()
@archive_argument
@record_filters
@click.option("--signal", type=click.Choice(["logs", "traces", "metrics"]), default=None, help="Only this signal.")
@click.option("--json", "as_json", is_flag=True, help="OTLP JSON, one request a line.")
def command(archive: str, options: tuple[str, ...], as_json: bool, **filters: Any) -> None:
    """Print the records in ARCHIVE, each once, every stream in its own order.

    Exit code 0, or 1 when something that is listed cannot be read, or 2 when the archive cannot.
    """
    from shipper.contracts import StreamKind
    from shipper.fleet.archive import Archive, Damage, damage_lines
    from shipper.fleet.lines import line
    from shipper.fleet.records import loose, pieces, select, selection
    from shipper.otlp import decode

    wanted = selection(**filters)
    damage: list[Damage] = []
    with readable_archive():
        source = Archive.open(archive, pairs(options))
        index = source.index()
        damage.extend(index.damage)
        parts = [
            (
                (piece.signal, piece.payload, piece.entry.life)
                for piece in pieces(source, index, wanted, kinds=[StreamKind.DATA], damaged=damage.append)
            ),
            ((content.name.signal, content.payload, "") for content in loose(source, index, wanted, damage.append)),
        ]
        for part in parts:
            for signal, payload, life in part:
                payload = select(signal, payload, wanted, life)
                if as_json and payload:
                    click.echo(decode.to_json(signal, payload))
                elif payload:
                    click.echo("\n".join(line(record) for record in decode.records(signal, payload)))
    for said in damage_lines(damage):
        click.echo(said, err=True)
    if damage:
        sys.exit(1)
