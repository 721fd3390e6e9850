"""An OTLP/gRPC server for tests, on a real socket, that misbehaves on request.

Made with h2 and not with a gRPC library, whose servers cannot be brought to break the rules. It is strict in return: what is not
a gRPC request by the letter is refused, and noted in ``wrong``.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

import cramjam
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
EXPORTS = {
    LOGS,
    LOGS.replace("logs", "trace").replace("Logs", "Trace"),
    LOGS.replace("logs", "metrics").replace("Logs", "Metrics"),
}
UNPACK = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "zstd": lambda data: bytes(cramjam.zstd.decompress(data)),
}


@dataclass(frozen=True)
class Answer:
    """What a call gets. ``fault``: held, never, cut off, hang up, refuse stream, reset, goodbye, no message."""

    code: int | None = 0  # None: an answer of somebody who does not speak gRPC
    message: str = ""
    trailers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""  # the message of the answer; with code None the body of the page
    status: int = 200
    content_type: str = "application/grpc"
    keep: bool = True
    fault: str = ""


OK = Answer()
LIE = Answer(keep=False)
PAGE = Answer(None, body=b"<html>Sign in</html>", content_type="text/html", keep=False)


def says(code: int, message: str = "", **trailers: str) -> Answer:
    """Keep nothing and end with this status; underscores in names of trailers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in trailers.items()}
    return Answer(code, message, named, keep=False)


def fault(name: str, *, keep: bool = False) -> Answer:
    """Misbehave in this way."""
    return Answer(fault=name, keep=keep)


@dataclass(frozen=True)
class Received:
    """One call as it came."""

    path: str
    headers: Mapping[str, str]
    wire: bytes = field(repr=False)
    kept: bool

    @property
    def message(self) -> bytes:
        """Its message, decompressed."""
        return UNPACK[self.headers.get("grpc-encoding", "") if self.wire[0] else ""](self.wire[5:])

    def lines(self) -> list[str]:
        """The bodies of its log records."""
        sent = ExportLogsServiceRequest.FromString(self.message)
        scopes = (scope for resource in sent.resource_logs for scope in resource.scope_logs)
        return [record.body.string_value for scope in scopes for record in scope.log_records]


