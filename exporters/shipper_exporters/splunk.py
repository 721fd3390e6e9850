"""Sends to Splunk by its HTTP Event Collector (HEC): logs and spans as events, metrics as multi-metric events.

Splunk has no key by which it would know an event again, so what is sent twice is there twice; that happens only when
nobody can know whether it arrived. Which answer means what is in ``_splunk/answers.py``, the acknowledgements in
``acks.py`` beside it, what becomes of a request in ``journey.py``, the forms in ``events.py``, ``spans.py`` and
``metrics.py``.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import DeliveryError, MalformedOtlp, Rejected, Retryable, Unusable
from shipper_exporters._http.client import Content, shown
from shipper_exporters._http.settings import check_literal
from shipper_exporters._splunk.acks import Acks, Pending
from shipper_exporters._splunk.answers import ChannelLost, Refused, Taken, meaning, parse, trouble
from shipper_exporters._splunk.events import LogEvents
from shipper_exporters._splunk.fields import Placement
from shipper_exporters._splunk.hec import Hec
from shipper_exporters._splunk.journey import Journey
from shipper_exporters._splunk.metrics import metric_events
from shipper_exporters._splunk.request import Part, SplunkBody, cut, raw_parts
from shipper_exporters._splunk.settings import SplunkSettings, check
from shipper_exporters._splunk.spans import span_events
from shipper_exporters._unfinished import Unfinished

__all__ = ["SplunkExporter", "SplunkSettings"]

_MAX_RAW = 1 << 20  # of OTLP: as events, each with its fields, some three times that, which is one body
_REMEMBERED = (
    4096  # requests that failed and were not sent again yet: an indexer that restarts may forget all that wait
)
_HEALTH_PAUSES = (1.0, 30.0)
_UNWELL = frozenset({18, 19, 20, 23})


class SplunkExporter(Exporter):
    """Splunk's HTTP Event Collector; see the module."""

    Settings: ClassVar[type[Any]] = SplunkSettings
    many_lives = True  # each event says of whose life it is

    def __init__(self, name: str, settings: SplunkSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._context = context
        self._hec = Hec(check(name, settings), settings, context)
        check_literal(name, "endpoint", self._hec.base, self._hec.client.addresses)
        self.signals = _signals(settings)
        # Indexers work per event and per request: few large requests cost them least, and one a second leaves a fleet of
        # thousands bearable. A request is indexed seconds after it was taken, so hundreds have to wait for that at a time,
        # or it would be they who decide how fast a backlog goes; their bytes are let go meanwhile.
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            max_raw_bytes=min(_MAX_RAW, settings.max_content_length),
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
            max_unacknowledged=settings.max_unacknowledged if settings.acknowledgement else 0,
        )
        self._placement = Placement(settings.index, settings.source, settings.sourcetype)
        self._traces = Placement(settings.traces_index or settings.index, settings.source, settings.sourcetype)
        self._metrics = Placement(settings.metrics_index, settings.source, settings.sourcetype)
        self._logs = LogEvents(self._placement)
        seed = f"{context.life}/{context.run}/{name}"
        self._acks = Acks(context.clock, self._hec, seed, settings.ack_interval, settings.ack_timeout)
        self._unfinished = Unfinished[Journey](most=_REMEMBERED)
        self._unwell: tuple[str, float | None] | None = None
        self._greeting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """See `Exporter.start`. Asks in the background how the collector is; while its queues are full nothing is sent."""
        self._hec.client.open()
        self._greeting = asyncio.create_task(self._ask_health())

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        try:
            body = self._body(request)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, body, body.wire_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. What was taken of a request before it failed is not sent again with it."""
        if self._unwell is not None:
            raise Retryable(*self._unwell, unsent=True)
        if self._settings.acknowledgement:
            await self._acks.prove(deadline)

        async def post(part: Part) -> tuple[Taken | Refused, Pending | None]:
            return await self._post(part, deadline)

        body: SplunkBody = prepared.body

        def new() -> Journey:
            return Journey(body, proved=self._settings.acknowledgement)

        with self._unfinished.attempt(prepared.request_id, new) as journey:
            return await journey.go(body, post, self._acks.wait, deadline, prepared.taken)

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a Splunk or a relay on this host, unless the settings say so."""
        addresses = self._hec.client.addresses
        return self._settings.trust_local or (addresses.known and not addresses.local)

    def describe(self) -> str:
        """See `Exporter.describe`."""
        how = "acknowledged when indexed" if self._settings.acknowledgement else "without acknowledgement"
        return f"Splunk HEC at {self._hec.base.origin()}, {how}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.wait([self._greeting])
            self._greeting = None
        await self._acks.aclose()
        await self._hec.client.aclose()

    def _body(self, request: Request) -> SplunkBody:
        payloads = [batch.payload for batch in request.batches]
        most, zipped = self._settings.max_content_length, self._settings.compression == "gzip"
        records = sum(batch.cut.records for batch in request.batches)
        if request.signal is Signal.METRICS:
            converted = metric_events(payloads, self._metrics)
            return SplunkBody(tuple(cut([converted.events], most, zipped)), converted.points, converted.left_out)
        if self._settings.api == "raw":
            return SplunkBody(tuple(raw_parts(payloads, self._placement, most, zipped)), records, {})
        spans = request.signal is Signal.TRACES
        events = [span_events(payloads, self._traces)] if spans else self._logs.encode(payloads)
        return SplunkBody(tuple(cut(events, most, zipped)), records, {})

    async def _post(self, part: Part, deadline: Deadline) -> tuple[Taken | Refused, Pending | None]:
        raw = self._settings.api == "raw"
        content = Content(part.data, "text/plain; charset=utf-8" if raw else "application/json")
        encoding = "gzip" if part.zipped else ""
        path = "raw" if raw else "event"
        with self._acks.posting() as channel:
            answer = await self._hec.post(path, dict(part.query), content, encoding, channel.guid, deadline)
        where = shown(self._hec.base / path)
        try:
            outcome = meaning(answer, part.sent, where, self._context.clock.wall_ns())
        except ChannelLost:
            self._acks.leave(channel)
            raise
        if not self._settings.acknowledgement:
            return outcome, None
        if answer.repeated:
            self._acks.leave(channel)
        if outcome.ack is not None:
            return outcome, self._acks.expect(channel, outcome.ack)
        if isinstance(outcome, Taken):
            self._acks.doubt()  # else these events would be sent once more with each attempt
            raise Unusable(
                f"{where} took events but gave no id to ask for their acknowledgement; enable indexer acknowledgement for "
                "this token, or set acknowledgement: false"
            )
        return outcome, None

    async def _ask_health(self) -> None:
        """Ask until it is not unwell; whoever sends meets any other fault, and is the one to report it."""
        pause, longest = _HEALTH_PAUSES
        clock = self._context.clock
        while True:
            try:
                answer = await self._hec.health(Deadline(clock))
            except DeliveryError:
                self._unwell = None
                return
            said = trouble(answer, shown(self._hec.base / "health"), clock.wall_ns())
            if parse(answer).get("code") not in _UNWELL or not isinstance(said, Retryable):
                self._unwell = None
                return
            self._unwell = str(said), said.wait
            await clock.sleep(pause)
            pause = min(2 * pause, longest)


def _signals(settings: SplunkSettings) -> frozenset[Signal]:
    """A metric event in an index that is none for metrics vanishes, so metrics go only where one is named."""
    if settings.api == "raw":
        return frozenset({Signal.LOGS})
    return frozenset(Signal) if settings.metrics_index else frozenset({Signal.LOGS, Signal.TRACES})
