"""Batches and requests of lines for tests, as log records or as data points.

They are made with the protobuf library so that they do not lean on what is tested.
"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from shipper.contracts import Batch, Cut, Request, Signal, StreamKind
from shipper.ids import uuid7
from shipper.testing.clock import START_WALL_NS

LIFE = uuid7(START_WALL_NS)
"""The life that test batches belong to unless said otherwise."""


def log_payload(lines: Sequence[str], *, observed_ns: int = START_WALL_NS, service: str = "test") -> bytes:
    """One serialized ExportLogsServiceRequest with a record for each line."""
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scope = resource.scope_logs.add()
    for line in lines:
        scope.log_records.add(observed_time_unix_nano=observed_ns).body.string_value = line
    return message.SerializeToString()


def metric_payload(lines: Sequence[str], *, observed_ns: int = START_WALL_NS, service: str = "test") -> bytes:
    """One serialized ExportMetricsServiceRequest with a gauge ``line`` that is 1 for each line, which is its attribute."""
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    metric = resource.scope_metrics.add().metrics.add(name="line")
    for line in lines:
        point = metric.gauge.data_points.add(time_unix_nano=observed_ns, as_int=1)
        point.attributes.add(key="line").value.string_value = line
    return message.SerializeToString()


def log_batch(
    lines: Sequence[str],
    *,
    start: int = 0,
    stream: str = "file-1",
    life: str = LIFE,
    kind: StreamKind = StreamKind.DATA,
    observed_ns: int = START_WALL_NS,
    signal: Signal = Signal.LOGS,
) -> Batch:
    """A batch as if ``lines`` stood in a file from position ``start`` on, each with its line feed.

    With ``signal`` metrics each is a data point.
    """
    end = start + sum(len(line.encode()) + 1 for line in lines)
    cut = Cut(start, end, start, end, len(lines), observed_ns)
    payload = metric_payload if signal is Signal.METRICS else log_payload
    return Batch(life, stream, signal, cut, payload(lines, observed_ns=observed_ns), kind)


def log_request(*batches: Batch, wall_ns: int = START_WALL_NS) -> Request:
    """A request of batches of one signal with an id of its own."""
    return Request(uuid7(wall_ns), batches[0].signal if batches else Signal.LOGS, batches)
