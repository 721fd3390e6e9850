"""OTLP/gRPC (opentelemetry-proto docs/specification.md, "OTLP/gRPC"), the door that most stock SDKs take by default.

The only file that imports grpc. Messages are passed on as the bytes they are, decompressed here and not by gRPC, which
would take any amount of memory for it. Calls are taken as streams of one message, so that nothing is read of a request
before it is known to be welcome.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr what comes back as an error anyway
import grpc

from shipper.contracts import Signal
from shipper.errors import ConfigError
from shipper.otlp.answer import encode_response
from shipper.otlp.wire import field, varint_field
from shipper.sources.body import Held, unpacked
from shipper.sources.listen import SOCKET_MODE, ListenSettings, prepare_socket
from shipper.sources.listing import Origin, read_origin
from shipper.sources.otlp_asked import Asked
from shipper.sources.otlp_desk import Desk
from shipper.sources.refusal import Refusal, bad, later, too_large

_METHODS = {
    f"/opentelemetry.proto.collector.{package}.v1.{service}/Export": signal
    for package, service, signal in (
        ("logs", "LogsService", Signal.LOGS),
        ("trace", "TraceService", Signal.TRACES),
        ("metrics", "MetricsService", Signal.METRICS),
    )
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_AT_ONCE = 64  # calls on one connection: more wait in the sender
_METADATA_BYTES = 256 << 10  # a request of many small streams lists them all
_CLOSING_SECONDS = 2.0
HELLO, KNOWN = "/shipper.v1.Gateway/Hello", "/shipper.v1.Gateway/Known"
"""What only another Shipper calls, of a gateway: the message of the latter is a life's id, the answers are JSON."""


