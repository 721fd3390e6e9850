"""``shipper quarantine``: what destinations refused for good: list it, look at it, send it again."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from shipper.cli.options import config_option, state_dir_option
from shipper.config import Loaded, load
from shipper.fleet.lines import line, printable
from shipper.pump.quarantine import DIRECTORY, Entry, Quarantine


@click.group()
def command() -> None:
    """What destinations refused for good, kept on disk with the reason."""


@command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each entry.")
@config_option
@state_dir_option
def list_(as_json: bool, config_file: str | None, state_dir: str) -> None:
    """List what is in quarantine, oldest first. Exit status: 1 when an entry is damaged."""
    quarantine = _quarantine(_settings(config_file, state_dir))
    entries = quarantine.list()
    if as_json:
        for entry in entries:
            click.echo(json.dumps(_facts(entry)))
    elif not entries:
        click.echo("Nothing is in quarantine.")
    else:
        click.echo(f"{'ID':16}  {'SET ASIDE (UTC)':19}  {'DESTINATION':12}  {'RECORDS':>7}  {'BYTES':>9}  WHAT AND WHY")
        for entry in entries:
            click.echo(
                f"{entry.id:16}  {_time(entry)}  {entry.destination:12}  {entry.batch.cut.records:>7}  {entry.size:>9}  "
                f"{printable(entry.name or entry.batch.stream)} {entry.status}: {printable(entry.reason)}"
            )
    _say_damage(quarantine)


@command.command("show")
@click.argument("id_", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="The records as one line of OTLP JSON, nothing else.")
@config_option
@state_dir_option
def show(id_: str, as_json: bool, config_file: str | None, state_dir: str) -> None:
    """Print why the entry ID was refused, and its records."""
    from shipper.otlp import decode

    entry = _quarantine(_settings(config_file, state_dir)).read(id_)
    if as_json:
        click.echo(decode.to_json(entry.batch.signal, entry.batch.payload))
        return
    for name, value in _facts(entry).items():
        click.echo(f"{name:12} {printable(str(value))}")
    click.echo()
    for record in decode.records(entry.batch.signal, entry.batch.payload):
        click.echo(line(record))


@command.command("retry")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Everything that is in quarantine.")
@click.option("--endpoint", metavar="URL", default="", help="OTLP/HTTP endpoint, as for `shipper run`.")
@config_option
@state_dir_option
def retry(ids: tuple[str, ...], everything: bool, endpoint: str, config_file: str | None, state_dir: str) -> None:
    """Send entries again to the destination that refused them; what it takes now leaves the quarantine.

    A running sidecar is neither needed nor disturbed. Exit status: 0 when all of them were taken, else 1.
    """
    if bool(ids) == everything:
        raise click.UsageError("give the IDs to send again, or --all")
    loaded = _settings(config_file, state_dir, endpoint)
    quarantine = _quarantine(loaded)
    chosen = quarantine.list() if everything else [quarantine.read(id_) for id_ in dict.fromkeys(ids)]
    if not chosen:
        click.echo("Nothing is in quarantine.")
    kept = asyncio.run(_send(loaded, quarantine, chosen))
    if everything:
        _say_damage(quarantine)
    if kept:
        raise SystemExit(1)


async def _send(loaded: Loaded, quarantine: Quarantine, chosen: Sequence[Entry]) -> int:
    """Send what was chosen, saying what happens; how many entries stay. One exporter for each destination and life."""
    from shipper import __version__
    from shipper.clock import SystemClock
    from shipper.contracts import ExporterContext
    from shipper.pump.load import make_exporter
    from shipper.pump.redelivery import redeliver

    clock = SystemClock()
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in chosen:
        groups.setdefault((entry.destination, entry.batch.life), []).append(entry.id)
    kept = 0
    for (name, life), ids in groups.items():
        wanted = loaded.config.destinations.get(name)
        if wanted is None:
            known = ", ".join(loaded.config.destinations) or "none"
            click.echo(f"kept {len(ids)}: no destination {name!r} is configured (there is: {known})", err=True)
            kept += len(ids)
            continue
        context = ExporterContext(clock, life, run=0, user_agent=f"Shipper/{__version__}")
        exporter = make_exporter(wanted.type, name, wanted.options, context, where=f"destinations.{name}")
        async with aclosing(redeliver(quarantine, ids, exporter, clock)) as outcomes:
            async for outcome in outcomes:
                what = f"{outcome.id} ({outcome.records} records) to {name}"
                if outcome.problem:
                    kept += 1
                    click.echo(f"kept {what}: {printable(outcome.problem)}", err=True)
                else:
                    click.echo(f"sent {what}")
    return kept


def _settings(config_file: str | None, state_dir: str, endpoint: str = "") -> Loaded:
    """The configuration, which need not be complete: looking at the quarantine takes no destination."""
    overrides: dict[str, Any] = {}
    if state_dir:
        overrides["state_dir"] = state_dir
    if endpoint:
        overrides["endpoint"] = endpoint
    return load(config_file, env=os.environ, overrides=overrides, role="sidecar", complete=False)


def _quarantine(loaded: Loaded) -> Quarantine:
    return Quarantine(Path(loaded.config.state_dir) / DIRECTORY)


def _say_damage(quarantine: Quarantine) -> None:
    damaged = quarantine.damaged()
    for problem in damaged:
        click.echo(str(problem), err=True)
    if damaged:
        raise SystemExit(1)


def _facts(entry: Entry) -> dict[str, Any]:
    """What is known of an entry, in the order worth reading."""
    return {
        "id": entry.id,
        "set_aside": f"{_time(entry)}Z",
        "destination": entry.destination,
        "status": entry.status,
        "reason": entry.reason,
        "stream": entry.name or entry.batch.stream,
        "batch": entry.batch.key,
        "signal": entry.batch.signal.value,
        "records": entry.batch.cut.records,
        "bytes": entry.size,
    }


def _time(entry: Entry) -> str:
    return f"{datetime.fromtimestamp(entry.at_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%S}"
