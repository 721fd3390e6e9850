"""A source of numbers with everything around it, on a clock that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest

from shipper.contracts import Source, StreamKind
from shipper.events import Reporter
from shipper.ledger import LedgerThread
from shipper.measure.exposition import BookCollector
from shipper.measure.own import OwnMetrics
from shipper.measure.own_reading import HostFacts
from shipper.measure.requests import RequestCounter
from shipper.measure.samples import Samples
from shipper.measure.source import MeasureSource
from shipper.measure.stream import MetricsStream
from shipper.measure.writing import Writer
from shipper.otlp import metrics
from shipper.testing.clock import FakeClock
from tests.measure.measurekit import HOST, Announced, Point, SpanFile, batches, counter_on, ledger_at

INTERVAL = 15.0


class Upstream(Source):
    """A source that finds one more request while it settles."""

    def __init__(self, counter: RequestCounter, stream: SpanFile) -> None:
        self.name = "services"
        self._counter = counter
        self._stream = stream

    async def run(self) -> None:
        await asyncio.Event().wait()

    def stop_reading(self) -> None:
        pass

    def silent(self, quiet_seconds: float) -> bool:
        return True

    def close_events(self) -> None:
        pass

    async def settled(self) -> None:
        await asyncio.sleep(0)
        self._stream.span(error=True)
        self._counter.ready(self._stream)


class Gauge:
    """A target that counts how often it is read."""

    interval = INTERVAL

    def __init__(self) -> None:
        self.reads = 0
        self.closed = False
        self.hangs = False

    async def read(self, last: bool = False) -> Samples:
        self.reads += 1
        if self.hangs:
            await asyncio.Event().wait()
        point = metrics.number(self.reads, 1)
        return Samples(metrics.export_metrics(b"", b"", [metrics.gauge("reads", [point])]), 1, 1)

    async def aclose(self) -> None:
        self.closed = True


class Run:
    """One run of the source on a state directory."""

    def __init__(
        self,
        directory: Path,
        ledger: Any,
        clock: FakeClock,
        *targets: Gauge,
        upstream: bool = False,
        own: bool = False,
        over: bool = False,
    ) -> None:
        self.clock = clock
        self.report = Reporter(clock)
        self.hub = Announced()
        self.file = SpanFile()
        self.file.declare(1, service="shop", release="r1")
        self.counter = counter_on(ledger, clock, report=self.report)
        self.stream, self.ends = (
            MetricsStream(
                str(directory / name),
                life="life",
                hub=self.hub,
                ledger=ledger,
                destinations=("otlp",),
                max_bytes=1 << 20,
                report=self.report,
                name=name,
                kind=kind,
            )
            for name, kind in (("metrics", StreamKind.DATA), ("metrics-life", StreamKind.LIFE))
        )
        self.source = MeasureSource(
            self.counter,
            targets,
            Writer(self.stream, self.ends, clock, self.report),
            own=OwnMetrics(HostFacts(clock.wall_ns()), HOST, ["otlp"], ledger=ledger, report=self.report)
            if own
            else None,
            collector=BookCollector(lambda: self.counter.book, routes=False),
            over=over,
            host=HOST,
            instance="h1",
            interval=INTERVAL,
            after=[Upstream(self.counter, self.file)] if upstream else [],
            clock=clock,
            report=self.report,
        )

    def requests(self) -> list[list[tuple[str, float, int]]]:
        """Outcome, value and time of the request counters in each sample."""
        return [
            [
                (point.labels["outcome"], point.value, point.time_ns)
                for point in sample
                if point.name == "shipper.requests"
            ]
            for sample in self.samples()
        ]

    def samples(self) -> list[list[Point]]:
        return batches(self.hub.streams[0]) if self.hub.streams else []

    def late(self) -> list[list[Point]]:
        """What was written to the stream of the end."""
        return batches(self.hub.streams[1]) if len(self.hub.streams) > 1 else []

    def exposed(self) -> str:
        return generate_latest(self.report.metrics.registry).decode()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.source.open()
        task = asyncio.create_task(self.source.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.source.aclose()

    async def counted(self, requests: int, *, written: bool = True) -> None:
        """Let time pass until so many requests are committed, and the beginning of them is written."""
        while sum(line.requests for line in self.counter.book.lines.values()) < requests:
            await self.clock.run(1)
            await asyncio.sleep(0.001)
        if written:  # the stream is made in the ledger's thread
            await until(self.samples)


def in_state(tmp_path: Path, work: Callable[[LedgerThread, FakeClock], Awaitable[None]]) -> None:
    async def main() -> None:
        ledger = ledger_at(tmp_path / "ledger.db")
        try:
            await work(ledger, FakeClock())
        finally:
            await ledger.aclose()

    asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the ledger has a thread of its own
            await asyncio.sleep(0.001)
