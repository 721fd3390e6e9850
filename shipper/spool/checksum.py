"""The CRC32 of payloads: every byte that is spooled is run through it when written and again when read.

The sidecar's gzip library computes the same checksum ten times as fast as the standard library. It is loaded when the first
payload is checked, not before: a service that only imports this room shall not load it, and where it is not installed the
standard library does.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module


def crc32(data: bytes | memoryview, start: int = 0) -> int:
    """The CRC32 of ``data``, going on from ``start``, as `zlib.crc32` gives it."""
    return _fastest()(data, start)


@cache
def _fastest() -> Callable[[bytes | memoryview, int], int]:
    try:
        found: Callable[[bytes | memoryview, int], int] = import_module("isal.isal_zlib").crc32
    except ImportError:
        return zlib.crc32
    return found
