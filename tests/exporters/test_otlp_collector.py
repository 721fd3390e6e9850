"""Round trips through a real OpenTelemetry Collector: N distinct records of each signal in, N out, all fields equal.

``OTELCOL_BINARY`` names a Collector with the receiver ``otlp`` (HTTP and gRPC) and the exporter ``otlp_http``, behind which stands a
sink. It forwards while the exporter waits, so that what it answers is what the sink said.
"""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper.ids import uuid7
from shipper.testing.clock import START_WALL_NS
from shipper.testing.sink import Sink, refuse
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._otlp.settings import Compression, Protocol
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.e2e.kit import free_port, listening
from tests.exporters.tls_kit import Authority

OTELCOL = os.environ.get("OTELCOL_BINARY", "")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not OTELCOL, reason="OTELCOL_BINARY names no OpenTelemetry Collector"),
]
COUNT = 300
PROTOCOLS: list[Protocol] = ["http/protobuf", "http/json", "grpc"]
COMPRESSIONS: list[Compression] = ["gzip", "zstd", "none"]


@asynccontextmanager
async def collector(directory: Path, to: str, **grpc: Any) -> AsyncIterator[dict[Protocol, str]]:
    """A Collector that forwards to ``to``; its endpoint of each protocol. ``grpc``: settings of that receiver."""
    http_port, grpc_port = free_port(), free_port()
    pipeline = {"receivers": ["otlp"], "exporters": ["otlp_http"]}
    config = {
        "receivers": {
            "otlp": {
                "protocols": {
                    "http": {"endpoint": f"127.0.0.1:{http_port}"},
                    "grpc": {"endpoint": f"127.0.0.1:{grpc_port}", **grpc},
                }
            }
        },
        "exporters": {
            "otlp_http": {"endpoint": to, "sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "error"}},
            "pipelines": {signal.value: pipeline for signal in Signal},
        },
    }
    file = directory / "collector.json"
    file.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        OTELCOL, f"--config={file}", stdin=DEVNULL, stdout=DEVNULL, stderr=STDOUT
    )
    try:
        await listening(http_port)
        await listening(grpc_port)
        http, secure = f"http://127.0.0.1:{http_port}", "https" if "tls" in grpc else "http"
        yield {"http/protobuf": http, "http/json": http, "grpc": f"{secure}://localhost:{grpc_port}"}
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def exporting(endpoint: str, protocol: Protocol, **options: Any) -> AsyncIterator[OtlpExporter]:
    settings = OtlpSettings(endpoint=endpoint, protocol=protocol, **options)
    exporter = OtlpExporter("collector", settings, ExporterContext(SystemClock(), LIFE, 1, "Shipper/test"))
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: OtlpExporter, request: Request) -> Accepted:
    return await exporter.send(exporter.prepare(request), Deadline.after(SystemClock(), 60))


def logs() -> ExportLogsServiceRequest:
    """Records with every field there is."""
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add(schema_url="https://opentelemetry.io/schemas/1.30.0")
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    resource.resource.attributes.add(key="shipper.life.id").value.string_value = LIFE
    scope = resource.scope_logs.add()
    scope.scope.name, scope.scope.version = "test", "1"
    for n in range(COUNT):
        record = scope.log_records.add(
            time_unix_nano=START_WALL_NS + n,
            observed_time_unix_nano=START_WALL_NS + n + 1,
            severity_number=9 + n % 4,
            severity_text="é",
            trace_id=(n + 1).to_bytes(16, "big"),
            span_id=(n + 1).to_bytes(8, "big"),
            flags=1,
            event_name=f"event.{n}",
            dropped_attributes_count=n,
        )
        record.body.string_value = f"line {n} 🚀 \x01"
        record.attributes.add(key="count").value.int_value = 2**60 + n
        record.attributes.add(key="share").value.double_value = n / 7
        record.attributes.add(key="raw").value.bytes_value = bytes([n % 256, 255])
        record.attributes.add(key="flag").value.bool_value = bool(n % 2)
        inner = record.attributes.add(key="map").value.kvlist_value.values.add(key="list")
        inner.value.array_value.values.add(string_value="x")
    return message


def spans() -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource.scope_spans.add()
    scope.scope.name = "test"
    for n in range(COUNT):
        span = scope.spans.add(
            trace_id=(n + 1).to_bytes(16, "big"),
            span_id=(n + 1).to_bytes(8, "big"),
            parent_span_id=(n + 2).to_bytes(8, "big"),
            trace_state="a=b",
            name=f"GET /{n}",
            kind=2,
            start_time_unix_nano=START_WALL_NS + n,
            end_time_unix_nano=START_WALL_NS + n + 5,
            flags=257,
        )
        span.status.code, span.status.message = 2, "boom"
        span.events.add(name="exception", time_unix_nano=START_WALL_NS + n + 2)
        span.links.add(trace_id=bytes(15) + b"\x09", span_id=bytes(7) + b"\x09")
    return message


