"""Positions in a journal: the sequence number of an entry times 1024, and the part of a long entry.

Everything that counts bytes by positions (backlog, what is unread, how a drain is planned) so takes an entry for a KiB, which
is about what it is with its fields; and a message of many MiB can be shipped in parts that are acknowledged one by one.
"""

from __future__ import annotations

ENTRY = 1024
"""Positions of an entry, and so the most parts that one may have."""


def entry_of(position: int) -> int:
    """The entry that a position lies in."""
    return position // ENTRY


def part_of(position: int) -> int:
    """The part of its entry at which a position is."""
    return position % ENTRY


def start_of(seq: int, part: int = 0) -> int:
    """The position of an entry, or of a part of it."""
    return seq * ENTRY + part
