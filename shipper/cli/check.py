"""``shipper check``: is this configuration file right? Opens it and the files that its options name, and nothing else."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from shipper.cli import destinations, ending, inputs, redact
from shipper.config import ConfigErrors, Loaded, Role, load
from shipper.errors import ConfigError


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--role", type=click.Choice(["sidecar", "gateway"]), default="sidecar", help="What it is to configure.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
def command(file: str | None, role: Role, as_json: bool) -> None:
    """Validate a configuration FILE (default: the one `shipper run` would read) without side effects.

    The environment counts as it does for `shipper run`. Secrets and certificates that options name are looked at: one that is
    not there yet is a warning, one that cannot be right is wrong. Exit status: 0 right, 1 wrong.
    """
    loaded, errors = examine(file, role)
    warnings = list(loaded.warnings) if loaded else []
    if loaded:
        findings = inputs.findings(loaded, role)
        warnings += [str(one.error) for one in findings if one.later]
        errors += [one.error for one in findings if not one.later]
    if loaded and not errors:
        warnings += [
            *destinations.untaken(loaded, role),
            *destinations.idle_routes(loaded),
            *destinations.narrow_fallback(loaded),
        ]
    name = file or (loaded.path if loaded else "") or "configuration"
    if as_json:
        found = [{"path": error.path, "problem": error.problem} for error in errors]
        click.echo(json.dumps({"file": name, "ok": not errors, "errors": found, "warnings": warnings}))
    else:
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        for error in errors:
            click.echo(str(error), err=True)
        click.echo(
            _summary(name, loaded) if not errors else f"{name}: {_count(len(errors), 'problem')}", err=bool(errors)
        )
    if errors:
        raise SystemExit(1)


def examine(file: str | None, role: Role) -> tuple[Loaded | None, list[ConfigError]]:
    """The configuration, or None where it cannot even be read, and everything that is wrong with it."""
    try:
        loaded = load(file, env=os.environ, role=role)
    except ConfigErrors as errors:
        return None, list(errors.all)
    except ConfigError as error:
        return None, [error]
    return loaded, faults(loaded, role)


def faults(loaded: Loaded, role: Role) -> list[ConfigError]:
    """Everything that would stop `shipper run` with settings that are each well-formed, by where it was set."""
    return [*destinations.problems(loaded, role), *ending.problems(loaded), *redact.problems(loaded)]


def _summary(name: str, loaded: Loaded | None) -> str:
    config: Any = loaded.config if loaded else None
    counted = f"{_count(len(config.files), 'group')} of files, {_count(len(config.destinations), 'destination')}"
    return f"{name}: ok ({counted})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
