"""``shipper config``: what is in force and where it came from; the schema of the file, and a page of all settings."""

from __future__ import annotations

import json
import os

import click

from shipper.cli.destinations import defaults, settings_types
from shipper.cli.options import config_option
from shipper.config import Role, load
from shipper.config.jsonschema import json_schema
from shipper.config.reference import reference as write_reference
from shipper.config.show import effective, render


@click.group()
def command() -> None:
    """Show the settings in force, the schema of the configuration file, or a page that lists all settings."""


@command.command()
@config_option
@click.option("--role", type=click.Choice(["sidecar", "gateway"]), default="sidecar", help="Whose settings.")
@click.option("--json", "as_json", is_flag=True, help="JSON, without the origins.")
def show(config_file: str | None, role: Role, as_json: bool) -> None:
    """Print every setting in force as YAML, with the origin of what is not a default; secrets are masked."""
    loaded = load(config_file, env=os.environ, role=role, complete=False)
    filled = defaults(loaded)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(json.dumps(effective(loaded, filled), indent=2) if as_json else render(loaded, filled), nl=as_json)


@command.command()
def schema() -> None:
    """Print the JSON schema of the configuration file, exporters' settings included."""
    click.echo(json.dumps(json_schema(settings_types()), indent=2))


@command.command()
def reference() -> None:
    """Print a page that lists every setting with its variable, default and meaning (Markdown)."""
    click.echo(write_reference(settings_types()), nl=False)
