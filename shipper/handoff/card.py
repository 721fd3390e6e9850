"""The sidecar's card, ``host.json`` in the root: who the host is and how much a service may put aside.

A service reads it although others may write into the root: it counts only when it belongs to whom the root belongs to.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shipper.handoff.places import CARD, open_root

MAX_CARD = 64 << 10
VERSION = 1


@dataclass(frozen=True, slots=True)
class Card:
    """What the sidecar says. ``process_bytes``: what one process may put aside (0: the default). ``full``: nobody may."""

    life: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    process_bytes: int = 0
    full: bool = False


def read_card(root: str) -> Card | None:
    """The card; None when there is none that can be trusted and understood."""
    try:
        directory = open_root(root)
    except OSError:
        return None
    try:
        return _read(directory)
    except OSError:
        return None
    finally:
        os.close(directory)


def _read(directory: int) -> Card | None:
    descriptor = os.open(CARD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.fstat(directory).st_uid or found.st_size > MAX_CARD:
            return None
        return parse_card(os.read(descriptor, MAX_CARD + 1))
    finally:
        os.close(descriptor)


def parse_card(content: bytes) -> Card | None:
    """The card in ``content``; None for anything else. What is not of its type counts as not said."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or said.get("version") != VERSION:
        return None
    labels, attributes, limit = said.get("labels"), said.get("attributes"), said.get("process_bytes")
    return Card(
        life=life if isinstance(life := said.get("life"), str) else "",
        labels={k: v for k, v in labels.items() if isinstance(v, str)} if isinstance(labels, dict) else {},
        attributes=attributes if isinstance(attributes, dict) else {},
        process_bytes=limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else 0,
        full=said.get("full") is True,
    )


def write_card(root: str, card: Card) -> None:
    """Replace the card, so that a reader sees the old one or the new one. Raises OSError."""
    content = json.dumps(
        {
            "version": VERSION,
            "life": card.life,
            "labels": dict(card.labels),
            "attributes": dict(card.attributes),
            "process_bytes": card.process_bytes,
            "full": card.full,
        },
        ensure_ascii=False,
    ).encode("utf-8", "replace")
    directory = open_root(root)
    try:
        _replace(directory, content)
    finally:
        os.close(directory)


def _replace(directory: int, content: bytes) -> None:
    name = f".{CARD}-{os.urandom(8).hex()}"
    descriptor = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
    )
    try:
        try:
            os.write(descriptor, content)
            os.fchmod(descriptor, 0o644)
        finally:
            os.close(descriptor)
        os.rename(name, CARD, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(name, dir_fd=directory)
        raise
