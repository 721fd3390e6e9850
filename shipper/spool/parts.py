"""Parts of a spooled frame: which records, which bytes, and which members of it a range of units is.

A batch of another host must stay provable when a frame is split for a destination. So a split goes along the borders of
members first; a member that has to be split itself is given proportional shares of its range, which together are it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from shipper.contracts import Member, Signal
from shipper.errors import MalformedOtlp, RangeGone
from shipper.otlp.layout import Layout
from shipper.otlp.messages import count as count_records
from shipper.otlp.scan import scan
from shipper.otlp.splice import take, units
from shipper.spool.frame import Frame
from shipper.spool.header import FrameHeader


@dataclass(frozen=True, slots=True)
class Part:
    """Some consecutive units of a frame, as a request of their own."""

    payload: bytes
    records: int
    members: tuple[Member, ...]


class Splittable:
    """A frame of one signal that can be cut at its units. Raises `RangeGone` when it was not written by a Shipper."""

    def __init__(self, frame: Frame, signal: Signal, stream: str) -> None:
        try:
            self.header = FrameHeader.decode(frame.header)
        except ValueError as error:
            raise RangeGone(stream, frame.start, frame.end, str(error)) from error
        self.content: bytes | memoryview = frame.content
        self.size = len(frame.content)
        self.start = frame.start  # the position of the first unit
        self.end = frame.end
        self.units = self.header.units
        self._signal = signal
        self._stream = stream
        self._tiled = _tile(self.header.members, self.size)

    @property
    def payload(self) -> bytes:
        """What it holds, a request, as bytes of its own; what else was read with it is let go."""
        if not isinstance(self.content, bytes):
            self.content = bytes(self.content)
        return self.content

    @cached_property
    def _layout(self) -> Layout:
        """Where the units of the payload lie. Raises `MalformedOtlp`."""
        return Layout(self.payload)

    def position(self, unit: int) -> int:
        """The position of a unit; behind the last one, the frame's end."""
        return self.start + unit if unit < max(1, self.units) else self.end

    def unit(self, position: int) -> int:
        """The unit at a position."""
        return min(max(position - self.start, 0), self.units)

    def whole(self) -> Part:
        """The frame as it was written."""
        return Part(self.payload, self.header.records, self.header.members)

    def part(self, first: int, last: int) -> Part:
        """The units ``[first, last)``. Raises `RangeGone` when the payload is not what its header says."""
        if first == 0 and last >= self.units:
            return self.whole()
        try:
            if self._tiled:
                return self._of_members(first, last)
            payload = self._layout.take(first, last)
            return Part(
                payload,
                last - first if self._signal is not Signal.METRICS else count_records(self._signal, payload),
                (),
            )
        except (MalformedOtlp, ValueError) as error:
            raise RangeGone(self._stream, self.start, self.end, f"cannot be split: {error}") from error

    def reach(self, first: int, limit: int) -> int:
        """Where a part of about ``limit`` bytes that begins at unit ``first`` should end.

        At the end of the last member that fits: whole members are moved without looking at a record of theirs. Raises
        `RangeGone` as `part` does.
        """
        if self._tiled and (last := self._after_members(first, limit)):
            return last
        return min(self.units, first + max(1, self.units * limit // max(1, self.size)))

    def _after_members(self, first: int, limit: int) -> int:
        """The unit behind the whole members from ``first`` on that ``limit`` bytes hold; 0 when not even one is whole."""
        unit = size = last = 0
        for member, count in zip(self.header.members, self._counts(), strict=True):
            if unit >= first:
                size += member.length
                if size > limit:
                    break
                last = unit + count
            unit += count
        return last if last > first else 0

    def _counts(self) -> list[int]:
        """The units of each member."""
        if self._signal is not Signal.METRICS:
            return [member.records for member in self.header.members]  # as the receiver found them
        try:
            return [units(self._signal, self._bytes_of(member)) for member in self.header.members]
        except MalformedOtlp as error:
            raise RangeGone(self._stream, self.start, self.end, f"cannot be split: {error}") from error

    def _bytes_of(self, member: Member) -> bytes:
        return bytes(self.content[member.offset : member.offset + member.length])

    def _of_members(self, first: int, last: int) -> Part:
        pieces: list[bytes] = []
        members: list[Member] = []
        offset = unit = 0
        for member, count in zip(self.header.members, self._counts(), strict=True):
            a, b = max(first - unit, 0), min(last - unit, count)
            empty_here = count == 0 and (first <= unit < last or unit == last == self.units)
            unit += count
            if a >= b and not empty_here:
                continue
            whole = empty_here or b - a == count
            data = self._bytes_of(member)
            piece = data if whole else take(self._signal, data, a, b)
            members.append(replace(member, offset=offset) if whole else self._share(member, a, b, count, piece, offset))
            pieces.append(piece)
            offset += len(piece)
        return Part(b"".join(pieces), sum(member.records for member in members), tuple(members))

    def _share(self, member: Member, a: int, b: int, count: int, piece: bytes, offset: int) -> Member:
        span = member.end - member.start
        start, end = (member.start + span * n // count for n in (a, b))
        records = scan(self._signal, piece).records
        return replace(member, start=start, end=end, records=records, offset=offset, length=len(piece))


def _tile(members: tuple[Member, ...], length: int) -> bool:
    """True when members follow each other without a gap and are the whole payload."""
    at = 0
    for member in members:
        if member.offset != at:
            return False
        at += member.length
    return bool(members) and at == length
