"""A tailer under test: real files and ledger, a destination that keeps what it is given, a clock that a test moves."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.contracts import Batch, Cut, Signal, Stream
from shipper.errors import RangeGone
from shipper.events import Event, Problem, Reporter
from shipper.ledger import Ledger, LedgerThread
from shipper.sources.file import FileGroup, FileSettings, FileSource
from shipper.sources.file.consumer import TextConsumer
from shipper.sources.file.stream import FileStream
from shipper.sources.file.survivors import DescriptorStore
from shipper.testing.clock import FakeClock

DESTINATION = "sink"
GUARD_SECONDS = 10.0  # of real time: only a test that has failed waits so long


@dataclass
class Line:
    """One record as it arrived."""

    stream: str
    body: str
    attributes: dict[str, Any]
    scope: dict[str, Any]


def decode(batch: Batch) -> list[Line]:
    """The records of a batch."""
    lines = []
    for resource in ExportLogsServiceRequest.FromString(batch.payload).resource_logs:
        for scope in resource.scope_logs:
            common = {a.key: a.value.string_value for a in scope.scope.attributes}
            for record in scope.log_records:
                assert record.observed_time_unix_nano == batch.cut.observed_ns
                attributes = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in record.attributes}
                lines.append(Line(batch.stream, record.body.string_value, attributes, common))
    assert len(lines) == batch.cut.records
    return lines


@dataclass
class Sink:
    """A hub with one destination behind it. While ``open`` it takes everything at once and acknowledges it."""

    open: bool = True
    limit: int = 1 << 20
    streams: dict[str, Stream] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    lost: list[tuple[str, int, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    finished_now: list[str] = field(default_factory=list)  # in this run
    woken: int = 0
    at: dict[str, tuple[int, int]] = field(default_factory=dict)
    last: dict[str, Cut] = field(default_factory=dict)

    def add(self, stream: Stream) -> None:
        assert stream.id not in self.streams, f"{stream.id} was announced twice"
        self.streams[stream.id] = stream
        self.at.setdefault(stream.id, (stream.start, stream.start))
        if self.at[stream.id][0] > stream.start:
            stream.released(self.at[stream.id][0])
        self.ready(stream)

    def ready(self, stream: Stream) -> None:
        assert stream.id in self.streams, f"{stream.id} is ready but was not announced"
        self.woken += 1
        if self.open:
            self.take(stream)

    def finished(self, stream: Stream) -> None:
        assert stream.finished
        assert stream.id not in self.finished_now
        self.finished_now.append(stream.id)
        self.ended.append(stream.id)
        self.ready(stream)

    def take(self, stream: Stream) -> None:
        """Cut all that is due."""
        while True:
            at, resume = self.at[stream.id]
            try:
                batch = stream.cut(at, resume, self.limit, len(self.batches) + 1)
            except RangeGone as gone:
                self.lost.append((stream.id, gone.start, gone.end))
                self.at[stream.id] = (gone.end, gone.end)
                stream.released(gone.end)
                continue
            if batch is None:
                return
            assert batch.cut.start == at
            assert batch.cut.end > at
            assert batch.cut.resume == resume
            self.lines += decode(batch)
            self.batches.append(batch)
            self.last[stream.id] = batch.cut
            self.at[stream.id] = (batch.cut.end, batch.cut.next_resume)
            stream.released(batch.cut.end)

    def take_all(self) -> None:
        """Open, and catch up."""
        self.open = True
        for stream in list(self.streams.values()):
            self.take(stream)

    @property
    def bodies(self) -> list[str]:
        """All texts, in the order of arrival."""
        return [line.body for line in self.lines]

    def of(self, stream: str) -> list[str]:
        """The texts of one stream."""
        return [line.body for line in self.lines if line.stream == stream]


class Reports(Reporter):
    """Remembers what was said."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, logger=logging.getLogger("test"))
        self.said: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.said.append(event)
        super().__call__(event)

    def problems(self, kind: str) -> list[str]:
        """The messages of one kind of problem."""
        return [event.message for event in self.said if isinstance(event, Problem) and event.kind == kind]


