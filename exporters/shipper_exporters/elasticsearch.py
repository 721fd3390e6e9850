"""Sends to Elasticsearch or OpenSearch by the bulk API: logs, traces and metrics, to data streams or to a plain index.

How records become documents is in ``_ecs`` and ``_elasticsearch_otel``, which data stream they go to in ``_elasticsearch_names``, what
is on the wire in ``_bulk``, what answers mean in ``_bulk_answers``, and what is done about documents that were not taken in
``_bulk_journey``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Any, ClassVar

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import DeliveryError, MalformedOtlp, Rejected, Retryable, Unusable
from shipper.ids import uuid7
from shipper_exporters._elasticsearch.aws import Signer
from shipper_exporters._elasticsearch.bulk import NDJSON, BulkBody
from shipper_exporters._elasticsearch.bulk_answers import MAX_ANSWER, Outcome, outcomes
from shipper_exporters._elasticsearch.bulk_journey import Journey
from shipper_exporters._elasticsearch.earlier import earlier
from shipper_exporters._elasticsearch.logs import LogBodies
from shipper_exporters._elasticsearch.metrics import MetricBodies, MetricBody
from shipper_exporters._elasticsearch.names import Targets
from shipper_exporters._elasticsearch.nodes import Credentials, Nodes
from shipper_exporters._elasticsearch.product import Product, recognise
from shipper_exporters._elasticsearch.settings import ElasticsearchSettings, check
from shipper_exporters._elasticsearch.spans import SpanBodies
from shipper_exporters._http.answers import phrase
from shipper_exporters._http.client import Client, Content, shown
from shipper_exporters._http.settings import check_literal
from shipper_exporters._unfinished import Unfinished

__all__ = ["ElasticsearchExporter", "ElasticsearchSettings"]

_MAX_RAW = 1 << 20  # of OTLP in one request; as documents, each with its identity, it is several times as much
_REMEMBERED = 256  # requests that failed and were not sent again yet
_MAX_HELLO = 1 << 16
_LATER = frozenset({408, 425, 429})
_NOT_LET_IN = frozenset({301, 302, 303, 307, 308, 401, 407})
_PAUSES = (1.0, 60.0)
_FILTER = ",".join(
    ["errors"]
    + [f"items.*.{one}" for one in ("_id", "status", "failure_store")]
    + [f"items.*.error.{one}" for one in ("type", "reason", "caused_by.reason")]
)


class ElasticsearchExporter(Exporter):
    """The bulk API; see the module."""

    Settings: ClassVar[type[Any]] = ElasticsearchSettings
    many_lives = True  # every id and every document names its life

    def __init__(self, name: str, settings: ElasticsearchSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._context = context
        self._urls = check(name, settings)
        # A cluster is shared and each bulk request takes a place in its write queues, so few and large ones: 1 a second
        # from a host that has little to say, and as fast as it answers from one that has much.
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            max_raw_bytes=_MAX_RAW,
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
        )
        self._client = Client.of(settings, context)
        for number, url in enumerate(self._urls):
            check_literal(
                name, "endpoint" if settings.endpoint else f"endpoints[{number}]", url, self._client.addresses
            )
        headers = {"User-Agent": context.user_agent, "Accept-Encoding": "gzip", **settings.headers}
        signer = Signer(settings.aws_region) if settings.aws_region else None
        self._nodes = Nodes(self._urls, self._client, headers, Credentials(settings), signer)
        self._targets = Targets(settings)
        self._bodies: dict[Signal, Callable[[Request], BulkBody | MetricBody]] = {
            Signal.LOGS: LogBodies(settings, self._targets).make,
            Signal.TRACES: SpanBodies(settings, self._targets).make,
            Signal.METRICS: MetricBodies(settings, self._targets).make,
        }
        self._product: Product | None = None
        self._greeting: asyncio.Task[None] | None = None
        self._unfinished = Unfinished[Journey](lambda journey: journey.begun, most=_REMEMBERED)
        self._began = uuid7(context.clock.wall_ns())  # requests of earlier runs have smaller ids

    async def start(self) -> None:
        """See `Exporter.start`. Asks in the background what it is that sends here."""
        self._client.open()
        self._greeting = asyncio.create_task(self._greet())

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        try:
            body = self._bodies[request.signal](request)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, body, body.wire_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. What was taken of a request before it failed is not sent again with it."""
        body = await self._form(prepared.body, deadline)

        def new() -> Journey:
            return Journey(body, doubt=prepared.request_id < self._began)

        async def post(data: bytes, ids: Iterator[tuple[str, str]], count: int) -> list[Outcome]:
            return await self._post(body.index, Content(data, NDJSON), ids, count, deadline)

        async def look(ids: Collection[tuple[str, str]]) -> Collection[str]:
            return await earlier(self._nodes, ids, deadline) if self._targets.streams else ()

        with self._unfinished.attempt(prepared.request_id, new) as journey:
            return await journey.go(post, look)

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a node on this host, unless the settings say so."""
        return self._settings.trust_local or (self._client.addresses.known and not self._client.addresses.local)

    def describe(self) -> str:
        """See `Exporter.describe`."""
        what = self._product or Product()
        return f"{what} at " + ", ".join(str(url.origin()) for url in self._urls)

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.wait([self._greeting])
            self._greeting = None
        await self._client.aclose()

    async def _form(self, body: BulkBody | MetricBody, deadline: Deadline) -> BulkBody:
        """The form that the destination takes. Raises `DeliveryError` where that matters and cannot be told now.

        Of metrics there are two. For all else it is only good to know: the first request decides what an index becomes.
        """
        product = self._product
        if product is None:
            try:
                product = await self._ask(deadline)
            except DeliveryError:
                if isinstance(body, MetricBody):
                    raise
        if isinstance(body, BulkBody):
            return body
        return body.time_series if product and product.time_series and self._targets.streams else body.plain

    async def _post(
        self, index: str, content: Content, ids: Iterator[tuple[str, str]], count: int, deadline: Deadline
    ) -> list[Outcome]:
        query = {"filter_path": _FILTER}
        if self._settings.pipeline:
            query["pipeline"] = self._settings.pipeline
        if self._targets.streams and self._product is not None and self._product.can_require_data_stream:
            query["require_data_stream"] = "true"
        encoding = "gzip" if self._settings.compression == "gzip" else ""
        path = (index, "_bulk") if index else ("_bulk",)
        answer, url = await self._nodes.call("POST", path, query, deadline, MAX_ANSWER, content, encoding)
        return outcomes(answer, ids, count, shown(url), self._context.clock.wall_ns())

    async def _greet(self) -> None:
        pause, longest = _PAUSES
        while self._product is None:
            try:
                await self._ask(Deadline(self._context.clock))
            except DeliveryError:  # whoever sends meets the same fault, and is the one to report it
                await self._context.clock.sleep(pause)
                pause = min(2 * pause, longest)

    async def _ask(self, deadline: Deadline) -> Product:
        answer, url = await self._nodes.call("GET", (), {}, deadline, _MAX_HELLO)
        if answer.status in _LATER or answer.status >= 500:
            raise Retryable(f"{shown(url)} answered {answer.status}")
        if answer.status in _NOT_LET_IN:  # who answers so may be somebody in front of it
            raise Unusable(f"{shown(url)} answered {phrase(answer.status)}, and so does not say what it is")
        self._product = recognise(answer.headers, answer.body)
        return self._product
