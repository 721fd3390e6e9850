"""OTLP metrics as samples of Prometheus series: gauges, sums, histograms with explicit bounds, summaries.

What has no form in remote write 1.0 is counted by its reason and left out, never quietly: sums and histograms since the last point
(delta), which only a place that sees every point of a series could add up, and exponential histograms.

Labels are worked out once for each series; a point of a series that was seen before costs some lookups.
"""

from __future__ import annotations

import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from shipper.errors import MalformedOtlp
from shipper.otlp.wire import LENGTH, VARINT, fields, read_varint, varint
from shipper_exporters import _prometheus_points as points
from shipper_exporters._prometheus_labels import Pairs, attributes, encode, identity
from shipper_exporters._prometheus_names import metric_name, number_text

STALE = struct.pack("<Q", 0x7FF0000000000002)
"""The value that ends a series (Prometheus, ``model/value/value.go``)."""

DELTA = "counts since the last point (delta), not since the start (cumulative)"
EXPONENTIAL = "exponential histograms"
MALFORMED = "malformed data points"
NO_VALUE = "data points without a value or a time"
NO_NAME = "metrics whose name has no letter or digit"

_NAN = struct.pack("<Q", 0x7FF8000000000001)
_CUMULATIVE = 2
_GAUGE, _SUM, _HISTOGRAM, _EXPONENTIAL, _SUMMARY = 5, 7, 9, 10, 11
_KINDS = frozenset({_GAUGE, _SUM, _HISTOGRAM, _EXPONENTIAL, _SUMMARY})
_RESOURCES = 4096  # whose labels are remembered
_FAMILIES = 10_000
_DOUBLE = struct.Struct("<d")

Sample = tuple[int, bytes, bytes, int]
"""Time in ms, the encoded labels, the encoded value, and the number of the data point that it came from."""


@dataclass(frozen=True)
class Converted:
    """``samples`` in the order they came, of ``points`` data points in all; ``rejected`` points by reason."""

    samples: list[Sample] = field(repr=False)
    points: int
    rejected: Mapping[str, int]


class _Family:
    """A metric's name in Prometheus, by how it is named in OTLP."""

    __slots__ = ("bucket", "count", "name", "total")

    def __init__(self, name: str) -> None:
        self.name = name
        self.bucket, self.count, self.total = f"{name}_bucket", f"{name}_count", f"{name}_sum"


class _Resource:
    """The labels of a resource's series, by family and attributes."""

    __slots__ = ("_external", "_identity", "_series")

    def __init__(self, external: Pairs, identity: Pairs) -> None:
        self._external = external
        self._identity = identity
        self._series: dict[tuple[str, bytes, str], bytes] = {}

    def __len__(self) -> int:
        return len(self._series)

    def labels(self, name: str, own: bytes, number: int, extra: tuple[str, str] | None = None) -> bytes:
        """The encoded labels of one series; ``own``: its attributes, which are fields ``number``."""
        key = (name, own, "" if extra is None else extra[1])
        found = self._series.get(key)
        if found is None:
            extras = () if extra is None else (extra,)
            found = encode(name, self._external, attributes(own, number), self._identity, extras)
            self._series[key] = found
        return found


class Converter:
    """Converts requests; may be called from several threads.

    ``external``: labels added where a series has none of the name. ``remembered``: how many series' labels are kept; whoever
    makes more, as by a user's id in a label, makes all be worked out again.
    """

    def __init__(self, external: Mapping[str, str], remembered: int = 100_000) -> None:
        self._external = tuple(external.items())
        self._remembered = remembered
        self._lock = threading.Lock()
        self._resources: dict[bytes, _Resource] = {}
        self._families: dict[tuple[bytes, bytes, int], _Family] = {}

    def convert(self, payloads: Iterable[bytes]) -> Converted:
        """All that the Export requests hold. Raises `MalformedOtlp` when one is broken outside of its data points."""
        with self._lock:
            walk = _Walk(self._resource, self._family)
            for payload in payloads:
                walk.request(payload)
            if sum(map(len, self._resources.values())) > self._remembered:
                self._resources.clear()
            return Converted(walk.samples, walk.points, dict(walk.rejected))

    def _resource(self, content: bytes) -> _Resource:
        found = self._resources.pop(content, None)
        if found is None:
            found = _Resource(self._external, identity(content))
            if len(self._resources) >= _RESOURCES:
                del self._resources[next(iter(self._resources))]
        self._resources[content] = found  # behind all others: the first is the one longest not seen
        return found

    def _family(self, name: bytes, unit: bytes, kind: int) -> _Family:
        key = (name, unit, kind)
        found = self._families.get(key)
        if found is None:
            if len(self._families) >= _FAMILIES:
                self._families.clear()
            counter, gauge = kind == _MONOTONIC, kind == _GAUGE
            called = metric_name(
                name.decode("utf-8", "replace"), unit.decode("utf-8", "replace"), counter=counter, gauge=gauge
            )
            found = self._families[key] = _Family(called)
        return found


_MONOTONIC = -_SUM
"""The kind of a sum that only grows."""


