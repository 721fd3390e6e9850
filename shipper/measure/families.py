"""What a Prometheus client exposes, as OTLP metrics: the conversion of the OpenTelemetry compatibility specification.

Counters stay counters under the name they were exposed by (``_total`` included), histograms and summaries keep their
parts together, and everything without a meaning of its own in OTLP (info, stateset, gauge histograms, untyped) becomes a
gauge. Exemplars are not taken over. A point that contradicts itself is left out and counted, the others are kept.
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from prometheus_client import Metric
from prometheus_client.samples import Sample

from shipper.measure.starts import Series, Starts, created_times
from shipper.otlp import metrics

_UNITS = {"seconds": "s", "bytes": "By", "meters": "m", "volts": "V", "amperes": "A", "celsius": "Cel", "grams": "g"}
Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Converted:
    """Metric messages, how many data points they hold, and how many were left out because they contradict themselves."""

    metrics: list[bytes] = field(default_factory=list)
    points: int = 0
    malformed: int = 0

    def add(self, metric: bytes, points: int) -> None:
        """One more metric."""
        self.metrics.append(metric)
        self.points += points


def convert(families: Sequence[Metric], starts: Starts, now_ns: int) -> Converted:
    """All families of one exposition, read at ``now_ns``. ``starts`` remembers since when each series counts."""
    found = Converted()
    created, merely_created = created_times(families)
    starts.begin(families, created, now_ns)
    for family in families:
        if family.name in merely_created or not family.samples:
            continue
        if family.type == "counter":
            _counter(family, starts, now_ns, found)
        elif family.type == "histogram":
            _histogram(family, starts, now_ns, found)
        elif family.type == "summary":
            _summary(family, starts, now_ns, found)
        else:
            _gauge(family, family.samples, now_ns, found)
    starts.end(now_ns)
    return found


def _counter(family: Metric, starts: Starts, now_ns: int, found: Converted) -> None:
    for name, samples in _by_name(sample for sample in family.samples if not sample.name.endswith("_created")).items():
        points = []
        for sample in samples:
            if not sample.value >= 0:  # NaN included
                found.malformed += 1
                continue
            series = Series(family.name, _labels(sample))
            if zero_ns := _zero_at(sample, series, starts):
                points.append(metrics.number(0.0, zero_ns, zero_ns, sample.labels))
            start = starts.since(series, sample.value)
            points.append(metrics.number(float(sample.value), _time(sample, now_ns), start, sample.labels))
        if points:
            found.add(metrics.counter(name, points, **_about(family)), len(points))


def _gauge(family: Metric, samples: Iterable[Sample], now_ns: int, found: Converted) -> None:
    for name, group in _by_name(samples).items():
        points = [metrics.number(float(sample.value), _time(sample, now_ns), 0, sample.labels) for sample in group]
        found.add(metrics.gauge(name, points, **_about(family)), len(points))


def _histogram(family: Metric, starts: Starts, now_ns: int, found: Converted) -> None:
    points = []
    for labels, samples in _by_labels(family, "le").items():
        try:
            points += _distribution(family, labels, samples, starts, now_ns)
        except (ValueError, OverflowError):
            found.malformed += 1
    if points:
        found.add(metrics.histogram(family.name, points, **_about(family)), len(points))


def _distribution(
    family: Metric, labels: Labels, samples: Sequence[Sample], starts: Starts, now_ns: int
) -> list[bytes]:
    """One histogram, and its beginning where it is new. Raises ValueError when its buckets do not grow."""
    edges = sorted((float(s.labels["le"]), s.value) for s in samples if "le" in s.labels)
    total = next((s.value for s in samples if s.name == f"{family.name}_count"), None)
    if edges and math.isinf(edges[-1][0]):
        total = edges.pop()[1]
    if total is None:
        raise ValueError("neither a count nor a bucket +Inf")
    so_far = [0, *(_whole(value) for _, value in edges), _whole(total)]
    counts = [b - a for a, b in pairwise(so_far)]
    if min(counts) < 0:
        raise ValueError("the buckets do not grow")
    value = next((s.value for s in samples if s.name == f"{family.name}_sum"), None)
    series, bounds = Series(family.name, labels), [edge for edge, _ in edges]
    points = []
    if zero_ns := _zero_at(samples[0], series, starts):
        points.append(metrics.distribution([0] * len(counts), bounds, 0.0, zero_ns, zero_ns, dict(labels)))
    start = starts.since(series, total)
    points.append(metrics.distribution(counts, bounds, value, _time(samples[0], now_ns), start, dict(labels)))
    return points


def _summary(family: Metric, starts: Starts, now_ns: int, found: Converted) -> None:
    points = []
    for labels, samples in _by_labels(family, "quantile").items():
        by_name = {sample.name: sample.value for sample in samples if "quantile" not in sample.labels}
        try:
            count = _whole(by_name.get(f"{family.name}_count", 0))
            quantiles = {float(s.labels["quantile"]): float(s.value) for s in samples if "quantile" in s.labels}
        except (ValueError, OverflowError):
            found.malformed += 1
            continue
        total = float(by_name.get(f"{family.name}_sum", 0))
        series = Series(family.name, labels)
        if zero_ns := _zero_at(samples[0], series, starts):
            points.append(metrics.quantiles(0, 0.0, dict.fromkeys(quantiles, 0.0), zero_ns, zero_ns, dict(labels)))
        start = starts.since(series, count)
        points.append(metrics.quantiles(count, total, quantiles, _time(samples[0], now_ns), start, dict(labels)))
    if points:
        found.add(metrics.summary(family.name, points, **_about(family)), len(points))


def _zero_at(sample: Sample, series: Series, starts: Starts) -> int:
    """When a series that is new now was not yet there, so that its first value is seen as growth; 0: it is not new.

    A sample that says its own time may be of long ago.
    """
    return starts.new_since(series) if sample.timestamp is None else 0


def _about(family: Metric) -> dict[str, str]:
    return {"unit": _UNITS.get(family.unit, ""), "description": family.documentation}


def _by_name(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.name, []).append(sample)
    return groups


def _by_labels(family: Metric, but: str) -> dict[Labels, list[Sample]]:
    """The samples that belong to one distribution, by its labels."""
    groups: dict[Labels, list[Sample]] = {}
    for sample in family.samples:
        if sample.name == f"{family.name}_created":
            continue
        groups.setdefault(_labels(sample, but), []).append(sample)
    return groups


def _labels(sample: Sample, but: str = "") -> Labels:
    return tuple(sorted((name, value) for name, value in sample.labels.items() if name != but))


def _time(sample: Sample, now_ns: int) -> int:
    """When the sample was taken: as it says itself, else now."""
    if sample.timestamp is None:
        return now_ns
    stated = float(sample.timestamp)
    return int(stated * 1e9) if 0 < stated < 1 << 33 else now_ns


def _whole(value: float) -> int:
    """A count. Raises ValueError or OverflowError for what is none."""
    count = int(value)
    if count < 0 or count != value or count >> 63:
        raise ValueError(f"{value} is no count")
    return count
