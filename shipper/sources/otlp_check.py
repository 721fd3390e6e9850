"""Whether a request is what it claims to be, and how much it holds: every byte is checked by the protobuf library.

The library runs in C and is twenty times faster than a walk in Python, but it builds what it reads: two bytes can become
a hundred. So a large request is given to it in pieces, which a walk along field borders finds. A piece of a message is a
message of the same type, which is protobuf's own rule for merging; what was built of it is let go of before the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.messages import points, request_class
from shipper.otlp.scan import scan
from shipper.otlp.wire import LENGTH, field, read_tag, skip

PIECE = 512 << 10
"""Bytes that the library gets at once; hostile ones become some 45 MB in memory."""
MOST_ENVELOPES = 1 << 16
"""Resources and scopes in one request: some eight times what a Collector's largest usual batch can have."""
_NESTED = 90  # messages in messages, as in `shipper.otlp.scan`
_DOWN = (1, 2, 2)
"""The numbers of the fields that lead from a request to its resource envelopes, scope envelopes and units."""
_DATA = ("Gauge", "Sum", "Histogram", "ExponentialHistogram", "Summary")  # of a metric


@dataclass(frozen=True, slots=True)
class Held:
    """What a request holds: log records, spans or data points, and units (log records, spans, metrics)."""

    records: int = 0
    units: int = 0


def check(signal: Signal, data: bytes) -> Held:
    """Check a request at once; for `PIECE` bytes or less. Raises `MalformedOtlp`."""
    return _Pieces(signal).check(request_class(signal), data, 0)


async def checked(signal: Signal, data: bytes) -> Held:
    """Check a request of any size, letting others work in between. Raises `MalformedOtlp`."""
    if len(data) <= PIECE:
        return check(signal, data)
    pieces = PieceByPiece(signal, data)
    for _ in pieces:
        await asyncio.sleep(0)
    return pieces.held


class PieceByPiece:
    """Checks a request of any size: iterate to the end, doing other work in between, then ask for ``held``."""

    def __init__(self, signal: Signal, data: bytes) -> None:
        self.held = Held()
        self._signal = signal
        self._pieces = _Pieces(signal)
        self._data = data

    def __iter__(self) -> Iterator[None]:
        """Yields after every piece. Raises `MalformedOtlp`."""
        return self._message(request_class(self._signal), 0, len(self._data), 0)

    def _message(self, kind: Any, at: int, end: int, depth: int) -> Iterator[None]:
        """Check ``data[at:end]``, the content of a message of class ``kind``."""
        if depth > _NESTED:
            raise MalformedOtlp(f"more than {_NESTED} messages nested in each other", at)
        below, name = _messages_in(kind), kind.DESCRIPTOR.name
        for start, stop in _runs(self._data, at, end):
            number, wire, behind = read_tag(self._data, start, stop)
            if stop - start <= PIECE or wire != LENGTH or number not in below:
                self._add(self._pieces.check(kind, self._data[start:stop], start))
            else:
                self._add(_ALONE.get((name, number), Held()))
                value, _ = skip(self._data, wire, behind, stop)
                yield from self._message(below[number], value, stop, depth + 1)
            yield

    def _add(self, found: Held) -> None:
        self.held = Held(self.held.records + found.records, self.held.units + found.units)


_ALONE = {
    ("ScopeLogs", 2): Held(1, 1),
    ("ScopeSpans", 2): Held(1, 1),
    ("ScopeMetrics", 2): Held(0, 1),
    **{(name, 1): Held(1, 0) for name in _DATA},
}
"""What a field is that is too large to be counted with its message."""


