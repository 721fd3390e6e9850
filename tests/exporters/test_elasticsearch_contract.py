"""The Elasticsearch exporter passes the suite that every exporter has to pass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from tests.exporters.fake_elastic import FakeElastic, Whole

UNKNOWN_KEY = {
    "error": {"type": "security_exception", "reason": "unable to authenticate with provided credentials"}, "status": 401,
}  # fmt: skip
MALFORMED = {
    "error": {"type": "illegal_argument_exception", "reason": "Malformed content, found extra data after parsing"},
    "status": 400,
}
ANSWERS: dict[Fault, Whole] = {
    Fault.BUSY: Whole(429, b"slow down", {"Retry-After": "7"}),
    Fault.BROKEN: Whole(fault="cut off"),
    Fault.STUCK: Whole(fault="held"),
    Fault.SLOW: Whole(fault="held"),
    Fault.MISCONFIGURED: Whole(401, UNKNOWN_KEY),
    Fault.STRANGER: Whole(fault="html"),
    Fault.TOO_LARGE: Whole(413),
    Fault.REFUSING: Whole(400, MALFORMED),
    Fault.LYING: Whole(fault="lie"),
}


class Cluster(Destination):
    """A fake node that plays every fault."""

    def __init__(self, node: FakeElastic, mapping: str) -> None:
        self._node = node
        self._mapping = mapping

    def exporter(self, context: ExporterContext) -> Exporter:
        settings = ElasticsearchSettings(endpoint=self._node.url, mapping=self._mapping)  # type: ignore[arg-type]
        return ElasticsearchExporter("cluster", settings, context)

    async def healthy(self) -> None:
        if not self._node.up:
            await self._node.come_up()
        self._node.answer = None
        self._node.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._node.go_down()
        else:
            self._node.answer = ANSWERS[fault]

    async def stored(self) -> Sequence[Held]:
        return [
            Held(
                hashlib.sha256(json.dumps(bulk.items).encode()).hexdigest(),
                tuple(_line(document) for _, document in bulk.items),
            )
            for bulk in self._node.kept
        ]


def _line(document: dict[str, Any]) -> str:
    if "metrics" in document:
        return str(document["attributes"]["line"])
    return str(document["message"] if "message" in document else document["body"]["text"])


class TestElasticsearchExporter(ExporterContract):
    """The suite, against a real socket."""

    mapping = "ecs"

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with FakeElastic() as node:
            yield Cluster(node, self.mapping)


class TestElasticsearchExporterOtel(TestElasticsearchExporter):
    """The same with documents of the OpenTelemetry mapping."""

    mapping = "otel"


class TestElasticsearchExporterMetrics(TestElasticsearchExporter):
    """The same with data points, which become time series."""

    signal = Signal.METRICS
