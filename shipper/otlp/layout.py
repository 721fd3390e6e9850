"""Where the units of a request lie, found in one walk, so that any number of parts can be taken without another.

A large request is sent in parts, and `shipper.otlp.splice.take` walks through all of it for each. What `Layout.take` gives
are the same bytes.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from shipper.otlp.wire import LENGTH, expect, field, read_tag, skip

_UNIT = 0x12  # the tag of a unit in its scope envelope
_DOWN = (1, 2)  # the numbers of the fields that hold resource envelopes and, in these, scope envelopes


@dataclass(frozen=True, slots=True)
class _Units:
    """Units that follow each other: the number of the first, where each begins, and where the last ends."""

    first: int
    starts: array[int]
    stop: int


@dataclass(frozen=True, slots=True)
class _Envelope:
    """An envelope, its fields in their order: bytes that are none of the others, units, or envelopes of this ``number``."""

    number: int
    inside: list[_Envelope | _Units | tuple[int, int]]


class Layout:
    """Of ``data``, a request of any signal. Raises `MalformedOtlp`."""

    def __init__(self, data: bytes) -> None:
        self.units = 0
        self._data = data
        self._request = self._envelope(0, 0, len(data), _DOWN)

    def take(self, first: int, last: int) -> bytes:
        """The units ``[first, last)`` in their envelopes, see `shipper.otlp.splice.take`. Raises ValueError for others."""
        if not 0 <= first <= last <= self.units:
            raise ValueError(f"no units [{first}, {last}) in a request of {self.units}")
        return self._taken(self._request, first, last)

    def _taken(self, envelope: _Envelope, first: int, last: int) -> bytes:
        out: list[bytes] = []
        kept = False
        for item in envelope.inside:
            if isinstance(item, tuple):
                out.append(self._data[item[0] : item[1]])
                continue
            if isinstance(item, _Units):
                a, b = max(first - item.first, 0), min(last - item.first, len(item.starts))
                piece = (
                    self._data[item.starts[a] : item.starts[b] if b < len(item.starts) else item.stop] if a < b else b""
                )
            else:
                inner = self._taken(item, first, last)
                piece = field(item.number, inner) if inner else b""
            if piece:
                out.append(piece)
                kept = True
        return b"".join(out) if kept else b""

    def _envelope(self, own: int, at: int, end: int, below: tuple[int, ...]) -> _Envelope:
        inside: list[_Envelope | _Units | tuple[int, int]] = []
        data = self._data
        while at < end:
            if not below and data[at] == _UNIT:
                units = self._units(at, end)
                inside.append(units)
                at = units.stop
                continue
            number, wire, behind = read_tag(data, at, end)
            value, stop = skip(data, wire, behind, end)
            if below and number == below[0]:
                expect(wire, LENGTH, "an envelope", at)
                inside.append(self._envelope(number, value, stop, below[1:]))
            else:
                if number == 2 and not below:
                    expect(wire, LENGTH, "a record", at)
                inside.append((at, stop))
            at = stop
        return _Envelope(own, inside)

    def _units(self, at: int, end: int) -> _Units:
        """The units from ``at`` on, up to a field of another kind."""
        data = self._data
        starts = array("I")
        while at < end and data[at] == _UNIT:
            starts.append(at)
            if at + 2 < end and data[at + 1] < 0x80:  # what nearly all of them are: a length of one or two bytes
                stop = at + 2 + data[at + 1]
            elif at + 2 < end and data[at + 2] < 0x80:
                stop = at + 3 + (data[at + 1] & 0x7F) + (data[at + 2] << 7)
            else:
                stop = end + 1
            at = stop if stop <= end else skip(data, LENGTH, at + 1, end)[1]
        units = _Units(self.units, starts, at)
        self.units += len(starts)
        return units
