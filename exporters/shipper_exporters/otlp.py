"""Sends to any OTLP endpoint: a Collector, a vendor, or a Shipper gateway, which is recognised by what it says.

Over HTTP with bodies of protobuf or JSON, or over gRPC. What a place can do is in ``_otlp_place``, how it is spoken to in
``_otlp_http`` and ``_otlp_grpc``, what answers mean in ``_otlp_answers`` and ``_otlp_grpc_answers``, what is sent in
``_otlp_request``, what can be set in ``_otlp_settings``, and which of several endpoints is used in ``_otlp_failover``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Packing, Prepared, Request, Signal
from shipper.errors import DeliveryError, Rejected, Retryable, TooLarge
from shipper.intervals import IntervalSet
from shipper_exporters._http.client import Client
from shipper_exporters._http.exchange import SecretFile
from shipper_exporters._http.settings import check_literal
from shipper_exporters._otlp.answers import Busy
from shipper_exporters._otlp.failover import Order
from shipper_exporters._otlp.http import HttpPlace
from shipper_exporters._otlp.place import ACCOUNTS_KNOWN_AFTER, GATEWAY_HEADER, Place
from shipper_exporters._otlp.request import OtlpBody, OtlpPacking, encode
from shipper_exporters._otlp.settings import OtlpSettings, addresses, check
from shipper_exporters._way.addresses import Addresses

__all__ = ["ACCOUNTS_KNOWN_AFTER", "GATEWAY_HEADER", "OtlpBody", "OtlpExporter", "OtlpSettings"]

_MAX_RAW = 4 << 20  # before compression, which begins while it is cut
_SPOKEN = {"http/protobuf": "OTLP/HTTP", "http/json": "OTLP/HTTP with JSON", "grpc": "OTLP/gRPC"}
_LONG_WAIT = 30.0  # seconds: who wants more time than this is as good as not there, where there is another


class _Client(Protocol):
    """What this file needs of `Client`, and of the one for gRPC."""

    @property
    def addresses(self) -> Addresses: ...

    def open(self) -> None: ...

    async def aclose(self) -> None: ...


class OtlpExporter(Exporter):
    """OTLP to one place, or to the first of several that is well; see the module."""

    Settings: ClassVar[type[Any]] = OtlpSettings
    many_lives = True  # a request names its life itself

    def __init__(self, name: str, settings: OtlpSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._context = context
        check(name, settings)
        found = addresses(name, settings)
        self.signals = frozenset(found[0].urls)
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            max_raw_bytes=_MAX_RAW,
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
        )
        self._token = SecretFile(settings.token_file) if settings.token_file else None
        self._client: _Client
        self._places: Sequence[Place]
        if settings.protocol == "grpc":
            # HTTP/2 takes memory, which most hosts can keep
            from shipper_exporters._http.grpc import Grpc
            from shipper_exporters._otlp.grpc import GrpcPlace

            self._client = grpc = Grpc.of(settings, context)
            self._places = [GrpcPlace(at, grpc, self._headers, context.clock, context.life) for at in found]
        else:
            self._client = http = Client.of(settings, context)
            self._places = [HttpPlace(at, http, self._headers, context.clock, context.life) for at in found]
        self._order = Order(context.clock, len(found))
        for number, address in enumerate(found):
            option = f"endpoints[{number}]" if settings.endpoints else "endpoint"
            for url in address.urls.values():
                check_literal(name, option, url, self._client.addresses)

    @property
    def keeps_accounts(self) -> bool:  # type: ignore[override]  # it depends on the place in use
        """See `Exporter`: whether the place in use is a gateway."""
        return self._places[self._order.current].keeps_accounts

    @property
    def accounts_known(self) -> bool:  # type: ignore[override]
        """See `Exporter`."""
        return self._places[self._order.current].accounts_known

    async def start(self) -> None:
        """See `Exporter.start`. Asks in the background whether the other side is a Shipper gateway."""
        self._client.open()
        for place in self._places:
            await place.greet()

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises ValueError unless all batches are of one life, as the request names only one.

        Raises `Rejected` for what is no OTLP, where it has to be looked at.
        """
        body = encode(request, self._settings.protocol, self._settings.compression)
        return Prepared(request.id, request.signal, body, len(body.data))

    def packing(self, signal: Signal) -> Packing:
        """See `Exporter.packing`."""
        return OtlpPacking(signal, self._settings.protocol, self._settings.compression)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. With several endpoints it goes to the next, whole, when one is not there."""
        failure: DeliveryError | None = None
        unsent = True
        for number in self._order.candidates(find_out=deadline.at == math.inf):
            if failure is not None and deadline.expired():
                break
            try:
                return await self._send_to(number, prepared, deadline)
            except DeliveryError as error:
                if not _elsewhere(error):
                    raise
                failure = failure or error
                unsent = unsent and isinstance(error, Retryable) and error.unsent
        assert failure is not None
        if isinstance(failure, Retryable) and failure.unsent and not unsent:
            raise Retryable(str(failure), failure.wait)  # one of those after it may have it
        raise failure

    async def _send_to(self, number: int, prepared: Prepared, deadline: Deadline) -> Accepted:
        try:
            accepted = await self._places[number].send(prepared.signal, prepared.body, deadline)
        except DeliveryError as error:
            if not _elsewhere(error):
                self._order.worked(number)
            elif deadline.expired():
                self._order.unclear(number)
            else:
                self._order.failed(number, str(error))
            raise
        except BaseException:
            self._order.unclear(number)
            raise
        self._order.worked(number)
        return accepted

    async def known(self, life: str) -> Mapping[str, IntervalSet] | None:
        """See `Exporter.known`; only a Shipper gateway can tell. Raises `DeliveryError` when none could be asked.

        What any of several gateways has need not be sent again.
        """
        found: dict[str, IntervalSet] = {}
        told = False
        failure: DeliveryError | None = None
        for place in self._places:
            try:
                answer = await place.known(life)
            except DeliveryError as error:
                failure = failure or error
                continue
            told = told or answer is not None
            for stream, intervals in (answer or {}).items():
                have = found.setdefault(stream, IntervalSet())
                for start, end in intervals:
                    have.add(start, end)
        if failure is not None and not told:
            raise failure
        return found if told else None

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a relay on this host, unless it is a gateway or the settings say so."""
        if self._settings.trust_local or self.keeps_accounts:
            return True
        return self._client.addresses.known and not self._client.addresses.local

    def describe(self) -> str:
        """See `Exporter.describe`; of several endpoints it says which is in use, and why not the ones before it."""
        current, count = self._order.current, len(self._places)
        text = f"{_SPOKEN[self._settings.protocol]} to {self._places[current].name}"
        if count == 1:
            return text
        reasons = "; ".join(filter(None, (self._order.reason(number) for number in range(current))))
        return f"{text} ({current + 1} of {count}{'; ' if reasons else ''}{reasons})"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        for place in self._places:
            await place.leave()
        await self._client.aclose()

    def _headers(self) -> dict[str, str]:
        """The headers of every request. Raises `Unusable` when the token cannot be read."""
        headers = {"User-Agent": self._context.user_agent, **self._settings.headers}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.read()}"
        return headers


def _elsewhere(error: DeliveryError) -> bool:
    """Whether another place may do better: this one is not there, or wrong; who judges the content is well."""
    if isinstance(error, Busy):
        return error.wait is not None and error.wait > _LONG_WAIT
    if isinstance(error, Retryable):
        return error.wait is None or error.wait > _LONG_WAIT
    return not isinstance(error, (TooLarge, Rejected))
