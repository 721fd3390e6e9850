"""Unary gRPC calls (grpc/grpc doc/PROTOCOL-HTTP2.md), with messages as the bytes they are.

By the same way as HTTP: names, addresses, proxies, TLS and patience are those of ``_network`` and ``_http``, which is what a gRPC
library would have had its own of. What a status means is for the exporter to say.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from yarl import URL

from shipper.clock import Deadline
from shipper.contracts import ExporterContext
from shipper.errors import Retryable, Unusable
from shipper.sources.body import unpack
from shipper.sources.refusal import Refusal
from shipper_exporters._http.exchange import NoAnswer, Patience
from shipper_exporters._http.http2 import Call, Gone, Http2, NotHttp2, NotTaken, Reset, SpeaksTls, answered
from shipper_exporters._http.settings import HttpSettings
from shipper_exporters._way.addresses import Addresses
from shipper_exporters._way.dial import dial
from shipper_exporters._way.failures import network_failure, speaks_tls
from shipper_exporters._way.files import HTTP_2
from shipper_exporters._way.network import KEEP_ALIVE, RENEW, Network
from shipper_exporters._way.words import excerpt, plain

_PREFIX = struct.Struct(">BI")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a call ended with. ``details``: google.rpc.Status, if the server said more than code and message.

    ``status``: of HTTP. Where nobody who speaks gRPC answered, ``code`` is None and ``data`` what was answered.
    """

    code: int | None
    message: str
    details: bytes = field(repr=False)
    metadata: Mapping[str, str]
    data: bytes = field(repr=False)
    status: int
    repeated: bool = False


class _Pool:
    """The connections to one place."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.kept: list[tuple[Http2, float]] = []  # with the moment when it was made
        self.used = 0.0  # when the latest call ended


class Grpc:
    """Calls between `open` and `aclose`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._clock = network.clock
        self._pools: dict[URL, _Pool] | None = None
        self._answered = False  # by anybody who speaks HTTP/2, ever

    @classmethod
    def of(cls, settings: HttpSettings, context: ExporterContext) -> Grpc:
        """The client that an exporter with these settings uses."""
        return cls(Network.of(settings, context, HTTP_2))

    @property
    def addresses(self) -> Addresses:
        """What is known of the addresses it connected to."""
        return self._network.addresses

    def open(self) -> None:
        """Be ready; connects to nothing."""
        self._pools = {}

    async def aclose(self) -> None:
        """Let go of connections."""
        pools, self._pools = self._pools or {}, None
        for pool in pools.values():
            for connection, _ in pool.kept:
                connection.close()
        if pools:
            await asyncio.sleep(0)  # asyncio closes them in its next turn

    async def call(
        self, url: URL, method: str, message: bytes, deadline: Deadline, limit: int, metadata: Mapping[str, str]
    ) -> Reply:
        """One call of ``method`` (``/package.Service/Method``) with a message as `shipper_exporters._otlp.request.framed` makes it.

        Of an answer's message no more than ``limit`` bytes and few more are read. Raises `Retryable` or `Unusable` for what fails
        below gRPC.
        """
        where = str(url.origin())
        if deadline.expired():
            raise Retryable(f"{where}: the deadline came before it could be sent", unsent=True)
        patience = Patience(self._clock, self._network.timeout, deadline)
        headers = [
            *((":method", "POST"), (":scheme", url.scheme), (":path", method), (":authority", url.authority)),
            *(("te", "trailers"), ("content-type", "application/grpc"), ("grpc-accept-encoding", "identity,gzip")),
            *((name.lower(), value) for name, value in metadata.items()),
        ]
        call = Call(limit=limit + _PREFIX.size)
        connection: list[Http2] = []
        try:
            async with patience:
                return await self._calls(url, where, headers, message, call, patience, connection)
        except TimeoutError:
            for silent in connection:  # whether it is dead or busy cannot be told; the next call finds out by another
                silent.retire()
            self._network.names.doubt()
            when = "before the deadline" if deadline.expired() else f"for {self._network.timeout:g} s"
            raise NoAnswer(f"{where}: no answer {when}") from None

    async def _calls(
        self,
        url: URL,
        where: str,
        headers: list[tuple[str, str]],
        message: bytes,
        call: Call,
        patience: Patience,
        used: list[Http2],
    ) -> Reply:
        """Make the call; again where a kept connection was closed under it, or the server had not looked at it."""
        connection, kept = await self._connection(url, where)
        used[:] = [connection]
        repeated = False
        try:
            await connection.call(call, headers, message, patience.progress)
        except (NotTaken, Gone) as error:
            if isinstance(error, Gone) and not kept:
                raise _failure(error, where, unsent=not call.whole) from None
            repeated = call.whole and isinstance(error, Gone)
            call = Call(limit=call.limit)
            connection, _ = await self._connection(url, where)
            used[:] = [connection]
            try:
                await connection.call(call, headers, message, patience.progress)
            except (NotTaken, Gone, NotHttp2, Reset) as another:
                raise _failure(another, where, unsent=not call.whole and not repeated) from None
        except (NotHttp2, Reset) as error:
            raise _failure(error, where, unsent=not call.whole) from None
        if self._pools is not None and url in self._pools:
            self._pools[url].used = self._clock.monotonic()
        return replace(_reply(call, where), repeated=repeated)

    async def _connection(self, url: URL, where: str) -> tuple[Http2, bool]:
        """One that another call can be made on, and whether it was made for an earlier one."""
        if self._pools is None:
            raise RuntimeError("an exporter is used between start() and aclose()")
        pool = self._pools.setdefault(url, _Pool())
        async with pool.lock:
            now = self._clock.monotonic()
            for connection, made in pool.kept:
                if now - made >= RENEW or (not connection.calls and now - pool.used >= KEEP_ALIVE):
                    connection.retire()
            pool.kept = [entry for entry in pool.kept if entry[0].calls or not entry[0].retired]
            for connection, _ in pool.kept:
                if connection.takes_more():
                    return connection, True
            connection = await self._dialled(url, where)
            pool.used = self._clock.monotonic()
            pool.kept.append((connection, pool.used))
            return connection, False

    async def _dialled(self, url: URL, where: str) -> Http2:
        """A new connection, with somebody at its other end who speaks HTTP/2."""
        try:
            connection = await dial(self._network, url, where, Http2)
        except OSError as error:
            self._network.names.doubt()
            raise network_failure(error, where, unsent=True) from None
        try:
            await connection.opened()
        except (NotHttp2, Gone) as error:
            self._network.names.doubt()
            silent = url.scheme == "http" and not self._answered
            raise _failure(error, where, unsent=True, silent=silent) from None
        except BaseException:
            connection.close()
            raise
        self._answered = True
        return connection


