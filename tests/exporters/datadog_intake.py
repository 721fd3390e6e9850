"""Datadog's intakes for tests, on a real socket, as strict as they are documented to be and faulty on request.

Logs: https://docs.datadoghq.com/api/latest/logs/send-logs/ ("Maximum content size per payload (uncompressed): 5MB",
"Maximum array size if sending multiple logs in an array: 1000 entries", a log beyond 1 MB is truncated, 202 with ``{}``).
OTLP: https://docs.datadoghq.com/opentelemetry/setup/otlp_ingest/metrics/ (only deltas; 413 beyond 500 KB that are not
compressed or 5 MB that are) and .../traces/ (protobuf only, the header dd-otlp-source).
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.testing.http_server import HttpServer, break_off

KEY = "0123456789abcdef0123456789abcdef"
MAX_BODY = 5_000_000
MAX_LOG = 1_000_000
_DELTA = 1
_HALF = b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{"


@dataclass(frozen=True)
class Say:
    """What the intake does with one request instead of what it should."""

    status: int = 202
    body: bytes = b"{}"
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""  # "held", "never", "cut off", "hang up"


def errors(status: int, *reasons: str, headers: Mapping[str, str] | None = None) -> Say:
    """An error answer of the v2 API."""
    listed = [{"status": str(status), "title": reason, "detail": reason} for reason in reasons]
    return Say(status, json.dumps({"errors": listed}).encode(), headers=headers or {})


@dataclass(frozen=True)
class Post:
    """One request that was accepted."""

    path: str
    headers: Mapping[str, str]
    wire: bytes = field(repr=False)
    body: bytes = field(repr=False)


class Intake(HttpServer):
    """The server. ``entries`` are the logs that it has, ``kept`` the requests that it accepted."""

    def __init__(self) -> None:
        super().__init__()
        self.answer: Say | None = None
        self.received = 0
        self.kept: list[Post] = []
        self.entries: list[dict[str, Any]] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.traces: list[ExportTraceServiceRequest] = []
        self.refuses: frozenset[str] = frozenset()  # messages that make it refuse a request
        self.faults: dict[int, Say] = {}  # by how many requests are kept when they strike, once
        self.max_entries = 1000

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        wire = await request.read()
        self.received += 1
        say = self.faults.pop(len(self.kept), self.answer)
        if say is None or say.fault in ("held", "cut off"):
            found = self._take(request, wire)
            if say is not None and say.fault == "held":
                await self.held()
            if say is None or say.fault == "held":
                return _response(found)
        if say.fault == "never":
            await asyncio.Event().wait()
        if say.fault:
            return break_off(request, _HALF if say.fault == "cut off" else b"")
        return _response(say)

    def _take(self, request: web.BaseRequest, wire: bytes) -> Say:
        if request.method != "POST":
            return errors(405, "Method Not Allowed")
        if "DD-API-KEY" not in request.headers:
            return errors(401, "Unauthorized")
        if request.headers["DD-API-KEY"] != KEY:
            return errors(403, "Forbidden")
        zipped = request.headers.get("Content-Encoding", "") == "gzip"
        body = zlib.decompress(wire, 31) if zipped else wire
        if len(body) > MAX_BODY or (not zipped and "otlp" in request.path and len(body) > 500_000):
            return errors(413, "Payload too large")
        post = Post(request.path, request.headers.copy(), wire, body)
        kind = request.headers.get("Content-Type")
        if request.path == "/api/v2/logs":
            return self._logs(post) if kind == "application/json" else errors(415, "Unsupported Media Type")
        if request.path not in ("/otlp/v1/metrics", "/otlp/v1/traces"):
            return errors(404, "Not found")
        if kind != "application/x-protobuf":
            return errors(415, "only http/protobuf")
        return self._otlp(post)

    def _logs(self, post: Post) -> Say:
        try:
            entries = json.loads(post.body)
        except ValueError:
            return errors(400, "Invalid JSON")
        if not isinstance(entries, list) or not all(
            isinstance(one, dict) and isinstance(one.get("message"), str) for one in entries
        ):
            return errors(400, "Bad Request")
        if len(entries) > self.max_entries:
            return errors(413, "too many entries")
        if self.refuses & {one["message"] for one in entries}:
            return errors(400, "malformed log")
        for one in entries:
            if len(json.dumps(one, ensure_ascii=False).encode()) > MAX_LOG:
                one["message"] = one["message"][:1000]
        self.entries += entries
        self.kept.append(post)
        return Say()

    def _otlp(self, post: Post) -> Say:
        if post.path.endswith("/traces"):
            if not post.headers.get("dd-otlp-source"):
                return errors(403, "Forbidden")
            self.traces.append(ExportTraceServiceRequest.FromString(post.body))
        else:
            message = ExportMetricsServiceRequest.FromString(post.body)
            if not _only_deltas(message):
                return errors(400, "cumulative metrics are not supported")
            self.metrics.append(message)
        self.kept.append(post)
        return Say(200, b"", "application/x-protobuf")


def points(message: ExportMetricsServiceRequest) -> list[tuple[str, Any]]:
    """Name and point of all data points."""
    found = []
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = getattr(metric, metric.WhichOneof("data") or "")
                found += [(metric.name, point) for point in data.data_points]
    return found


def _only_deltas(message: ExportMetricsServiceRequest) -> bool:
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = getattr(metric, metric.WhichOneof("data") or "")
                temporality = getattr(data, "aggregation_temporality", _DELTA)
                if temporality != _DELTA and getattr(data, "is_monotonic", True):
                    return False
    return True


def _response(say: Say) -> web.Response:
    return web.Response(status=say.status, body=say.body, headers={"Content-Type": say.content_type, **say.headers})
