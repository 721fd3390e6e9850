"""Log records with everything that a record can have, made with the protobuf library, for round trips through other protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.contracts import Batch, Cut, ExporterContext, Request, Signal
from shipper.otlp.encode import AttributeValue, any_value
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.streams import LIFE, log_request

HOST: Mapping[str, AttributeValue] = {
    "service.name": "checkout",
    "service.version": "2.4.1",
    "deployment.environment.name": "production",
    "shipper.generation": "deploy-17",
    "shipper.host": "ip-10-0-1-17",
    "shipper.life.id": LIFE,
    "host.id": "i-0abc",
    "host.image.id": "ami-1",
}


def context(clock: FakeClock | None = None) -> ExporterContext:
    """What an exporter in a test knows about where it runs."""
    return ExporterContext(clock or FakeClock(), LIFE, 1, "Shipper/test")


def payload(
    rows: Sequence[Mapping[str, Any]],
    *,
    resource: Mapping[str, AttributeValue] = HOST,
    scope: str = "",
    version: str = "",
    scope_attributes: Mapping[str, AttributeValue] | None = None,
) -> bytes:
    """One request; a row has the fields of a LogRecord, with ``body`` and ``attributes`` as plain values."""
    message = ExportLogsServiceRequest()
    outer = message.resource_logs.add()
    _fill(outer.resource.attributes, resource)
    inner = outer.scope_logs.add()
    inner.scope.name, inner.scope.version = scope, version
    _fill(inner.scope.attributes, scope_attributes or {})
    for row in rows:
        given = dict(row)
        log = inner.log_records.add()
        if "body" in given:
            log.body.MergeFromString(any_value(given.pop("body")))
        _fill(log.attributes, given.pop("attributes", {}))
        for name, value in given.items():
            setattr(log, name, value)
    return message.SerializeToString()


def batch(data: bytes, records: int, *, start: int = 0, stream: str = "file-1") -> Batch:
    """A batch of that payload."""
    cut = Cut(start, start + 100 * records, start, start + 100 * records, records, START_WALL_NS)
    return Batch(LIFE, stream, Signal.LOGS, cut, data)


def request(*payloads: tuple[bytes, int]) -> Request:
    """A request of batches of one stream, one behind the other; each a payload and how many records it has."""
    batches = []
    at = 0
    for data, records in payloads:
        batches.append(batch(data, records, start=at))
        at += 100 * records
    return log_request(*batches)


def _fill(pairs: Any, attributes: Mapping[str, AttributeValue]) -> None:
    for key, value in attributes.items():
        pairs.add(key=key).value.MergeFromString(any_value(value))
