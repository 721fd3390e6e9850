"""Making OTLP metrics requests without the protobuf library.

Everything is cumulative, as counters of a life and everything scraped are. Field numbers: opentelemetry-proto
``metrics/v1/metrics.proto``; the envelopes are those of logs (see `shipper.otlp.splice`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise

from shipper.otlp.encode import AttributeValue, key_value
from shipper.otlp.wire import double_field, field, fixed64_field, text, varint_field

CUMULATIVE = 2
"""AggregationTemporality: since the start time, not since the last point."""

_I64 = range(-(1 << 63), 1 << 63)


def number(
    value: int | float, time_ns: int, start_ns: int = 0, attributes: Mapping[str, AttributeValue] | None = None
) -> bytes:
    """The content of a NumberDataPoint. An int that does not fit 64 bits becomes a double.

    Times in nanoseconds since the epoch; ``start_ns`` 0 for none (a gauge has none). Raises as `encode.any_value`.
    """
    whole = isinstance(value, int) and value in _I64
    point = fixed64_field(6, int(value)) if whole else double_field(4, _double(value))  # sfixed64: the same bytes
    return _times(time_ns, start_ns) + point + _attributes(7, attributes)


def distribution(
    counts: Sequence[int],
    bounds: Sequence[float],
    total: float | None,
    time_ns: int,
    start_ns: int = 0,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> bytes:
    """The content of a HistogramDataPoint. ``counts`` are those of each bucket alone, one more than there are ``bounds``.

    ``total`` is the sum of all values, None where it is not known. Raises ValueError when counts and bounds do not
    match, or bounds are not ascending, and as `encode.any_value`.
    """
    if len(counts) != len(bounds) + 1:
        raise ValueError(f"{len(counts)} buckets do not fit {len(bounds)} bounds")
    if any(not a < b for a, b in pairwise(bounds)):
        raise ValueError("the bounds are not ascending")
    return b"".join(
        (
            _times(time_ns, start_ns),
            fixed64_field(4, sum(counts)),
            b"" if total is None else double_field(5, total),
            field(6, struct.pack(f"<{len(counts)}Q", *counts)),
            field(7, struct.pack(f"<{len(bounds)}d", *bounds)) if bounds else b"",
            _attributes(9, attributes),
        )
    )


def quantiles(
    count: int,
    total: float,
    values: Mapping[float, float],
    time_ns: int,
    start_ns: int = 0,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> bytes:
    """The content of a SummaryDataPoint; ``values`` by quantile (0 to 1). Raises as `encode.any_value`."""
    return b"".join(
        (
            _times(time_ns, start_ns),
            fixed64_field(4, count),
            double_field(5, total),
            *(field(6, double_field(1, quantile) + double_field(2, value)) for quantile, value in values.items()),
            _attributes(7, attributes),
        )
    )


def gauge(name: str, points: Sequence[bytes], *, unit: str = "", description: str = "") -> bytes:
    """The content of a Metric of `number` points that may go either way."""
    return _metric(name, unit, description) + field(5, _points(points))


def counter(name: str, points: Sequence[bytes], *, unit: str = "", description: str = "") -> bytes:
    """The content of a Metric of `number` points that only grow from their start time on."""
    content = _points(points) + varint_field(2, CUMULATIVE) + varint_field(3, True)
    return _metric(name, unit, description) + field(7, content)


def histogram(name: str, points: Sequence[bytes], *, unit: str = "", description: str = "") -> bytes:
    """The content of a Metric of `distribution` points."""
    return _metric(name, unit, description) + field(9, _points(points) + varint_field(2, CUMULATIVE))


def summary(name: str, points: Sequence[bytes], *, unit: str = "", description: str = "") -> bytes:
    """The content of a Metric of `quantiles` points."""
    return _metric(name, unit, description) + field(11, _points(points))


def export_metrics(resource: bytes, scope: bytes, metrics: Sequence[bytes]) -> bytes:
    """An ExportMetricsServiceRequest of one resource and one scope, from the contents of its messages.

    Requests are joined by writing them one behind the other.
    """
    scope_metrics = field(1, scope) + b"".join([field(2, metric) for metric in metrics])
    return field(1, field(1, resource) + field(2, scope_metrics))


def _metric(name: str, unit: str, description: str) -> bytes:
    out = field(1, text(name))
    if description:
        out += field(2, text(description))
    return out + field(3, text(unit)) if unit else out


def _points(points: Sequence[bytes]) -> bytes:
    return b"".join([field(1, point) for point in points])


def _times(time_ns: int, start_ns: int) -> bytes:
    return (fixed64_field(2, start_ns) if start_ns else b"") + fixed64_field(3, time_ns)


def _attributes(number: int, attributes: Mapping[str, AttributeValue] | None) -> bytes:
    return b"".join([field(number, key_value(key, value)) for key, value in attributes.items()]) if attributes else b""


def _double(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
