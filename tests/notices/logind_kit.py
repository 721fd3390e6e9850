"""A real logind on a bus of its own, and a watcher and a hold that listen to it."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.notice import Need, Notice
from shipper.notices.logind import LogindHold, LogindWatcher
from shipper.notices.logind_bus import Logind
from shipper.testing.platforms.logind import PrivateLogind

PATIENCE = 30.0
DELAY = 3  # InhibitDelayMaxSec: long enough that its end is not mistaken for a release


class Seen:
    """A board that only remembers."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.taken_back: list[str] = []
        self.unknowns: list[str] = []
        self.known = False

    def notice(self, notice: Notice) -> None:
        self.seen(notice.source)
        self.notices.append(notice)

    def withdrawn(self, source: str, key: str, why: str) -> None:
        self.seen(source)
        self.taken_back.append(why)

    def seen(self, source: str) -> None:
        self.known = True

    def unknown(self, source: str, why: str) -> None:
        self.known = False
        self.unknowns.append(why)

    def standing(self) -> tuple[Notice, ...]:
        return tuple(self.notices)

    async def flushed(self, timeout: float) -> bool:
        return True


class Listening:
    """A watcher and a hold on one logind, as a sidecar has them."""

    def __init__(self, address: str, stop_seconds: float = 0.0) -> None:
        self.board = Seen()
        self.report = Reporter(SystemClock())
        self.draining = False
        logind = Logind(address=address)
        self.watcher = LogindWatcher(clock=SystemClock(), logind=logind, stop_seconds=stop_seconds)
        self.hold = LogindHold(clock=SystemClock(), report=self.report, logind=logind)

    def need(self) -> Need:
        return Need(backlog=1, draining=self.draining, notices=(), deadline=math.inf)

    @asynccontextmanager
    async def on(self) -> AsyncIterator[Listening]:
        tasks = [
            asyncio.ensure_future(self.watcher.run(self.board)),
            asyncio.ensure_future(self.hold.run(self.need)),
        ]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.watcher.aclose()
            await self.hold.aclose()

    def hold_problems(self) -> float:
        return self.report.metrics.registry.get_sample_value("shipper_problems_total", {"kind": "hold"}) or 0.0


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"this did not happen within {PATIENCE} s: {what}") from None


async def locked(logind: PrivateLogind, count: int = 1) -> None:
    async with asyncio.timeout(PATIENCE):
        while await logind.inhibitors() != [("shutdown", "shipper", "delay")] * count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


@asynccontextmanager
async def private_logind(longest_delay: int = DELAY) -> AsyncIterator[PrivateLogind]:
    with tempfile.TemporaryDirectory(prefix="logind") as directory:
        async with PrivateLogind(Path(directory), longest_delay=longest_delay) as logind:
            yield logind
