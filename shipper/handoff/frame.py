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
NOT_A_REQUEST = 0x10
"""In ``flags`` of a server span: it is a websocket, which lasts as long as people talk and is no request to be counted."""


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
    ``end`` can never become a frame by growing (as opposed to a frame of which only the beginning is there), or looking
    for the next frame was given up.
    """

    frames: list[Frame]
    end: int
    damaged: list[tuple[int, int]]
    broken: bool


def walk(data: bytes, at: int = 0, most: int = 0) -> Walk:
    """All frames of ``data`` from ``at`` on, or the first ``most``. Damage is skipped where a valid frame follows, and told.

    What that may cost is bounded, see `Effort`; the same bytes are always walked in the same way.
    """
    frames: list[Frame] = []
    damaged: list[tuple[int, int]] = []
    broken = False
    effort = Effort()
    size = len(data)
    view = memoryview(data)
    unpack = HEAD.unpack_from
    while at + OVERHEAD <= size:
        magic, kind, flags, length, seq, time, resource, scope, route, severity, _, count, duration, trace = unpack(
            data, at + 4
        )
        begin = at + OVERHEAD
        end = begin + length
        if magic == MAGIC and length <= MAX_BODY:
            if end > size and not (found := next_frame(data, at + 1, effort)):
                broken = effort.spent
                break  # its writer is not done with it, or died over it
            if end <= size and crc32(view[at + 4 : end]) == CRC.unpack_from(data, at)[0]:
                body = data[begin:end]
                frames.append(
                    Frame(
                        at, end, kind, flags, seq, time, resource, scope, route, severity, count, duration, trace, body
                    )
                )
                at = end
                if len(frames) == most:
                    break
                continue
            effort.take(length)
        found = next_frame(data, at + 1, effort)
        if not found:
            broken = True
            break
        damaged.append((at, found))
        at = found
    return Walk(frames, at, damaged, broken)


class Effort:
    """What may be spent on finding the next frame behind damage: bytes put to a checksum in vain, and a fee for each place.

    Somebody who makes his segments of nothing but beginnings of large frames would else have each of their bytes looked at
    a million times. What lies behind by then is not found.
    """

    __slots__ = ("left",)
    MOST = 32 << 20
    FEE = 256

    def __init__(self) -> None:
        self.left = self.MOST

    def take(self, length: int) -> None:
        """So many bytes were looked at in vain."""
        self.left -= length + self.FEE

    @property
    def spent(self) -> bool:
        """Whether it is time to give up."""
        return self.left < 0


def next_frame(data: bytes, at: int, effort: Effort) -> int:
    """Where the next valid frame at or behind ``at`` begins; 0 when there is none, or ``effort`` is spent."""
    view = memoryview(data)
    for start in _candidates(data, at):
        if effort.spent or start + OVERHEAD > len(data):
            return 0
        length = HEAD.unpack_from(data, start + 4)[3]
        end = start + OVERHEAD + length
        whole = length <= MAX_BODY and end <= len(data)
        if whole and crc32(view[start + 4 : end]) == CRC.unpack_from(data, start)[0]:
            return start
        effort.take(length if whole else 0)
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
