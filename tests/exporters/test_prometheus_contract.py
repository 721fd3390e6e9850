"""The Prometheus exporter passes the suite that every exporter has to pass."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import ClassVar, Literal

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper.testing.sink import Answer, Received, Sink, cut_off, held, html, lie, never, raw, refuse
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.remote_write import series_of
from tests.exporters.remote_write_two import CONTENT_TYPE, read, receive, receive_one

Protocol = Literal["auto", "1.0", "2.0"]

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
LYING_TWO = Answer(204, b"", headers={"X-Prometheus-Remote-Write-Samples-Written": "1"}, keep=False)


class RemoteWriteDestination(Destination):
    """A sink that plays every fault, of one version of the protocol."""

    def __init__(self, sink: Sink, protocol: Protocol, judge: Callable[[Received], Answer]) -> None:
        self._sink = sink
        self._judge = judge
        self._protocol = protocol
        self._url = f"{sink.url}/v1/metrics"

    def exporter(self, context: ExporterContext) -> Exporter:
        return PrometheusExporter("sink", PrometheusSettings(endpoint=self._url, protocol=self._protocol), context)

    async def healthy(self) -> None:
        await self._sink.come_up()
        self._sink.judge = self._judge
        self._sink.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._sink.go_down()
            return
        answer = ANSWERS[fault]
        if fault is Fault.SLOW:
            self._sink.judge = lambda request: replace(self._judge(request), fault="held")
        elif fault is Fault.LYING and self._judge is receive:
            self._sink.judge = lambda _: LYING_TWO
        else:
            self._sink.judge = lambda _: answer

    async def stored(self) -> Sequence[Held]:
        return [Held(hashlib.sha256(request.wire).hexdigest(), tuple(_lines(request))) for request in self._sink.kept()]


def _lines(request: Received) -> list[str]:
    if request.headers["Content-Type"] == CONTENT_TYPE:
        return [one.labels.get("line", "") for one in read(request.wire)]
    return [dict(one.labels).get("line", "") for one in series_of(request.wire)]


class TestPrometheusExporter(ExporterContract):
    """The suite, against a real socket, with version 1.0."""

    signal = Signal.METRICS
    protocol: ClassVar[Protocol] = "1.0"
    judge: ClassVar[Callable[[Received], Answer]] = staticmethod(receive_one)

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with Sink(clock=clock) as sink:
            sink.judge = type(self).judge
            yield RemoteWriteDestination(sink, self.protocol, type(self).judge)


class TestRemoteWriteTwo(TestPrometheusExporter):
    """The suite, with version 2.0."""

    protocol = "2.0"
    judge = staticmethod(receive)


class TestFallingBack(TestPrometheusExporter):
    """The suite, with a receiver that knows 1.0 only and an exporter that has to find that out."""

    protocol = "auto"
