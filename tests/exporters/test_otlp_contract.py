"""The OTLP exporter passes the suite that every exporter has to pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper.testing.sink import Answer, Sink, accept, cut_off, held, html, lie, never, refuse
from shipper_exporters.otlp import OtlpExporter, OtlpSettings

ANSWERS: dict[Fault, Answer] = {
    Fault.BUSY: refuse(429, retry_after="7"),
    Fault.BROKEN: cut_off(),
    Fault.STUCK: never(),
    Fault.SLOW: held(),
    Fault.MISCONFIGURED: refuse(401, "who are you?"),
    Fault.STRANGER: html(),
    Fault.TOO_LARGE: refuse(413),
    Fault.REFUSING: refuse(400, "bad data"),
    Fault.LYING: lie(),
}


class OtlpDestination(Destination):
    """A sink that plays every fault."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._url = sink.url

    def exporter(self, context: ExporterContext) -> Exporter:
        return OtlpExporter("sink", OtlpSettings(endpoint=self._url), context)

    async def healthy(self) -> None:
        await self._sink.come_up()
        self._sink.answer = accept()
        self._sink.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._sink.go_down()
        else:
            self._sink.answer = ANSWERS[fault]

    async def stored(self) -> Sequence[Held]:
        return [Held(request.key, tuple(request.lines())) for request in self._sink.kept()]


class TestOtlpExporter(ExporterContract):
    """The suite, against a real socket."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with Sink(clock=clock) as sink:
            yield OtlpDestination(sink)
