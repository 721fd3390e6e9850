"""What makes a file the same file: device and inode, and because inodes are reused, what it begins with.

A stream's id carries all of it, so that a destination's memory of the id is enough to recognise the file again when the
ledger is lost. Bytes before a position (its *guard*) tell whether the content up to there is still what was read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol
from zlib import crc32

NAME_BYTES = 256  # at most so much of a file goes into its stream's id
HEAD_BYTES = 1024  # at most so much is compared to recognise a file
GUARD_BYTES = 64
SAMPLE_BYTES = 4096
WHOLE_BYTES = 1 << 16  # files up to this size are compared in full

Key = tuple[int, int]  # device, inode
Read = Callable[[int, int], bytes]  # (size, position) -> bytes, as os.pread

_ID = re.compile(r"file-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]{12})(?:-(\d+))?\Z")
_PACKED = (".gz", ".gzip")
_ROTATION = re.compile(r"[-._](?:\d[\d\-_:.T]*|old|bak|copy|prev|save)(?=\.|\Z)")


def digest(data: bytes) -> str:
    """A short fingerprint of ``data``: 12 hex digits of BLAKE2b."""
    return blake2b(data, digest_size=6).hexdigest()


def guard_of(data: bytes) -> int:
    """The guard of a position, given the bytes before it (only the last 64 count)."""
    return crc32(data[-GUARD_BYTES:])


@dataclass(frozen=True, slots=True)
class Head:
    """What a file begins with: how many bytes were looked at, and their fingerprint."""

    length: int
    digest: str

    @classmethod
    def of(cls, data: bytes) -> Head:
        """The head of a file whose first bytes are ``data`` (at most 1024 of them count)."""
        return cls(min(len(data), HEAD_BYTES), digest(data[:HEAD_BYTES]))

    def matches(self, data: bytes) -> bool:
        """Whether a file that begins with ``data`` has this head."""
        return len(data) >= self.length and digest(data[: self.length]) == self.digest


def stream_id(key: Key, head: bytes, taken: Container[str]) -> str:
    """The id for a new stream of a file that begins with ``head``; numbered when an earlier incarnation has it."""
    head = head[:NAME_BYTES]
    name = f"file-{key[0]:x}-{key[1]:x}-{len(head):x}-{digest(head)}"
    number, result = 1, name
    while result in taken:
        number += 1
        result = f"{name}-{number}"
    return result


def remembered_id(key: Key, head: bytes, ids: Container[str], names: list[str]) -> str | None:
    """The one of ``names`` (ids of this device and inode, not in ``ids``) that describes a file beginning with ``head``."""
    for name in names:
        parsed = parse_id(name)
        if parsed is not None and parsed[0] == key and parsed[1].matches(head) and name not in ids:
            return name
    return None


def parse_id(name: str) -> tuple[Key, Head] | None:
    """Device and inode, and head, that a stream id speaks of; None when it is not the id of a file."""
    found = _ID.match(name)
    if found is None:
        return None
    device, inode, length, fingerprint, _ = found.groups()
    return (int(device, 16), int(inode, 16)), Head(int(length, 16), fingerprint)


def rotation_bases(path: str) -> list[str]:
    """What files ``path`` may be a rotated form of: ``app.log.1``, ``app-20261123.log`` -> ``app.log``.

    Of a compressed one, also what it was before: ``app.log.1.gz`` -> ``app.log.1``, ``app.log``.
    """
    directory, name = os.path.split(path)
    unpacked = next((name.removesuffix(suffix) for suffix in _PACKED if name.endswith(suffix)), name)
    bases = [unpacked] if unpacked != name else []
    bases += [unpacked[: part.start()] + unpacked[part.end() :] for part in _ROTATION.finditer(unpacked)]
    return [os.path.join(directory, base) for base in bases if base and base != name]


def is_rotated_name(path: str, base: str) -> bool:
    """Whether ``path`` is what a rotation makes of ``base``."""
    return base in rotation_bases(path)


def is_related(path: str, name: str) -> bool:
    """Whether the one is what a rotation makes of the other, or both are of the same log, in whatever directories."""
    one, other = os.path.basename(path), os.path.basename(name)
    return not {one, *rotation_bases(one)}.isdisjoint({other, *rotation_bases(other)})


class Readable(Protocol):
    """Something of which bytes at a position can be read."""

    def read(self, size: int, position: int) -> bytes:
        """Up to ``size`` bytes at ``position``; fewer only at the end."""


def same_content(one: Readable, other: Readable, size: int) -> bool:
    """Whether the first ``size`` bytes of both are the same: all of them if few, else those at several places."""
    if size <= WHOLE_BYTES:
        return one.read(size, 0) == other.read(size, 0)
    last = size - SAMPLE_BYTES
    return all(
        one.read(SAMPLE_BYTES, at) == other.read(SAMPLE_BYTES, at)
        for at in (0, last, last // 2, last // 4, 3 * last // 4)
    )
