"""What lies where in a journal file (systemd.io/JOURNAL_FILE_FORMAT), as far as a reader needs it. All of it is little-endian.

A file is one header and then objects, each at a multiple of eight bytes. An entry is a time and a list of data objects, one for
each of its fields; equal fields of a file are stored once. Entries are found through a chain of arrays, in the order in which
they were written.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SIGNATURE = b"LPKSHHRH"
HEADER_BYTES = 240  # what every version has
LARGEST_OBJECT = 1 << 30  # journald takes no field of more than 768 MiB

COMPRESSED_XZ, COMPRESSED_LZ4, KEYED_HASH, COMPRESSED_ZSTD, COMPACT = 1, 2, 4, 8, 16
UNDERSTOOD = COMPRESSED_XZ | COMPRESSED_LZ4 | KEYED_HASH | COMPRESSED_ZSTD | COMPACT
"""Incompatible flags of a header: a file with any other must not be read."""

OFFLINE, ONLINE, ARCHIVED = 0, 1, 2
"""States of a file. One that is online is being written, or its writer was killed."""

DATA, ENTRY, ENTRY_ARRAY = 1, 3, 6
OBJECT = struct.Struct("<BB6xQ")  # type, flags, size
ENTRY_HEAD = struct.Struct(
    "<BB6xQQQQ16sQ"
)  # the same, sequence number, real time, monotonic time, boot, hash of all fields
DATA_ENTRIES = struct.Struct("<Q")  # how many entries have it, at `DATA_ENTRIES_AT`
DATA_ENTRIES_AT = 56
DATA_PAYLOAD, DATA_PAYLOAD_COMPACT = 64, 72
ARRAY_HEAD = struct.Struct("<BB6xQQ")  # type, flags, size, where the next one is

_SPREAD, _OTHERS = 1000, 1 << 20
"""Of numbers in a row so many may be in other files (users have files of their own); more, and the header is damaged."""

_HEADER = struct.Struct("<8sIIB7x16s16s16s16sQQQQQQQQQQQQQQ")


class Unreadable(ValueError):
    """Bytes that are no journal file, or one that this version does not understand; the text is for people."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a journal file, as far as it matters here. Times in microseconds."""

    flags: int
    state: int
    file_id: bytes
    machine_id: bytes
    sequence_id: bytes
    entries: int
    tail: int  # sequence number of the last entry
    head: int  # and of the first
    arrays_at: int

    @property
    def compact(self) -> bool:
        """Whether offsets are stored in four bytes."""
        return bool(self.flags & COMPACT)


def parse_header(data: bytes) -> Header:
    """The header that begins ``data``. Raises `Unreadable`."""
    if len(data) < HEADER_BYTES or not data.startswith(SIGNATURE):
        raise Unreadable("it is no journal file")
    (
        _signature,
        _compatible,
        flags,
        state,
        file_id,
        machine_id,
        _tail_boot,
        sequence_id,
        header_size,
        _arena_size,
        _data_table,
        _data_table_size,
        _field_table,
        _field_table_size,
        _tail_object,
        _objects,
        entries,
        tail,
        head,
        arrays_at,
        _head_realtime,
        _tail_realtime,
    ) = _HEADER.unpack_from(data)
    if unknown := flags & ~UNDERSTOOD:
        raise Unreadable(f"it is in a format newer than this version knows (flags {unknown:#x})")
    if header_size < HEADER_BYTES - 32:
        raise Unreadable(f"its header is of {header_size} bytes")
    if entries and not (0 < head <= tail < 1 << 48 and entries <= tail - head + 1 <= entries * _SPREAD + _OTHERS):
        raise Unreadable(f"its header is damaged: {entries} entries with the numbers {head} to {tail}")
    return Header(flags, state, file_id, machine_id, sequence_id, entries, tail, head, arrays_at)
