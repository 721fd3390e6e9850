"""An OTLP/HTTP server for tests, on a real socket, that misbehaves on request.

    async with Sink() as sink:
        sink.script(refuse(503, retry_after="1"), html())   # the next two requests get these
        ... send to sink.url ...
        assert sink.lines() == [b"..."]

It keeps what came as it came. What it says and what it keeps are two things: a sink that lies answers 200 and keeps
nothing, one that breaks off while answering has kept what it got.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import zlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import cramjam
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.clock import Clock, SystemClock
from shipper.contracts import Signal
from shipper.intervals import IntervalSet
from shipper.otlp.answer import encode_response, encode_status
from shipper.otlp.decode import from_json
from shipper.testing.http_server import HttpServer, break_off

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_BROKEN: Mapping[str, bytes] = {
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\n\n",
    "not http": b"\x00\x00\x18\x04\x00\x00\x00\x00\x00 this is no HTTP\r\n\r\n",
}
"""What it says before it closes the connection; nothing when it hangs up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sink does with one request; made by the functions below."""

    status: int = 200
    body: bytes | None = None  # None: what OTLP has for this status
    content_type: str = PROTOBUF
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    rejected: int = 0
    keep: bool = True  # whether the request counts as stored
    delay: float = 0.0  # seconds of the sink's clock between the request's end and the answer
    fault: Literal["", "held", "never", "hang up", "cut off", "not http"] = ""


def accept(*, delay: float = 0.0) -> Answer:
    """Keep it and say so, ``delay`` seconds later."""
    return Answer(delay=delay)


def partial(rejected: int, message: str = "") -> Answer:
    """Keep it, but say that some records were refused (or, with none, only a warning)."""
    return Answer(rejected=rejected, message=message)


def refuse(status: int, message: str = "", *, retry_after: str = "", json: bool = False) -> Answer:
    """Keep nothing and answer with an error status, the body being a google.rpc.Status if there is a message."""
    body = encode_status(message, json=json) if message else b""
    headers = {"Retry-After": retry_after} if retry_after else {}
    return Answer(status, body, "application/json" if json else PROTOBUF, headers, keep=False)


def redirect(to: str, status: int = 302) -> Answer:
    """Keep nothing and point elsewhere."""
    return Answer(status, b"", "text/plain", {"Location": to}, keep=False)


def html(status: int = 200) -> Answer:
    """Keep nothing and answer with a web page, as login pages and default sites do."""
    return raw(status, b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "text/html; charset=utf-8")


def raw(status: int, body: bytes, content_type: str) -> Answer:
    """Keep nothing and answer with exactly this."""
    return Answer(status, body, content_type, keep=False)


def lie() -> Answer:
    """Say that it was kept, and keep nothing."""
    return Answer(keep=False)


def held() -> Answer:
    """Keep it, and answer when `Sink.release` is called."""
    return Answer(fault="held")


def never() -> Answer:
    """Read it and never answer."""
    return Answer(fault="never", keep=False)


def hang_up(*, keep: bool = False) -> Answer:
    """Read it and close the connection without a word."""
    return Answer(fault="hang up", keep=keep)


def cut_off() -> Answer:
    """Keep it, begin to answer, and close the connection in the middle of the body."""
    return Answer(fault="cut off")


def not_http() -> Answer:
    """Answer with bytes that are no HTTP, as a server of another protocol does."""
    return Answer(fault="not http", keep=False)


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    at: float  # monotonic seconds of the sink's clock, when it had come in full
    signal: Signal
    headers: Mapping[str, str]
    wire: bytes = field(repr=False)
    kept: bool

    @cached_property
    def body(self) -> bytes:
        """The serialized Export<Signal>ServiceRequest, decompressed; made of JSON where it came as that."""
        how = self.headers.get("Content-Encoding", "").lower()
        out = _gunzip(self.wire) if how == "gzip" else self.wire
        if how == "zstd":
            out = bytes(cramjam.zstd.decompress(self.wire))
        return from_json(self.signal, out) if _is_json(self.headers) else out

    @property
    def key(self) -> str:
        """Its ``Idempotency-Key``, or nothing."""
        return self.headers.get("Idempotency-Key", "")

    @property
    def batches(self) -> list[str]:
        """The keys (``<life>/<stream>/<start>-<end>``) of the batches it says it consists of."""
        life, listed = self.headers.get("Shipper-Life", ""), self.headers.get("Shipper-Batches", "")
        return [
            f"{life}/{stream}/{span}" for stream, span, *_ in (item.split(":") for item in listed.split(",") if item)
        ]

    def lines(self) -> list[str]:
        """The bodies of its log records, in order; those that are no text are empty. Other signals have none."""
        if self.signal is not Signal.LOGS:
            return []
        message = ExportLogsServiceRequest.FromString(self.body)
        scopes = (scope for resource in message.resource_logs for scope in resource.scope_logs)
        return [record.body.string_value for scope in scopes for record in scope.log_records]


class Sink(HttpServer):
    """The server. ``answer`` is what every request gets that has no answer scripted; `url` is its base URL.

    With ``gateway`` set to a life id it says that it is a Shipper gateway of that life, and tells from ``intervals``
    what it has. ``bytes_per_second`` slows down its reading (set before it comes up); ``clock`` decides delays and slowness.
    ``paths``: ends of further paths than OTLP's that are posted to, with the signal that comes there.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
        gateway: str = "",
        bytes_per_second: float = 0.0,
        paths: Mapping[str, Signal] | None = None,
    ) -> None:
        super().__init__(tls=tls)
        self.answer = accept()
        self.judge: Callable[[Received], Answer] | None = None  # decides by content, in place of ``answer``
        self.gateway = gateway
        self.intervals: dict[str, dict[str, IntervalSet]] = {}  # by life, then stream
        self.bytes_per_second = bytes_per_second
        self._paths = {f"/v1/{signal}": signal for signal in Signal} | dict(paths or {})
        self.received: list[Received] = []
        self.asked: list[str] = []  # paths of GET requests
        self._clock = clock or SystemClock()
        self._script: deque[Answer] = deque()
        self._news = asyncio.Condition()

    def listener(self) -> socket.socket:
        """See `HttpServer.listener`."""
        listener = super().listener()
        if self.bytes_per_second:  # else the kernel takes megabytes at once, and the sender does not notice
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        return listener

    def script(self, *answers: Answer) -> None:
        """The next requests get these, one each; then it is ``answer`` again."""
        self._script.extend(answers)

    async def until_received(self, count: int) -> None:
        """Wait until at least ``count`` requests have come in."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.received) >= count)

    def kept(self) -> list[Received]:
        """The requests that it stored, in order of arrival."""
        return [request for request in self.received if request.kept]

    def lines(self) -> list[str]:
        """All log bodies that it stored, in order of arrival."""
        return [line for request in self.kept() for line in request.lines()]

    def keys(self) -> list[str]:
        """The keys of all batches that it stored, in order of arrival."""
        return [key for request in self.kept() for key in request.batches]

    def duplicates(self) -> dict[str, int]:
        """Keys of batches that were stored more than once, and how often."""
        return {key: count for key, count in Counter(self.keys()).items() if count > 1}

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """See `HttpServer.serve`."""
        if request.method == "GET":
            self.asked.append(request.path)
            return self._tell(request.path)
        signal = next((signal for end, signal in self._paths.items() if request.path.endswith(end)), None)
        if request.method != "POST" or signal is None:
            return web.Response(status=404, headers=self._own_headers())
        wire = await self._read(request)
        received = Received(self._clock.monotonic(), signal, request.headers.copy(), wire, kept=True)
        answer = self._script.popleft() if self._script else self.judge(received) if self.judge else self.answer
        self.received.append(received if answer.keep else replace(received, kept=False))
        async with self._news:
            self._news.notify_all()
        return await self._give(answer, signal, request)

    async def _read(self, request: web.BaseRequest) -> bytes:
        chunks = []
        async for chunk in request.content.iter_any():
            chunks.append(chunk)
            if self.bytes_per_second:
                await self._clock.sleep(len(chunk) / self.bytes_per_second)
        return b"".join(chunks)

    async def _give(self, answer: Answer, signal: Signal, request: web.BaseRequest) -> web.StreamResponse:
        if answer.delay:
            await self._clock.sleep(answer.delay)
        if answer.fault == "held":
            await self.held()
        elif answer.fault == "never":
            await asyncio.Event().wait()
        elif answer.fault:
            return break_off(request, _BROKEN.get(answer.fault, b""))
        body, kind = answer.body, answer.content_type
        if body is None:
            kind = JSON if _is_json(request.headers) else kind  # as it was asked, so it is answered
            body = encode_response(signal, answer.rejected, answer.message, json=kind == JSON)
        headers = {"Content-Type": kind, **self._own_headers(), **answer.headers}
        return web.Response(status=answer.status, body=body, headers=headers)

    def _tell(self, path: str) -> web.Response:
        parts = path.strip("/").split("/")
        if self.gateway and path.endswith("/shipper/v1/hello"):
            return self._json({"life": self.gateway, "version": "test", "role": "gateway"})
        if self.gateway and parts[-1] == "intervals" and parts[-3] == "lives":
            streams = self.intervals.get(parts[-2], {})
            return self._json({"streams": {stream: done.pairs() for stream, done in streams.items()}})
        return web.Response(status=404, headers=self._own_headers())

    def _json(self, content: object) -> web.Response:
        return web.Response(text=json.dumps(content), content_type="application/json", headers=self._own_headers())

    def _own_headers(self) -> dict[str, str]:
        return {"Shipper-Gateway": self.gateway} if self.gateway else {}


def _is_json(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() == JSON


def _gunzip(wire: bytes) -> bytes:
    out, rest = b"", wire
    while rest:  # a gzip stream may have several members
        member = zlib.decompressobj(31)
        out += member.decompress(rest) + member.flush()
        rest = member.unused_data
    return out
