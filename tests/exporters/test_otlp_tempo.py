"""Traces into Grafana Tempo itself: N distinct spans in, N out, all fields equal; found by service, release and generation.

``TEMPO_BINARY`` names a Tempo (3.x). What it answers beyond OTLP's own forms is checked here too where the exporter reads it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.errors import Retryable, TooLarge
from shipper.ids import uuid7
from shipper.testing.streams import LIFE
from shipper_exporters._otlp.settings import Protocol
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.e2e.kit import free_port, until

TEMPO = os.environ.get("TEMPO_BINARY", "")
pytestmark = [pytest.mark.peer, pytest.mark.skipif(not TEMPO, reason="TEMPO_BINARY names no Tempo")]
TRACES, SPANS = 40, 25  # spans in each trace
BURST = 40_000  # bytes that some tenants may send at once
PROTOCOLS: list[Protocol] = ["http/protobuf", "http/json", "grpc"]


def tenant_of(protocol: Protocol) -> str:
    """A tenant that may send little."""
    return f"small-{PROTOCOLS.index(protocol)}"


class Tempo:
    """A Tempo of several tenants with its data in a directory of its own."""

    def __init__(self, root: Path) -> None:
        api, http, grpc = free_port(), free_port(), free_port()
        self._api = f"http://127.0.0.1:{api}"
        self.endpoints: dict[Protocol, str] = {
            "http/protobuf": f"http://127.0.0.1:{http}",
            "http/json": f"http://127.0.0.1:{http}",
            "grpc": f"http://127.0.0.1:{grpc}",
        }
        slow = {"ingestion": {"rate_limit_bytes": 1000, "burst_size_bytes": BURST}}
        tenants = [tenant_of(protocol) for protocol in PROTOCOLS]
        (root / "overrides.json").write_text(json.dumps({"overrides": dict.fromkeys(tenants, slow)}))
        protocols = {"http": {"endpoint": f"127.0.0.1:{http}"}, "grpc": {"endpoint": f"127.0.0.1:{grpc}"}}
        config = {
            "multitenancy_enabled": True,
            "server": {
                "http_listen_address": "127.0.0.1",
                "http_listen_port": api,
                "grpc_listen_address": "127.0.0.1",
                "grpc_listen_port": free_port(),
                "log_level": "error",
            },
            "distributor": {"receivers": {"otlp": {"protocols": protocols}}},
            "memberlist": {"bind_addr": ["127.0.0.1"], "bind_port": free_port()},
            "storage": {
                "trace": {"backend": "local", "wal": {"path": f"{root}/wal"}, "local": {"path": f"{root}/blocks"}}
            },
            # What has come is found after a second, and not after half a minute.
            "query_frontend": {"query_end_cutoff": "0s"},
            "live_store": dict.fromkeys(["flush_check_period", "max_trace_live", "max_trace_idle"], "500ms"),
            "overrides": {"per_tenant_override_config": f"{root}/overrides.json"},
            "usage_report": {"reporting_enabled": False},
        }
        (root / "tempo.json").write_text(json.dumps(config))
        with open(root / "output", "wb") as output:
            self._process = subprocess.Popen(
                [TEMPO, f"-config.file={root}/tempo.json"], cwd=root, stdout=output, stderr=output
            )

    def ready(self) -> bool:
        """Whether it says that it takes and finds."""
        try:
            return bool(self._get("/ready", "", ""))
        except OSError:
            return False

    def trace(self, tenant: str, trace_id: str) -> ExportTraceServiceRequest:
        """All that it has of a trace; the form is that of an export."""
        return ExportTraceServiceRequest.FromString(
            self._get(f"/api/traces/{trace_id}", tenant, "application/protobuf")
        )

    def search(self, tenant: str, query: str) -> set[str]:
        """The ids of all traces with a span that a TraceQL query chooses."""
        now = int(time.time())
        asked = urllib.parse.urlencode({"q": query, "limit": 10 * TRACES, "start": now - 3600, "end": now + 60})
        found = json.loads(self._get(f"/api/search?{asked}", tenant, "application/json"))
        return {one["traceID"].zfill(32) for one in found.get("traces", [])}

    def close(self) -> None:
        """End it; it would take a minute to do that itself."""
        self._process.kill()
        self._process.wait()

    def _get(self, path: str, tenant: str, accept: str) -> bytes:
        asked = urllib.request.Request(self._api + path, headers={"X-Scope-OrgID": tenant, "Accept": accept})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return bytes(answer.read())


@pytest.fixture(scope="module")
def tempo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tempo]:
    node = Tempo(tmp_path_factory.mktemp("tempo"))
    try:
        asyncio.run(until(node.ready, "Tempo is ready"))
        yield node
    finally:
        node.close()


def message(number: int, traces: int = TRACES, spans: int = SPANS) -> ExportTraceServiceRequest:
    """Spans with every field there is, no two alike; ``number`` tells one message from another."""
    made = ExportTraceServiceRequest()
    of = made.resource_spans.add(schema_url="https://opentelemetry.io/schemas/1.30.0")
    identity = {
        "service.name": f"shop-{number}",
        "service.version": f"2.4.{number}",
        "deployment.environment.name": "production",
        "shipper.generation": "deploy-17",
        "shipper.life.id": LIFE,
        "host.id": "i-0abc",
    }
    for key, value in identity.items():
        of.resource.attributes.add(key=key).value.string_value = value
    scope = of.scope_spans.add()
    scope.scope.name, scope.scope.version = "test", "1"
    start = time.time_ns()
    for trace in range(traces):
        for n in range(spans):
            _fill(scope.spans.add(), number * 1000 + trace + 1, n, start)
    return made


def _fill(span: Span, trace: int, n: int, start: int) -> None:
    span.trace_id, span.span_id = trace.to_bytes(16, "big"), (trace << 16 | n + 1).to_bytes(8, "big")
    if n:
        span.parent_span_id = (trace << 16 | n).to_bytes(8, "big")
    span.name, span.kind, span.trace_state, span.flags = f"GET /{n} 🚀", 1 + n % 5, "a=b", 257  # type: ignore[assignment]
    span.start_time_unix_nano, span.end_time_unix_nano = start + n, start + n + 1000
    span.status.code, span.status.message = n % 3, "boom" if n % 3 == 2 else ""  # type: ignore[assignment]
    span.attributes.add(key="count").value.int_value = 2**60 + n
    span.attributes.add(key="share").value.double_value = n / 7
    span.attributes.add(key="flag").value.bool_value = bool(n % 2)
    event = span.events.add(name="exception", time_unix_nano=start + n + 2)
    event.attributes.add(key="exception.type").value.string_value = f"Error{n}"
    link = span.links.add(trace_id=bytes(15) + b"\x09", span_id=bytes(7) + b"\x09")
    link.attributes.add(key="why").value.string_value = "retry"


def request(of: ExportTraceServiceRequest) -> Request:
    payload = of.SerializeToString()
    spans = len(of.resource_spans[0].scope_spans[0].spans)
    batch = Batch(LIFE, "s", Signal.TRACES, Cut(0, len(payload), 0, 0, spans, time.time_ns()), payload)
    return Request(uuid7(time.time_ns()), Signal.TRACES, (batch,))


def send(tempo: Tempo, protocol: Protocol, of: ExportTraceServiceRequest, tenant: str) -> Accepted:
    """Send once."""

    async def run() -> Accepted:
        options: dict[str, Any] = {"endpoint": tempo.endpoints[protocol], "headers": {"X-Scope-OrgID": tenant}}
        settings = OtlpSettings(protocol=protocol, **options)
        exporter = OtlpExporter("tempo", settings, ExporterContext(SystemClock(), LIFE, 1, "Shipper/test"))
        await exporter.start()
        try:
            return await exporter.send(exporter.prepare(request(of)), Deadline.after(SystemClock(), 60))
        finally:
            await exporter.aclose()

    return asyncio.run(run())


def flat(of: ExportTraceServiceRequest) -> dict[bytes, tuple[str, ...]]:
    """Each span by its id, with its resource and scope, as text that shows every field that Tempo keeps.

    It keeps no flags of a span and no schema URL, and attributes in an order of its own.
    """
    found: dict[bytes, tuple[str, ...]] = {}
    for resource in of.resource_spans:
        resource.resource.attributes.sort(key=lambda pair: pair.key)
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.attributes.sort(key=lambda pair: pair.key)
                span.ClearField("flags")
                found[span.span_id] = (str(resource.resource), str(scope.scope), str(span))
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_span_is_there_once_with_all_its_fields(tempo: Tempo, protocol: Protocol) -> None:
    """What Tempo shows of each trace is what was sent, and it finds them by service, release, generation and life."""
    number = PROTOCOLS.index(protocol)
    sent = message(number)
    assert send(tempo, protocol, sent, "test") == Accepted()
    identity = {"service.version": f"2.4.{number}", "shipper.generation": "deploy-17", "shipper.life.id": LIFE}
    known = {"service.name": f"shop-{number}", **identity}
    query = " && ".join(f'resource.{key} = "{value}"' for key, value in known.items())
    traces = {span.trace_id.hex() for span in sent.resource_spans[0].scope_spans[0].spans}
    asyncio.run(until(lambda: tempo.search("test", f"{{ {query} }}") == traces, "all traces are found"))
    assert tempo.search("test", '{ resource.service.version = "none" }') == set()
    there: dict[bytes, tuple[str, ...]] = {}
    spans = 0
    for trace in traces:
        found = tempo.trace("test", trace)
        spans += sum(len(scope.spans) for one in found.resource_spans for scope in one.scope_spans)
        there |= flat(found)
    assert spans == TRACES * SPANS
    assert there == flat(sent)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_more_than_a_tenant_may_send_at_once(tempo: Tempo, protocol: Protocol) -> None:
    """A request above the tenant's burst would never be taken, and is cut; one above what is left of it waits."""
    with pytest.raises(TooLarge, match="exceeds ingestion limit"):
        send(tempo, protocol, message(9), tenant_of(protocol))
    some = message(9, traces=2)  # about a third of the burst
    for _ in range(3):
        assert send(tempo, protocol, some, tenant_of(protocol)) == Accepted()
    with pytest.raises(Retryable, match="ingestion rate limit"):
        send(tempo, protocol, some, tenant_of(protocol))
