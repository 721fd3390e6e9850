"""The OTLP/HTTP receiver: any OpenTelemetry sender, and every other Shipper, delivers here.

Rules of the protocol: opentelemetry-proto docs/specification.md, "OTLP/HTTP". 200 means that the records are in the
spool, as durable as its fsync policy says. A sender that is a Shipper lists the batches of its request, so that what it
sends a second time is recognised (`shipper.sources.intake`).
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from shipper import __version__
from shipper.clock import Clock
from shipper.contracts import Hub, Signal, Source, StreamKind
from shipper.errors import MalformedOtlp, StateError
from shipper.events import Problem, Reporter, RequestRefused, Said
from shipper.ledger import LedgerThread
from shipper.otlp import answer, decode
from shipper.sources import body
from shipper.sources.intake import Intake
from shipper.sources.listen import Closed, HttpLog, ListenSettings, listen
from shipper.sources.listing import LIFE, read_origin
from shipper.sources.refusal import INVALID_ARGUMENT, NOT_FOUND, UNAUTHENTICATED, UNIMPLEMENTED, Refusal, bad, later
from shipper.spool import Spool, SpoolStream

Listener = Callable[[Signal, str, Sequence[tuple[StreamKind, int, int]], bytes], Awaitable[None]]
"""Somebody who wants to know of what is taken in: signal, the sender's life, its batches (kind, begin and end in the body)
and the body. It must not raise, and is waited for before the sender gets its answer."""

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_FORGET_SECONDS = 3600.0
_HEADER_BYTES = 256 << 10  # of one header: a request of many small streams lists them all
_SIGNALS = {f"/v1/{signal}": signal for signal in Signal}


@dataclass(frozen=True, slots=True)
class OtlpLimits:
    """What a stranger may make us hold. Sizes in bytes, times in seconds."""

    max_body: int = 20 << 20  # as it comes over the wire
    max_decompressed: int = 64 << 20
    max_in_flight: int = 256 << 20  # all requests together
    max_connections: int = 1024
    body_seconds: float = 60.0
    idle_seconds: float = 75.0  # for a request's headers to arrive, and between requests


class OtlpReceiver(Source):
    """Takes OTLP/HTTP in and makes one stream of each signal.

    ``spools`` has one spool a signal and stays the caller's to close. ``life`` is our own, and told in every answer.
    ``path`` is where the settings stand, for errors. The constructor raises `ConfigError` for settings that cannot work.
    """

    def __init__(
        self,
        listen: ListenSettings,
        *,
        hub: Hub,
        spools: Mapping[Signal, Spool],
        ledger: LedgerThread,
        life: str,
        clock: Clock,
        report: Reporter,
        role: str = "gateway",
        name: str = "otlp",
        path: str = "receivers.otlp",
        limits: OtlpLimits | None = None,
        listener: Listener | None = None,
    ) -> None:
        listen.check(path)
        self.name = name
        self.refused = 0  # requests not taken
        self.addresses: list[tuple[str, int]] = []  # where it listens, once started
        self.streams = {
            signal: SpoolStream(
                spool, id=f"{name}-{signal}", signal=signal, kind=StreamKind.DATA, life=life, name=f"{name} {signal}"
            )
            for signal, spool in spools.items()
        }
        self._listen = listen
        self._path = path
        self._hub = hub
        self._life = life
        self._role = role
        self._clock = clock
        self._report = report
        self._limits = limits or OtlpLimits()
        self._listener = listener
        self._intake = Intake(name, spools, ledger, clock, report)
        self._budget = body.Budget(self._limits.max_in_flight)
        self._under_way = 0
        self._last_request = clock.monotonic()
        self._stopping = False
        self._http: web.Server | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Index the spools, announce the streams, listen. Raises `ConfigError` when the address cannot be had."""
        if self._server is not None:
            return
        await self._intake.start()
        for stream in self.streams.values():
            self._hub.add(stream)
        http = web.Server(
            self._handle,
            access_log=None,
            logger=HttpLog(self.name, self._report).logger(),
            auto_decompress=False,
            keepalive_timeout=self._limits.idle_seconds,
            max_field_size=_HEADER_BYTES,
        )
        self._http = http

        def connection() -> asyncio.Protocol:
            return http() if len(http.connections) < self._limits.max_connections else Closed()

        self._server, self.addresses = await listen(self._listen, self._path, connection)
        where = ", ".join(f"{host}:{port}" for host, port in self.addresses)
        self._report(Said(f"{self.name}: listening on {where}"))

    async def run(self) -> None:
        """See `Source.run`."""
        await self.start()
        while True:
            try:
                await self._intake.forget_old()
            except StateError as error:
                self._report(Problem("ledger", f"{self.name}: old intervals were not forgotten: {error}", self.name))
            await self._clock.sleep(_FORGET_SECONDS)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: from now on senders are told to come again later."""
        self._stopping = True

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: writers far away cannot be seen, so only quiet tells."""
        return not self._under_way and self._clock.monotonic() - self._last_request >= quiet_seconds

    def close_events(self) -> None:
        """See `Source.close_events`; every request is complete in itself."""

    async def aclose(self) -> None:
        """Stop listening and close all connections; requests under way get their answer if it takes a second or two."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        if self._http is not None:
            self._http.pre_shutdown()  # ends idle connections, which shutdown alone would wait for
            await self._http.shutdown(2.0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        self._under_way += 1
        self._last_request = self._clock.monotonic()
        as_json = _media_type(request) != _PROTOBUF
        try:
            response = await self._answer(request, as_json)
        except Refusal as refusal:
            response = self._refuse(refusal, as_json)
        finally:
            self._under_way -= 1
        response.headers["Shipper-Gateway"] = self._life
        return response

    async def _answer(self, request: web.BaseRequest, as_json: bool) -> web.Response:
        path = request.rel_url.path
        signal = _SIGNALS.get(path)
        if signal is None and not path.startswith("/shipper/v1/"):
            raise Refusal(
                404, NOT_FOUND, "path", f"{path[:80]} is not here; OTLP goes to /v1/logs, /v1/traces, /v1/metrics"
            )
        method = "POST" if signal else "GET"
        if request.method != method:
            message = f"{request.method[:20]} is not for {path[:80]}; use {method}"
            raise Refusal(405, UNIMPLEMENTED, "method", message, {"Allow": method})
        self._authorise(request)
        if signal is None:
            return await self._tell(path)
        if self._stopping:
            raise later("stopping", "this receiver is shutting down")
        await self._take(signal, request, as_json)
        if signal in self.streams:
            self._hub.ready(self.streams[signal])
        return web.Response(
            body=answer.encode_response(signal, json=as_json), content_type=_JSON if as_json else _PROTOBUF
        )

    async def _take(self, signal: Signal, request: web.BaseRequest, as_json: bool) -> None:
        """Read, check and store the body of a POST."""
        if _media_type(request) not in (_PROTOBUF, _JSON):
            told = _media_type(request)[:80]
            message = f"Content-Type {told!r} is not taken; use {_PROTOBUF} or {_JSON}"
            raise Refusal(415, INVALID_ARGUMENT, "content_type", message)
        limits = self._limits
        with body.Held(self._budget) as held:
            data = await body.read(
                request,
                held,
                max_body=limits.max_body,
                max_decompressed=limits.max_decompressed,
                seconds=limits.body_seconds,
            )
            if as_json:
                if "Shipper-Batches" in request.headers:
                    raise bad("headers", "Shipper-Batches counts bytes of protobuf; it cannot go with JSON")
                data = await _from_json(signal, data)
            origin = read_origin(request.headers, len(data))
            await self._intake.take(signal, data, origin)
            if self._listener is not None:
                parts = [(batch.kind, batch.offset, batch.offset + batch.length) for batch in origin.batches]
                await self._listener(signal, origin.life, parts, data)

    async def _tell(self, path: str) -> web.Response:
        """The two questions another Shipper asks."""
        if path == "/shipper/v1/hello":
            return _json({"life": self._life, "version": __version__, "role": self._role})
        match path.split("/"):
            case ["", "shipper", "v1", "lives", life, "intervals"] if LIFE.fullmatch(life):
                try:
                    known = await self._intake.known(life)
                except StateError as error:
                    raise later("ledger", str(error)) from error
                return _json({"streams": {stream: intervals.pairs() for stream, intervals in known.items()}})
        raise Refusal(404, NOT_FOUND, "path", f"{path[:80]} is not here")

    def _authorise(self, request: web.BaseRequest) -> None:
        if not self._listen.token:
            return
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {self._listen.token}".encode()):
            message = "this receiver needs another bearer token than was given"
            raise Refusal(401, UNAUTHENTICATED, "token", message, {"WWW-Authenticate": "Bearer"})

    def _refuse(self, refusal: Refusal, as_json: bool) -> web.Response:
        self.refused += 1
        self._report(RequestRefused(self.name, refusal.cause, refusal.status, str(refusal)))
        return web.Response(
            status=refusal.status,
            body=answer.encode_status(str(refusal), json=as_json, code=refusal.code),
            content_type=_JSON if as_json else _PROTOBUF,
            headers=refusal.headers,
        )


def _media_type(request: web.BaseRequest) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def _from_json(signal: Signal, data: bytes) -> bytes:
    try:
        return await asyncio.to_thread(decode.from_json, signal, data) if data else b""
    except MalformedOtlp as error:
        raise bad("malformed", str(error)) from error


def _json(value: Mapping[str, object]) -> web.Response:
    return web.Response(body=json.dumps(value).encode(), content_type=_JSON)