class Tail:
    """One run of a `FileSource` on ``directory``."""

    def __init__(
        self,
        directory: Path,
        sink: Sink,
        clock: FakeClock,
        settings: FileSettings,
        remembered: Any,
        consumer: TextConsumer | None = None,
        store: DescriptorStore | None = None,
    ) -> None:
        self.directory = directory
        self.sink = sink
        self.clock = clock
        self.report = Reports(clock)
        self.ledger = LedgerThread(Ledger.open(directory.parent / "ledger.db", report=self.report))
        self.source = FileSource(
            settings,
            hub=sink,
            ledger=self.ledger,
            life="life",
            resource=b"",
            clock=clock,
            report=self.report,
            destinations=(DESTINATION,),
            remembered=remembered,
            consumer=consumer,
            store=store,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self, stop_early: bool) -> None:
        """Run until everything there is at the start was found; ``stop_early``: told to stop at once."""
        self._task = asyncio.create_task(self.source.run())
        if stop_early:
            self.source.stop_reading()
        waiting = asyncio.create_task(self.source.settled())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=GUARD_SECONDS)
        if self._task.done():
            self._task.result()
        await waiting

    async def crash(self) -> None:
        """End as a kill would: nothing more is written but what the destination acknowledged."""
        self.source._watcher.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for name, cut in self.sink.last.items():
            await self.ledger.call(_acknowledge, name, cut)
        for name in self.sink.finished_now:
            if self.sink.at[name][0] >= self.sink.streams[name].frontier():
                await self.ledger.call(Ledger.retire, name)  # as the real hub does
        self.sink.finished_now.clear()
        self.sink.last.clear()
        self.sink.streams.clear()
        self.source._pool.close_all()
        await self.ledger.aclose()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for an effect."""
        async with asyncio.timeout(GUARD_SECONDS):
            while not condition():
                assert self._task is not None
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(0.001)

    async def lines(self, count: int) -> list[str]:
        """Wait until ``count`` lines arrived; their texts."""
        await self.until(lambda: len(self.sink.lines) >= count)
        return self.sink.bodies

    async def pass_time(self, seconds: int) -> None:
        """Let seconds pass, and what is done every second be done, with the ledger's thread keeping up."""
        for _ in range(seconds):
            await self.clock.until_sleeping()
            await self.clock.run(1)
            await self.settle()
        await self.clock.until_sleeping()

    async def settle(self) -> None:
        """Have everything that happened so far noticed, without time passing."""
        self.source._watcher.read()
        await self.source.settled()
        self.source._watcher.read()

    def file(self, name: str) -> FileStream:
        """The newest stream that reads from the path."""
        path = str(self.directory / name)
        found = [s for s in self.sink.streams.values() if isinstance(s, FileStream) and s.path == path]
        return found[-1]


def _acknowledge(ledger: Ledger, stream: str, cut: Cut) -> None:
    """As if everything up to ``cut`` had been one request."""
    cursor = ledger.cursor(DESTINATION, stream)
    whole = Cut(cursor.cut_to, cut.end, cursor.resume, cut.next_resume, cut.records, cut.observed_ns, cut.guard)
    request = f"{stream}-{cut.end}"
    ledger.commit(DESTINATION, request, Signal.LOGS, [(stream, whole)], "")
    ledger.acknowledge(DESTINATION, request)


@asynccontextmanager
async def tailing(
    directory: Path,
    pattern: str | tuple[str, ...] = "*",
    *,
    sink: Sink | None = None,
    clock: FakeClock | None = None,
    remembered: Any = (),
    limits: dict[str, Any] | None = None,
    stop_early: bool = False,
    groups: tuple[FileGroup, ...] = (),
    consumer: TextConsumer | None = None,
    store: DescriptorStore | None = None,
    **group: Any,
) -> AsyncIterator[Tail]:
    """A running tailer of ``directory``; ``group`` and ``limits`` are settings."""
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    include = tuple(os.path.join(directory, each) for each in patterns)
    directory.mkdir(exist_ok=True)
    settings = FileSettings(groups or (FileGroup(include, **group),), **(limits or {}))
    tail = Tail(directory, sink or Sink(), clock or FakeClock(), settings, remembered, consumer, store)
    await tail.start(stop_early)
    try:
        yield tail
    finally:
        await tail.crash()
