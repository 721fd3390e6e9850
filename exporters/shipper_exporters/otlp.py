"""Sends to any OTLP/HTTP endpoint: a Collector, a vendor, or a Shipper gateway, which is recognised by what it says.

One aiohttp session, HTTP/1.1 with kept-alive connections, protobuf bodies, no redirects. What answers mean is in
``_otlp_answers``, what is sent in ``_otlp_request``, what can be set in ``_otlp_settings``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from yarl import URL

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper.intervals import IntervalSet
from shipper_exporters._client import Answer, Client, Content, shown
from shipper_exporters._http import NoAnswer, SecretFile
from shipper_exporters._http_settings import check_literal
from shipper_exporters._otlp_answers import MAX_ANSWER, failure, passing, success
from shipper_exporters._otlp_request import PROTOBUF, OtlpBody, encode
from shipper_exporters._otlp_settings import OtlpSettings, check, endpoints

__all__ = ["ACCOUNTS_KNOWN_AFTER", "OtlpBody", "OtlpExporter", "OtlpSettings"]

GATEWAY_HEADER = "Shipper-Gateway"  # every answer of a Shipper gateway carries its life id in it
ACCOUNTS_KNOWN_AFTER = 10.0  # seconds a destination has to say what it is before it is taken for a stranger
_HELLO_PAUSES = (1.0, 30.0)
_MAX_INTERVALS = 64 << 20


class OtlpExporter(Exporter):
    """OTLP/HTTP with protobuf bodies; see the module."""

    Settings: ClassVar[type[Any]] = OtlpSettings
    many_lives = True  # a request names its life itself

    def __init__(self, name: str, settings: OtlpSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._context = context
        check(name, settings)
        self._urls, self._base = endpoints(name, settings)
        self.signals = frozenset(self._urls)
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
        )
        self.accounts_known = self._base is None  # without a base there is nowhere to ask, only answers to learn from
        self._headers = {"User-Agent": context.user_agent, "Accept-Encoding": "identity", **settings.headers}
        self._token = SecretFile(settings.token_file) if settings.token_file else None
        self._client = Client.of(settings, context)
        self._ourselves = False
        self._greeting: asyncio.Task[None] | None = None
        for url in self._urls.values():
            check_literal(name, "endpoint", url, self._client.addresses)

    async def start(self) -> None:
        """See `Exporter.start`. Asks in the background whether the other side is a Shipper gateway."""
        self._client.open()
        if self._base is not None:
            self._greeting = asyncio.create_task(self._greet(self._base / "shipper/v1/hello"))

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises ValueError unless all batches are of one life, as the request names only one."""
        body = encode(request, self._settings.compression)
        return Prepared(request.id, request.signal, body, len(body.data))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`."""
        url = self._urls[prepared.signal]
        self._refuse_ourselves()
        body: OtlpBody = prepared.body
        answer = await self._call("POST", url, deadline, MAX_ANSWER, body)
        if not 200 <= answer.status < 300:
            raise self._failure(answer, url)
        accepted = success(prepared.signal, answer.status, answer.headers, answer.body, shown(url))
        self._learn(answer.headers)
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
            answer = await self._call("GET", url, Deadline(self._context.clock), _MAX_INTERVALS)
        except NoAnswer:
            if self._stranger:
                return None
            raise
        if GATEWAY_HEADER not in answer.headers and (self._stranger or not passing(answer.status)):
            return None
        if answer.status == 404:
            return None
        if not 200 <= answer.status < 300:
            raise self._failure(answer, url)
        return _intervals(answer.body, shown(url))

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a relay on this host, unless it is a gateway or the settings say so."""
        if self._settings.trust_local or self.keeps_accounts:
            return True
        return self._client.addresses.known and not self._client.addresses.local

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return "OTLP/HTTP to " + ", ".join(dict.fromkeys(str(url.origin()) for url in self._urls.values()))

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.wait([self._greeting])
            self._greeting = None
        await self._client.aclose()

    async def _call(
        self, method: str, url: URL, deadline: Deadline, limit: int, body: OtlpBody | None = None
    ) -> Answer:
        content = None if body is None else Content(body.data, PROTOBUF)
        return await self._client.call(method, url, deadline, limit, self._headers_for(body), content)

    def _failure(self, answer: Answer, url: URL) -> DeliveryError:
        return failure(answer.status, answer.headers, answer.body, shown(url), self._context.clock.wall_ns())

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
            answer = await self._call("GET", url, Deadline(self._context.clock), MAX_ANSWER)
        except DeliveryError:
            return False  # whoever sends meets the same fault, and is the one to report it
        if passing(answer.status):
            return False
        self._learn(answer.headers)
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


def _intervals(answer: bytes, where: str) -> dict[str, IntervalSet]:
    try:
        streams = json.loads(answer)["streams"]
        return {str(stream): IntervalSet((int(a), int(b)) for a, b in pairs) for stream, pairs in streams.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Retryable(f"{where}: what it says it has of this life makes no sense") from None
