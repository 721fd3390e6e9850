"""Counting the records of an OTLP request, and finding the oldest, without decoding it.

A spool or a gateway must know how much it accepted, and must not accept what a destination would later refuse whole: a
broken envelope spoils every request it is joined to. So the walk checks envelopes, resources and scopes as strictly as
the protobuf library would, and of records only their fields' borders and times. Whether every attribute of every record
is sound is for `shipper.otlp.decode.parse` to tell; it runs in C, this does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.encode import line_head
from shipper.otlp.wire import FIXED64, LENGTH, expect, fields, read_tag, skip, utf8

_METRIC_DATA = frozenset({5, 7, 9, 10, 11})  # gauge, sum, histogram, exponential histogram, summary
_SHORT = frozenset(number << 3 | LENGTH for number in range(1, 16))  # tags of one byte of length-delimited fields
_NESTED = 90  # messages in messages; upb stops at 100, and a resource lies inside others

_STRING = "string"
_SCHEMA: dict[str, dict[int, str]] = {
    "Resource": {1: "KeyValue", 3: "EntityRef"},
    "EntityRef": {1: _STRING, 2: _STRING, 3: _STRING, 4: _STRING},
    "Scope": {1: _STRING, 2: _STRING, 3: "KeyValue"},
    "KeyValue": {1: _STRING, 2: "AnyValue"},
    "AnyValue": {1: _STRING, 5: "ArrayValue", 6: "KeyValueList"},
    "ArrayValue": {1: "AnyValue"},
    "KeyValueList": {1: "KeyValue"},
}
"""The strings and messages in what envelopes hold beside records."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a request holds: log records, spans or data points, and the oldest time on them (0: none carries one)."""

    records: int
    oldest_ns: int


def scan(signal: Signal, data: bytes) -> Scan:
    """Walk the envelopes of an Export<Signal>ServiceRequest.

    The time of a log record is its own, else its observed time; of a span its start; of a data point its time.
    Raises `MalformedOtlp` with the offset where the walk had to stop.
    """
    walk = _Walk(signal, data)
    for number, wire, at, value, stop in fields(data, 0, len(data)):
        if number == 1:
            expect(wire, LENGTH, "a resource envelope", at)
            walk.resource_envelope(value, stop)
    return Scan(walk.records, walk.oldest)


class _Walk:
    """What one walk has met so far."""

    def __init__(self, signal: Signal, data: bytes) -> None:
        self.records = 0
        self.oldest = 0
        self._signal = signal
        self._data = data
        self._sound: set[bytes] = set()  # resources and scopes already checked: a joined request repeats them often

    def resource_envelope(self, at: int, end: int) -> None:
        for number, wire, start, value, stop in fields(self._data, at, end):
            if number == 1:
                self._check("Resource", wire, start, value, stop)
            elif number == 2:
                expect(wire, LENGTH, "a scope envelope", start)
                self._scope_envelope(value, stop)
            elif number == 3:
                self._schema_url(wire, start, value, stop)

    def _scope_envelope(self, at: int, end: int) -> None:
        data = self._data
        while at < end:
            if self._signal is Signal.LOGS:
                at = self._lines(at, end)
                if at == end:
                    return
            number, wire, behind = read_tag(data, at, end)
            value, stop = skip(data, wire, behind, end)
            if number == 2:
                expect(wire, LENGTH, "a record", at)
                self._unit(value, stop)
            elif number == 1:
                self._check("Scope", wire, at, value, stop)
            elif number == 3:
                self._schema_url(wire, at, value, stop)
            at = stop

    def _lines(self, at: int, end: int) -> int:
        """Pass over records that `LineEncoder` made, without a closer look, and return where they end.

        Such a record is known by its head, which fixes the length of the line, and by the observed time that fills the
        rest; the head is known by its first three bytes, which hold the record's length. Twenty times faster than a walk.
        """
        data = self._data
        startswith = data.startswith
        observed = b""
        count = 0
        while True:
            size, head = LINES[data[at : at + 3]]
            stop = at + size
            if stop > end or not startswith(head, at):
                break
            if not observed or not startswith(observed, stop - 9):
                seen = data[stop - 9 : stop]
                if seen[0] != 0x59:
                    break
                observed = seen
                self._seen(int.from_bytes(seen[1:], "little"))
            count += 1
            at = stop
        self.records += count
        return at

    def _unit(self, at: int, end: int) -> None:
        if self._signal is Signal.METRICS:
            self._metric(at, end)
            return
        self.records += 1
        if self._signal is Signal.TRACES:
            self._seen(_time(self._data, at, end, 7)[0])
        else:
            time, observed = _time(self._data, at, end, 1, 11)
            self._seen(time or observed)

    def _metric(self, at: int, end: int) -> None:
        """Count data points. A metric holds one kind of data: as in any parser, the last kind found counts."""
        kind = 0
        times: list[int] = []
        for number, wire, start, value, stop in fields(self._data, at, end):
            if number not in _METRIC_DATA:
                continue
            expect(wire, LENGTH, "the data of a metric", start)
            if number != kind:
                kind, times = number, []
            for number2, wire2, start2, value2, stop2 in fields(self._data, value, stop):
                if number2 == 1:
                    expect(wire2, LENGTH, "a data point", start2)
                    times.append(_time(self._data, value2, stop2, 3)[0])
        self.records += len(times)
        for time in times:
            self._seen(time)

    def _seen(self, time: int) -> None:
        if time and (not self.oldest or time < self.oldest):
            self.oldest = time

    def _schema_url(self, wire: int, start: int, value: int, stop: int) -> None:
        expect(wire, LENGTH, "a schema URL", start)
        utf8(self._data, value, stop, "a schema URL")

    def _check(self, kind: str, wire: int, start: int, value: int, stop: int) -> None:
        expect(wire, LENGTH, f"a {kind}", start)
        content = self._data[start:stop] + kind.encode()
        if content not in self._sound:
            _check(kind, self._data, value, stop)
            self._sound.add(content)


