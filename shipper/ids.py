"""Identifiers that sort by the time they were made (UUID version 7, RFC 9562 section 5.7)."""

from __future__ import annotations

import os
import uuid


def uuid7(wall_ns: int) -> str:
    """A UUIDv7 for the given wall time (nanoseconds since the epoch), as its 36-character text."""
    millis = (wall_ns // 1_000_000) & ((1 << 48) - 1)
    value = (millis << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(uuid.UUID(int=value))