class _Walk:
    """One conversion under way."""

    def __init__(self, resource: Callable[[bytes], _Resource], family: Callable[[bytes, bytes, int], _Family]) -> None:
        self.samples: list[Sample] = []
        self.points = 0
        self.rejected: Counter[str] = Counter()
        self._resource_of = resource
        self._family_of = family
        self._resource: _Resource
        self._times: dict[int, bytes] = {}

    def request(self, data: bytes) -> None:
        for number, wire, _, at, end in fields(data, 0, len(data)):
            if number == 1 and wire == LENGTH:
                self._resource_metrics(data, at, end)

    def _resource_metrics(self, data: bytes, at: int, end: int) -> None:
        content = b""
        scopes = []
        for number, wire, _, a, b in fields(data, at, end):
            if number == 1 and wire == LENGTH:
                content += data[a:b]  # parts of a message that comes in parts are joined
            elif number == 2 and wire == LENGTH:
                scopes.append((a, b))
        self._resource = self._resource_of(content)
        for start, stop in scopes:
            for number, wire, _, a, b in fields(data, start, stop):
                if number == 2 and wire == LENGTH:
                    self._metric(data, a, b)

    def _metric(self, data: bytes, at: int, end: int) -> None:
        name = unit = b""
        kind, body = 0, (0, 0)
        for number, wire, _, a, b in fields(data, at, end):
            if wire == LENGTH:
                if number == 1:
                    name = data[a:b]
                elif number == 3:
                    unit = data[a:b]
                elif number in _KINDS:
                    kind, body = number, (a, b)
        found, temporality, monotonic = [], 0, False
        for number, wire, _, a, b in fields(data, *body):
            if number == 1 and wire == LENGTH:
                found.append((a, b))
            elif number == 2 and wire == VARINT:
                temporality = read_varint(data, a, b)[0]
            elif number == 3 and wire == VARINT:
                monotonic = bool(read_varint(data, a, b)[0])
        family = self._family_of(name, unit, _MONOTONIC if kind == _SUM and monotonic else kind)
        if kind == _EXPONENTIAL:
            self._reject(EXPONENTIAL, len(found))
        elif kind in (_SUM, _HISTOGRAM) and temporality != _CUMULATIVE:
            self._reject(DELTA, len(found))
        elif not family.name:
            self._reject(NO_NAME, len(found))
        else:
            convert = {_HISTOGRAM: self._histogram, _SUMMARY: self._summary}.get(kind, self._number)
            for a, b in found:
                try:
                    convert(family, data, a, b)
                except MalformedOtlp:
                    self._reject(MALFORMED)
                    continue
                self.points += 1

    def _reject(self, reason: str, points: int = 1) -> None:
        """Points are counted whatever becomes of them."""
        if points:
            self.rejected[reason] += points
            self.points += points

    def _number(self, family: _Family, data: bytes, at: int, end: int) -> None:
        point = points.number(data, at, end)
        value = STALE if point.flags & points.NO_RECORDED_VALUE else point.value
        if value is None or not point.time_ns:
            self._missing()
            return
        if value == STALE and not point.flags & points.NO_RECORDED_VALUE:
            value = _NAN
        labels = self._resource.labels(family.name, point.attributes, 7)
        self._add(point.time_ns, labels, value)

    def _histogram(self, family: _Family, data: bytes, at: int, end: int) -> None:
        point = points.distribution(data, at, end)
        if not point.time_ns:
            self._missing()
            return
        stale = bool(point.flags & points.NO_RECORDED_VALUE)
        own, labels = point.attributes, self._resource.labels
        below = 0
        # A point that ends a series has no counts, but may have bounds, which say what series there were.
        for bound, count in zip(point.bounds, point.counts or (0,) * len(point.bounds), strict=False):
            below += count
            bucket = labels(family.bucket, own, 9, ("le", number_text(bound)))
            self._add(point.time_ns, bucket, STALE if stale else _DOUBLE.pack(below))
        count_value = STALE if stale else _DOUBLE.pack(point.count)
        self._add(point.time_ns, labels(family.bucket, own, 9, ("le", "+Inf")), count_value)
        if stale or point.total is not None:
            self._add(point.time_ns, labels(family.total, own, 9), STALE if stale else _value(point.total or 0.0))
        self._add(point.time_ns, labels(family.count, own, 9), count_value)

    def _summary(self, family: _Family, data: bytes, at: int, end: int) -> None:
        point = points.quantiles(data, at, end)
        if not point.time_ns:
            self._missing()
            return
        stale = bool(point.flags & points.NO_RECORDED_VALUE)
        own, labels = point.attributes, self._resource.labels
        for quantile, value in point.values:
            series = labels(family.name, own, 7, ("quantile", number_text(quantile)))
            self._add(point.time_ns, series, STALE if stale else _value(value))
        self._add(point.time_ns, labels(family.total, own, 7), STALE if stale else _value(point.total))
        self._add(point.time_ns, labels(family.count, own, 7), STALE if stale else _DOUBLE.pack(point.count))

    def _missing(self) -> None:
        """The caller counts the point."""
        self.rejected[NO_VALUE] += 1

    def _add(self, time_ns: int, labels: bytes, value: bytes) -> None:
        time_ms = time_ns // 1_000_000
        tail = self._times.get(time_ms)
        if tail is None:
            tail = self._times[time_ms] = b"\x10" + varint(time_ms)
        self.samples.append((time_ms, labels, b"\x12" + bytes((9 + len(tail),)) + b"\x09" + value + tail, self.points))


def _value(value: float) -> bytes:
    """The bytes of a double that must not be taken for the end of a series."""
    packed = _DOUBLE.pack(value)
    return _NAN if packed == STALE else packed
