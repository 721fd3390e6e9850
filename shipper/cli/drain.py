"""``shipper drain``: tell the sidecar on this host to send everything and exit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from shipper.admin import ask
from shipper.cli.options import admin_socket, socket_option, state_dir_option
from shipper.config.units import parse_seconds


@click.command()
@click.option("--deadline", default="", help="Time it may take, for example 20s; default: the configured one.")
@click.option("--ends-life/--ends-run", default=None, help="Whether the host goes too; default: found out.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it has ended.")
@click.option("--dry-run", is_flag=True, help="Only show what a drain would do now, with estimates.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: the plan as data.")
@state_dir_option
@socket_option
def command(
    deadline: str, ends_life: bool | None, wait: bool, dry_run: bool, as_json: bool, state_dir: str, socket: str
) -> None:
    """Tell the running sidecar to send what is left, write its farewell and exit.

    Exit status: 0 drained, 3 the deadline came first. With --dry-run nothing is changed; 3 then means that something would be
    left. Examples: shipper drain --deadline 20s; shipper drain --dry-run --deadline 20s
    """
    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run")
    wanted: dict[str, Any] = {"reason": "shipper drain", "wait": wait}
    seconds = None
    if deadline:
        try:
            seconds = wanted["deadline"] = parse_seconds(deadline)
        except ValueError as problem:
            raise click.BadParameter(str(problem), param_hint="--deadline") from problem
    if ends_life is not None:
        wanted["ends_life"] = ends_life
    if dry_run:
        wanted["dry_run"] = True
        wait = False  # the answer comes at once
    # the sidecar answers within its deadline; without one of ours, its own configured one is the bound
    patience = (seconds + 10 if seconds is not None else 24 * 3600.0) if wait else 10.0
    answer = asyncio.run(ask(admin_socket(state_dir, socket), "POST", "/drain", wanted, timeout=patience))
    click.echo(json.dumps(answer["plan"], indent=2) if as_json else answer["message"])
    raise SystemExit(int(answer.get("exit_code", 0)))
