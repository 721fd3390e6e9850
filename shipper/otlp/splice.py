"""Joining, splitting and labelling OTLP requests without decoding a record.

A request is three levels of envelopes around records; all of them are plain protobuf, so records can be moved as bytes
and whatever this version does not know stays where it was. The field numbers of the envelopes are the same for logs,
traces and metrics: request {1 resources}, resource envelope {1 resource, 2 scopes, 3 schema URL}, scope envelope
{1 scope, 2 units, 3 schema URL}. A unit is a log record, a span, or a metric with all its data points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shipper.contracts import Signal
from shipper.otlp.encode import AttributeValue, key_value
from shipper.otlp.wire import LENGTH, expect, field, fields, utf8


def join(parts: Sequence[bytes]) -> bytes:
    """One request with everything that ``parts`` hold, in order: concatenation is protobuf's own merge."""
    return b"".join(parts)


def units(signal: Signal, data: bytes) -> int:
    """How many units `take` can count in ``data``: log records, spans, or metrics. Raises `MalformedOtlp`."""
    return _Taker(data, 0, 0).walk()[1]


def take(signal: Signal, data: bytes, first: int, last: int) -> bytes:
    """The units ``[first, last)`` of a request, in their envelopes; envelopes left without a unit are not kept.

    Unknown fields of the envelopes stay. Raises `MalformedOtlp`, and ValueError when there are no such units.
    """
    if not 0 <= first <= last:
        raise ValueError(f"no units [{first}, {last})")
    taken, seen = _Taker(data, first, last).walk()
    if last > seen:
        raise ValueError(f"no units [{first}, {last}) in a request of {seen}")
    return taken


class _Taker:
    """One walk through a request; counts units as it meets them."""

    def __init__(self, data: bytes, first: int, last: int) -> None:
        self._data = data
        self._first = first
        self._last = last
        self._seen = 0

    def walk(self) -> tuple[bytes, int]:
        """What was taken, and how many units there are."""
        return self._level(0, len(self._data), (1, 2)), self._seen

    def _level(self, at: int, end: int, below: tuple[int, ...]) -> bytes:
        """The fields of one envelope, those of number ``below[0]`` rebuilt; empty when none of these is left."""
        out: list[bytes] = []
        kept = False
        for number, wire, start, value, stop in fields(self._data, at, end):
            if number != below[0]:
                out.append(self._data[start:stop])
                continue
            expect(wire, LENGTH, "an envelope", start)
            inner = self._level(value, stop, below[1:]) if len(below) > 1 else self._units(value, stop)
            if inner:
                out.append(field(number, inner))
                kept = True
        return b"".join(out) if kept else b""

    def _units(self, at: int, end: int) -> bytes:
        """The same for a scope envelope, whose units are taken as they are."""
        out: list[bytes] = []
        kept = False
        for number, wire, start, _, stop in fields(self._data, at, end):
            if number == 2:
                expect(wire, LENGTH, "a record", start)
                self._seen += 1
                if not self._first < self._seen <= self._last:
                    continue
                kept = True
            out.append(self._data[start:stop])
        return b"".join(out) if kept else b""


def add_resource_attributes(signal: Signal, data: bytes, attributes: Mapping[str, AttributeValue]) -> bytes:
    """The request with ``attributes`` on each of its resources; a key that a resource has already is left alone.

    Only resources and the two lengths around them are rebuilt. Raises `MalformedOtlp`, and as `encode.any_value`.
    """
    encoded = {key: field(1, key_value(key, value)) for key, value in attributes.items()}
    if not encoded:
        return data
    out: list[bytes] = []
    for number, wire, start, value, stop in fields(data, 0, len(data)):
        if number != 1:
            out.append(data[start:stop])
            continue
        expect(wire, LENGTH, "the list of resources", start)
        out.append(field(1, _labelled(data, value, stop, encoded)))
    return b"".join(out)


def _labelled(data: bytes, at: int, end: int, encoded: Mapping[str, bytes]) -> bytes:
    """The content of a resource envelope with the missing attributes at the end of its resource."""
    present: set[str] = set()
    first: tuple[int, int, int] | None = None
    for number, wire, start, value, stop in fields(data, at, end):
        if number == 1:
            expect(wire, LENGTH, "a resource", start)
            present |= _keys(data, value, stop)
            first = first or (start, value, stop)
    missing = b"".join(more for key, more in encoded.items() if key not in present)
    if first is None:
        return field(1, missing) + data[at:end]
    start, value, stop = first
    return b"".join((data[at:start], field(1, data[value:stop] + missing), data[stop:end]))


def _keys(data: bytes, at: int, end: int) -> set[str]:
    """The keys of a Resource."""
    keys: set[str] = set()
    for number, wire, start, value, stop in fields(data, at, end):
        if number != 1:
            continue
        expect(wire, LENGTH, "an attribute", start)
        key = ""
        for number2, wire2, start2, value2, stop2 in fields(data, value, stop):
            if number2 == 1:
                expect(wire2, LENGTH, "an attribute's key", start2)
                key = utf8(data, value2, stop2, "an attribute's key")
        keys.add(key)
    return keys