class GrpcSink:
    """The server. ``answer`` is what a call gets for which none is scripted; ``window``: of flow control, per call."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, window: int = 1 << 20, gateway: str = "") -> None:
        self.answer = OK
        self.gateway = gateway
        self.received: list[Received] = []
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.connections = 0
        self.window = window
        self.port = 0
        self.tls = tls
        self._script: deque[Answer] = deque()
        self._released = asyncio.Event()
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> GrpcSink:
        await self.come_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_down()
        if kind is None:
            assert not self.wrong

    async def come_up(self) -> None:
        if self._server is None:
            listener = socket.create_server(("127.0.0.1", self.port))
            self.port = listener.getsockname()[1]
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), sock=listener, ssl=self.tls)

    async def go_down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._open):
            connection.drop()
        await asyncio.sleep(0)

    def script(self, *answers: Answer) -> None:
        self._script.extend(answers)

    def release(self) -> None:
        """Let go of what is held, now and from now on."""
        self._released.set()

    def kept(self) -> list[Received]:
        return [call for call in self.received if call.kept]

    async def until_received(self, count: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: len(self.received) >= count)

    async def take(self, headers: Mapping[str, str], wire: bytes) -> Answer:
        """What a call gets that has come in full."""
        path = headers[":path"]
        if path.startswith("/shipper."):
            self.asked.append(path)
            if not self.gateway:
                return says(12, "unknown service")
            return Answer(0, body=b"{}" if path.endswith("Hello") else b'{"streams": {"file-1": [[0, 10]]}}')
        self._check(headers, wire)
        answer = self._script.popleft() if self._script else self.answer
        self.received.append(Received(path, headers, wire, answer.keep))
        async with self._news:
            self._news.notify_all()
        if answer.fault == "held":
            await self._released.wait()
        return answer

    def _check(self, headers: Mapping[str, str], wire: bytes) -> None:
        rules = {
            "method": headers.get(":method") == "POST",
            "path": headers.get(":path") in EXPORTS,
            "scheme": headers.get(":scheme") == ("https" if self.tls else "http"),
            "authority": bool(headers.get(":authority")),
            "content type": headers.get("content-type") == "application/grpc",
            "te": headers.get("te") == "trailers",
            "length": len(wire) >= 5 and int.from_bytes(wire[1:5], "big") == len(wire) - 5,
            "flag": wire[:1] == (b"\x01" if headers.get("grpc-encoding", "identity") != "identity" else b"\x00"),
        }
        self.wrong += [f"{name}: {dict(headers)}" for name, kept in rules.items() if not kept]


class _Connection(asyncio.Protocol):
    def __init__(self, sink: GrpcSink) -> None:
        self._sink = sink
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._calls: dict[int, tuple[dict[str, str], bytearray]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sink.connections += 1
        self._sink._open.add(self)
        self._h2.initiate_connection()
        self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: self._sink.window})
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink._open.discard(self)
        for task in self._tasks:
            task.cancel()

    def drop(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            number = getattr(event, "stream_id", None) or 0
            if isinstance(event, RequestReceived):
                self._calls[number] = ({str(n): str(v) for n, v in event.headers or ()}, bytearray())
            elif isinstance(event, DataReceived):
                if number in self._calls:
                    self._calls[number][1].extend(event.data or b"")
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
            elif isinstance(event, StreamEnded):
                task = asyncio.get_running_loop().create_task(self._answer(number))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif isinstance(event, StreamReset):
                self._calls.pop(number, None)
        self._flush()

    async def _answer(self, number: int) -> None:
        headers, wire = self._calls[number]
        answer = await self._sink.take(headers, bytes(wire))
        if answer.fault == "never" or self._calls.pop(number, None) is None:
            return
        if answer.fault == "hang up":
            self.drop()
        elif answer.fault in ("refuse stream", "reset"):
            code = ErrorCodes.REFUSED_STREAM if answer.fault == "refuse stream" else ErrorCodes.INTERNAL_ERROR
            self._h2.reset_stream(number, code)
        else:
            await self._give(number, answer)
        self._flush()
        if answer.fault == "cut off":
            self._end()

    def _end(self) -> None:
        """Say nothing more; closing at once would take back what was said."""
        self._ended = True
        self._transport.write_eof()

    async def _give(self, number: int, answer: Answer) -> None:
        own = [("shipper-gateway", self._sink.gateway)] if self._sink.gateway else []
        head = [(":status", str(answer.status)), ("content-type", answer.content_type), *own]
        if answer.fault == "goodbye":  # what was begun is answered all the same
            frame = b"\x00\x00\x08\x07\x00" + bytes(4) + number.to_bytes(4, "big") + bytes(4)
            self._transport.write(frame)
        if answer.fault == "cut off":
            self._h2.send_headers(number, head)
            self._h2.send_data(number, b"\x00\x00\x00")
            return
        if answer.code is None:
            self._h2.send_headers(number, head)
            self._h2.send_data(number, answer.body, end_stream=True)
            return
        trailers = [("grpc-status", str(answer.code)), *answer.trailers.items()]
        if answer.message:
            trailers.append(("grpc-message", answer.message))
        if answer.code:
            self._h2.send_headers(number, [*head, *trailers], end_stream=True)
            return
        self._h2.send_headers(number, head)
        message = b"\x00" + len(answer.body).to_bytes(4, "big") + answer.body
        if answer.fault == "no message":
            message = b"fine"
        while message:
            size = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            self._h2.send_data(number, message[:size])
            message = message[size:]
            self._flush()
            await asyncio.sleep(0)
            if number not in self._h2.streams or self._h2.streams[number].closed:
                return  # the client has had enough
        self._h2.send_headers(number, trailers, end_stream=True)

    def _flush(self) -> None:
        if not self._transport.is_closing() and not self._ended:
            self._transport.write(self._h2.data_to_send())