def _check(kind: str, data: bytes, at: int, end: int) -> None:
    """Walk a message of ``_SCHEMA`` with everything in it; not recursive, because nesting is the sender's choice."""
    todo = [(kind, at, end, 1)]
    while todo:
        kind, at, end, depth = todo.pop()
        if depth > _NESTED:
            raise MalformedOtlp(f"more than {_NESTED} messages nested in each other", at)
        known = _SCHEMA[kind]
        for number, wire, start, value, stop in fields(data, at, end):
            inner = known.get(number)
            if inner is None:
                continue
            expect(wire, LENGTH, f"field {number} of a {kind}", start)
            if inner == _STRING:
                utf8(data, value, stop, f"field {number} of a {kind}")
            else:
                todo.append((inner, value, stop, depth + 1))


def _time(data: bytes, at: int, end: int, wanted: int, other: int = 0) -> tuple[int, int]:
    """The fixed64 fields ``wanted`` and ``other`` of a record (0: not there), and a check of its fields' borders."""
    times = {wanted: 0, other: 0}
    while at < end:
        tag = data[at]
        if tag in _SHORT and tag >> 3 not in times and at + 1 < end and data[at + 1] < 0x80:  # what most fields are
            at += 2 + data[at + 1]
            if at > end:
                raise MalformedOtlp("a length reaches beyond the end", end)
            continue
        number, wire, behind = read_tag(data, at, end)
        value, stop = skip(data, wire, behind, end)
        if number in times:
            expect(wire, FIXED64, "a time", at)
            times[number] = int.from_bytes(data[value:stop], "little")
        at = stop
    return times[wanted], times[other]


class _LineShapes(dict[bytes, tuple[int, bytes]]):
    """By the first three bytes of a record in its envelope: its whole size and head, if a `LineEncoder` made it."""

    _NONE = (1 << 62, b"")

    def __missing__(self, key: bytes) -> tuple[int, bytes]:
        if len(self) >= 4096:
            self.clear()
        shape = self[key] = self._shape(key)
        return shape

    def _shape(self, key: bytes) -> tuple[int, bytes]:
        if len(key) < 3 or key[0] != 0x12:
            return self._NONE
        length, two = key[1], key[1] >= 0x80
        if two:
            length = length & 0x7F | key[2] << 7
            if key[2] >= 0x80:  # so long a record is worth a walk
                return self._NONE
        whole = length + (3 if two else 2)
        for overhead in range(15, 20):  # of a line of 1 byte to one of 16 kB
            line = whole - overhead
            if line >= 0 and len(head := line_head(line)) + line + 9 == whole:
                return whole, head
        return self._NONE


LINES = _LineShapes()
"""By the three bytes with which a record begins in its envelope: its size there, and its head."""
