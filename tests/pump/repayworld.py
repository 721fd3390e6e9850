"""A host with a backend that comes and goes, a fallback, a real account and real drains; and what an audit makes of its end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import cast

from shipper.account import Account, Who
from shipper.clock import Deadline
from shipper.contracts import Accepted, Batch, Cut, Limits, Prepared, Request
from shipper.drain.drain import Drain, Order, Outcome
from shipper.drain.drainable import Fallback
from shipper.drain.state import DrainState
from shipper.errors import Retryable
from shipper.fleet.archive import Archive
from shipper.fleet.audit import audit
from shipper.fleet.report import LifeReport
from shipper.intervals import IntervalSet
from shipper.ledger import LedgerThread
from shipper.otlp.encode import LineEncoder, resource, scope
from shipper.pump import Pump
from shipper.pump.outage import Outage
from tests.drain.drainkit import Services
from tests.fleet.archives import Writer
from tests.pump.pumpkit import LIFE, Host, ScriptedExporter, ValuedStream

AFTER = 20.0
STREAMS = ("a", "b")
RESOURCE = resource({"host.name": "h"})
ENCODER = LineEncoder(RESOURCE, scope("test"))
DAY_NS = 86_400 * 10**9


class LogStream(ValuedStream):
    """Lines as OTLP, so that archives can hold them."""

    def _batch(self, start: int, end: int, observed_ns: int) -> Batch:
        lines = bytes(self.data[start:end]).splitlines()
        cut = Cut(start, end, start, end, len(lines), observed_ns)
        return Batch(LIFE, self.id, self.signal, cut, ENCODER.encode(lines, observed_ns), self.kind)


class Store(ScriptedExporter):
    """Keeps batches by their key. ``mood``: well, down, silent (no answer), or deaf (its answers get lost)."""

    keeps_accounts = True

    def __init__(self, name: str, host: Host) -> None:
        super().__init__(name)
        self.limits = Limits(max_raw_bytes=4096, max_in_flight=2, requests_per_second=50)
        self.host = host
        self.mood = "well"
        self.well_since = -math.inf
        self.has: dict[str, Batch] = {}

    def feel(self, mood: str) -> None:
        """From now on it is like that."""
        if mood == "well" != self.mood:
            self.well_since = self.host.clock.monotonic()
        self.mood = mood

    def well_for(self) -> float:
        """Seconds; negative while it is not."""
        return self.host.clock.monotonic() - self.well_since if self.mood == "well" else -1.0

    def prepare(self, request: Request) -> Prepared:
        return Prepared(request.id, request.signal, request.batches, request.raw_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.mood == "silent":
            await self.host.clock.sleep(min(8.0, deadline.remaining()))
            raise Retryable("no answer within 8 s")
        if self.mood == "down":
            raise Retryable("connection refused", unsent=True)
        await self.host.clock.sleep(0.05)
        for batch in cast(tuple[Batch, ...], prepared.body):
            assert self.has.setdefault(batch.key, batch).payload == batch.payload, "one key, other bytes"
        if self.mood == "deaf":
            raise Retryable("closed the connection in the middle of its answer")
        return Accepted()

    def ranges(self, stream: str) -> IntervalSet:
        """What it has of a stream."""
        return IntervalSet((cut.start, cut.end) for cut in self._cuts(stream))

    def heard_farewells(self) -> int:
        """How many runs have said farewell to it."""
        return sum(b"shipper.farewell" in batch.payload for batch in self.has.values() if batch.stream == "life")

    def doubled(self, stream: str) -> int:
        """How many positions it has more than once."""
        return sum(cut.end - cut.start for cut in self._cuts(stream)) - self.ranges(stream).total()

    def _cuts(self, stream: str) -> Iterator[Cut]:
        return (batch.cut for batch in self.has.values() if batch.stream == stream)


class Coast:
    """One life: any number of runs over the same ledger, spools and destinations."""

    def __init__(self, host: Host, seed: int) -> None:
        self.host = host
        self.directory = host.directory
        self.dice = Random(seed)
        self.home, self.rescue = Store("home", self.host), Store("rescue", self.host)
        self.services = Services(self.host.clock)
        self.run = 0
        self.lines = 0
        self.farewells = 0
        for name in STREAMS:
            self.host.add(LogStream(name))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A run; it is killed at the end, whatever it is at."""
        host = self.host
        self.run += 1
        self.saying_farewell = False
        if self.run > 1:
            host.new_run()
            for stream in host.streams.values():
                host.hub.add(stream)
        size = self.dice.choice([40, 200])
        self.primary = host.pump(self.home, batch_bytes=size)
        self.fallback = host.pump(self.rescue, standby=True, batch_bytes=self.dice.choice([60, 300]))
        self.outage = Outage([self.primary], self.fallback, after=AFTER, clock=host.clock, report=host.report)
        self.account = self._account()
        await self.account.open()
        work = [asyncio.create_task(self.outage.run()), asyncio.create_task(self.account.run())]
        try:
            async with host.running(self.primary, self.fallback):
                await self.account.birth([])
                yield
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            self.account.close()

    def _account(self) -> Account:
        host = self.host
        sent_before = host.ledger.ledger.has_sent_to("rescue")
        who = Who(LIFE, self.run, host.clock.wall_ns(), "sidecar", "h", {"host": "h"}, RESOURCE)
        return Account(
            who,
            directory=str(self.directory / "account"),
            hub=host.hub,
            ledger=cast(LedgerThread, host.ledger),
            exporters={"home": self.home, "rescue": self.rescue},
            fallback="rescue",
            helping=lambda: sent_before or self.fallback.takes_part,
            extras=dict,
            interval=15.0,
            clock=host.clock,
            report=host.report,
        )

    def write(self, stream: str, count: int) -> None:
        """Append numbered lines, every tenth of them an error."""
        data = b""
        for _ in range(count):
            self.lines += 1
            data += b"%s %d\n" % (b"bad" if self.lines % 10 == 0 else b"line", self.lines)
        self.host.write(self.host.streams[stream], data)

    async def drain(self, seconds: float, *, ends_life: bool) -> Outcome:
        """Drain as a sidecar does, and say farewell."""
        host = self.host
        drain = Drain(
            state=DrainState(),
            sources=[self.services],
            pumps=[self.primary],
            farewell=self._farewell,
            clock=host.clock,
            report=host.report,
            quiet_seconds=0.0,
            reserve_seconds=1.0,
            fallback=Fallback(self.fallback, self.outage.drain, self.outage.drain_over),
            random=self.dice,
        )
        order = Order("SIGTERM", ends_life=ends_life, why="test")
        return await drain.carry_out(order, Deadline.after(host.clock, seconds))

    async def _farewell(self, outcome: Outcome, deadline: Deadline) -> None:
        order = outcome.order
        self.farewells += 1
        self.saying_farewell = True  # what is written from now on is not read
        self.ended_at = self.host.clock.monotonic()
        self.home_well_for = self.home.well_for()
        await self.account.farewell(
            {
                "reason": order.reason,
                "ends_life": order.ends_life,
                "why": order.why,
                "outcome": outcome.state.value,
                "fallback": outcome.fallback,
                "writing": outcome.writing,
            }
        )
        pumps: list[Pump] = [pump for pump in (self.primary, self.fallback) if pump.takes_part]
        await asyncio.gather(*(pump.wait_idle(deadline, include_account=True) for pump in pumps))

    # -- what became of it ---------------------------------------------------------------------------------------

    def lines_in(self, ranges: dict[str, IntervalSet]) -> int:
        """How many lines lie in these ranges, by stream."""
        return sum(
            bytes(self.host.streams[name].data[start:end]).count(b"\n")
            for name, pairs in ranges.items()
            for start, end in pairs
        )

    def farewell_is_known(self) -> bool:
        """Whether whoever has anything has heard how it ended."""
        return all(store.heard_farewells() == self.farewells for store in (self.home, self.rescue))

    def audited(self, *stores: Store) -> LifeReport:
        """The life, by an audit of what these destinations have, as archives; the first with the others beside it."""
        archives = []
        for number, store in enumerate(stores):
            root = self.directory / f"{store.name}-{number}-{len(stores)}"
            root.mkdir()
            Writer(root).put(*store.has.values())
            archives.append(Archive.open(str(root)))
        report = audit(archives[0], beside=archives[1:], now_ns=self.host.clock.wall_ns() + DAY_NS)
        return next(life for life in report.lives if life.life == LIFE)
