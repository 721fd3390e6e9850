"""A snapshot of metrics in pieces that every destination takes: a frame is the smallest thing that the sidecar can send.

Cut at metrics, and where one metric alone is too large, at its data points.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shipper.contracts import Signal
from shipper.otlp.splice import take, units

MOST_BYTES = 512 << 10
"""Of one piece; receivers take 4 MiB by default, and the host's identity is still to be added."""


def pieces(request: Any, most: int = MOST_BYTES) -> Iterator[Any]:
    """The ExportMetricsServiceRequest as one or more, of at most ``most`` bytes where a single data point is not larger."""
    if request.ByteSize() <= most:
        yield request
        return
    data = request.SerializeToString()
    count = units(Signal.METRICS, data)
    if count < 2:
        yield from _of_one(request, most)
        return
    for first, last in ((0, count // 2), (count // 2, count)):
        yield from pieces(type(request).FromString(take(Signal.METRICS, data, first, last)), most)


def _of_one(request: Any, most: int) -> Iterator[Any]:
    """A request with a single metric, halved at its data points."""
    points = _points(request)
    if points is None or len(points) < 2:
        yield request
        return
    middle = len(points) // 2
    for kept in (slice(None, middle), slice(middle, None)):
        half = type(request)()
        half.CopyFrom(request)
        rest = list(points[kept])
        mine = _points(half)
        del mine[:]
        mine.extend(rest)
        yield from pieces(half, most)


def _points(request: Any) -> Any:
    """The data points of the only metric; None where it has none."""
    for resource_metrics in request.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                kind = metric.WhichOneof("data")
                return getattr(metric, kind).data_points if kind else None
    return None
