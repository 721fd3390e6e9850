"""Sends logs to Loki by its own push API, or by OTLP where one prefers that.

What is sent is in ``_loki_encode`` and ``_loki_wire``, what answers mean in ``_loki_answers``, what is done about entries that
are not taken in ``_loki_journey``. Traces and metrics are not for it: of them it is owed nothing.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected
from shipper_exporters._http.client import Client, Content, shown
from shipper_exporters._http.exchange import SecretFile
from shipper_exporters._http.settings import check_literal
from shipper_exporters._loki.answers import MAX_ANSWER, Meaning, meaning
from shipper_exporters._loki.encode import LokiEncoder
from shipper_exporters._loki.journey import Journey
from shipper_exporters._loki.otlp import otlp_body
from shipper_exporters._loki.settings import LokiSettings, check
from shipper_exporters._loki.wire import Push
from shipper_exporters._otlp.answers import failure, success
from shipper_exporters._otlp.request import OtlpBody
from shipper_exporters._unfinished import Unfinished

__all__ = ["LokiExporter", "LokiSettings"]

_PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class LokiBody:
    """A request made ready: its pushes, in the order they are sent."""

    pushes: tuple[Push, ...] = field(repr=False)


class LokiExporter(Exporter):
    """Loki; see the module."""

    Settings: ClassVar[type[Any]] = LokiSettings
    signals = frozenset({Signal.LOGS})
    many_lives = True  # every entry says whose it is

    def __init__(self, name: str, settings: LokiSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._context = context
        self._url = check(name, settings)
        # A request a second and host: a Loki that serves thousands of hosts, and Grafana Cloud, limit what a tenant may push.
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
        )
        self._client = Client.of(settings, context)
        check_literal(name, "endpoint", self._url, self._client.addresses)
        self._secret = SecretFile.first(token=settings.token_file, password=settings.password_file)
        self._encoder = LokiEncoder(settings.labels, settings.max_push_bytes)
        self._unfinished = Unfinished[Journey](lambda journey: journey.begun)

    async def start(self) -> None:
        """See `Exporter.start`."""
        self._client.open()

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        try:
            if self._settings.protocol == "otlp":
                body = otlp_body(request)
                return Prepared(request.id, request.signal, body, len(body.data))
            pushes = tuple(self._encoder.encode(request))
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, LokiBody(pushes), sum(len(push.data) for push in pushes))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. What was taken of a request before it failed is not sent again with it."""
        body: LokiBody | OtlpBody = prepared.body
        if isinstance(body, OtlpBody):
            return await self._send_otlp(body, deadline)

        async def post(push: Push) -> Meaning:
            return await self._post(push, deadline)

        with self._unfinished.attempt(prepared.request_id, lambda: Journey(body.pushes)) as journey:
            return await journey.go(post)

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a Loki on this host, unless the settings say so."""
        return self._settings.trust_local or (self._client.addresses.known and not self._client.addresses.local)

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return f"Loki at {self._url.origin()}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._client.aclose()

    async def _send_otlp(self, body: OtlpBody, deadline: Deadline) -> Accepted:
        where, headers = shown(self._url), {**self._headers(), **body.headers}
        content = Content(body.data, _PROTOBUF)
        answer = await self._client.call("POST", self._url, deadline, MAX_ANSWER, headers, content)
        if 200 <= answer.status < 300:
            return success(Signal.LOGS, answer.status, answer.headers, answer.body, where)
        raise failure(answer.status, answer.headers, answer.body, where, self._context.clock.wall_ns())

    async def _post(self, push: Push, deadline: Deadline) -> Meaning:
        answer = await self._client.call(
            "POST", self._url, deadline, MAX_ANSWER, self._headers(), Content(push.data, _PROTOBUF)
        )
        return meaning(answer, push.entries, shown(self._url), self._context.clock.wall_ns())

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": self._context.user_agent, "Accept-Encoding": "identity", **self._settings.headers}
        if self._settings.tenant:
            headers["X-Scope-OrgID"] = self._settings.tenant
        if self._secret is not None:
            secret = self._secret.read()
            if self._settings.username:
                both = base64.b64encode(f"{self._settings.username}:{secret}".encode()).decode()
                headers["Authorization"] = f"Basic {both}"
            else:
                headers["Authorization"] = f"Bearer {secret}"
        return headers
