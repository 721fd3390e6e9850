"""What tests of the Prometheus exporter share: OTLP metrics, and requests of them as a pump makes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from shipper.contracts import Batch, Cut, Request, Signal
from shipper.ids import uuid7
from shipper.otlp.scan import scan

LIFE = "0190aaaa-0000-7000-8000-000000000001"
HOST = {
    "service.name": "api",
    "deployment.environment.name": "prod",
    "shipper.generation": "g1",
    "service.version": "r1",
    "service.instance.id": "h1",
}
IDENTITY = {"service": "api", "env": "prod", "generation": "g1", "release": "r1", "instance": "h1"}
_starts = itertools.count()

Value = str | bool | int | float | bytes | Sequence[str]


def key_values(attributes: Mapping[str, Value]) -> Iterable[KeyValue]:
    """Attributes as OTLP has them."""
    for key, value in attributes.items():
        found = KeyValue(key=key)
        if isinstance(value, bool):
            found.value.bool_value = value
        elif isinstance(value, str):
            found.value.string_value = value
        elif isinstance(value, int):
            found.value.int_value = value
        elif isinstance(value, float):
            found.value.double_value = value
        elif isinstance(value, bytes):
            found.value.bytes_value = value
        else:
            for one in value:
                found.value.array_value.values.add(string_value=one)
        yield found


def payload(*metrics: Metric, resource: Mapping[str, Value] = HOST) -> bytes:
    """One serialized ExportMetricsServiceRequest."""
    message = ExportMetricsServiceRequest()
    one = message.resource_metrics.add()
    one.resource.attributes.extend(key_values(resource))
    one.scope_metrics.add().metrics.extend(metrics)
    return message.SerializeToString()


def gauge(name: str, value: float | None, time_ms: int, unit: str = "", flags: int = 0, **attributes: Value) -> Metric:
    """A gauge with one point; without a value it has none, as a point that ends a series."""
    metric = Metric(name=name, unit=unit)
    point = metric.gauge.data_points.add(time_unix_nano=time_ms * 1_000_000, flags=flags)
    if value is not None:
        point.as_double = value
    point.attributes.extend(key_values(attributes))
    return metric


def counter(
    name: str, value: int, time_ms: int, unit: str = "", *, temporality: int = 2, **attributes: Value
) -> Metric:
    """A sum that only grows, with one point."""
    metric = Metric(name=name, unit=unit)
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.sum.is_monotonic = True
    point = metric.sum.data_points.add(time_unix_nano=time_ms * 1_000_000, as_int=value)
    point.attributes.extend(key_values(attributes))
    return metric


def exponential(
    name: str,
    time_ms: int,
    counts: Sequence[int],
    unit: str = "",
    *,
    scale: int = 0,
    offset: int = 0,
    zero: int = 0,
    negative: tuple[int, Sequence[int]] = (0, ()),
    temporality: int = 2,
    start_ms: int = 0,
    total: float | None = None,
    flags: int = 0,
    **attributes: Value,
) -> Metric:
    """An exponential histogram with one point; ``counts`` are of its positive buckets, from the one at ``offset`` on."""
    metric = Metric(name=name, unit=unit)
    metric.exponential_histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(
        start_time_unix_nano=start_ms * 1_000_000,
        time_unix_nano=time_ms * 1_000_000,
        count=sum(counts) + zero + sum(negative[1]),
        scale=scale,
        zero_count=zero,
        flags=flags,
    )
    if total is not None:
        point.sum = total
    point.positive.offset, point.negative.offset = offset, negative[0]
    point.positive.bucket_counts.extend(counts)
    point.negative.bucket_counts.extend(negative[1])
    point.attributes.extend(key_values(attributes))
    return metric


def request(*payloads: bytes, wall_ms: int = 0) -> Request:
    """A request of one batch for each payload; ``wall_ms``: when it was committed."""
    batches = []
    for one in payloads:
        start = next(_starts)
        cut = Cut(start, start + 1, start, start + 1, scan(Signal.METRICS, one).records, 1)
        batches.append(Batch(LIFE, "metrics", Signal.METRICS, cut, one))
    return Request(uuid7(wall_ms * 1_000_000 or 4_000_000_000_000_000_000), Signal.METRICS, tuple(batches))
