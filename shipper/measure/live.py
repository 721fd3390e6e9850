"""Which series a host has that live, so that each can be ended when what it tells of is gone: a stale marker.

A series that just stops looks alive for minutes in most stores. The end of one is a data point with the flag "no recorded
value", which becomes a stale marker in Prometheus. What lives is read from the very bytes that are shipped, so nothing
can be shipped that is not ended.
https://opentelemetry.io/docs/specs/otel/metrics/data-model/ (No recorded value)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from shipper.measure.samples import NOTHING, SCOPE, Samples
from shipper.otlp import metrics
from shipper.otlp.wire import field, fields, fixed64_field, varint_field

NO_RECORDED_VALUE = 1
_GAUGE, _SUM, _HISTOGRAM, _SUMMARY = 5, 7, 9, 11  # fields of Metric
_FLAGS = {_GAUGE: 8, _SUM: 8, _HISTOGRAM: 10, _SUMMARY: 8}  # of the data points
_ATTRIBUTES = {_GAUGE: 7, _SUM: 7, _HISTOGRAM: 9, _SUMMARY: 7}
_NAME, _UNIT, _METRIC_FIELDS = 1, 3, (_GAUGE, _SUM, _HISTOGRAM, _SUMMARY)
_TIME = 3


class Lives(NamedTuple):
    """One series, by all that tells it from others, as encoded fields. ``shape``: attributes, and where buckets end."""

    resource: bytes
    head: bytes  # name and unit
    kind: int
    rest: bytes  # of the metric: temporality, monotonic
    shape: bytes


class Live:
    """The series of one host by who writes them (a producer: the host itself, the requests, a target)."""

    def __init__(self) -> None:
        self._of: dict[str, frozenset[Lives]] = {}

    def wrote(self, producer: str, payload: bytes, time_ns: int) -> Samples:
        """It wrote these; the ends, at ``time_ns``, of those of its series that are not among them any more."""
        now = frozenset(series_of(payload))
        before = self._of.get(producer, frozenset())
        self._of[producer] = now
        return ends(before - now, time_ns) if before != now else NOTHING

    def began(self, producer: str, payload: bytes) -> None:
        """It wrote the beginning of these; its others live on."""
        self._of[producer] = self._of.get(producer, frozenset()).union(series_of(payload))

    def ends(self, time_ns: int) -> Samples:
        """The ends of everything that lives."""
        everything: frozenset[Lives] = frozenset()
        return ends(everything.union(*self._of.values()), time_ns)

    def clear(self) -> None:
        """All of it was ended; what is written from now on lives again."""
        self._of.clear()


def ends(series: Iterable[Lives], time_ns: int) -> Samples:
    """One point without a value for each of these."""
    payload, points, messages = b"", 0, 0
    for resource, of_resource in groupby(sorted(series), key=itemgetter(0)):
        found: list[bytes] = []
        for (head, kind, rest), group in groupby(of_resource, key=itemgetter(1, 2, 3)):
            ended = [field(1, _end(kind, one.shape, time_ns)) for one in group]
            found.append(head + field(kind, b"".join(ended) + rest))
            points += len(ended)
        payload += metrics.export_metrics(resource, SCOPE, found)
        messages += len(found)
    return Samples(payload, points, messages)


def _end(kind: int, shape: bytes, time_ns: int) -> bytes:
    return fixed64_field(_TIME, time_ns) + shape + varint_field(_FLAGS[kind], NO_RECORDED_VALUE)


def series_of(payload: bytes) -> Iterator[Lives]:
    """The series of an ExportMetricsServiceRequest of ours."""
    for at, end in _messages(payload, 0, len(payload), 1):
        resource = b""
        for number, _, _, value, stop in fields(payload, at, end):
            if number == 1:
                resource = payload[value:stop]
            elif number == 2:
                for metric, metric_end in _messages(payload, value, stop, 2):
                    yield from _of_metric(payload, metric, metric_end, resource)


def _messages(data: bytes, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    for number, _, _, value, stop in fields(data, at, end):
        if number == wanted:
            yield value, stop


def _of_metric(data: bytes, at: int, end: int, resource: bytes) -> Iterator[Lives]:
    head, rest, points = b"", b"", []
    body = body_end = kind = 0
    for number, _, tag, value, stop in fields(data, at, end):
        if number in (_NAME, _UNIT):
            head += data[tag:stop]
        elif number in _METRIC_FIELDS:
            body, body_end, kind = value, stop, number
    for number, _, tag, value, stop in fields(data, body, body_end):
        if number == 1:
            points.append((value, stop))
        else:
            rest += data[tag:stop]
    for value, stop in points:
        yield Lives(resource, head, kind, rest, _shape(data, value, stop, kind))


def _shape(data: bytes, at: int, end: int, kind: int) -> bytes:
    """What stays of a data point in its end: attributes; of distributions also empty buckets with their bounds."""
    shape = b""
    for number, _, tag, value, stop in fields(data, at, end):
        if number == _ATTRIBUTES[kind]:
            shape += data[tag:stop]
        elif kind == _HISTOGRAM and number == 6:
            shape += field(6, bytes(stop - value))
        elif kind == _HISTOGRAM and number == 7:
            shape += data[tag:stop]
        elif kind == _SUMMARY and number == 6:
            quantile = data[value : value + 9]  # field 1, a double; the value beside it is left out
            shape += field(6, quantile + struct.pack("<Bd", 0x11, 0.0))
    return shape
