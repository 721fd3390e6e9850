"""Sends to any OTLP/HTTP endpoint: a Collector, a vendor, or a Shipper gateway, which is recognised by what it says.

One aiohttp session, HTTP/1.1 with kept-alive connections, protobuf bodies, no redirects. What answers mean is in
``_otlp_answers``, what is sent in ``_otlp_request``, what can be set in ``_otlp_settings``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import aiohttp
from yarl import URL

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper.intervals import IntervalSet
from shipper_exporters._http import (
    Addresses,
    NoAnswer,
    Patience,
    SecretFile,
    TlsFiles,
    Upload,
    WatchingResolver,
    connect_socket,
    is_address,
    network_failure,
    read_bounded,
)
from shipper_exporters._otlp_answers import MAX_ANSWER, failure, passing, success
from shipper_exporters._otlp_request import PROTOBUF, OtlpBody, encode
from shipper_exporters._otlp_settings import OtlpSettings, check, endpoints, wrong

__all__ = ["ACCOUNTS_KNOWN_AFTER", "OtlpBody", "OtlpExporter", "OtlpSettings"]

GATEWAY_HEADER = "Shipper-Gateway"  # every answer of a Shipper gateway carries its life id in it
ACCOUNTS_KNOWN_AFTER = 10.0  # seconds a destination has to say what it is before it is taken for a stranger
_HELLO_PAUSES = (1.0, 30.0)
_KEEP_ALIVE = 45.0  # idle connections are kept this long; common load balancers close theirs after 60 s
_MAX_INTERVALS = 64 << 20


class OtlpExporter(Exporter):
    """OTLP/HTTP with protobuf bodies; see the module."""

    Settings: ClassVar[type[Any]] = OtlpSettings

    def __init__(self, name: str, settings: OtlpSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._context = context
        check(name, settings)
        self._urls, self._base = endpoints(name, settings)
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
        )
        self.accounts_known = self._base is None  # without a base there is nowhere to ask, only answers to learn from
        self._headers = {"User-Agent": context.user_agent, "Accept-Encoding": "identity", **settings.headers}
        self._token = SecretFile(settings.token_file) if settings.token_file else None
        self._tls = TlsFiles(settings.ca_file, settings.cert_file, settings.key_file)
        self._addresses = Addresses(context.own_addresses)
        self._ourselves = False
        self._session: aiohttp.ClientSession | None = None
        self._greeting: asyncio.Task[None] | None = None
        self._check_literals()

    async def start(self) -> None:
        """See `Exporter.start`. Asks in the background whether the other side is a Shipper gateway."""
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=_KEEP_ALIVE,
            resolver=WatchingResolver(self._addresses),
            socket_factory=connect_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=[_noting_reuse()],
        )
        if self._base is not None:
            self._greeting = asyncio.create_task(self._greet(self._base / "shipper/v1/hello"))

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises ValueError unless all batches are of one life, as the request names only one."""
        body = encode(request, self._settings.compression)
        return Prepared(request.id, request.signal, body, len(body.data))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`."""
        url = self._urls.get(prepared.signal)
        if url is None:
            raise Unusable(
                f"{self.name}: no endpoint for {prepared.signal}; set {prepared.signal}_endpoint or endpoint"
            )
        self._refuse_ourselves()
        body: OtlpBody = prepared.body
        status, headers, answer = await self._call("POST", url, deadline, MAX_ANSWER, body)
        if not 200 <= status < 300:
            raise failure(status, headers, answer, _shown(url), self._context.clock.wall_ns())
        accepted = success(prepared.signal, status, headers, answer, _shown(url))
        self._learn(headers)
        self._refuse_ourselves()
        return Accepted(min(accepted.rejected, body.records), accepted.message)

    async def known(self, life: str) -> Mapping[str, IntervalSet] | None:
        """See `Exporter.known`; only a Shipper gateway can tell. Raises `DeliveryError` when it could not be asked.

        A stranger may do anything with a path it does not know; once it is taken for one, none of that is waited on.
        """
        if self._base is None:
            return None
        url = self._base / "shipper/v1/lives" / life / "intervals"
        try:
            status, headers, answer = await self._call("GET", url, Deadline(self._context.clock), _MAX_INTERVALS)
        except NoAnswer:
            if self._stranger:
                return None
            raise
        if GATEWAY_HEADER not in headers and (self._stranger or not passing(status)):
            return None
        if status == 404:
            return None
        if not 200 <= status < 300:
            raise failure(status, headers, answer, _shown(url), self._context.clock.wall_ns())
        return _intervals(answer, _shown(url))

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a relay on this host, unless it is a gateway or the settings say so."""
        if self._settings.trust_local or self.keeps_accounts:
            return True
        return self._addresses.known and not self._addresses.local

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return "OTLP/HTTP to " + ", ".join(dict.fromkeys(str(url.origin()) for url in self._urls.values()))

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.wait([self._greeting])
            self._greeting = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self, method: str, url: URL, deadline: Deadline, limit: int, body: OtlpBody | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One exchange, whatever status it ends with; a failure below HTTP is raised as what it means."""
        if deadline.expired():
            raise Retryable(f"{_shown(url)}: the deadline came before it could be sent")
        patience = Patience(self._context.clock, self._settings.timeout, deadline)
        options: dict[str, Any] = {"headers": self._headers_for(body), "ssl": self._tls.context()}
        upload = None
        if body is not None:
            upload = options["data"] = Upload(body.data, PROTOBUF, patience.progress)
        reused: set[bool] = set()
        try:
            async with patience:
                try:
                    return await self._exchange(method, url, limit, reused, options)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    # A kept connection may be closed by the other side just as it is used again; a new one tells more.
                    if not reused:
                        raise
                    return await self._exchange(method, url, limit, reused, options)
        except TimeoutError:
            when = "before the deadline" if deadline.expired() else f"for {self._settings.timeout:g} s"
            raise NoAnswer(f"{_shown(url)}: no answer {when}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise network_failure(error, _shown(url), unsent=upload is not None and not upload.whole) from None

    async def _exchange(
        self, method: str, url: URL, limit: int, reused: set[bool], options: dict[str, Any]
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._session is None:
            raise RuntimeError("an exporter is used between start() and aclose()")
        async with self._session.request(
            method, url, allow_redirects=False, trace_request_ctx=reused, **options
        ) as response:
            return response.status, response.headers, await read_bounded(response, limit)

    def _headers_for(self, body: OtlpBody | None) -> dict[str, str]:
        headers = {**self._headers, **body.headers} if body is not None else self._headers.copy()
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.read()}"
        return headers

    async def _greet(self, url: URL) -> None:
        """Find out what the other side is; after a while of silence it is taken for a stranger, until an answer tells."""
        giving_up = asyncio.create_task(self._stop_waiting())
        pause, longest = _HELLO_PAUSES
        try:
            while not await self._hello(url):
                await self._context.clock.sleep(pause)
                pause = min(2 * pause, longest)
        finally:
            giving_up.cancel()

    async def _stop_waiting(self) -> None:
        await self._context.clock.sleep(ACCOUNTS_KNOWN_AFTER)
        self.accounts_known = True

    async def _hello(self, url: URL) -> bool:
        """Ask once; False when that gave no answer."""
        try:
            status, headers, _ = await self._call("GET", url, Deadline(self._context.clock), MAX_ANSWER)
        except DeliveryError:
            return False  # whoever sends meets the same fault, and is the one to report it
        if passing(status):
            return False
        self._learn(headers)
        return not self._ourselves

    def _learn(self, headers: Mapping[str, str]) -> None:
        """What an answer tells about who gave it."""
        gateway = headers.get(GATEWAY_HEADER, "")
        self._ourselves = bool(gateway) and gateway == self._context.life
        self.keeps_accounts = bool(gateway) and not self._ourselves
        self.accounts_known = True

    @property
    def _stranger(self) -> bool:
        return self.accounts_known and not self.keeps_accounts

    def _refuse_ourselves(self) -> None:
        if self._ourselves:
            raise Unusable(f"{self.describe()} is this Shipper itself: records would go round in a circle")

    def _check_literals(self) -> None:
        """Names are checked when they are resolved; addresses never are, so they are checked here, once."""
        for url in self._urls.values():
            if url.host is None or url.port is None or not (is_address(url.host) or url.host == "localhost"):
                continue
            try:
                self._addresses.check(
                    url.host, ["127.0.0.1", "::1"] if url.host == "localhost" else [url.host], url.port
                )
            except Unusable as error:
                raise wrong(self.name, "endpoint", str(error)) from None


def _shown(url: URL) -> str:
    """A URL for a message: without its query, where some vendors want a secret."""
    return str(url.with_query(None))


def _intervals(answer: bytes, where: str) -> dict[str, IntervalSet]:
    try:
        streams = json.loads(answer)["streams"]
        return {str(stream): IntervalSet((int(a), int(b)) for a, b in pairs) for stream, pairs in streams.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Retryable(f"{where}: what it says it has of this life makes no sense") from None


def _noting_reuse() -> aiohttp.TraceConfig:
    """Makes aiohttp note in ``trace_request_ctx`` when a request went over a kept connection."""

    async def note(_session: aiohttp.ClientSession, context: SimpleNamespace, _details: object) -> None:
        context.trace_request_ctx.add(True)

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(note)
    return config
