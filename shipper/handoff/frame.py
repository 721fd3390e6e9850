"""One record handed over by a service: a fixed head with what the sidecar wants to know undecoded, and the record's bytes.

The head is of one size for every kind, so that writing takes a single ``pack`` and reading a single ``unpack_from``.
FORMAT.md beside this file describes it field by field.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

MAGIC = b"\xf5\x68"  # no UTF-8 text contains F5
HEAD = struct.Struct("<2sBBIQQHHHBBIQQ")
"""magic, kind, flags, body size, sequence number, time, resource, scope, route, severity, 0, count, duration, trace."""
CRC = struct.Struct("<I")
OVERHEAD = CRC.size + HEAD.size
MAX_BODY = 16 << 20
_MAGIC_AT = CRC.size


class Kind(IntEnum):
    """What the body of a frame is."""

    HEAD = 1  # JSON object: the process (see FORMAT.md); first frame of every segment
    RESOURCE = 2  # declares resource number ``resource``: see `pack_resource`
    SCOPE = 3  # declares scope number ``scope``: content of an InstrumentationScope message
    ROUTE = 4  # declares route number ``route``: UTF-8 text
    SPAN = 5  # content of a Span message
    LOG = 6  # content of a LogRecord message
    REQUEST = 7  # a whole Export<Signal>ServiceRequest (metrics); ``count`` data points
    DROPPED = 8  # JSON object: cause -> records dropped by this series since its beginning
    NOTE = 9  # UTF-8 text for the person who asks the sidecar how this service is
    SEAL = 10  # nothing is appended to this segment any more; the series goes on in the next


RECORDS = frozenset({Kind.SPAN, Kind.LOG, Kind.REQUEST})
"""The kinds that carry records, all others are about them."""

SPAN_KIND = 0x07
"""Mask in ``flags``: the OTLP SpanKind (0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer)."""
ERROR = 0x08
"""In ``flags``: the span's status is error; the log record's severity is ERROR or worse."""


class Frame(NamedTuple):
    """A frame as it was read. ``start`` and ``end`` are offsets in the data it was read from."""

    start: int
    end: int
    kind: int
    flags: int
    seq: int
    time_ns: int
    resource: int
    scope: int
    route: int
    severity: int
    count: int  # type: ignore[assignment]  # what a tuple's own `count` does, nobody asks of a frame
    duration_ns: int
    trace: int
    body: bytes


def pack(
    kind: int,
    seq: int,
    body: bytes,
    *,
    time_ns: int = 0,
    flags: int = 0,
    resource: int = 0,
    scope: int = 0,
    route: int = 0,
    severity: int = 0,
    count: int = 1,
    duration_ns: int = 0,
    trace: int = 0,
) -> bytes:
    """A frame. ``trace`` is the low 64 bits of the trace id. Raises struct.error for a number that does not fit its field."""
    head = HEAD.pack(
        MAGIC, kind, flags, len(body), seq, time_ns, resource, scope, route, severity, 0, count, duration_ns, trace
    )
    return b"".join((CRC.pack(crc32(body, crc32(head))), head, body))


@dataclass(frozen=True, slots=True)
class Walk:
    """What a piece of a segment holds. ``end``: behind the last whole frame (or damage before a whole frame).

    ``damaged`` are ranges in which no valid frame begins, with a valid one behind them. ``broken``: what stands at
    ``end`` can never become a frame by growing (as opposed to a frame of which only the beginning is there).
    """

    frames: list[Frame]
    end: int
    damaged: list[tuple[int, int]]
    broken: bool


def walk(data: bytes, at: int = 0) -> Walk:
    """All frames of ``data`` from ``at`` on. Damage is skipped where a valid frame follows, and told."""
    frames: list[Frame] = []
    damaged: list[tuple[int, int]] = []
    broken = False
    size = len(data)
    unpack = HEAD.unpack_from
    while at + OVERHEAD <= size:
        magic, kind, flags, length, seq, time, resource, scope, route, severity, _, count, duration, trace = unpack(
            data, at + 4
        )
        begin = at + OVERHEAD
        end = begin + length
        if magic == MAGIC and length <= MAX_BODY:
            if end > size and not (found := _next(data, at + 1)):
                break  # its writer is not done with it, or died over it
            body = data[begin:end]
            if end <= size and crc32(body, crc32(data[at + 4 : begin])) == CRC.unpack_from(data, at)[0]:
                frames.append(
                    Frame(
                        at, end, kind, flags, seq, time, resource, scope, route, severity, count, duration, trace, body
                    )
                )
                at = end
                continue
        found = _next(data, at + 1)
        if not found:
            broken = True
            break
        damaged.append((at, found))
        at = found
    return Walk(frames, at, damaged, broken)


def _next(data: bytes, at: int) -> int:
    """Where the next valid frame at or behind ``at`` begins; 0 when there is none."""
    for start in _candidates(data, at):
        if start + OVERHEAD > len(data):
            return 0
        length = HEAD.unpack_from(data, start + 4)[3]
        end = start + OVERHEAD + length
        whole = length <= MAX_BODY and end <= len(data)
        if whole and crc32(data[start + 4 : end]) == CRC.unpack_from(data, start)[0]:
            return start
    return 0


def _candidates(data: bytes, at: int) -> Iterator[int]:
    found = data.find(MAGIC, at + _MAGIC_AT)
    while found >= 0:
        yield found - _MAGIC_AT
        found = data.find(MAGIC, found + 1)


def pack_resource(stated: bytes, guessed: bytes) -> bytes:
    """The body of a RESOURCE frame: two runs of encoded Resource.attributes fields (field 1 of Resource).

    ``stated`` was said by the service or its owner and stays; a ``guessed`` attribute gives way to what the sidecar knows.
    """
    return CRC.pack(len(stated)) + stated + guessed


def unpack_resource(body: bytes) -> tuple[bytes, bytes]:
    """What `pack_resource` was given. Raises ValueError for anything else."""
    if len(body) < CRC.size or (size := CRC.unpack_from(body)[0]) > len(body) - CRC.size:
        raise ValueError("not the body of a RESOURCE frame")
    return body[CRC.size : CRC.size + size], body[CRC.size + size :]
