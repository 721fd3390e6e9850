"""The Loki exporter passes the suite that every exporter has to pass."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper.testing.sink import Answer, Sink, cut_off, held, html, lie, never, raw, refuse
from shipper_exporters.loki import LokiExporter, LokiSettings
from tests.exporters.loki_server import PUSH_PATHS, STORED, lines_of

ANSWERS: dict[Fault, Answer] = {
    Fault.BUSY: refuse(429, retry_after="7"),
    Fault.BROKEN: cut_off(),
    Fault.STUCK: never(),
    Fault.SLOW: held(),
    Fault.MISCONFIGURED: refuse(401),
    Fault.STRANGER: html(),
    Fault.TOO_LARGE: raw(413, b"request body too large: 9 bytes, limit: 8 bytes", "text/plain"),
    Fault.REFUSING: raw(
        400,
        b"max entry size '1' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '9' bytes",
        "text/plain",
    ),
    Fault.LYING: lie(),
}


class LokiDestination(Destination):
    """A sink that plays every fault."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def exporter(self, context: ExporterContext) -> Exporter:
        return LokiExporter("sink", LokiSettings(endpoint=self._sink.url), context)

    async def healthy(self) -> None:
        await self._sink.come_up()
        self._sink.answer = STORED
        self._sink.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._sink.go_down()
        else:
            self._sink.answer = ANSWERS[fault]

    async def stored(self) -> Sequence[Held]:
        return [
            Held(hashlib.sha256(request.wire).hexdigest(), tuple(line.line for line in lines_of(request.wire)))
            for request in self._sink.kept()
        ]


class TestLokiExporter(ExporterContract):
    """The suite, against a real socket."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with Sink(clock=clock, paths=PUSH_PATHS) as sink:
            sink.answer = STORED
            yield LokiDestination(sink)


class LokiOtlpDestination(LokiDestination):
    """The same with OTLP."""

    def exporter(self, context: ExporterContext) -> Exporter:
        return LokiExporter("sink", LokiSettings(endpoint=self._sink.url, protocol="otlp"), context)

    async def failing(self, fault: Fault) -> None:
        await super().failing(fault)
        if fault is Fault.REFUSING:
            self._sink.answer = refuse(400, "max entry size '1' bytes exceeded")

    async def stored(self) -> Sequence[Held]:
        return [Held(request.key, tuple(request.lines())) for request in self._sink.kept()]


class TestLokiExporterWithOtlp(TestLokiExporter):
    """The suite, with OTLP instead of pushes."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with Sink(clock=clock) as sink:
            yield LokiOtlpDestination(sink)
