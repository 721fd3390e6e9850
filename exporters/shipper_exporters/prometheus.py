"""Sends metrics to whatever takes Prometheus remote write: a Prometheus, Mimir, VictoriaMetrics, Grafana Cloud, Thanos.

Logs and traces are not for it: of them it is owed nothing. One request is under way at a time, since a receiver takes each series
only forward in time. How OTLP becomes series is in ``_prometheus_convert``, what is on the wire in ``_remote_write``, which
version of it in ``_remote_write_dialect``, what answers mean in ``_prometheus_answers``, what is done about samples that are
refused in ``_remote_write_journey``, and about counts since the last point in ``_prometheus_delta``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected, TooLarge, Unusable
from shipper.ids import uuid7
from shipper_exporters._http.client import Answer, Client, Content, shown
from shipper_exporters._http.exchange import SecretFile
from shipper_exporters._http.settings import check_literal
from shipper_exporters._prometheus.answers import HISTOGRAMS_FLAG, MAX_ANSWER, Refused, meaning
from shipper_exporters._prometheus.convert import Converter
from shipper_exporters._prometheus.delta import Sums
from shipper_exporters._prometheus.remote_write import TWICE, Part, Version, cut
from shipper_exporters._prometheus.remote_write_dialect import Dialect, with_proof
from shipper_exporters._prometheus.remote_write_journey import Journey, WriteBody
from shipper_exporters._prometheus.samples import is_histogram
from shipper_exporters._prometheus.series import Series
from shipper_exporters._prometheus.settings import PrometheusSettings, authorization, check
from shipper_exporters._unfinished import Unfinished

__all__ = ["PrometheusExporter", "PrometheusSettings"]

_MAX_RAW = 1 << 20  # of OTLP in one request: some thousands of samples, cut into parts of ``max_samples_per_send``


class PrometheusExporter(Exporter):
    """Prometheus remote write; see the module."""

    Settings: ClassVar[type[Any]] = PrometheusSettings
    signals = frozenset({Signal.METRICS})

    def __init__(self, name: str, settings: PrometheusSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._context = context
        self._url = check(name, settings)
        self.limits = Limits(
            max_raw_bytes=_MAX_RAW, requests_per_second=settings.requests_per_second, burst=2, max_in_flight=1
        )
        self._client = Client.of(settings, context)
        check_literal(name, "endpoint", self._url, self._client.addresses)
        self._secret = SecretFile.first(token=settings.token_file, password=settings.password_file)
        self._converter = Converter(settings.external_labels, 2 * settings.max_series)
        self._series = Series(settings.max_series)
        self._dialect = Dialect(settings.protocol)
        self._sums = Sums(settings.max_series)
        self._changed: set[bytes] = set()  # sums, since something was acknowledged
        self._unfinished = Unfinished[Journey]()
        self._there: set[tuple[int, bytes]] = set()  # what was taken of a request that then turned out to be too large
        self._began = uuid7(context.clock.wall_ns())  # requests of earlier runs have smaller ids

    async def start(self) -> None:
        """See `Exporter.start`."""
        self._client.open()

    def resume(self, kept: Mapping[bytes, bytes]) -> None:
        """See `Exporter.resume`: sums go on."""
        self._sums.resume(kept)

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP.

        It is written in the version that the receiver was last known to speak, and anew should that turn out to be another.
        """
        try:
            converted = self._converter.convert(batch.payload for batch in request.batches)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        parts, twice = cut(converted.samples, self._settings.max_samples_per_send, self._dialect.version)
        left_out = Counter(converted.rejected)
        if twice:
            left_out[TWICE] = len({sample[3] for sample in twice})
        body = WriteBody(tuple(parts), converted.points, left_out, converted.deltas)
        return Prepared(request.id, request.signal, body, sum(len(part.data) for part in parts))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. What was taken of a request before it failed is not sent again with it."""
        journey = self._unfinished.take(prepared.request_id)
        if journey is None:
            doubt = prepared.request_id < self._began
            body = prepared.body
            if body.deltas:
                body = await asyncio.to_thread(self._added_up, body)  # it is written anew
            journey = Journey(body, self._series, doubt=doubt, there=self._there)

        async def post(part: Part) -> Refused | None:
            return await self._post(part, deadline)

        try:
            with self._unfinished.kept(prepared.request_id, journey):
                accepted = await journey.go(post)
        except (TooLarge, Rejected):  # it comes again, if at all, under other ids
            self._there = {sample[:2] for part in journey.arrived for sample in part.samples}
            self._learn(journey)
            raise
        self._learn(journey)
        changed, self._changed = self._changed, set()
        return replace(accepted, keep=self._sums.kept(changed))

    def _added_up(self, body: WriteBody) -> WriteBody:
        """The same with sums in place of what counts since the last point."""
        summed = self._sums.begin((sample for part in body.parts for sample in part.samples), self._there)
        parts, _ = cut(summed.samples, self._settings.max_samples_per_send, self._dialect.version)
        return replace(body, parts=tuple(parts), late=tuple(summed.late))

    def _learn(self, journey: Journey) -> None:
        """What became of a request's sums, once it is over."""
        for part in journey.arrived:
            self._changed |= self._sums.taken(part.samples)
        self._changed |= self._sums.doubtful(journey.doubtful)

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a Prometheus on this host, unless the settings say so."""
        return self._settings.trust_local or (self._client.addresses.known and not self._client.addresses.local)

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return f"remote write to {self._url.origin()}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._client.aclose()

    async def _post(self, part: Part, deadline: Deadline) -> Refused | None:
        version = self._dialect.version
        unproved_success = False
        while True:
            unproved = self._unproved(part, version)
            if unproved is not None:
                return unproved
            headers = self._headers(version)
            content = Content(part.written(version), version.content_type)
            answer = await self._client.call("POST", self._url, deadline, MAX_ANSWER, headers, content)
            other = self._other(answer, version)
            if other is None:
                break
            version, unproved_success = other, answer.status < 300
        said = meaning(answer, shown(self._url), self._context.clock.wall_ns())
        if version is Version.TWO:
            said = with_proof(said, answer, part.samples)
        if said is not None and unproved_success:
            said = replace(said, repeated=True)  # it may be there all the same
        if said is not None and said.histograms and self._settings.native_histograms == "always":
            raise Unusable(f"{said.reason} (a Prometheus takes them with {HISTOGRAMS_FLAG})")
        self._dialect.proved(version)
        return said

    def _other(self, answer: Answer, version: Version) -> Version | None:
        try:
            return self._dialect.other(answer, version)
        except Unusable as error:
            raise Unusable(f"{shown(self._url)}: {error}") from None

    def _unproved(self, part: Part, version: Version) -> Refused | None:
        """A refusal of our own: native histograms, where they are not wanted or nobody would say what became of them."""
        wanted = self._settings.native_histograms
        if wanted == "always" or (wanted == "auto" and version is Version.TWO):
            return None
        if not any(is_histogram(sample[2]) for sample in part.samples):
            return None
        why = (
            "which native_histograms leaves out" if wanted == "never" else "whose arrival remote write 1.0 cannot prove"
        )
        return Refused(f"exponential histograms, {why}", old=False, partial=False, histograms=True)

    def _headers(self, version: Version) -> dict[str, str]:
        headers = {"User-Agent": self._context.user_agent, "Accept-Encoding": "identity", **version.headers}
        headers |= self._settings.headers
        if self._secret is not None:
            headers["Authorization"] = authorization(self._settings.username, self._secret.read())
        return headers
