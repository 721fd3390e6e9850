"""``shipper redact``: what would be masked in these lines? Ships nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

import click

from shipper.cli.destinations import located
from shipper.cli.options import config_option
from shipper.config import Loaded, convert, load
from shipper.config.schema_shape import Redact
from shipper.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from shipper.shape.redact import Redaction

KINDS = ("tokens", "keys", "passwords", "cards", "email", "iban", "ssn")


@click.command()
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")
@click.option("--mask", "kinds", type=click.Choice(KINDS), multiple=True, help="A kind of secret, instead of redact:.")
@click.option("--all", "every", is_flag=True, help="Print the lines too in which nothing is masked.")
@config_option
def command(file: BinaryIO, kinds: tuple[str, ...], every: bool, config_file: str | None) -> None:
    """Print the lines of FILE (default: standard input) in which secrets would be masked, and how many there were.

    The same patterns as in what is shipped, on each line by itself. Without --mask, what redact: in the configuration says.
    """
    from shipper.build_redact import make_redaction

    loaded = load(config_file, env=os.environ, complete=False)
    wanted = [convert(kind, Redact) for kind in kinds] or loaded.config.redact
    if not wanted:
        raise click.UsageError("nothing is to be masked: give --mask, or redact: in the configuration")
    try:
        redaction = make_redaction(wanted)
    except ConfigError as error:
        raise located(error, loaded) from error
    counts, lines = _print(redaction, file, every=every)
    found = ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "nothing"
    click.echo(f"masked {found} in {lines} line{'' if lines == 1 else 's'}", err=True)


def problems(loaded: Loaded) -> list[ConfigError]:
    """Patterns that cannot work, by where they were set, or what is not installed: they would stop `shipper run`."""
    from shipper.build_redact import make_redaction

    try:
        if loaded.config.redact:
            make_redaction(loaded.config.redact)
    except MissingExtra as error:
        return [located(ConfigError("redact", str(error)), loaded)]
    except ConfigError as error:
        return [located(error, loaded)]
    return []


def _print(redaction: Redaction, lines: Iterable[bytes], *, every: bool) -> tuple[Counter[str], int]:
    """How many secrets there were, by pattern, and in how many lines."""
    counts: Counter[str] = Counter()
    hit = 0
    for line in lines:
        made = redaction.text(line.rstrip(b"\r\n"))
        counts.update(made.counts)
        hit += bool(made.counts)
        if made.counts or every:
            click.echo(made.data)
    return counts, hit
