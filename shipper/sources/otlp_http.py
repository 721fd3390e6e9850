"""OTLP/HTTP (opentelemetry-proto docs/specification.md, "OTLP/HTTP"): paths, types, codings, statuses and bodies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from email.utils import formatdate

from aiohttp import web

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.events import Reporter
from shipper.otlp import answer, decode
from shipper.sources import body
from shipper.sources.http_head import Head, answer_head
from shipper.sources.http_plain import BUFFER, Body, Plain
from shipper.sources.listen import Closed, HttpLog, ListenSettings, listen
from shipper.sources.listing import Origin, read_origin
from shipper.sources.otlp_asked import Asked
from shipper.sources.otlp_desk import Desk
from shipper.sources.refusal import INTERNAL, INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, Refusal, bad

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_HEADER_BYTES = 256 << 10  # of one header: a request of many small streams lists them all
_READ_BYTES = 512 << 10  # of a body read ahead, before the sender has to wait
_SIGNALS = {f"/v1/{signal}": signal for signal in Signal}
_CLOSING_SECONDS = 2.0


class HttpDoor:
    """See `shipper.sources.otlp.Door`."""

    def __init__(self, settings: ListenSettings, desk: Desk, path: str, asked: Asked | None, report: Reporter) -> None:
        """``asked``: see there; None: this is no gateway, and a Shipper that sends here is treated like anybody."""
        self.addresses: list[tuple[str, int]] = []
        self._settings = settings
        self._desk = desk
        self._path = path
        self._asked = asked
        self._report = report
        self._http: web.Server | None = None
        self._plain: _PlainRequests | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """See `Door.start`."""
        limits = self._desk.limits
        http = web.Server(
            self._handle,
            access_log=None,
            logger=HttpLog(self._desk.name, self._report).logger(),
            auto_decompress=False,
            keepalive_timeout=limits.idle_seconds,
            max_field_size=_HEADER_BYTES,
            read_bufsize=_READ_BYTES,
        )
        self._http = http
        self._plain = plain = _PlainRequests(self._desk, self._asked, http)

        def connection() -> asyncio.BaseProtocol:
            return Plain(plain) if self._count() < limits.max_connections else Closed()

        self._server, self.addresses = await listen(self._settings, self._path, connection)

    def connected(self) -> bool:
        """See `Door.connected`."""
        return self._count() > 0

    async def aclose(self) -> None:
        """See `Door.aclose`."""
        if self._server is not None:
            self._server.close()
        if self._http is not None:
            self._http.pre_shutdown()  # ends idle connections, which shutdown alone would wait for
        if self._plain is not None:
            await self._plain.aclose()
        if self._http is not None:
            await self._http.shutdown(_CLOSING_SECONDS)

    def _count(self) -> int:
        """Connections, whoever serves them."""
        if self._http is None or self._plain is None:
            return 0
        return len(self._plain.connections) + len(self._http.connections)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        as_json = _media(request.headers) != _PROTOBUF
        with self._desk.request() as held:
            try:
                response = await self._answer(request, held, as_json)
            except Refusal as refusal:
                self._desk.refuse(refusal)
                response = _refused(refusal, as_json)
        if self._asked is not None:
            response.headers["Shipper-Gateway"] = self._asked.life
        return response

    async def _answer(self, request: web.BaseRequest, held: body.Held, as_json: bool) -> web.Response:
        path = request.rel_url.path
        signal = _SIGNALS.get(path)
        if signal is None and (self._asked is None or not path.startswith("/shipper/v1/")):
            raise _nowhere(f"{path[:80]} is not here; OTLP goes to /v1/logs, /v1/traces, /v1/metrics")
        method = "POST" if signal else "GET"
        if request.method != method:
            message = f"{request.method[:20]} is not for {path[:80]}; use {method}"
            raise Refusal(405, UNIMPLEMENTED, "method", message, {"Allow": method})
        self._desk.authorise(request.headers.get("Authorization", ""))
        if signal is None:
            return await self._tell(path)
        self._desk.check_open()
        rejected = await self._take(signal, request, held, as_json)
        return web.Response(
            body=answer.encode_response(signal, rejected, _left_out(rejected), json=as_json),
            content_type=_JSON if as_json else _PROTOBUF,
        )

    async def _take(self, signal: Signal, request: web.BaseRequest, held: body.Held, as_json: bool) -> int:
        """Read and store the body of a POST."""
        if _media(request.headers) not in (_PROTOBUF, _JSON):
            told = _media(request.headers)[:80]
            message = f"Content-Type {told!r} is not taken; use {_PROTOBUF} or {_JSON}"
            raise Refusal(415, INVALID_ARGUMENT, "content_type", message)
        limits = self._desk.limits
        data = await body.read(
            request,
            held,
            max_body=limits.max_body,
            max_decompressed=min(limits.max_decompressed, limits.max_json) if as_json else limits.max_decompressed,
            seconds=limits.body_seconds,
        )
        if as_json:
            if self._asked is not None and "Shipper-Batches" in request.headers:
                raise bad("headers", "Shipper-Batches counts bytes of protobuf; it cannot go with JSON")
            data = await _from_json(signal, data)
        origin = read_origin(request.headers, len(data)) if self._asked is not None else Origin()
        return await self._desk.take(signal, data, origin)

    async def _tell(self, path: str) -> web.Response:
        """The two questions another Shipper asks."""
        assert self._asked is not None
        if path == "/shipper/v1/hello":
            return _json(self._asked.hello())
        match path.split("/"):
            case ["", "shipper", "v1", "lives", life, "intervals"]:
                if (known := await self._asked.intervals(life)) is not None:
                    return _json(known)
        raise _nowhere(f"{path[:80]} is not here")


class _PlainRequests:
    """See `shipper.sources.http_plain.Place`: what is plain and welcome is served here."""

    def __init__(self, desk: Desk, asked: Asked | None, http: web.Server) -> None:
        self.idle_seconds = desk.limits.idle_seconds
        self.body_seconds = desk.limits.body_seconds
        self.buffer = memoryview(bytearray(BUFFER))
        self.connections: set[Plain] = set()
        self.other = http
        self._desk = desk
        self._asked = asked
        self._most = min(desk.limits.max_body, desk.limits.max_decompressed)
        self._said = (-1, b"")  # see `_success`

    def admit(self, head: Head) -> body.Held | None:
        """See `Place.admit`: what will be refused whatever its body is, aiohttp is asked to refuse."""
        if head.path not in _SIGNALS or head.length > self._most or _media(head.headers) != _PROTOBUF:
            return None
        try:
            body.coding(head.headers.get("content-encoding", ""))
            self._desk.authorise(head.headers.get("authorization", ""))
        except Refusal:
            return None
        return self._desk.begin()

    def leave(self, held: body.Held) -> None:
        """See `Place.leave`."""
        self._desk.end(held)

    async def answer(self, head: Head, held: body.Held, content: Body) -> bytes:
        """See `Place.answer`."""
        try:
            rejected = await self._take(head, held, content)
        except Refusal as refusal:
            self._desk.refuse(refusal)
            said = answer.encode_status(str(refusal), code=refusal.code)
            return self._answer(refusal.status, said, refusal.headers)
        except Exception:
            logging.getLogger("shipper").exception("%s: a request could not be served", self._desk.name)
            return self._answer(500, answer.encode_status("internal error", code=INTERNAL), {})
        if not rejected:
            return self._success()
        return self._answer(200, answer.encode_response(_SIGNALS[head.path], rejected, _left_out(rejected)), {})

    async def aclose(self) -> None:
        """End all connections; requests under way get their answer if it takes a second or two."""
        under_way = {task for one in self.connections if (task := one.task) is not None}
        for one in list(self.connections):
            one.close()
        if under_way:
            await asyncio.wait(under_way, timeout=_CLOSING_SECONDS)
        for one in list(self.connections):
            one.abort()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _take(self, head: Head, held: body.Held, content: Body) -> int:
        self._desk.check_open()
        held.check(content.missing)
        data = await content.read(self.body_seconds)
        how = body.coding(head.headers.get("content-encoding", ""))
        if how != "identity":
            data = await body.unpacked(how, data, held, self._desk.limits.max_decompressed)
        origin = read_origin(head.headers, len(data)) if self._asked is not None else Origin()
        return await self._desk.take(_SIGNALS[head.path], data, origin)

    def _success(self) -> bytes:
        """What nearly all are told, which is the same for a second."""
        second = int(self._desk.now())
        if second != self._said[0]:
            self._said = second, self._answer(200, b"", {})
        return self._said[1]

    def _answer(self, status: int, content: bytes, more: Mapping[str, str]) -> bytes:
        headers = {"Content-Type": _PROTOBUF, "Date": formatdate(int(self._desk.now()), usegmt=True), **more}
        if self._asked is not None:
            headers["Shipper-Gateway"] = self._asked.life
        return answer_head(status, headers, len(content)) + content


def _left_out(rejected: int) -> str:
    return f"{rejected} records are not valid OTLP and were left out" if rejected else ""


def _refused(refusal: Refusal, as_json: bool) -> web.Response:
    return web.Response(
        status=refusal.status,
        body=answer.encode_status(str(refusal), json=as_json, code=refusal.code),
        content_type=_JSON if as_json else _PROTOBUF,
        headers=refusal.headers,
    )


def _nowhere(message: str) -> Refusal:
    return Refusal(404, NOT_FOUND, "path", message)


def _media(headers: Mapping[str, str]) -> str:
    """The type of a body, of headers that have their names in lower case or know none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


async def _from_json(signal: Signal, data: bytes) -> bytes:
    try:
        return await asyncio.to_thread(decode.from_json, signal, data) if data else b""
    except MalformedOtlp as error:
        raise bad("malformed", str(error)) from error


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=_JSON)
