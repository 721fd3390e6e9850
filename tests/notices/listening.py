"""A watcher at work: on the real board, over a real socket, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from shipper.events import Reporter
from shipper.notice import Notice, NoticeWatcher
from shipper.notices.board import Board
from shipper.notices.budgets import Budgets
from shipper.testing.clock import FakeClock

PATIENCE = 10.0  # seconds of real time after which a condition is taken never to come true


class CountingClock(FakeClock):
    """Counts how often each length of time was waited for, so that a test knows when a watcher has come to its pause."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[float] = Counter()
        self.begun: dict[float, int] = {}

    async def sleep(self, seconds: float) -> None:
        self.waits[seconds] += 1
        await super().sleep(seconds)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait, in real time, for something that comes over a socket."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never came: {what or condition}"
        await asyncio.sleep(0.002)


class RecordingBoard(Board):
    """The board itself, which also remembers what it was told."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.reported = Reporter(clock)
        self.flushes: list[float] = []
        self.flush_ends = True
        super().__init__(
            clock=clock,
            report=self.reported,
            budgets=Budgets(),
            lead=120.0,
            changed=lambda: None,
            flush=self._flushed,
        )
        self.told: list[Notice] = []
        self.taken_back: list[str] = []
        self.complaints: list[str] = []
        self.good = 0

    async def _flushed(self, timeout: float) -> bool:
        self.flushes.append(timeout)
        return self.flush_ends

    def notice(self, notice: Notice) -> None:
        self.told.append(notice)
        super().notice(notice)

    def withdrawn(self, source: str, key: str, why: str) -> None:
        self.taken_back.append(why)
        super().withdrawn(source, key, why)

    def unknown(self, source: str, why: str) -> None:
        self.complaints.append(why)
        super().unknown(source, why)

    def seen(self, source: str) -> None:
        self.good += 1
        super().seen(source)

    def left(self) -> float:
        """Seconds to the effective deadline."""
        return self.deadline.at - self.clock.monotonic()

    @property
    def drains(self) -> bool:
        """Whether the host is to drain now."""
        return self.imminent() is not None


@asynccontextmanager
async def at_work(watcher: NoticeWatcher, board: Board) -> AsyncIterator[asyncio.Task[None]]:
    """The watcher runs within; it must not end by itself in a fault."""
    task = asyncio.create_task(watcher.run(board))
    try:
        yield task
    finally:
        if task.done():
            task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await watcher.aclose()


async def poll(clock: CountingClock, pause: float) -> None:
    """Let the pause after a watcher's last question pass, and its next question be asked, answered and dealt with."""
    await until(lambda: clock.waits[pause] > clock.begun.get(pause, 0), f"a pause of {pause} s")
    clock.begun[pause] = clock.waits[pause]
    clock.advance(pause)
    await until(lambda: clock.waits[pause] > clock.begun[pause], f"another pause of {pause} s")
