"""Directories of processes of another boot: not this life's to ship, and not ours to delete. They are set aside and said."""

from __future__ import annotations

import os

from shipper.labels.aside import move
from shipper.labels.life import SPOOL
from shipper.sources.services.process import Process


def is_foreign(process: Process, boot: str) -> bool:
    """Whether a dead process ran in another boot than this one. Where nobody says, it is taken for ours."""
    hello = process.hello
    return bool(boot and not process.alive and hello is not None and hello.boot and hello.boot != boot)


def set_aside(process: Process, aside: str) -> str:
    """Move the directory of a process of another boot to ``aside``; where it is now. Raises OSError."""
    hello = process.hello
    boot = hello.boot if hello is not None else ""
    label = "".join(letter for letter in boot if letter.isalnum() or letter == "-")[:64] or "unknown"
    return move(process.place.path, os.path.join(aside, f"boot-{label}", SPOOL))
