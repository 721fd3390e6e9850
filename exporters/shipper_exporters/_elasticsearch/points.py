"""Values of data points as Elasticsearch stores them, and which of its dynamic templates each is for.

As the Collector's Elasticsearch exporter has it: numbers as they are, histograms as the type ``histogram`` (a value in the middle of
each bucket, and its count), summaries as sum and count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

CUMULATIVE = 2
NO_VALUE = "data points without a value, or with one that is no finite number"
_NO_RECORDED_VALUE = 1  # the flag of a point that only says that its series has none now
MALFORMED = "histograms whose counts do not fit their bounds"
_LN_2 = math.log(2)


def value_of_point(metric: Any, kind: str, point: Any) -> tuple[object, str] | None:
    """The value and the template of a point, None where it says that there is no value, which needs no document.

    Raises ValueError with the reason where it has no form.
    """
    if point.flags & _NO_RECORDED_VALUE:
        return None
    if kind in ("gauge", "sum"):
        return _number(metric, kind, point)
    if kind == "summary":
        return {"sum": _finite(point.sum), "value_count": point.count}, "summary"
    counts: dict[float, int] = {}
    for count, value in _buckets(point) if kind == "histogram" else _exponential(point):
        counts[value] = (
            counts.get(value, 0) + count
        )  # two buckets around one bound have it both; a value may come only once
    return {"counts": list(counts.values()), "values": list(counts)}, "histogram"


def _number(metric: Any, kind: str, point: Any) -> tuple[object, str]:
    form = point.WhichOneof("value")
    if form is None:
        raise ValueError(NO_VALUE)
    value = point.as_int if form == "as_int" else _finite(point.as_double)
    grows = kind == "sum" and metric.sum.is_monotonic and metric.sum.aggregation_temporality == CUMULATIVE
    return value, f"{'counter' if grows else 'gauge'}_{'long' if form == 'as_int' else 'double'}"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(NO_VALUE)
    return value


def _buckets(point: Any) -> Iterator[tuple[int, float]]:
    counts, bounds = point.bucket_counts, point.explicit_bounds
    if counts and len(counts) != len(bounds) + 1:
        raise ValueError(MALFORMED)
    if not bounds:
        if point.count:
            yield point.count, _finite(point.sum) / point.count
        return
    for number, count in enumerate(counts):
        if count:
            yield count, _finite(_middle(bounds, number))


def _middle(bounds: Sequence[float], number: int) -> float:
    if number == 0:
        return bounds[0] / 2 if bounds[0] > 0 else bounds[0]
    if number == len(bounds):
        return bounds[-1]
    return bounds[number - 1] + (bounds[number] - bounds[number - 1]) / 2


def _exponential(point: Any) -> Iterator[tuple[int, float]]:
    """The buckets in order of their values, as the type ``histogram`` wants them."""
    for side, sign in ((point.negative, -1), (point.positive, 1)):
        counted = [(number, count) for number, count in enumerate(side.bucket_counts) if count]
        for number, count in reversed(counted) if sign < 0 else counted:
            low, high = (_bound(side.offset + number + edge, point.scale) for edge in (0, 1))
            yield count, _finite(sign * (low + (high - low) / 2))
        if sign < 0 and point.zero_count:
            yield point.zero_count, 0.0


def _bound(index: int, scale: int) -> float:
    """The lower boundary of a bucket (OpenTelemetry metrics data model, exponential histograms)."""
    try:
        return math.exp(index * math.ldexp(_LN_2, -scale))
    except OverflowError:
        return math.inf