def _failure(error: Exception, where: str, *, unsent: bool, silent: bool = False) -> Retryable | Unusable:
    """What it means that a connection did not carry a call to its end. ``silent``: as `network_failure` has it."""
    if isinstance(error, SpeaksTls):
        return speaks_tls(where)
    if isinstance(error, NotHttp2):
        return Unusable(f"{where}: does not speak gRPC ({error}); is it another port, such as the one for HTTP?")
    if isinstance(error, NotTaken):
        return Retryable(f"{where}: takes no calls now", unsent=True)
    if isinstance(error, Reset):
        return Retryable(f"{where}: gave the call up: {error}", unsent=unsent)
    cause = error.args[0] if error.args else None
    if isinstance(cause, OSError):
        failure = network_failure(cause, where, unsent=unsent, silent=silent)
        if isinstance(failure, (Retryable, Unusable)):
            return failure
    said = f": {plain(cause) if isinstance(cause, Exception) else cause}" if cause else " without an answer"
    perhaps = " (if it always does: does it want https://?)" if silent else ""
    return Retryable(f"{where}: closed the connection{said}{perhaps}", unsent=unsent)


def _reply(call: Call, where: str) -> Reply:
    """What came back. Raises `Retryable` for an answer that breaks off, and `Unusable` for one without an end."""
    if len(call.body) > call.limit:
        raise Unusable(f"{where} answered with more than {call.limit} bytes")
    metadata = {**call.headers, **call.trailers}
    status = answered(call.headers)
    code = metadata.get("grpc-status", "")
    if not (code.isascii() and code.isdigit() and len(code) <= 2):
        if status == 200 and metadata.get("content-type", "").startswith("application/grpc"):
            raise Retryable(f"{where}: its answer broke off")
        return Reply(None, "", b"", metadata, bytes(call.body), status)
    details = _base64(metadata.get("grpc-status-details-bin", ""))
    data = b"" if int(code) else _message(call, metadata.get("grpc-encoding", ""), where)
    return Reply(int(code), unquote(metadata.get("grpc-message", "")), details, metadata, data, status)


def _message(call: Call, coding: str, where: str) -> bytes:
    """The message of an answer. Raises `Unusable` for what is none: nobody said then that anything arrived.

    It may be compressed although nobody asked for that: servers in Go compress as the request was, whatever is accepted.
    """
    body = bytes(call.body)
    if len(body) >= _PREFIX.size:
        compressed, size = _PREFIX.unpack_from(body)
        message = body[_PREFIX.size :]
        if compressed <= 1 and len(message) == size:
            try:
                return unpack(coding, message, call.limit) if compressed else message
            except (Refusal, KeyError):
                pass  # said below
    raise Unusable(f"{where} answered OK with something that is no message: {excerpt(body, 80)}")


def _base64(text: str) -> bytes:
    """A binary header: base64, with padding or without."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
