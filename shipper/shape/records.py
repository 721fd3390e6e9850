"""Making one request of what is known of the texts of a chunk, by a few passes over columns that run in C."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import add

from shipper.otlp.wire import field, fixed64_field, varint

_CACHED = 4096
_BLOCK = 128  # records joined at a time: what is copied stays in the processor's cache (see `shipper.otlp.encode`)
_OBSERVED_BYTES = 9
_PACK_TIME = struct.Struct("<cQ").pack


class _Remembered(dict[int, bytes], ABC):
    """Encoded lengths. Forgets when full, because texts may be of ever new lengths."""

    def __missing__(self, size: int) -> bytes:
        if len(self) >= _CACHED:
            self.clear()
        self[size] = found = self.make(size)
        return found

    @abstractmethod
    def make(self, size: int) -> bytes:
        """What stands in front of ``size`` bytes."""


class _Bodies(_Remembered):
    """body (5) of a LogRecord with string_value (1) of an AnyValue, in front of its text."""

    def make(self, size: int) -> bytes:
        string = b"\x0a" + varint(size)
        return b"\x2a" + varint(len(string) + size) + string


class _Records(_Remembered):
    """log_records (2) of ScopeLogs, in front of a LogRecord."""

    def make(self, size: int) -> bytes:
        return b"\x12" + varint(size)


_BODIES, _RECORDS = _Bodies(), _Records()


def encode(bodies: Sequence[bytes], more: Sequence[Sequence[bytes]], observed_ns: int) -> bytes:
    """A record for each of ``bodies``, as fields of ScopeLogs. ``more``: columns of further encoded fields of each LogRecord."""
    further = list(map(b"".join, zip(*more, strict=True))) if more else [b""] * len(bodies)
    lengths = list(map(len, bodies))
    heads = list(map(_BODIES.__getitem__, lengths))
    sizes = map(add, map(add, map(len, heads), lengths), map(len, further))
    records = list(map(_RECORDS.__getitem__, map(_OBSERVED_BYTES.__add__, sizes)))
    observed = fixed64_field(11, observed_ns)
    blocks = []
    for at in range(0, len(bodies), _BLOCK):
        end = min(at + _BLOCK, len(bodies))
        out = [observed] * (5 * (end - at))
        out[0::5] = records[at:end]
        out[1::5] = heads[at:end]
        out[2::5] = bodies[at:end]
        out[3::5] = further[at:end]
        blocks.append(b"".join(out))
    return b"".join(blocks)


def request(resource: bytes, scope: bytes, records: Sequence[bytes]) -> bytes:
    """An ExportLogsServiceRequest of what `encode` gave. ``resource``, ``scope``: contents of those messages."""
    before, inside = field(1, resource), field(1, scope)
    size = len(inside) + sum(map(len, records))
    scope_logs = b"\x12" + varint(size)
    return b"".join((b"\x0a", varint(len(before) + len(scope_logs) + size), before, scope_logs, inside, *records))


def time_fields(nanoseconds: Sequence[int]) -> list[bytes]:
    """time_unix_nano (1) of each record, nothing for 0."""
    encoded = list(map(_PACK_TIME, repeat(b"\x09"), nanoseconds))
    return (
        encoded if 0 not in nanoseconds else [one if at else b"" for one, at in zip(encoded, nanoseconds, strict=True)]
    )


def given(extra: Mapping[int, bytes] | None, size: int) -> list[bytes] | None:
    """Fields that came with the texts, as a column. Raises IndexError for a text that there is not."""
    if not extra:
        return None
    column = [b""] * size
    for index, fields in extra.items():
        if index < 0:
            raise IndexError(f"extra fields for text {index}")
        column[index] = fields
    return column