def points() -> ExportMetricsServiceRequest:
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource.scope_metrics.add()
    scope.scope.name = "test"
    gauge = scope.metrics.add(name="g", unit="1", description="d").gauge
    total = scope.metrics.add(name="s").sum
    total.aggregation_temporality, total.is_monotonic = 2, True
    spread = scope.metrics.add(name="h").histogram
    spread.aggregation_temporality = 2
    for n in range(COUNT):
        gauge.data_points.add(time_unix_nano=START_WALL_NS + n, as_double=n / 3)
        total.data_points.add(time_unix_nano=START_WALL_NS + n, start_time_unix_nano=START_WALL_NS, as_int=n)
        spread.data_points.add(
            time_unix_nano=START_WALL_NS + n, count=3, sum=1.5, bucket_counts=[1, 2], explicit_bounds=[0.5]
        )
    return message


MESSAGES: dict[Signal, Any] = {Signal.LOGS: logs(), Signal.TRACES: spans(), Signal.METRICS: points()}


def request(signal: Signal) -> Request:
    payload = MESSAGES[signal].SerializeToString()
    batch = Batch(LIFE, "s", signal, Cut(0, len(payload), 0, 0, COUNT, START_WALL_NS), payload)
    return Request(uuid7(START_WALL_NS), signal, (batch,))


def test_every_field_passes_a_collector_by_every_protocol(tmp_path: Path) -> None:
    """All signals, by HTTP with protobuf and JSON and by gRPC, with each compression: what comes out is what went in."""

    async def run() -> None:
        async with Sink() as sink, collector(tmp_path, sink.url) as endpoints:
            for protocol in PROTOCOLS:
                for compression in COMPRESSIONS:
                    async with exporting(endpoints[protocol], protocol, compression=compression) as exporter:
                        for signal in Signal:
                            assert await send(exporter, request(signal)) == Accepted()
                            came = sink.received[-1]
                            assert came.signal is signal
                            message = type(MESSAGES[signal]).FromString(came.body)
                            assert message == MESSAGES[signal], (protocol, compression, signal)
            assert len(sink.received) == 27

    asyncio.run(run())


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_a_collector_passes_on(tmp_path: Path, protocol: Protocol) -> None:
    """What the place behind it answers is understood through a Collector, by gRPC as by HTTP."""

    async def run() -> None:
        async with Sink() as sink, collector(tmp_path, sink.url) as endpoints:
            async with exporting(endpoints[protocol], protocol) as exporter:
                for status, error in (
                    (503, Retryable),
                    (429, Retryable),
                    (400, Rejected),
                    (401, Unusable),
                    (413, TooLarge),
                    (422, Rejected),
                ):
                    sink.answer = refuse(status, "because", retry_after="7" if status == 429 else "")
                    with pytest.raises(error) as caught:
                        await send(exporter, log_request(log_batch(["x"])))
                    if status == 429:
                        assert isinstance(caught.value, Retryable)
                        assert caught.value.wait is None or caught.value.wait > 0

    asyncio.run(run())


def test_a_message_that_a_collector_finds_too_large(tmp_path: Path) -> None:
    """gRPC's limit on a message, compressed or not, is understood as one."""
    lines = [f"{n} {'x' * 100}" for n in range(20_000)]

    async def run() -> None:
        async with Sink() as sink, collector(tmp_path, sink.url, max_recv_msg_size_mib=1) as endpoints:
            for compression in COMPRESSIONS:
                async with exporting(endpoints["grpc"], "grpc", compression=compression) as exporter:
                    with pytest.raises(TooLarge):
                        await send(exporter, log_request(log_batch(lines)))
                    assert await send(exporter, log_request(log_batch(lines[:100]))) == Accepted()
            assert not sink.duplicates()

    asyncio.run(run())


def test_mutual_tls_with_a_collector(tmp_path: Path) -> None:
    """A Collector that wants a client certificate lets in who shows it, and who does not is told."""
    authority = Authority(tmp_path / "tls")
    server, client = authority.issue("server"), authority.issue("client")
    tls = {"cert_file": str(server), "key_file": str(server), "client_ca_file": str(authority.ca)}

    async def run() -> None:
        async with Sink() as sink, collector(tmp_path, sink.url, tls=tls) as endpoints:
            known = {"ca_file": str(authority.ca), "cert_file": str(client)}
            async with exporting(endpoints["grpc"], "grpc", **known) as exporter:
                assert await send(exporter, log_request(log_batch(["a"]))) == Accepted()
            async with exporting(endpoints["grpc"], "grpc", ca_file=str(authority.ca)) as exporter:
                with pytest.raises(Unusable, match="client certificate"):
                    await send(exporter, log_request(log_batch(["b"])))
            assert sink.lines() == ["a"]

    asyncio.run(run())


def test_a_collector_that_says_goodbye_costs_nothing(tmp_path: Path) -> None:
    """A server that ends connections by age, as many do for balance, loses and doubles nothing."""
    keepalive = {"server_parameters": {"max_connection_age": "50ms", "max_connection_age_grace": "5s"}}

    async def run() -> None:
        async with Sink() as sink, collector(tmp_path, sink.url, keepalive=keepalive) as endpoints:
            async with exporting(endpoints["grpc"], "grpc") as exporter:

                async def some(name: int) -> None:
                    for n in range(40):
                        await send(exporter, log_request(log_batch([f"{name} {n}"], start=100 * n, stream=f"s{name}")))
                        await asyncio.sleep(0.01)

                await asyncio.gather(*(some(name) for name in range(4)))
            assert sorted(sink.lines()) == sorted(f"{name} {n}" for name in range(4) for n in range(40))

    asyncio.run(run())
