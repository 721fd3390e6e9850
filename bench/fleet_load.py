"""Thousands of hosts and one destination that was away: what does it have to bear when it is back, and from then on?

Real pumps and ledgers in one process, each with the limits that an exporter has by default, on a clock that stands still unless
everybody waits; only the network and the lines are made up. Each host writes more often than it may send. While the destination
is away nobody can connect to it; then it takes everything, so only the hosts hold themselves back. No request gets full here:
one that does needs no token, and what a destination has to bear that takes only so many of those is shown by `bench.stampede`.
"""

from __future__ import annotations

import asyncio
import gc
import math
import resource
import shutil
import tempfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fleet_member import FleetHost, Sink
from bench.paces import Pace, paces
from bench.row import Row
from shipper.contracts import Limits
from shipper.events import Metrics
from shipper.testing.clock import FakeClock

HOSTS = 5000
OUTAGE = 30.0  # seconds
SETTLED = 6  # seconds after the outage: everybody is back, and all bursts are over
WATCHED = 2  # seconds from then on, or a turn of every host where that is longer
GRAIN = 0.001  # seconds that a timer may be late, as on a real loop
BURST = 2.0  # seconds in which a host has lines enough to use up what it may send at once
WHILE_GATHERING = 1.0  # lines a second where a request waits for company
PATIENCE = 120.0  # seconds for the last line to arrive, once nobody writes any more
DESCRIPTORS = 3  # of a ledger
LEDGER_BYTES = 2_000_000


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
    lines = _lines(pace.limits, burst=not outage)
    fleet = [FleetHost(directory, number, pace, lines, sink, metrics) for number in range(hosts)]
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
    writers = [asyncio.create_task(host.write(sink, end)) for host in fleet]
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
    for ended in await asyncio.gather(*pumps, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    return back


def _lines(limits: Limits, *, burst: bool) -> float:
    """Lines a second: twice as many as the requests that a host may send, or more where it may send a burst."""
    if limits.linger:
        return WHILE_GATHERING
    return limits.requests_per_second + (limits.burst / BURST if burst else limits.requests_per_second)


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


def _allow_descriptors(hosts: int) -> None:
    """As many ledgers are open at once; says so where that is not allowed."""
    needed = hosts * DESCRIPTORS + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != hard < needed:
        raise SystemExit(f"{hosts} ledgers need {needed} descriptors, and {hard} are allowed (ulimit -Hn)")
    if resource.RLIM_INFINITY != soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _quick_place(hosts: int) -> Path | None:
    """Memory, where there is enough of it: what a disk costs is not looked at here."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > hosts * LEDGER_BYTES else None