class _Pieces:
    """Checks the pieces of one request."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._down = _envelopes(signal)
        self._names = list(self._down)
        self._met = 0  # envelopes
        self._strange = False  # one of them has a field that opentelemetry-proto does not know

    def check(self, kind: Any, part: bytes, at: int) -> Held:
        """Check and count some fields of a message of class ``kind``, which begin at ``at``. Raises `MalformedOtlp`."""
        name = kind.DESCRIPTOR.name
        depth = self._names.index(name) if name in self._down else -1
        try:
            message = kind.FromString(part)
        except DecodeError as error:
            if depth >= 0:
                scan(self._signal, _wrapped(depth, part))  # the library does not say where; for an envelope, this does
            raise MalformedOtlp(str(error), at) from None
        if depth < 0:
            return Held(_data_points(message), 0)
        self._strange = False
        found = self._count(message, depth)
        if self._strange:  # what the library takes for fields of a later version may be an envelope that is broken
            scan(self._signal, _wrapped(depth, part))
        return found

    def _count(self, message: Any, depth: int) -> Held:
        unknown = len(UnknownFieldSet(message))
        self._met += 1 + unknown
        if self._met > MOST_ENVELOPES:
            raise MalformedOtlp(f"more than {MOST_ENVELOPES:,} resources and scopes in one request")
        self._strange = self._strange or unknown > 0
        inner = getattr(message, self._down[self._names[depth]])
        if depth == len(_DOWN) - 1:
            units = len(inner)
            return Held(sum(len(points(each)) for each in inner) if self._signal is Signal.METRICS else units, units)
        records = units = 0
        for each in inner:
            found = self._count(each, depth + 1)
            records += found.records
            units += found.units
        return Held(records, units)


def _data_points(message: Any) -> int:
    """How many there are in a part of a metric that is too large for a piece."""
    name = message.DESCRIPTOR.name
    if name == "Metric":
        return len(points(message))
    return len(message.data_points) if name in _DATA else 0


@cache
def _envelopes(signal: Signal) -> Mapping[str, str]:
    """By the name of an envelope's class, outermost first: the name of its field that leads down."""
    found: dict[str, str] = {}
    descriptor = request_class(signal).DESCRIPTOR
    for number in _DOWN:
        down = descriptor.fields_by_number[number]
        found[descriptor.name] = down.name
        descriptor = down.message_type
    return found


@cache
def _messages_in(kind: Any) -> Mapping[int, Any]:
    """The classes of the messages that a message may hold, by field number."""
    return {
        one.number: GetMessageClass(one.message_type)
        for one in kind.DESCRIPTOR.fields
        if one.type == FieldDescriptor.TYPE_MESSAGE
    }


def _runs(data: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Fields that follow each other, as many as fit in a piece; a larger one by itself. Raises `MalformedOtlp`."""
    start = at
    while at < end:
        field_at = at = _pass_over(data, at, min(end, start + PIECE))
        if at == end:
            break
        _, wire, behind = read_tag(data, at, end)
        at = skip(data, wire, behind, end)[1]
        if at - start > PIECE:
            if field_at > start:
                yield start, field_at
            start = field_at
            if at - start > PIECE:
                yield start, at
                start = at
    if start < end:
        yield start, end


def _pass_over(data: bytes, at: int, end: int) -> int:
    """Where fields from ``at`` on end, as far as all of each lies before ``end`` and it is one of `_SIZES`, as nearly all are."""
    sizes = _SIZES
    while at < end:
        stop = at + sizes[data[at : at + 3]]
        if stop > end:
            break
        at = stop
    return at


class _Sizes(dict[bytes, int]):
    """By the first three bytes of a field: the size of the whole field, if tag and length take three bytes or fewer."""

    _OTHER = 1 << 62

    def __missing__(self, key: bytes) -> int:
        if len(self) >= 1 << 14:
            self.clear()
        size = self[key] = self._size(key)
        return size

    def _size(self, key: bytes) -> int:
        if len(key) < 3 or key[0] & 0x87 != LENGTH or key[0] < 8:
            return self._OTHER
        if key[1] < 0x80:
            return 2 + key[1]
        return 3 + (key[1] & 0x7F) + (key[2] << 7) if key[2] < 0x80 else self._OTHER


_SIZES = _Sizes()


def _wrapped(depth: int, part: bytes) -> bytes:
    """Fields of an envelope that lies so deep as a request."""
    for number in reversed(_DOWN[:depth]):
        part = field(number, part)
    return part
