"""Sends to Datadog: logs to its logs intake (v2), metrics and traces to its OTLP intake.

What answers mean is in ``_datadog/answers.py``, and beside it what a log is there in ``logs.py`` and ``tags.py``, why metrics
are made into deltas in ``delta.py``, and what becomes of a request of several bodies in ``journey.py``. Datadog
has no key by which it would know an entry again; what is sent twice, because nobody can know whether it arrived, is there
twice.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from uuid import UUID

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected, TooLarge, Unusable
from shipper.otlp.scan import scan
from shipper_exporters._datadog.answers import MAX_ANSWER, accepted, failure
from shipper_exporters._datadog.delta import Converted, Deltas
from shipper_exporters._datadog.journey import Journey
from shipper_exporters._datadog.logs import LogEntries
from shipper_exporters._datadog.request import Part, log_parts, otlp_part
from shipper_exporters._datadog.settings import DatadogSettings, Surroundings, endpoints
from shipper_exporters._datadog.tags import Tagging
from shipper_exporters._http.client import Client, Content, shown
from shipper_exporters._http.settings import check_literal
from shipper_exporters._otlp.answers import success
from shipper_exporters._unfinished import Unfinished
from shipper_exporters._way.files import SecretFile

__all__ = ["DatadogExporter", "DatadogSettings"]

_MAX_RAW = 1 << 20  # of OTLP: some four bodies of 1,000 lines
_REMEMBERED = 256  # requests that failed and were not sent again yet
_HOUR_NS = 3_600_000_000_000
_METRIC_CONFIG = '{"resource_attributes_as_tags": true}'


@dataclass(frozen=True)
class DatadogBody:
    """A request made ready: bodies, or for metrics the payloads, which become deltas when they are first sent."""

    parts: tuple[Part, ...] = field(repr=False)
    records: int
    metrics: tuple[bytes, ...] = field(default=(), repr=False)


class DatadogExporter(Exporter):
    """Datadog; see the module."""

    Settings: ClassVar[type[Any]] = DatadogSettings
    many_lives = True  # each record says of whose life it is

    def __init__(self, name: str, settings: DatadogSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._context = context
        surroundings = Surroundings.of(os.environ)
        self._urls = endpoints(name, settings, surroundings)
        self.signals = frozenset(self._urls)
        # Datadog bills by what comes in and asks for few requests; one a second is what its own agent does at rest.
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            max_raw_bytes=_MAX_RAW,
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
        )
        self._client = Client.of(settings, context)
        for signal, url in self._urls.items():
            check_literal(name, f"{signal}_endpoint", url, self._client.addresses)
        path = settings.token_file or surroundings.key_file
        self._secret = SecretFile(path, "API key") if path else None
        tagging = Tagging(
            hostname=settings.hostname or surroundings.hostname,
            source=settings.source,
            tags={**surroundings.tags, **settings.tags},
            unified=surroundings.unified,
        )
        self._logs = LogEntries(tagging)
        self._deltas = Deltas(_counted_since(context))
        self._converting = asyncio.Lock()
        self._unfinished = Unfinished[tuple[Journey, list[Converted]]](most=_REMEMBERED)

    async def start(self) -> None:
        """See `Exporter.start`."""
        self._client.open()

    def resume(self, kept: Mapping[bytes, bytes]) -> None:
        """See `Exporter.resume`: deltas go on from the last point that was taken."""
        self._deltas.resume(kept)

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        try:
            body, size = self._body(request)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, body, size)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. What was accepted of a request before it failed is not sent again with it."""
        found = self._unfinished.take(prepared.request_id) or await self._set_out(prepared.body)

        async def post(part: Part) -> Accepted:
            return await self._post(part, prepared.signal, deadline)

        with self._unfinished.kept(prepared.request_id, found) as (journey, converted):
            try:
                answer = await journey.go(post)
            except (TooLarge, Rejected):  # it comes again, if at all, under other ids
                self._undo(converted)
                raise
        keep = {key: value for one in converted for key, value in one.keep().items()}
        return replace(answer, keep=keep) if keep else answer

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a relay on this host, unless the settings say so."""
        addresses = self._client.addresses
        return self._settings.trust_local or (addresses.known and not addresses.local)

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return "Datadog at " + ", ".join(dict.fromkeys(str(url.origin()) for url in self._urls.values()))

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._client.aclose()

    def _body(self, request: Request) -> tuple[DatadogBody, int]:
        """The request made ready, and about what size it has on the wire."""
        payloads = [batch.payload for batch in request.batches]
        zipped = self._settings.compression == "gzip"
        if request.signal is Signal.METRICS:
            records = sum(scan(Signal.METRICS, payload).records for payload in payloads)
            size = sum(map(len, payloads)) // (8 if zipped else 1) + 1
            return DatadogBody((), records, tuple(payloads)), size
        records = sum(batch.cut.records for batch in request.batches)
        if request.signal is Signal.TRACES:
            parts: Sequence[Part] = [otlp_part(_checked(payloads), records, zipped)]
        else:
            parts = list(log_parts(self._logs.encode(payloads), zipped))
        return DatadogBody(tuple(parts), records), sum(len(part.data) for part in parts)

    async def _set_out(self, body: DatadogBody) -> tuple[Journey, list[Converted]]:
        """Deltas depend on what was sent before, so metrics are made into them here, once, and one request at a time."""
        if not body.metrics:
            return Journey(body.parts, body.records), []
        converted: list[Converted] = []
        try:
            async with self._converting:
                for payload in body.metrics:
                    converted.append(self._deltas.convert(payload))
                    await asyncio.sleep(0)  # a large request must not hold up everybody else
        except MalformedOtlp as error:
            self._undo(converted)
            raise Rejected(f"{self.name}: {error}") from None
        except BaseException:
            self._undo(converted)
            raise
        data = b"".join(one.data for one in converted)
        zipped = self._settings.compression == "gzip"
        parts = [otlp_part(data, body.records, zipped)] if data else []
        left_out = sum((Counter(one.left_out) for one in converted), Counter[str]())
        return Journey(parts, body.records, left_out), converted

    def _undo(self, converted: Sequence[Converted]) -> None:
        for one in reversed(converted):
            self._deltas.undo(one)

    async def _post(self, part: Part, signal: Signal, deadline: Deadline) -> Accepted:
        url = self._urls[signal]
        headers = self._headers(signal) | {key: value for key, value in part.headers.items() if key != "Content-Type"}
        content = Content(part.data, part.headers["Content-Type"])
        answer = await self._client.call("POST", url, deadline, MAX_ANSWER, headers, content)
        if not 200 <= answer.status < 300:
            raise failure(answer, shown(url), self._context.clock.wall_ns())
        if signal is Signal.LOGS:
            accepted(answer, shown(url))
            return Accepted()
        return success(signal, answer.status, answer.headers, answer.body, shown(url))

    def _headers(self, signal: Signal) -> dict[str, str]:
        headers = {"User-Agent": self._context.user_agent, "Accept-Encoding": "identity", "Accept": "application/json"}
        if signal is Signal.METRICS:
            headers["dd-otel-metric-config"] = _METRIC_CONFIG
        headers |= self._settings.headers
        if signal is Signal.TRACES:
            headers["dd-otlp-source"] = self._settings.traces_source
        headers["DD-API-KEY"] = self._key()
        return headers

    def _key(self) -> str:
        if self._secret is not None:
            return self._secret.read()
        key = os.environ.get("DD_API_KEY", "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise Unusable("DD_API_KEY holds no API key")
        return key


def _checked(payloads: Sequence[bytes]) -> bytes:
    """The payloads joined. Raises `MalformedOtlp`."""
    data = b"".join(payloads)
    scan(Signal.TRACES, data)
    return data


def _counted_since(context: ExporterContext) -> int:
    """Series that began later (nanoseconds since the epoch) were sent by nobody, unless something is kept of them.

    That is all that began with the host; an hour is left for what starts before the sidecar. Outside of runs, when what was set
    aside is sent once more, nobody knows what was sent.
    """
    if not context.run:
        return context.clock.wall_ns()
    try:
        life = UUID(context.life)
    except ValueError:
        return context.clock.wall_ns()
    return (life.int >> 80) * 1_000_000 - _HOUR_NS if life.version == 7 else context.clock.wall_ns()
