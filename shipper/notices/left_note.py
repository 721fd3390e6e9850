"""A notice left for a sidecar that is only just starting: a pod can be deleted before its sidecar has opened its socket.

The note counts only within the boot it was left in and for a short while: an image, or a volume that is mounted again, must
not begin life with a notice of its past.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from shipper.clock import Clock
from shipper.errors import StateError
from shipper.labels.finding import Surroundings
from shipper.labels.machine import boot_id
from shipper.labels.state import prepare_state_dir, read_private, write_atomically

NOTE_FILE = "notice.json"
FRESH_SECONDS = 120.0
MAX_BYTES = 16 << 10


def leave_note(state_dir: str, wanted: Mapping[str, Any], clock: Clock, root: str = "/") -> None:
    """Leave a request of ``shipper notice`` for the next start. Raises `StateError`."""
    prepare_state_dir(state_dir)
    note = {"wanted": dict(wanted), "at_ns": clock.wall_ns(), "boot": boot_id(Surroundings(root, {}))}
    try:
        write_atomically(os.path.join(state_dir, NOTE_FILE), json.dumps(note).encode())
    except OSError as problem:
        raise StateError(f"no note can be left in {state_dir} ({problem.strerror or problem})") from problem


def take_note(state_dir: str, clock: Clock, root: str = "/") -> dict[str, Any] | None:
    """The request that was left, with the time it has lain there taken off its deadline; removed with that.

    None when there is none that counts.
    """
    path = os.path.join(state_dir, NOTE_FILE)
    try:
        content = json.loads(read_private(path, MAX_BYTES))
        wanted, age = dict(content["wanted"]), (clock.wall_ns() - int(content["at_ns"])) / 1e9
        fresh = content["boot"] == boot_id(Surroundings(root, {})) and -1.0 <= age <= FRESH_SECONDS
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        fresh, wanted, age = False, {}, 0.0
    with contextlib.suppress(OSError):
        os.unlink(path)
    if not fresh:
        return None
    if isinstance(wanted.get("deadline"), int | float):
        wanted["deadline"] = max(0.1, wanted["deadline"] - age)
    return wanted
