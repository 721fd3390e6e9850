"""The Prometheus exporter passes the suite that every exporter has to pass."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper.testing.sink import Answer, Sink, cut_off, held, html, lie, never, raw, refuse
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.remote_write import series_of

STORED = Answer(204, b"")
ANSWERS: dict[Fault, Answer] = {
    Fault.BUSY: refuse(429, retry_after="7"),
    Fault.BROKEN: cut_off(),
    Fault.STUCK: never(),
    Fault.SLOW: held(),
    Fault.MISCONFIGURED: refuse(401),
    Fault.STRANGER: html(),
    Fault.TOO_LARGE: refuse(413),
    Fault.REFUSING: raw(400, b"label value too long", "text/plain"),
    Fault.LYING: lie(),
}


class RemoteWriteDestination(Destination):
    """A sink that plays every fault."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._url = f"{sink.url}/v1/metrics"

    def exporter(self, context: ExporterContext) -> Exporter:
        return PrometheusExporter("sink", PrometheusSettings(url=self._url, protocol="1.0"), context)

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
            Held(
                hashlib.sha256(request.wire).hexdigest(),
                tuple(dict(one.labels).get("line", "") for one in series_of(request.wire)),
            )
            for request in self._sink.kept()
        ]


class TestPrometheusExporter(ExporterContract):
    """The suite, against a real socket."""

    signal = Signal.METRICS

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with Sink(clock=clock) as sink:
            sink.answer = STORED
            yield RemoteWriteDestination(sink)
