"""The source of numbers: requests counted, endpoints and directories read, all shipped by one stream of samples.

Samples are cumulative and written every interval where something changed, at least once a minute otherwise: an idle host
costs a small request a minute. A service's first sample is zero, so that its first requests are seen as growth, and the
last is written in the drain, after whoever makes the streams has seen all there is.
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
from shipper.measure.requests import RequestCounter
from shipper.measure.samples import NOTHING, Samples, of_book
from shipper.measure.stream import MetricsStream
from shipper.otlp.encode import AttributeValue

COUNT_SECONDS = 1.0  # how long what was handed over may wait to be counted: looking less often is cheaper
UNCHANGED_SECONDS = 60.0  # after which numbers that did not change are shipped again: they live
RETRY_SECONDS = 0.25  # in a drain, while the ledger cannot be written
LAST_SECONDS = 2.0  # for all targets together to be read once more in a drain
_MILLISECOND = 1_000_000  # what most stores of metrics can tell apart


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

    ``collector`` is on /metrics while this is open. ``host`` and ``instance``: see `samples.of_book`.
    """

    def __init__(
        self,
        counter: RequestCounter | None,
        targets: Sequence[Target],
        stream: MetricsStream,
        *,
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
        self._targets = targets
        self._stream = stream
        self._collector = collector
        self._host = host
        self._instance = instance
        self._interval = interval
        self._after = after
        self._clock = clock
        self._report = report
        self._sampled: Book | None = None
        self._sampled_at = clock.monotonic()
        self._stamped_ns = 0
        self._known: dict[Key, int] = {}
        self._looked_at: Book | None = None
        self._opened = False
        self._ended = False

    async def open(self) -> None:
        """Take up where the run before ended. Raises `StateError`."""
        await self._stream.reopen()
        if self._counter is not None:
            await self._counter.open()
            self._known = {key: line.start_ns for key, line in self._counter.book.lines.items()}

        if self._collector is not None:
            self._report.metrics.registry.register(self._collector)
            self._opened = True

    async def run(self) -> None:
        """See `Source.run`."""
        async with asyncio.TaskGroup() as group:
            if self._counter is not None:
                group.create_task(self._count(self._counter))
                group.create_task(self._sample(self._counter))
            for target in self._targets:
                group.create_task(self._watch(target))

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: the end is fixed in `settled`, when all that is counted was seen."""

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: numbers are not waited for."""
        return True

    def close_events(self) -> None:
        """See `Source.close_events`: a sample is never incomplete."""

    async def settled(self) -> None:
        """See `Source.settled`: count what is left and write the last sample."""
        await asyncio.gather(*(source.settled() for source in self._after))
        if self._ended:
            return
        self._ended = True  # whatever is under way is superseded by what comes now
        last = NOTHING
        if self._counter is not None:
            await self._count_all(self._counter)
            last += of_book(self._counter.book, self._host, self._instance, self._stamp())
        await self._write(last)
        await asyncio.gather(*(self._read_last(target) for target in self._targets))

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        if self._collector is not None and self._opened:
            self._report.metrics.registry.unregister(self._collector)
        for target in self._targets:
            await target.aclose()
        self._stream.close()

    # -- requests ------------------------------------------------------------------------------------------------

    async def _count(self, counter: RequestCounter) -> None:
        owed = False
        while True:
            if not owed:
                await counter.wait()
            if self._ended:
                return
            more, owed = await self._turn(counter)
            await self._clock.sleep(0 if more and not owed else COUNT_SECONDS)

    async def _turn(self, counter: RequestCounter) -> tuple[bool, bool]:
        """Count some; whether more is there, and whether what was found still has to be committed."""
        try:
            return await counter.turn(self._write_zeros), False
        except ShipperError as problem:
            self._report(Problem("measure", f"requests cannot be counted now: {problem}", "requests"))
            return True, True

    async def _count_all(self, counter: RequestCounter) -> None:
        more, owed = await self._turn(counter)
        while more or owed:  # for as long as the drain has time
            if owed:
                await self._clock.sleep(RETRY_SECONDS)
            more, owed = await self._turn(counter)

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
            await self._write(of_book(zeros, self._host, self._instance, start))
            self._stamped_ns = max(self._stamped_ns, start)

    async def _sample(self, counter: RequestCounter) -> None:
        while True:
            book, now = counter.book, self._clock.monotonic()
            due = book is not self._sampled or now - self._sampled_at >= UNCHANGED_SECONDS
            if due and book.lines and not self._ended:
                await self._write(of_book(book, self._host, self._instance, self._stamp()))
                self._sampled, self._sampled_at = book, now
            await self._clock.sleep(self._interval)

    def _stamp(self) -> int:
        """A time later than that of every sample before, also where the clock was set back."""
        self._stamped_ns = max(self._clock.wall_ns(), self._stamped_ns + _MILLISECOND)
        return self._stamped_ns

    # -- targets -------------------------------------------------------------------------------------------------

    async def _watch(self, target: Target) -> None:
        while True:
            samples = await target.read()
            if not self._ended:
                await self._write(samples)
            await self._clock.sleep(target.interval)

    async def _read_last(self, target: Target) -> None:
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._write(await target.read(last=True))
        except TimeoutError:
            self._report(Problem("scrape", f"{target} did not answer a last time in the drain", str(target)))

    async def _write(self, samples: Samples) -> None:
        try:
            await self._stream.write(samples, self._clock.wall_ns())
        except (ShipperError, OSError) as problem:
            self._report(Problem("measure", f"numbers cannot be written down this time: {problem}", "write"))
