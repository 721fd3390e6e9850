"""One of the hosts of `bench.fleet_load`: all of it is real but what it reads and what it sends over."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from random import Random
from typing import Any, cast

from bench.paces import LIFE, Pace
from shipper.clock import Deadline
from shipper.contracts import Accepted, Batch, Cut, Exporter, Prepared, Request, Signal, Stream, StreamKind
from shipper.errors import Retryable
from shipper.events import Metrics, Reporter
from shipper.ledger import Ledger, LedgerThread, StreamRow
from shipper.pump import Hub, Pump
from shipper.testing.clock import FakeClock
from tests.pump.pumpkit import InlineLedger, MemoryQuarantine

LINE = b"x" * 79 + b"\n"  # so short that a backlog is prepared at once: this clock waits for no thread
ANSWER = 0.05  # seconds


class Sink:
    """Nobody can connect while it is away; else it takes everything, after a moment."""

    def __init__(self, clock: FakeClock) -> None:
        self.away = True
        self.arrivals: list[tuple[float, int]] = []  # when, and from which host
        self.lines = 0
        self.clock = clock

    async def take(self, host: int, lines: int) -> Accepted:
        """Answer one request."""
        if self.away:
            raise Retryable("sink: cannot connect: refused", unsent=True)
        self.arrivals.append((self.clock.monotonic(), host))
        await self.clock.sleep(ANSWER)
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

    def __init__(self, directory: Path, number: int, pace: Pace, lines: float, sink: Sink, metrics: Metrics) -> None:
        """It writes so many ``lines`` a second."""
        clock = self._clock = sink.clock
        report = Reporter(clock, metrics, _silent())
        self._random = Random(number)
        self._lines = lines
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

    async def write(self, sink: Sink, until: float) -> None:
        """Lines one by one, at moments of this host's own; while nothing can be sent, many at a time come to the same."""
        clock = self._clock
        await clock.sleep(self._born)
        while clock.monotonic() < until:
            lines = math.ceil(self._lines) if sink.away else 1
            self.stream.written += lines
            self._hub.ready(self.stream)
            await clock.sleep(self._random.uniform(0.5, 1.5) * lines / self._lines)

    def close(self) -> None:
        """Let go of the ledger."""
        self._ledger.close()


def _silent() -> logging.Logger:
    """What a host says: five thousand would all say that the sink is away."""
    logger = logging.Logger("fleet")
    logger.disabled = True
    return logger
