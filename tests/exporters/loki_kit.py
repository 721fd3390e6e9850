"""What tests of the Loki exporter have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.otlp.encode import AttributeValue, any_value
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.loki import LokiExporter, LokiSettings

RESOURCE: dict[str, AttributeValue] = {
    "service.name": "checkout",
    "service.version": "1.4.2",
    "deployment.environment.name": "prod",
    "shipper.generation": "g-17",
    "shipper.host": "i-0abc",
    "shipper.life.id": LIFE,
}


def payload(*logs: Mapping[str, Any], resource: Mapping[str, AttributeValue] = RESOURCE, scope: str = "app") -> bytes:
    """A request of log records given as fields of the message; ``body`` and ``attributes`` as plain values."""
    message = ExportLogsServiceRequest()
    outer = message.resource_logs.add()
    for key, value in resource.items():
        outer.resource.attributes.add(key=key).value.MergeFromString(any_value(value))
    inner = outer.scope_logs.add()
    inner.scope.name = scope
    for log in logs:
        plain = {name: value for name, value in log.items() if name not in ("body", "attributes")}
        record = inner.log_records.add(**plain)
        if "body" in log:
            record.body.MergeFromString(any_value(log["body"]))
        for key, value in log.get("attributes", {}).items():
            record.attributes.add(key=key).value.MergeFromString(any_value(value))
    data: bytes = message.SerializeToString()
    return data


def request_of(*payloads: bytes, records: int = 1) -> Request:
    """A request of batches with these payloads."""
    cuts = (Cut(at, at + 1, at, at + 1, records, START_WALL_NS) for at in range(len(payloads)))
    batches = (Batch(LIFE, "s", Signal.LOGS, cut, data) for cut, data in zip(cuts, payloads, strict=True))
    return log_request(*batches)


def at(time_ns: int, *bodies: AttributeValue) -> bytes:
    """A request of records that were written at a time."""
    return payload(*({"time_unix_nano": time_ns + n, "body": body} for n, body in enumerate(bodies)))


def plain(lines: Sequence[str], observed_ns: int = START_WALL_NS) -> Request:
    """A request of plain lines."""
    return log_request(log_batch(lines, observed_ns=observed_ns))


@asynccontextmanager
async def exporting(url: str, clock: Clock | None = None, **settings: Any) -> AsyncIterator[LokiExporter]:
    """A started exporter that sends to ``url``."""
    context = ExporterContext(clock or FakeClock(), LIFE, 1, "Shipper/1.2")
    exporter = LokiExporter("loki", LokiSettings(endpoint=url, **settings), context)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: LokiExporter, request: Request) -> Accepted:
    """Send once, with a minute of time."""
    return await exporter.send(exporter.prepare(request), Deadline.after(exporter._context.clock, 60))
