"""Requests and errors over time, from the samples of ``shipper.requests`` that every host left in the archive.

A host's counters begin at zero and their last sample is taken when its life ends, so what is added up here is all requests
that it counted, not an estimate; where a sample is not in the archive only the moment is less exact.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shipper.contracts import Signal
from shipper.fleet.labels import LIFE, labels_of
from shipper.otlp import decode, wire
from shipper.otlp.messages import envelopes, parse

REQUESTS = "shipper.requests"
MARK = wire.field(1, REQUESTS.encode())
"""Bytes that every payload with such a sample holds: the metric's name as it is encoded."""
_NO_RECORDED_VALUE = 1  # DataPointFlags: the series ended
_CUMULATIVE = 2

Whose = tuple[str, str, str, str]  # life, service, environment, generation


@dataclass(slots=True)
class _Counter:
    """The samples of one series, in the order in which they lie in the archive."""

    failed: bool
    times: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    start_ns: int = 0

    def increases(self) -> Iterator[tuple[int, int, float]]:
        """From when to when it grew by how much; a sample that lies there twice counts once, a restart begins at zero."""
        before_ns, before = self.start_ns, 0.0
        for at_ns, value in sorted(dict(zip(self.times, self.values, strict=True)).items()):
            grown = value - before if value >= before else value
            if grown:
                yield min(before_ns or at_ns, at_ns), at_ns, grown
            before_ns, before = at_ns, value


@dataclass(slots=True)
class Tally:
    """Requests served, and those of them that failed."""

    requests: float = 0.0
    errors: float = 0.0

    def add(self, amount: float, *, failed: bool) -> None:
        """Count more of them."""
        self.requests += amount
        self.errors += amount if failed else 0.0

    @property
    def ratio(self) -> float | None:
        """Failed requests to all; None without requests."""
        return self.errors / self.requests if self.requests > 0 else None


@dataclass(frozen=True, slots=True)
class Bins:
    """Equal pieces of time, in ns: ``count`` of ``step_ns`` from ``start_ns`` on."""

    start_ns: int
    step_ns: int
    count: int

    def shares(self, start_ns: int, end_ns: int) -> Iterator[tuple[int, float]]:
        """Which bins a stretch lies in, and with which share; what is outside counts for the bin at the border."""
        first, last = self._bin(start_ns), self._bin(end_ns)
        if first == last:
            yield last, 1.0
            return
        low, high = max(start_ns, self.start_ns), min(end_ns, self.start_ns + self.count * self.step_ns)
        for number in range(first, last + 1):
            left = max(low, self.start_ns + number * self.step_ns)
            right = min(high, self.start_ns + (number + 1) * self.step_ns)
            yield number, max(0, right - left) / (high - low)

    def _bin(self, at_ns: int) -> int:
        return min(self.count - 1, max(0, (at_ns - self.start_ns) // self.step_ns))


class Traffic:
    """All samples of requests, by whose they are."""

    def __init__(self) -> None:
        self._series: dict[tuple[Whose, str], _Counter] = {}

    def take(self, payload: bytes, life: str) -> None:
        """Keep the samples in a metrics payload. ``life``: whose it is where they do not say. Raises `MalformedOtlp`."""
        if MARK not in payload:
            return
        for resource, _, metrics in envelopes(Signal.METRICS, parse(Signal.METRICS, payload)):
            counters = [metric.sum for metric in metrics if metric.name == REQUESTS and metric.HasField("sum")]
            if not counters:
                continue
            said = decode.attributes_of(resource.attributes)
            labels = labels_of(said)
            whose = (
                str(said.get(LIFE) or life),
                labels.get("service", ""),
                labels.get("environment", ""),
                labels.get("generation", ""),
            )
            for counter in counters:
                if counter.aggregation_temporality == _CUMULATIVE:
                    for point in counter.data_points:
                        self._add(whose, str(said.get("service.instance.id", "")), point)

    def _add(self, whose: Whose, instance: str, point: Any) -> None:
        if point.flags & _NO_RECORDED_VALUE:
            return
        attributes = decode.attributes_of(point.attributes)
        name = repr((instance, sorted((name, str(value)) for name, value in attributes.items())))
        value = float(point.as_int if point.HasField("as_int") else point.as_double)
        failed = attributes.get("outcome") == "error"
        self.put(whose, name, failed, point.start_time_unix_nano, [(point.time_unix_nano, value)])

    def put(self, whose: Whose, name: str, failed: bool, start_ns: int, points: Iterable[tuple[int, float]]) -> None:
        """Samples of one counter, told from others of the same host by its ``name``; it was zero at ``start_ns``."""
        counter = self._series.get((whose, name))
        if counter is None:
            counter = self._series[whose, name] = _Counter(failed)
        counter.start_ns = min(counter.start_ns or start_ns, start_ns)
        for at_ns, value in points:
            counter.times.append(at_ns)
            counter.values.append(value)

    def totals(self) -> dict[Whose, Tally]:
        """All requests of each."""
        found: dict[Whose, Tally] = {}
        for (whose, _), counter in self._series.items():
            tally = found.setdefault(whose, Tally())
            for _, _, amount in counter.increases():
                tally.add(amount, failed=counter.failed)
        return found

    def over(self, bins: Bins, groups: Mapping[Whose, int]) -> dict[int, list[Tally]]:
        """Requests in each bin, by the group that the series belong to; those of no group are left out."""
        found: dict[int, list[Tally]] = {}
        for (whose, _), counter in self._series.items():
            if whose not in groups:
                continue
            tallies = found.setdefault(groups[whose], [Tally() for _ in range(bins.count)])
            for start_ns, end_ns, amount in counter.increases():
                for number, share in bins.shares(start_ns, end_ns):
                    tallies[number].add(amount * share, failed=counter.failed)
        return found
