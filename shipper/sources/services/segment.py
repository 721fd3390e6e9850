"""One segment of a series: how far it holds whole frames, and what the first look at each of them found."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from zlib import crc32

from shipper.handoff.frame import CRC, HEAD, MAGIC, MAX_BODY, OVERHEAD, RECORDS, Effort, Frame, Kind, next_frame
from shipper.handoff.hello import Hello

_RECORD_KINDS = frozenset(int(kind) for kind in RECORDS)


@dataclass(slots=True)
class Segment:
    """A file of one series. Sizes and offsets are bytes in it, ``base`` is the position of its first one.

    ``size``: as last seen. ``whole``: behind the last whole frame. ``sealed``: its writer is done with it. ``final``:
    nothing is appended any more, for whatever reason. ``behind``: not all of it was looked at yet. ``damages``: ranges
    without a frame. ``newest_ns``: the latest time on a frame.
    """

    name: str
    base: int
    size: int = 0
    whole: int = 0
    sealed: bool = False
    final: bool = False
    behind: bool = False
    damages: int = 0
    hello: Hello | None = None
    newest_ns: int = 0
    grown_at: float = 0.0
    records: int = 0
    next_base: int = 0  # as its seal says
    borders: list[int] = field(default_factory=list)  # offsets between frames, each a good piece behind the one before

    @property
    def reach(self) -> int:
        """The position up to which there is something to ship: with a final segment all of it, garbage at its end too."""
        return self.base + (self.size if self.final else self.whole)

    def border_before(self, offset: int) -> int:
        """The last known border between frames at or before ``offset``."""
        index = bisect_right(self.borders, offset)
        return self.borders[index - 1] if index else 0


@dataclass(slots=True)
class Found:
    """What a first look at some bytes of a segment found, in order.

    ``seqs``: runs ``(first, behind last)`` of sequence numbers. ``special``: frames that carry no record. ``damaged``:
    ranges of offsets that hold no frame. ``end``: behind the last whole frame.
    """

    end: int
    records: int = 0
    newest_ns: int = 0
    seqs: list[tuple[int, int]] = field(default_factory=list)
    special: list[Frame] = field(default_factory=list)
    damaged: list[tuple[int, int]] = field(default_factory=list)


def look(data: bytes, at: int = 0, most: int = -1) -> Found:
    """Look at all whole frames of ``data`` from ``at`` on, which is where a frame begins; or at the first ``most``.

    Checks every frame, takes few apart. Stops at the first bytes that are no frame; `resync` finds what comes behind.
    """
    found = Found(at)
    size = len(data)
    unpack, checksum = HEAD.unpack_from, CRC.unpack_from
    view = memoryview(data)
    newest = records = 0
    first = behind = -1
    while at + OVERHEAD <= size:
        magic, kind, flags, length, seq, time, resource, scope, route, severity, _, count, duration, trace = unpack(
            data, at + 4
        )
        end = at + OVERHEAD + length
        if magic != MAGIC or length > MAX_BODY or end > size or crc32(view[at + 4 : end]) != checksum(data, at)[0]:
            break
        if kind in _RECORD_KINDS:
            records += 1
            if time > newest:
                newest = time
        else:
            body = data[at + OVERHEAD : end]
            found.special.append(
                Frame(at, end, kind, flags, seq, time, resource, scope, route, severity, count, duration, trace, body)
            )
        if seq == behind:
            behind += 1
        else:
            if first >= 0:
                found.seqs.append((first, behind))
            first, behind = seq, seq + 1
        at = end
        most -= 1
        if kind == Kind.SEAL or not most:
            break
    if first >= 0:
        found.seqs.append((first, behind))
    found.end, found.records, found.newest_ns = at, records, newest
    return found


def resync(data: bytes) -> int:
    """How many bytes at the beginning of ``data``, where no whole frame is, to skip: to the next valid frame, or all of
    them where looking for it was given up. 0: it may become one."""
    effort = Effort()
    return next_frame(data, 1, effort) or (len(data) if effort.spent else 0)
