"""What the tests of server spans share: a provider that keeps its spans, and clients that speak ASGI and WSGI directly."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind


class Spans:
    """The spans that ended while this was the provider of the process."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def servers(self) -> list[ReadableSpan]:
        return [span for span in self.all() if span.kind is SpanKind.SERVER]

    def server(self) -> ReadableSpan:
        (span,) = self.servers()
        return span


@contextmanager
def recording(monkeypatch: Any) -> Iterator[Spans]:
    """Make a provider the global one for a while."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield Spans(exporter)


def scope(
    path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """An ASGI scope as uvicorn makes it."""
    lines = {"host": "shop.example:8080"} | dict(headers or {})
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"token=secret",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        "client": ("192.0.2.7", 4711),
        "server": ("10.0.0.1", 80),
    } | more


async def speak(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Serve one scope; what the application sent."""
    waiting = list(messages or [{"type": "http.request", "body": b"", "more_body": False}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def get(app: Any, path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None, **more: Any) -> int:
    """One request to an ASGI application; the status."""
    sent = asyncio.run(speak(app, scope(path, method, headers, **more)))
    return int(next(message["status"] for message in sent if message["type"] == "http.response.start"))


def environ(
    path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """A WSGI environment as gunicorn makes it."""
    lines = {"host": "shop.example:8080"} | dict(headers or {})
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "token=secret",
        "SERVER_NAME": "10.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(b""),
        "wsgi.errors": io.StringIO(),
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in lines.items()},
        **more,
    }


def call(app: Any, environ: dict[str, Any]) -> tuple[int, bytes]:
    """Serve one WSGI request to its end, as a server does."""
    statuses: list[str] = []

    def start_response(status: str, headers: Sequence[tuple[str, str]], *_: Any) -> Any:
        statuses.append(status)
        return lambda data: None

    body = app(environ, start_response)
    try:
        content = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return int(statuses[-1][:3]), content


def synchronous(get_response: Any) -> Any:
    """A Django middleware that knows nothing of asyncio."""
    return lambda request: get_response(request)
