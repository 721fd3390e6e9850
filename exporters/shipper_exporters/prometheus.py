"""Sends metrics to whatever takes Prometheus remote write 1.0: a Prometheus, Mimir, VictoriaMetrics, Grafana Cloud, Thanos.

Logs and traces are not for it: of them it is owed nothing. One request is under way at a time, since a receiver takes each series
only forward in time. How OTLP becomes series is in ``_prometheus_convert``, what is on the wire in ``_remote_write``, what answers
mean in ``_prometheus_answers``, and what is done about samples that are refused in ``_remote_write_journey``.
"""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any, ClassVar

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected, TooLarge
from shipper.ids import uuid7
from shipper_exporters._client import Client, Content, shown
from shipper_exporters._http import SecretFile
from shipper_exporters._http_settings import check_literal
from shipper_exporters._prometheus_answers import MAX_ANSWER, Refused, meaning
from shipper_exporters._prometheus_convert import Converter
from shipper_exporters._prometheus_series import Series
from shipper_exporters._prometheus_settings import PrometheusSettings, check
from shipper_exporters._remote_write import HEADERS, PROTOBUF, TWICE, cut
from shipper_exporters._remote_write_journey import Journey, WriteBody

__all__ = ["PrometheusExporter", "PrometheusSettings"]

_MAX_RAW = 1 << 20  # of OTLP in one request: some thousands of samples, cut into parts of ``max_samples_per_send``
_REMEMBERED = 64  # requests that failed and were not sent again yet: one waits at a time, unless it was called back


class PrometheusExporter(Exporter):
    """Prometheus remote write; see the module."""

    Settings: ClassVar[type[Any]] = PrometheusSettings

    def __init__(self, name: str, settings: PrometheusSettings, context: ExporterContext) -> None:
        self.name = name
        self.signals = frozenset({Signal.METRICS})
        self._settings = settings
        self._context = context
        self._url = check(name, settings)
        self.limits = Limits(
            max_raw_bytes=_MAX_RAW, requests_per_second=settings.requests_per_second, burst=2, max_in_flight=1
        )
        self._client = Client.of(settings, context)
        check_literal(name, "url", self._url, self._client.addresses)
        secret = settings.bearer_token_file or settings.password_file
        self._secret = SecretFile(secret) if secret else None
        self._converter = Converter(settings.external_labels, 2 * settings.max_series)
        self._series = Series(settings.max_series)
        self._journeys: dict[str, Journey] = {}
        self._there: set[tuple[int, bytes]] = set()  # what was taken of a request that then turned out to be too large
        self._began = uuid7(context.clock.wall_ns())  # requests of earlier runs have smaller ids

    async def start(self) -> None:
        """See `Exporter.start`."""
        self._client.open()

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        try:
            converted = self._converter.convert(batch.payload for batch in request.batches)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        parts, twice = cut(converted.samples, self._settings.max_samples_per_send)
        left_out = Counter(converted.rejected)
        if twice:
            left_out[TWICE] = len({sample[3] for sample in twice})
        body = WriteBody(tuple(parts), converted.points, left_out)
        return Prepared(request.id, request.signal, body, sum(len(part.data) for part in parts))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. What was taken of a request before it failed is not sent again with it."""
        journey = self._journeys.pop(prepared.request_id, None)
        if journey is None:
            doubt = prepared.request_id < self._began
            journey = Journey(prepared.body, self._series, doubt=doubt, there=self._there)

        async def post(data: bytes) -> Refused | None:
            return await self._post(data, deadline)

        try:
            return await journey.go(post)
        except (TooLarge, Rejected):  # it comes again, if at all, under other ids
            self._there = {sample[:2] for part in journey.arrived for sample in part.samples}
            raise
        except BaseException:
            self._journeys[prepared.request_id] = journey
            while len(self._journeys) > _REMEMBERED:
                del self._journeys[next(iter(self._journeys))]
            raise

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a Prometheus on this host, unless the settings say so."""
        return self._settings.trust_local or (self._client.addresses.known and not self._client.addresses.local)

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return f"remote write to {self._url.origin()}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._client.aclose()

    async def _post(self, data: bytes, deadline: Deadline) -> Refused | None:
        answer = await self._client.call(
            "POST", self._url, deadline, MAX_ANSWER, self._headers(), Content(data, PROTOBUF)
        )
        return meaning(answer, shown(self._url), self._context.clock.wall_ns())

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": self._context.user_agent, "Accept-Encoding": "identity", **HEADERS}
        headers |= self._settings.headers
        if self._secret is not None:
            secret = self._secret.read()
            if self._settings.username:
                both = base64.b64encode(f"{self._settings.username}:{secret}".encode()).decode()
                headers["Authorization"] = f"Basic {both}"
            else:
                headers["Authorization"] = f"Bearer {secret}"
        return headers
