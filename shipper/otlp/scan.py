"""Counting the records of an OTLP request, and finding the oldest, without decoding it.

A spool or a gateway must know how much it accepted, and must not accept what a destination would later refuse whole: a
broken envelope spoils every request it is joined to. So the walk checks envelopes strictly and looks into records only
for their times; checking every attribute is `shipper.otlp.decode.parse`'s work, which is also faster at it.
"""

from __future__ import annotations

from dataclasses import dataclass

from shipper.contracts import Signal
from shipper.otlp.wire import FIXED64, LENGTH, expect, fields, utf8

_METRIC_DATA = frozenset({5, 7, 9, 10, 11})  # gauge, sum, histogram, exponential histogram, summary


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
    records, oldest = 0, 0
    for number, wire, at, value, stop in fields(data, 0, len(data)):
        if number != 1:
            continue
        expect(wire, LENGTH, "the list of resources", at)
        for number2, wire2, at2, value2, stop2 in fields(data, value, stop):
            if number2 in (1, 2, 3):
                expect(wire2, LENGTH, "a resource envelope", at2)
            if number2 == 3:
                utf8(data, value2, stop2, "a schema URL")
            if number2 != 2:
                continue
            for number3, wire3, at3, value3, stop3 in fields(data, value2, stop2):
                if number3 in (1, 2, 3):
                    expect(wire3, LENGTH, "a scope envelope", at3)
                if number3 == 3:
                    utf8(data, value3, stop3, "a schema URL")
                if number3 == 2:
                    count, time = _record(signal, data, value3, stop3)
                    records += count
                    if time and (not oldest or time < oldest):
                        oldest = time
    return Scan(records, oldest)


def _record(signal: Signal, data: bytes, at: int, end: int) -> tuple[int, int]:
    """How many records a unit holds, and the oldest time on them."""
    if signal is Signal.METRICS:
        return _metric(data, at, end)
    if signal is Signal.TRACES:
        return 1, _time(data, at, end, 7)
    return 1, _time(data, at, end, 1) or _time(data, at, end, 11)


def _time(data: bytes, at: int, end: int, wanted: int) -> int:
    time = 0
    for number, wire, start, value, stop in fields(data, at, end):
        if number == wanted:
            expect(wire, FIXED64, "a time", start)
            time = int.from_bytes(data[value:stop], "little")
    return time


def _metric(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Data points of a Metric. It holds one kind of data: as in any parser, the last kind found counts."""
    kind = points = oldest = 0
    for number, wire, start, value, stop in fields(data, at, end):
        if number not in _METRIC_DATA:
            continue
        expect(wire, LENGTH, "the data of a metric", start)
        if number != kind:
            kind, points, oldest = number, 0, 0
        for number2, wire2, start2, value2, stop2 in fields(data, value, stop):
            if number2 != 1:
                continue
            expect(wire2, LENGTH, "a data point", start2)
            points += 1
            time = _time(data, value2, stop2, 3)
            if time and (not oldest or time < oldest):
                oldest = time
    return points, oldest
