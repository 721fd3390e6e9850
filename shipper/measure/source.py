"""The source of numbers: the host's own, requests counted, endpoints and directories read, all shipped by one stream.

Samples are cumulative and written every interval. Every series begins with a zero, so that what it counts before its first
sample is seen as growth. The last one of what is counted is written in the drain, after whoever makes the streams has seen
all there is; the host's own last one is part of its farewell, after which every series is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from prometheus_client.registry import Collector

from shipper.clock import Clock
from shipper.contracts import Source
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter
from shipper.measure.counts import Book, Key, Line
from shipper.measure.own import OwnMetrics
from shipper.measure.requests import RequestCounter
from shipper.measure.samples import NOTHING, Samples, of_book
from shipper.measure.writing import Writer
from shipper.otlp.encode import AttributeValue

COUNT_SECONDS = 1.0  # how long what was handed over may wait to be counted: looking less often is cheaper
RETRY_SECONDS = 0.25  # in a drain, while the ledger cannot be written
LAST_SECONDS = 2.0  # for all targets together to be read once more in a drain
_OWN, _REQUESTS, _TARGET = "own", "requests", "target"  # producers


class Target(Protocol):
    """Something that is read for numbers every now and then."""

    @property
    def interval(self) -> float:
        """Seconds between two looks."""

    async def read(self, last: bool = False) -> Samples:
        """Its numbers as they are now. Faults are reported, never raised.

        ``last``: the host dies, and what is read may be gone already; that is no fault.
        """

    async def aclose(self) -> None:
        """Let go of connections."""


class MeasureSource(Source):
    """See the module. ``after``: the sources whose streams are counted; they settle before the last sample is taken.

    ``collector`` is on /metrics while this is open. ``host`` and ``instance``: see `samples.of_book`. ``over``: the life is,
    and what is still counted of it is said once, with the end of its series.
    """

    def __init__(
        self,
        counter: RequestCounter | None,
        targets: Sequence[Target],
        writer: Writer,
        *,
        own: OwnMetrics | None = None,
        over: bool = False,
        collector: Collector | None = None,
        host: Mapping[str, AttributeValue],
        instance: str,
        interval: float,
        after: Sequence[Source],
        clock: Clock,
        report: Reporter,
    ) -> None:
        self.name = "measure"
        self._counter = counter
        self._targets = {f"{_TARGET} {number}": target for number, target in enumerate(targets)}
        self._writer = writer
        self._own = own
        self._of_the_dead = over
        self._collector = collector
        self._host = host
        self._instance = instance
        self._interval = interval
        self._after = after
        self._clock = clock
        self._report = report
        self._known: dict[Key, int] = {}
        self._looked_at: Book | None = None
        self._opened_with: Book | None = None
        self._opened = False
        self._resumed = True
        self._settled = False
        self._over = False  # the end of all series is written
        self._sampling = asyncio.Lock()

    async def open(self) -> None:
        """Take up where the run before ended; in the first of a life, write down that its series begin. Raises `StateError`."""
        await self._writer.reopen()
        if self._counter is not None:
            await self._counter.open()
            self._opened_with = self._counter.book
            self._known = {key: line.start_ns for key, line in self._counter.book.lines.items()}
        if self._own is not None:
            await self._own.open()
            if not self._own.born:
                await self._writer.write({_OWN: await self._own.birth()})
                self._resumed = False
        if self._collector is not None:
            self._report.metrics.registry.register(self._collector)
            self._opened = True

    async def run(self) -> None:
        """See `Source.run`."""
        async with asyncio.TaskGroup() as group:
            if self._counter is not None:
                group.create_task(self._count(self._counter))
            if (self._counter is not None or self._own is not None) and not self._of_the_dead:
                group.create_task(self._sample())
            for name, target in self._targets.items():
                group.create_task(self._watch(name, target))

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: the end is fixed in `settled`, when all that is counted was seen."""

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: numbers are not waited for."""
        return True

    def close_events(self) -> None:
        """See `Source.close_events`: a sample is never incomplete."""

    def reopen(self) -> None:
        """See `Source.reopen`: what was settled goes on."""
        self._settled = False

    async def settled(self) -> None:
        """See `Source.settled`: count what is left and write the last sample."""
        await asyncio.gather(*(source.settled() for source in self._after))
        if self._settled:
            return
        self._settled = True  # whatever is under way is superseded by what comes now
        if self._counter is not None:
            await self._count_all(self._counter)
            async with self._sampling:
                now = self._writer.stamp()
                if not self._of_the_dead:
                    await self._writer.write({_REQUESTS: self._requests(now)})
                elif self._counter.book is not self._opened_with or not self._writer.said_late:
                    await self._writer.write_last({_REQUESTS: self._requests(now)}, now)
        await asyncio.gather(*(self._read_last(name, target) for name, target in self._targets.items()))

    async def farewell(self, outcome: str, left_bytes: int) -> None:
        """The life ends: the host's last sample, which says how, and then the end of every series it has.

        In a stream of its own, which no account counts. Raises `ShipperError` and OSError; then nothing was written.
        """
        async with self._sampling:
            now = self._writer.stamp()
            last = {_REQUESTS: self._requests(now)}
            if self._own is not None:
                self._own.ended(outcome, left_bytes)
                last[_OWN] = await self._own.sample(now)
            await self._writer.write_end(last, now)
            self._over = True

    def go_on(self, *, outlived: bool) -> None:
        """Numbers go on after a farewell. ``outlived``: it is not true any more, because the host lives on."""
        self._over = False
        if outlived and self._own is not None:
            self._own.lives_on(self._clock.wall_ns())

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        if self._collector is not None and self._opened:
            self._report.metrics.registry.unregister(self._collector)
        for target in self._targets.values():
            await target.aclose()
        self._writer.close()

    # -- samples -------------------------------------------------------------------------------------------------

    async def _sample(self) -> None:
        if self._resumed:
            await self._sample_once()
        while True:
            await self._clock.sleep(self._interval)
            await self._sample_once()

    async def _sample_once(self) -> None:
        """The numbers of now. Once what is counted has had its last sample, the host's own go by the other stream."""
        async with self._sampling:
            if self._over:
                return
            now = self._writer.stamp()
            own = await self._own.sample(now) if self._own is not None else NOTHING
            if self._settled:
                await self._writer.write_late({_OWN: own})
                return
            await self._writer.write({_OWN: own, _REQUESTS: self._requests(now)})

    def _requests(self, time_ns: int) -> Samples:
        if self._counter is None:
            return NOTHING
        return of_book(self._counter.book, self._host, self._instance, time_ns)

    # -- requests ------------------------------------------------------------------------------------------------

    async def _count(self, counter: RequestCounter) -> None:
        owed = more = False
        while True:
            if not owed:
                await counter.wait()
            if not self._settled:
                more, owed = await self._turn(counter)
            await self._clock.sleep(0 if more and not owed and not self._settled else COUNT_SECONDS)

    async def _turn(self, counter: RequestCounter, *, last: bool = False) -> tuple[bool, bool]:
        """Count some; whether more is there, and whether what was found still has to be committed."""
        try:
            return await counter.turn(self._write_zeros, last=last), False
        except ShipperError as problem:
            self._report(Problem("measure", f"requests cannot be counted now: {problem}", "requests"))
            return True, True

    async def _count_all(self, counter: RequestCounter) -> None:
        more, owed = await self._turn(counter, last=True)
        while more or owed:  # for as long as the drain has time
            if owed:
                await self._clock.sleep(RETRY_SECONDS)
            more, owed = await self._turn(counter, last=True)

    async def _write_zeros(self, book: Book) -> None:
        """The beginning of what is new in the book: what it counted before its first sample is growth, too.

        Written before the book is committed: killed in between, the next run makes another beginning.
        """
        if book is self._looked_at:
            return
        self._looked_at = book
        new = {
            key: Line(line.start_ns, line.start_ns, (0,) * len(line.buckets))
            for key, line in book.lines.items()
            if self._known.get(key) != line.start_ns
        }
        self._known = {key: line.start_ns for key, line in book.lines.items()}
        for start in sorted({line.start_ns for line in new.values()}):
            zeros = Book(book.bounds, {key: line for key, line in new.items() if line.start_ns == start})
            await self._writer.write_beginning(_REQUESTS, of_book(zeros, self._host, self._instance, start))
            self._writer.stamped(start)

    # -- targets -------------------------------------------------------------------------------------------------

    async def _watch(self, name: str, target: Target) -> None:
        while True:
            if not self._settled:
                samples = await target.read()
                if not self._settled:
                    await self._writer.write({name: samples})
            await self._clock.sleep(target.interval)

    async def _read_last(self, name: str, target: Target) -> None:
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._writer.write({name: await target.read(last=True)})
        except TimeoutError:
            self._report(Problem("scrape", f"{target} did not answer a last time in the drain", str(target)))
