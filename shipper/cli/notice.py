"""``shipper notice``: tell the sidecar that this host will end, and return at once.

Made for a Kubernetes ``preStop`` hook: the time a hook takes is taken from the container's grace period, a hook is never
repeated, and its output is seen by nobody. So it uses nothing that is slow to load, and a sidecar that is only just starting,
or too busy to answer, finds the notice in its state directory.
"""

from __future__ import annotations

import http.client
import json
import os
import socket as sockets
from typing import Any

import click

from shipper.cli.options import running, socket_option, state_dir_option
from shipper.clock import SystemClock
from shipper.config.units import parse_seconds
from shipper.errors import StateError
from shipper.notices.left_note import leave_note

PATIENCE = 1.0  # seconds for a sidecar on the same host to answer


@click.command()
@click.option(
    "--deadline", default="", help="Time that is left, for example 25s; default: what the platform usually gives."
)
@click.option(
    "--kind",
    type=click.Choice(["imminent", "scheduled", "advisory"]),
    default="imminent",
    show_default=True,
    help="Drain now; drain when its time is near; only flush harder.",
)
@click.option("--evidence", default="", help="Why, for the log and the audit.")
@click.option("--source", default="", help="Who says so; only the same one can take it back.")
@click.option("--withdraw", is_flag=True, help="Take the notice of this source back.")
@state_dir_option
@socket_option
def command(deadline: str, kind: str, evidence: str, source: str, withdraw: bool, state_dir: str, socket: str) -> None:
    """Tell the running sidecar that this host will end. Returns at once; the sidecar drains and reads on.

    \b
    In a pod:  lifecycle: {preStop: {exec: {command: [shipper, notice]}}}

    Exit status: 0 the sidecar knows (or will find the note it was left), 1 it could not be told.
    """
    wanted: dict[str, Any] = {"kind": kind, "withdraw": withdraw}
    wanted |= {name: value for name, value in (("evidence", evidence), ("source", source)) if value}
    if deadline:
        try:
            wanted["deadline"] = parse_seconds(deadline)
        except ValueError as problem:
            raise click.BadParameter(str(problem), param_hint="--deadline") from problem
    directory, path = running(state_dir, socket)
    try:
        click.echo(_post(path, wanted))
    except (OSError, http.client.HTTPException) as problem:
        if withdraw:
            raise StateError(f"no sidecar answers on {path} ({problem}); there is no notice to take back") from problem
        leave_note(directory, wanted, SystemClock())
        click.echo(f"no sidecar answers on {path} ({problem}); it finds the notice in {directory} when it looks there")


def _post(path: str, wanted: dict[str, Any]) -> str:
    connection = _UnixConnection(path)
    try:
        connection.request("POST", "/notice", json.dumps(wanted), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = json.loads(answer.read(65_536) or "{}")
    except ValueError as problem:
        raise StateError(f"the answer on {path} makes no sense: {problem}") from problem
    finally:
        connection.close()
    if answer.status != 200:
        raise StateError(f"the sidecar on {path} refuses: {content.get('error', answer.status)}")
    return str(content["message"])


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the path may be longer than the 107 bytes of the kernel."""

    def __init__(self, path: str) -> None:
        super().__init__("shipper", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        directory = os.open(os.path.dirname(self._path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(self._path)}")
        finally:
            os.close(directory)
