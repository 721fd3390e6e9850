"""Data points as samples, one function for each kind: gauges and sums, histograms, exponential histograms, summaries.

The rules are OpenTelemetry's (specification, ``compatibility/prometheus_and_openmetrics.md``). What counts since the last point
(delta) is marked and keeps its own value here; adding up is for who knows what arrived (`shipper_exporters._prometheus.delta`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Protocol

from shipper_exporters._prometheus import points as points
from shipper_exporters._prometheus.exemplars import read as read_exemplars
from shipper_exporters._prometheus.names import number_text
from shipper_exporters._prometheus.native import Native
from shipper_exporters._prometheus.samples import (
    DOUBLE,
    STALE,
    Exemplar,
    Family,
    Labels,
    More,
    Sample,
    number_field,
    plain,
    plain_bytes,
    time_tail,
)

NO_VALUE = "data points without a value or a time"
COARSE = "exponential histograms of a scale below -4"

_FIRST = 1_000_000  # ns: a moment before has no time in milliseconds

_NOTHING_MORE = More()


class Resource(Protocol):
    """Who a data point is about."""

    def labels(
        self, family: Family, name: str, own: bytes, number: int, extra: tuple[str, str] | None = None
    ) -> Labels:
        """The labels of the series ``name`` of ``family``; ``own``: attributes, which are fields ``number`` of a point."""


class Emitter:
    """Makes samples of points; ``points`` is the number of the one under way, which the caller counts on.

    ``deltas``: some sample is one.
    """

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.points = 0
        self.deltas = False
        self.rejected: Counter[str] = Counter()
        self.resource: Resource
        self._tails: dict[int, bytes] = {}
        self._since: dict[int, More] = {}

    def number(self, family: Family, data: bytes, at: int, end: int, *, delta: bool) -> None:
        """A point of a gauge or a sum."""
        point = points.number(data, at, end)
        if point.flags & points.NO_RECORDED_VALUE:
            value = STALE
        elif point.value is None:
            self.rejected[NO_VALUE] += 1
            return
        else:
            value = point.value if point.value != STALE else plain_bytes(point.value)
        if point.time_ns < _FIRST:
            self.rejected[NO_VALUE] += 1
            return
        more = None
        if family.is_cumulative:
            exemplars = read_exemplars(point.exemplars) if point.exemplars else ()
            more = self._more(point.start_ns, exemplars, delta=delta and value is not STALE)
        self._add(point.time_ns, self.resource.labels(family, family.name, point.attributes, 7), value, more)

    def histogram(self, family: Family, data: bytes, at: int, end: int, *, delta: bool) -> None:
        """A point of a histogram with explicit bounds."""
        point = points.distribution(data, at, end)
        if point.time_ns < _FIRST:
            self.rejected[NO_VALUE] += 1
            return
        stale = bool(point.flags & points.NO_RECORDED_VALUE)
        own, labels = point.attributes, self.resource.labels
        more = self._more(point.start_ns, delta=delta and not stale)
        behind = _by_bucket(read_exemplars(point.exemplars), point.bounds) if point.exemplars else {}
        below = 0
        # A point that ends a series has no counts, but may have bounds, which say what series there were.
        for number, (bound, count) in enumerate(
            zip(point.bounds, point.counts or (0,) * len(point.bounds), strict=False)
        ):
            below += count
            bucket = labels(family, family.bucket, own, 9, ("le", number_text(bound)))
            there = self._more(point.start_ns, behind[number], delta=delta) if number in behind else more
            self._add(point.time_ns, bucket, STALE if stale else DOUBLE.pack(below), there)
        count_value = STALE if stale else DOUBLE.pack(point.count)
        last = len(point.bounds)
        there = self._more(point.start_ns, behind[last], delta=delta) if last in behind else more
        self._add(point.time_ns, labels(family, family.bucket, own, 9, ("le", "+Inf")), count_value, there)
        if stale or point.total is not None:
            total = STALE if stale else plain(point.total or 0.0)
            self._add(point.time_ns, labels(family, family.total, own, 9), total, more)
        self._add(point.time_ns, labels(family, family.count, own, 9), count_value, more)

    def exponential(self, family: Family, data: bytes, at: int, end: int, *, delta: bool) -> None:
        """A point of an exponential histogram: one native histogram."""
        point = points.exponential(data, at, end)
        if point.time_ns < _FIRST:
            self.rejected[NO_VALUE] += 1
            return
        native = Native.of(point)
        if native is None:
            self.rejected[COARSE] += 1
            return
        stale = bool(point.flags & points.NO_RECORDED_VALUE)
        more = self._more(point.start_ns, read_exemplars(point.exemplars))
        if delta and not stale:
            more = More(more.start_ms, more.exemplars, delta=True, native=native)
            self.deltas = True
        labels = self.resource.labels(family, family.name, point.attributes, 1)
        time_ms = point.time_ns // 1_000_000
        value = native.encoded(self._tail(time_ms), stale=stale)
        self.samples.append((time_ms, labels, value, self.points, more))

    def summary(self, family: Family, data: bytes, at: int, end: int, *, delta: bool) -> None:
        """A point of a summary; there is none of delta temporality."""
        point = points.quantiles(data, at, end)
        if point.time_ns < _FIRST:
            self.rejected[NO_VALUE] += 1
            return
        stale = bool(point.flags & points.NO_RECORDED_VALUE)
        own, labels = point.attributes, self.resource.labels
        for quantile, value in point.values:
            one = labels(family, family.name, own, 7, ("quantile", number_text(quantile)))
            self._add(point.time_ns, one, STALE if stale else plain(value), None)
        more = self._more(point.start_ns, delta=delta)
        total = STALE if stale else plain(point.total)
        self._add(point.time_ns, labels(family, family.total, own, 7), total, more)
        count = STALE if stale else DOUBLE.pack(point.count)
        self._add(point.time_ns, labels(family, family.count, own, 7), count, more)

    def _more(self, start_ns: int, exemplars: tuple[Exemplar, ...] = (), *, delta: bool = False) -> More:
        start_ms = start_ns // 1_000_000
        if exemplars or delta:
            self.deltas |= delta
            return More(start_ms, exemplars, delta)
        found = self._since.get(start_ms)
        if found is None:
            found = self._since[start_ms] = More(start_ms) if start_ms else _NOTHING_MORE
        return found

    def _add(self, time_ns: int, labels: bytes, value: bytes, more: More | None) -> None:
        time_ms = time_ns // 1_000_000
        self.samples.append((time_ms, labels, number_field(value, self._tail(time_ms)), self.points, more))

    def _tail(self, time_ms: int) -> bytes:
        tail = self._tails.get(time_ms)
        if tail is None:
            tail = self._tails[time_ms] = time_tail(time_ms)
        return tail


def _by_bucket(exemplars: tuple[Exemplar, ...], bounds: tuple[float, ...]) -> dict[int, tuple[Exemplar, ...]]:
    """Each exemplar with the bucket that its value falls into."""
    found: dict[int, tuple[Exemplar, ...]] = {}
    for one in exemplars:
        number = bisect_left(bounds, one.value)
        found[number] = (*found.get(number, ()), one)
    return found
