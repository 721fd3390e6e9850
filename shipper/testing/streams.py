"""Batches and requests of log lines for tests, made with the protobuf library so that they do not lean on what is tested."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

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


def log_batch(
    lines: Sequence[str],
    *,
    start: int = 0,
    stream: str = "file-1",
    life: str = LIFE,
    kind: StreamKind = StreamKind.DATA,
    observed_ns: int = START_WALL_NS,
) -> Batch:
    """A batch as if ``lines`` stood in a file from position ``start`` on, each with its line feed."""
    end = start + sum(len(line.encode()) + 1 for line in lines)
    cut = Cut(start, end, start, end, len(lines), observed_ns)
    return Batch(life, stream, Signal.LOGS, cut, log_payload(lines, observed_ns=observed_ns), kind)


def log_request(*batches: Batch, wall_ns: int = START_WALL_NS) -> Request:
    """A request of log batches with an id of its own."""
    return Request(uuid7(wall_ns), Signal.LOGS, batches)
