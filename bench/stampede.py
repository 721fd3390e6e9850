"""Hundreds of hosts that are told to drain in the same second, into one destination that takes only so much and burnt before.

Real pumps, ledgers and drains in one process, on a clock that stands still unless everybody waits; only the network and the
payload are made up. Counted is what the destination has to bear, and what it costs the hosts.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.row import Row
from shipper.clock import Deadline
from shipper.contracts import Accepted, Batch, Cut, Limits, Prepared, Signal, Stream, StreamKind
from shipper.drain.drain import Drain, Order, Outcome
from shipper.drain.state import DrainState, State
from shipper.errors import Retryable
from shipper.ledger import StreamRow
from shipper.pump import Pump
from shipper.pump.pump import BATCH_BYTES
from shipper.testing.clock import FakeClock
from tests.pump.pumpkit import LIFE, Host, ScriptedExporter

PAYLOAD = b"." * 6000  # stands for half a megabyte of source: small enough that nothing waits for a thread
LIMITS = Limits(max_wire_bytes=len(PAYLOAD), max_raw_bytes=len(PAYLOAD), max_in_flight=4)  # one batch a request
REQUESTS = 10  # each host's backlog
OUTAGE = 30.0  # seconds for which the destination was down before
TIME = 120.0  # seconds each drain has, as of a spot interruption
ORDER = Order("notice from ec2-spot", ends_life=True, why="terminate")


class Sink:
    """Takes ``rate`` requests a second from all hosts together and answers 429 to the rest; refuses everything while down."""

    def __init__(self, clock: FakeClock, rate: float, *, says_when: bool) -> None:
        self.up = False
        self.taken = self.refused = 0
        self.by_second: Counter[int] = Counter()
        self._clock = clock
        self._rate = rate
        self._says_when = says_when
        self._tokens = rate
        self._at = clock.monotonic()

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if not self.up:
            raise Retryable("connection refused")
        self.by_second[int(self._clock.monotonic())] += 1
        await self._clock.sleep(0.05)
        now = self._clock.monotonic()
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            self.refused += 1
            raise Retryable("HTTP 429", 1.0 if self._says_when else None)
        self._tokens -= 1
        self.taken += 1
        return Accepted()


class Backlog(Stream):
    """A stream that is as long as wanted and costs nothing to read."""

    def __init__(self, requests: int) -> None:
        self.id = self.name = "app.log"
        self.signal, self.kind = Signal.LOGS, StreamKind.DATA
        self.start = 0
        self._end = requests * BATCH_BYTES

    def frontier(self) -> int:
        return self._end

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        end = min(
            self._end, at + BATCH_BYTES
        )  # whatever the limit: the payload is much smaller than what it stands for
        return self._batch(Cut(at, end, at, end, 1, observed_ns)) if end > at else None

    def reread(self, cut: Cut) -> Batch:
        return self._batch(cut)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        return None

    def _batch(self, cut: Cut) -> Batch:
        return Batch(LIFE, self.id, self.signal, cut, PAYLOAD, self.kind)


@dataclass(frozen=True)
class Fared:
    """How one stampede went. ``requests``: sent from the word on; ``seconds``: until the last host was empty."""

    drained: int
    missing: int
    requests: int
    needed: int
    busiest: int
    seconds: float


def stampede(hosts: int, *, rate: float, says_when: bool, directory: Path) -> Fared:
    """Let ``hosts`` drain at once after an outage."""
    clock = FakeClock()
    sink = Sink(clock, rate, says_when=says_when)
    fleet = [_host(directory / str(number), number, clock, sink) for number in range(hosts)]

    async def run() -> tuple[list[Outcome], float]:
        tasks = [asyncio.create_task(pump.run()) for _, pump in fleet]
        async with clock.autojump():
            await clock.sleep(OUTAGE)
            sink.up = True
            began = clock.monotonic()
            drains = [_drain(number, host, pump, clock) for number, (host, pump) in enumerate(fleet)]
            outcomes = await asyncio.gather(*(drain.carry_out(ORDER, Deadline.after(clock, TIME)) for drain in drains))
            seconds = clock.monotonic() - began
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return outcomes, seconds

    outcomes, seconds = asyncio.run(run())
    missing = sum(pump.backlog_bytes() for _, pump in fleet)
    for host, _ in fleet:
        host.close()
    return Fared(
        drained=sum(outcome.state is State.DRAINED for outcome in outcomes),
        missing=missing,
        requests=sink.taken + sink.refused,
        needed=hosts * REQUESTS,
        busiest=max(sink.by_second.values()),
        seconds=seconds,
    )


def _host(directory: Path, number: int, clock: FakeClock, sink: Sink) -> tuple[Host, Pump]:
    directory.mkdir()
    host = Host(directory, clock)
    exporter = ScriptedExporter()
    exporter.limits = LIMITS
    exporter.answer = sink
    pump = host.pump(exporter, random=Random(number))
    stream = Backlog(REQUESTS)
    host.ledger.ledger.put_stream(StreamRow(stream.id, stream.kind, stream.signal, "memory", stream.name, 0))
    host.hub.add(stream)
    return host, pump


def _drain(number: int, host: Host, pump: Pump, clock: FakeClock) -> Drain:
    async def farewell(outcome: Outcome, deadline: Deadline) -> None:
        """Nothing to say: the account has measurements of its own."""

    return Drain(
        state=DrainState(),
        sources=[],
        pumps=[pump],
        farewell=farewell,
        clock=clock,
        report=host.report,
        quiet_seconds=0.25,
        reserve_seconds=1.0,
        random=Random(-number),
    )


def rows(name: str, hosts: int, *, rate: float, says_when: bool) -> list[Row]:
    """A stampede as rows of the table."""
    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as directory:
        fared = stampede(hosts, rate=rate, says_when=says_when, directory=Path(directory))
    return [
        Row(name, "drained", "hosts", fared.drained),
        Row(name, "left", "bytes", fared.missing),
        Row(name, "requests/needed", "ratio", fared.requests / fared.needed),
        Row(name, "busiest second", "requests", fared.busiest),
        Row(name, "time until the last is empty", "s", fared.seconds),
        Row(name, "the same at the destination's full rate", "s", math.ceil(fared.needed / rate)),
    ]
