"""``shipper exporters``: what can be sent to with what is installed here, from where it comes, and how it is set up."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint

import click
import msgspec

from shipper.config.jsonschema import settings_schema
from shipper.config.reference import option_rows
from shipper.contracts import Exporter, Signal
from shipper.errors import ShipperError
from shipper.pump.load import exporter_class, load_exporters


@dataclass(frozen=True, slots=True)
class Installed:
    """One exporter as it is found: ``distribution`` is the package that brings it, ``problem`` why it cannot be used."""

    type: str
    distribution: str
    entry: str
    summary: str
    signals: tuple[str, ...]
    problem: str = ""


@click.command()
@click.argument("kind", required=False, metavar="[TYPE]")
@click.option("--json", "as_json", is_flag=True, help="JSON; with TYPE the JSON schema of its settings.")
def command(kind: str | None, as_json: bool) -> None:
    """List the exporters that are installed and where each comes from, or show the settings of one.

    Example: shipper exporters loki
    """
    if kind is not None:
        click.echo(_settings(kind, as_json))
        return
    found = [_installed(entry) for entry in load_exporters().values()]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    width = max((len(one.type) for one in found), default=0)
    for one in found:
        click.echo(f"{one.type:<{width}}  {one.problem or one.summary}")
        click.echo(f"{'':<{width}}  {', '.join(one.signals) or 'unknown'}; from {one.distribution} ({one.entry})")


def _installed(entry: EntryPoint) -> Installed:
    source = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unnamed distribution"
    try:
        kind = exporter_class(entry.name)
    except ShipperError as error:
        return Installed(entry.name, source, entry.value, "", (), str(error))
    return Installed(entry.name, source, entry.value, _summary(kind), _signals(kind))


def _summary(kind: type[Exporter]) -> str:
    """The first sentence that its author wrote about it: of the class, or where that only points on, of its module."""
    own = (kind.__doc__ or "").strip().splitlines()
    module = (sys.modules[kind.__module__].__doc__ or "").strip().splitlines()
    first = next((lines[0] for lines in (module, own) if lines), "says nothing about itself")
    return first.rstrip(".")


def _signals(kind: type[Exporter]) -> tuple[str, ...]:
    return tuple(signal.value for signal in Signal if signal in kind.signals)


def _settings(kind: str, as_json: bool) -> str:
    settings: type[msgspec.Struct] = exporter_class(kind).Settings
    if as_json:
        return json.dumps(settings_schema(settings), indent=2)
    rows = option_rows(settings)
    width = max(len(name) for name, _, _ in rows)
    lines = [f"destinations:\n  NAME:\n    type: {kind}"]
    lines += [f"    # {name:<{width}}  {_line(default, meaning)}" for name, default, meaning in rows]
    return "\n".join(lines)


def _line(default: str, meaning: str) -> str:
    if default == "required":
        return f"{meaning} Required."
    return f"{meaning} Default: {default}." if default else meaning
