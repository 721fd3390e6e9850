"""Lives for backends: what hosts send and state, pushed by the real exporters, and a server for questions that can be faulty."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Batch, Cut, Exporter, ExporterContext, Request, Signal, StreamKind
from shipper.ids import uuid7
from shipper.otlp.encode import LineEncoder, export_logs, log_record, resource, scope
from shipper.testing.clock import START_WALL_NS

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
BORN = START_WALL_NS
NOW = BORN + HOUR


def life(number: int, at_ns: int = BORN) -> str:
    """The id of the life of that number."""
    return uuid7(at_ns)[:-4] + f"{number:04x}"


def context() -> ExporterContext:
    """Where the exporters run."""
    return ExporterContext(SystemClock(), life(0), 1, "Shipper/test")


def identity(one: str) -> bytes:
    """The resource of a life's host."""
    known = {"service.name": "checkout", "host.name": f"host-{one[-4:]}", "shipper.life.id": one}
    return resource({**known, "service.version": "1.0", "shipper.generation": "g1"})


def lines(one: str, count: int, *, start: int = 0, at_ns: int = BORN) -> Batch:
    """Plain lines of a life."""
    texts = [f"line {number} of {one}".encode() for number in range(start, start + count)]
    payload = LineEncoder(identity(one), scope("file")).encode(texts, at_ns + start)
    cut = Cut(100 * start, 100 * (start + count), 100 * start, 100 * (start + count), count, at_ns + start)
    return Batch(one, "f1", Signal.LOGS, cut, payload)


def text(one: str, body: str, *, start: int = 0, at_ns: int = BORN) -> Batch:
    """One record of a life, with a time and a severity of its own."""
    record = log_record(time_ns=at_ns + start, observed_ns=at_ns + start, body=body, severity=17, attributes={"a": 1})
    cut = Cut(start, start + 1, start, start + 1, 1, at_ns)
    return Batch(one, "r1", Signal.LOGS, cut, export_logs(identity(one), scope("app"), [record]))


def spans(one: str, count: int, at_ns: int = BORN) -> Batch:
    """Spans of a life, each with an event."""
    message = ExportTraceServiceRequest()
    message.resource_spans.add().resource.MergeFromString(identity(one))
    inner = message.resource_spans[0].scope_spans.add()
    for number in range(count):
        span = inner.spans.add(name=f"s{number}", start_time_unix_nano=at_ns, end_time_unix_nano=at_ns + 5)
        span.trace_id, span.span_id = b"t" * 16, (number + 1).to_bytes(8, "big")
        span.events.add(name="exception", time_unix_nano=at_ns + 1)
    cut = Cut(0, 100 * count, 0, 100 * count, count, at_ns)
    return Batch(one, "t1", Signal.TRACES, cut, message.SerializeToString())


def stream(acknowledged: int, destination: str = "main", *, signal: str = "logs", **figures: int) -> dict[str, Any]:
    """What is stated of a stream at one destination."""
    whole = {"read": acknowledged, "acknowledged": acknowledged, "pending": 0, **figures}
    return {"id": f"{signal}-1", "kind": "data", "signal": signal, "destinations": {destination: whole}}


def birth(one: str, *, born: int = BORN, run: int = 1, at_ns: int | None = None, **more: Any) -> Batch:
    """A run begins."""
    moment = born + _apart(one) if at_ns is None else at_ns
    return _statement(one, "birth", 10 * run, moment, {"notes": []}, born, run, more)


def farewell(
    one: str, *streams: Mapping[str, Any], born: int = BORN, run: int = 1, after: int = 60, **more: Any
) -> Batch:
    """A run ends, ``after`` seconds from the life's birth."""
    at_ns = born + after * SECOND + _apart(one)
    said = {"ended_ns": at_ns, "ends_life": True, "outcome": "drained", "reason": "SIGTERM", "left": []}
    return _statement(one, "farewell", 10 * run + 1, at_ns, {**said, "streams": list(streams)}, born, run, more)


def _apart(one: str) -> int:
    """No two hosts say something at the very same moment."""
    return int(one[-4:], 16) * 1000 if one[-4:].isalnum() else 0


def _statement(
    one: str, what: str, seq: int, at_ns: int, said: Mapping[str, Any], born: int, run: int, more: Mapping[str, Any]
) -> Batch:
    body = {
        "version": 1, "shipper": "0.1.0", "life": one, "run": run, "seq": seq, "at_ns": at_ns, "role": "sidecar",
        "host": f"host-{one[-4:]}", "labels": {"release": "1.0", "generation": "g1"}, "born_ns": born, "interval": 15.0,
        "streams": [], "exposure": {}, "refused": {}, **said, **more,
    }  # fmt: skip
    record = log_record(
        time_ns=at_ns,
        observed_ns=at_ns,
        body=json.dumps(body, separators=(",", ":")),
        severity=9,
        attributes={"shipper.life.id": one, "shipper.run": run, "shipper.seq": seq},
        event_name=f"shipper.{what}",
    )
    payload = export_logs(identity(one), scope("shipper.account", "0.1.0"), [record])
    return Batch(one, "life", Signal.LOGS, Cut(seq, seq + 1, seq, seq + 1, 1, at_ns), payload, StreamKind.LIFE)


async def push(exporter: Exporter, batches: Sequence[Batch], *, apart: bool = False) -> None:
    """Send by an exporter, those of a signal (``apart``: and of a life) in a row in one request, and close it."""
    await exporter.start()
    try:
        for (signal, _), some in groupby(batches, key=lambda batch: (batch.signal, apart and batch.life)):
            prepared = exporter.prepare(Request(uuid7(BORN), signal, tuple(some)))
            accepted = await exporter.send(prepared, Deadline.after(SystemClock(), 60))
            assert accepted.rejected == 0, accepted
    finally:
        await exporter.aclose()


@dataclass(frozen=True)
class Asked:
    """A question as it came, names of headers in small letters; ``query`` is that of the URL, or the fields of a form."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True)
class Reply:
    """An answer. ``body``: as it is, or an object to be written as JSON. ``cut``: the connection ends within it."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    held: bool = False  # no answer before the server ends


class QueryServer:
    """Answers questions by a function; ``script`` are the answers to the next ones in its place."""

    def __init__(self, answer: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.script: list[Reply] = []
        self.asked: list[Asked] = []
        self._over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.serve(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_address[1]}"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> QueryServer:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one question."""
        url = urlsplit(handler.path)
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(url.query))
        body = None
        if handler.headers.get("Content-Type") == "application/x-www-form-urlencoded":
            query = dict(parse_qsl(raw.decode()))
        elif raw:
            body = json.loads(raw)
        asked = Asked(
            handler.command, url.path, query, {name.lower(): value for name, value in handler.headers.items()}, body
        )
        self.asked.append(asked)
        reply = self.script.pop(0) if self.script else self.answer(asked)
        if reply.held:
            self._over.wait()
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data) + reply.cut), **reply.headers}
        handler.send_response(reply.status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
