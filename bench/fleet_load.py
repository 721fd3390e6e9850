"""Thousands of hosts and one destination that was away: what does it have to bear when it is back, and from then on?

Real pumps and ledgers in one process, each with the limits that an exporter has by default, on a clock that stands still unless
everybody waits; only the network and the lines are made up. Each host writes more often than it may send. While the destination
is away nobody can connect to it; then it takes everything, so only the hosts hold themselves back. No request gets full here:
one that does needs no token, and what a destination has to bear that takes only so many of those is shown by `bench.stampede`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import resource
import shutil
import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

from bench.paces import LIFE, Pace, paces
from bench.row import Row
from shipper.clock import Deadline
from shipper.contracts import (
    Accepted,
    Batch,
    Cut,
    Exporter,
    Limits,
    Prepared,
    Request,
    Signal,
    Stream,
    StreamKind,
)
from shipper.errors import Retryable
from shipper.events import Metrics, Reporter
from shipper.ledger import Ledger, LedgerThread, StreamRow
from shipper.pump import Hub, Pump
from shipper.testing.clock import FakeClock
from tests.pump.pumpkit import InlineLedger, MemoryQuarantine

HOSTS = 5000
LINE = b"x" * 79 + b"\n"  # so short that a backlog is prepared at once: this clock waits for no thread
OUTAGE = 30.0  # seconds
BURST = 2.0  # seconds in which a host has lines enough to use up what it may send at once
SETTLED = 6  # seconds after the outage: everybody is back, and all bursts are over
WATCHED = 2  # seconds from then on, or a turn of every host where that is longer
ANSWER = 0.05  # seconds
GRAIN = 0.001  # seconds that a timer may be late, as on a real loop
PATIENCE = 120.0  # seconds for the last line to arrive, once nobody writes any more
DESCRIPTORS = 3  # of a ledger
LEDGER_BYTES = 2_000_000


class Sink:
    """Nobody can connect while it is away; else it takes everything, after a moment."""

    def __init__(self, clock: FakeClock) -> None:
        self.away = True
        self.arrivals: list[tuple[float, int]] = []  # when, and from which host
        self.lines = 0
        self._clock = clock

    async def take(self, host: int, lines: int) -> Accepted:
        """Answer one request."""
        if self.away:
            raise Retryable("sink: cannot connect: refused", unsent=True)
        self.arrivals.append((self._clock.monotonic(), host))
        await self._clock.sleep(ANSWER)
        self.lines += lines
        return Accepted()


class Sender(Exporter):
    """Feeds on what an exporter's limits allow; there is nothing to encode."""

    Settings = object

    def __init__(self, name: str, settings: Any, context: Any) -> None:
        self.name = name
        self.limits, self._sink, self._host = settings

    def prepare(self, request: Request) -> Prepared:
        lines = sum(batch.cut.records for batch in request.batches)
        return Prepared(request.id, request.signal, lines, request.raw_bytes // 4)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        return await self._sink.take(self._host, prepared.body)


class Lines(Stream):
    """As many lines as were asked for, all the same."""

    def __init__(self, signal: Signal) -> None:
        self.id = self.name = "app.log"
        self.signal, self.kind = signal, StreamKind.DATA
        self.start = 0
        self.written = 0

    def frontier(self) -> int:
        return self.written * len(LINE)

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        lines = min(self.frontier() - at, limit) // len(LINE)
        end = at + lines * len(LINE)
        return self._batch(Cut(at, end, at, end, lines, observed_ns)) if lines else None

    def reread(self, cut: Cut) -> Batch:
        return self._batch(cut)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        return None

    def _batch(self, cut: Cut) -> Batch:
        return Batch(LIFE, self.id, self.signal, cut, LINE * cut.records, self.kind)


class FleetHost:
    """A ledger, a hub, a pump and a stream."""

    def __init__(
        self, directory: Path, number: int, pace: Pace, clock: FakeClock, metrics: Metrics, sink: Sink
    ) -> None:
        report = Reporter(clock, metrics, _silent())
        self._random = Random(number)
        self._lines = pace.limits.requests_per_second + pace.limits.burst / BURST  # a second
        self._born = self._random.random() * max(1.0, pace.limits.linger)  # seconds: no two hosts keep step
        self._ledger = Ledger.open(directory / f"{number}.db", report=report)
        inline = cast(LedgerThread, InlineLedger(self._ledger))
        self._hub = Hub(inline, clock=clock, report=report)
        self.pump = Pump(
            Sender("sink", (pace.limits, sink, number), None),
            self._hub,
            inline,
            life=LIFE,
            clock=clock,
            report=report,
            quarantine=MemoryQuarantine(),
            random=self._random,
        )
        self.stream = Lines(pace.signal)
        stream = self.stream
        self._ledger.put_stream(StreamRow(stream.id, stream.kind, stream.signal, "memory", stream.name, 0))
        self._hub.add(stream)

    async def write(self, clock: FakeClock, sink: Sink, until: float) -> None:
        """Lines one by one, at moments of this host's own; while nothing can be sent, many at a time come to the same."""
        await clock.sleep(self._born)
        while clock.monotonic() < until:
            lines = math.ceil(self._lines) if sink.away else 1
            self.stream.written += lines
            self._hub.ready(self.stream)
            await clock.sleep(self._random.uniform(0.5, 1.5) * lines / self._lines)

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()


@dataclass(frozen=True)
class Seen:
    """What a sink saw from the moment at which it was back (second 0) until nobody wrote any more."""

    hosts: int
    limits: Limits
    outage: float  # seconds
    arrivals: Sequence[float]  # when each request came
    first: Sequence[float]  # when each host was heard of first
    written: int
    arrived: int

    def requests(self, since: float, until: float) -> int:
        """How many requests came in ``[since, until)``."""
        return bisect_left(self.arrivals, until) - bisect_left(self.arrivals, since)

    def allowed(self, since: float, until: float) -> float:
        """How many may come in that time at most.

        Each host keeps its pace, and may have saved up a burst, but not while there was an outage: when that is over it has what
        had set out before, and one more.
        """
        limits = self.limits
        saved = limits.max_in_flight + 1 if self.outage else limits.burst
        return self.hosts * (saved + limits.requests_per_second * (until - since))

    def busiest(self) -> int:
        """How many came in the busiest second."""
        return max(self.requests(second, second + 1) for second in range(SETTLED + watched(self.limits)))

    def settled(self) -> float:
        """How many came a second, once all bursts were over."""
        seconds = watched(self.limits)
        return self.requests(SETTLED, SETTLED + seconds) / seconds


def watched(limits: Limits) -> int:
    """Seconds in which each host has had its turn."""
    return max(WATCHED, math.ceil(1 / limits.requests_per_second), math.ceil(limits.linger))


def load(hosts: int, pace: Pace, directory: Path, outage: float = OUTAGE) -> Seen:
    """Let a sink be away for ``outage`` seconds, and hosts come back to it."""
    clock = FakeClock()
    sink = Sink(clock)
    metrics = Metrics()
    fleet = [FleetHost(directory, number, pace, clock, metrics, sink) for number in range(hosts)]
    gc.collect()
    gc.freeze()  # millions of objects that stay: not to be looked through again and again
    try:
        back = asyncio.run(_live(fleet, clock, sink, outage, SETTLED + watched(pace.limits)))
    finally:
        gc.unfreeze()
        for host in fleet:
            host.close()
    first: dict[int, float] = {}
    for at, number in sink.arrivals:
        first.setdefault(number, at - back)
    return Seen(
        hosts,
        pace.limits,
        outage,
        [at - back for at, _ in sink.arrivals],
        sorted(first.values()),
        sum(host.stream.written for host in fleet),
        sink.lines,
    )


async def _live(fleet: Sequence[FleetHost], clock: FakeClock, sink: Sink, outage: float, then: float) -> float:
    """The outage, and what comes ``then``, in so many seconds; the moment at which it ended."""
    back = clock.monotonic() + outage
    end = back + then
    pumps = [asyncio.create_task(host.pump.run()) for host in fleet]
    writers = [asyncio.create_task(host.write(clock, sink, end)) for host in fleet]
    async with clock.autojump(GRAIN):
        await clock.sleep(outage)
        sink.away = False
        await asyncio.gather(*writers)
        written = sum(host.stream.written for host in fleet)
        given_up = clock.monotonic() + PATIENCE
        while sink.lines < written and clock.monotonic() < given_up:
            await clock.sleep(1.0)
    for pump in pumps:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
    return back


def rows(name: str, hosts: int = HOSTS) -> list[Row]:
    """Rows for each pace: what was seen, and what the limits allow."""
    _allow_descriptors(hosts)
    found: list[Row] = []
    for pace in paces():
        with tempfile.TemporaryDirectory(prefix="shipper-bench-", dir=_quick_place(hosts)) as directory:
            found += _rows(name, pace, load(hosts, pace, Path(directory)))
    return found


def _rows(name: str, pace: Pace, seen: Seen) -> list[Row]:
    limits = seen.limits
    stated = seen.hosts * limits.requests_per_second
    what = f"{pace} at {limits.requests_per_second:g}/s"
    heard = Counter(int(at) for at in seen.first)
    return [
        Row(
            name,
            f"{what}: busiest second after an outage (at most {seen.allowed(0, 1):,.0f})",
            "requests",
            seen.busiest(),
        ),
        Row(name, f"{what}: first heard of in the busiest second (of {seen.hosts:,})", "hosts", max(heard.values())),
        Row(name, f"{what}: {SETTLED} s after it (at most {stated:,.0f})", "requests/s", seen.settled()),
        Row(name, f"{what}: missing (of {seen.written:,})", "lines", seen.written - seen.arrived),
    ]


def _silent() -> logging.Logger:
    """What a host says: five thousand would all say that the sink is away."""
    logger = logging.Logger("fleet")
    logger.disabled = True
    return logger


def _allow_descriptors(hosts: int) -> None:
    """As many ledgers are open at once. Raises OSError where that is not allowed."""
    needed = hosts * DESCRIPTORS + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))


def _quick_place(hosts: int) -> Path | None:
    """Memory, where there is enough of it: what a disk costs is not looked at here."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > hosts * LEDGER_BYTES else None