class GrpcDoor:
    """See `shipper.sources.otlp.Door`."""

    def __init__(self, settings: ListenSettings, desk: Desk, path: str, asked: Asked | None = None) -> None:
        """``asked``: as `shipper.sources.otlp_http.HttpDoor` has it."""
        self.addresses: list[tuple[str, int]] = []
        self._settings = settings
        self._desk = desk
        self._path = path
        self._asked = asked
        self._server: Any = None

    async def start(self) -> None:
        """See `Door.start`."""
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._desk.limits.max_body),
                ("grpc.per_message_decompression", 0),
                ("grpc.max_concurrent_streams", _AT_ONCE),
                ("grpc.max_metadata_size", _METADATA_BYTES),
                ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
                ("grpc.so_reuseport", 0),  # else a second server on the same port would take half of what comes
                ("grpc.http2.max_ping_strikes", 0),  # senders may ask as often as they like whether this still lives
            ]
        )
        server.add_generic_rpc_handlers((_Handlers(self, self._asked is not None),))
        settings = self._settings
        if settings.path:
            prepare_socket(settings.path, self._path)
        host = settings.host.strip("[]") or "::"
        where = f"unix:{settings.path}" if settings.path else f"{f'[{host}]' if ':' in host else host}:{settings.port}"
        try:
            port = self._bind(server, where)
        except RuntimeError as error:
            raise ConfigError(self._path, f"cannot listen on {where}: {error}") from error
        if not port:
            raise ConfigError(self._path, f"cannot listen on {where}")
        await server.start()
        self._server = server
        if settings.path:
            os.chmod(settings.path, SOCKET_MODE)
        self.addresses = [(settings.path, 0) if settings.path else (host, port)]

    def connected(self) -> bool:
        """See `Door.connected`: gRPC does not tell of connections on which nothing is under way."""
        return False

    async def aclose(self) -> None:
        """See `Door.aclose`."""
        if self._server is not None:
            await self._server.stop(_CLOSING_SECONDS)

    async def export(self, signal: Signal, context: Any) -> bytes:
        """Answer one call."""
        with self._desk.request() as held:
            try:
                rejected = await self._take(signal, context, held)
            except Refusal as refusal:
                self._desk.refuse(refusal)
                await context.abort(_CODES[refusal.code], str(refusal), (*_retry_after(refusal), *self._name()))
        await self._sign(context)
        said = f"{rejected} records are not valid OTLP and were left out" if rejected else ""
        return encode_response(signal, rejected, said)

    async def tell(self, known: bool, context: Any) -> bytes:
        """Answer one question of another Shipper: what we have of a life (``known``), or who we are."""
        try:
            answer = await self._told(known, context)
        except Refusal as refusal:
            self._desk.refuse(refusal)
            await context.abort(_CODES[refusal.code], str(refusal), (*_retry_after(refusal), *self._name()))
        await self._sign(context)
        return answer

    async def _told(self, known: bool, context: Any) -> bytes:
        assert self._asked is not None
        self._authorise(context)
        if not known:
            return self._asked.hello()
        life = await context.read()
        answer = None if life is grpc.aio.EOF else await self._asked.intervals(life.decode("utf-8", "replace"))
        if answer is None:
            raise bad("life", "that is not a life's id")
        return answer

    def _authorise(self, context: Any) -> None:
        given = dict(context.invocation_metadata()).get("authorization", "")
        self._desk.authorise(given if isinstance(given, str) else "")

    def _name(self) -> tuple[tuple[str, str], ...]:
        """By what another Shipper knows a gateway."""
        return () if self._asked is None else (("shipper-gateway", self._asked.life),)

    async def _sign(self, context: Any) -> None:
        if self._asked is not None:
            await context.send_initial_metadata(self._name())

    async def _take(self, signal: Signal, context: Any, held: Held) -> int:
        self._authorise(context)
        self._desk.check_open()
        held.check(0)
        limits = self._desk.limits
        try:
            async with asyncio.timeout(limits.body_seconds):
                message = await context.read()
        except TimeoutError:
            raise later("slow", f"the message did not arrive within {limits.body_seconds:g} s") from None
        if message is grpc.aio.EOF:  # gRPC has said so itself
            raise too_large(f"the message is larger than the limit of {limits.max_body} bytes, or there is none")
        held.take(len(message))
        how = _coding(message)
        data: bytes = message
        if how != "identity":
            data = await unpacked(how, message, held, limits.max_decompressed)
        elif len(data) > limits.max_decompressed:
            raise too_large(f"the message is larger than {limits.max_decompressed} bytes")
        return await self._desk.take(signal, data, self._origin(context, len(data)))

    def _origin(self, context: Any, size: int) -> Origin:
        """What a Shipper says of its request, in the words that it has for HTTP. Raises a `Refusal`."""
        if self._asked is None:
            return Origin()
        said = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        return read_origin(said, size)

    def _bind(self, server: Any, where: str) -> int:
        settings = self._settings
        if settings.context(self._path) is None:  # which looks at the files, and says better than gRPC what is wrong
            return int(server.add_insecure_port(where))
        with open(settings.cert, "rb") as cert, open(settings.key, "rb") as key:
            credentials = grpc.ssl_server_credentials([(key.read(), cert.read())])
        return int(server.add_secure_port(where, credentials))


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # it has no types
    """Finds the handler of a call."""

    def __init__(self, door: GrpcDoor, asked: bool) -> None:
        self._handlers = {method: _handler(partial(door.export, signal)) for method, signal in _METHODS.items()}
        if asked:
            self._handlers |= {method: _handler(partial(door.tell, method == KNOWN)) for method in (HELLO, KNOWN)}

    def service(self, details: Any) -> Any:
        """See `grpc.GenericRpcHandler.service`."""
        return self._handlers.get(details.method)


def _handler(answer: Callable[[Any], Awaitable[bytes]]) -> Any:
    async def call(_: Any, context: Any) -> bytes:
        return await answer(context)

    return grpc.stream_unary_rpc_method_handler(call)


def _coding(message: bytes) -> str:
    """How a message is compressed. gRPC does not pass that on, but no request begins like compressed data does.

    The first byte of gzip has a wire type that there is not; a request whose first field has the number that the first byte
    of the zlib format would stand for is a request that OTLP does not know.
    """
    if message[:2] == b"\x1f\x8b":
        return "gzip"
    if message[:1] == b"\x78" and len(message) > 1 and int.from_bytes(message[:2], "big") % 31 == 0:
        return "deflate"
    return "identity"


def _retry_after(refusal: Refusal) -> tuple[tuple[str, bytes], ...]:
    """Trailing metadata that says when to come again: google.rpc.RetryInfo, in a google.rpc.Status and by itself.

    Without it RESOURCE_EXHAUSTED is for good, as OTLP has it.
    """
    seconds = refusal.headers.get("Retry-After")
    if seconds is None:
        return ()
    info = field(1, varint_field(1, int(seconds)))
    details = field(1, b"type.googleapis.com/google.rpc.RetryInfo") + field(2, info)
    status = varint_field(1, refusal.code) + field(2, str(refusal).encode()) + field(3, details)
    return (("grpc-status-details-bin", status), ("google.rpc.retryinfo-bin", info))
