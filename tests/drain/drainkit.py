"""What drain tests share: services that write, destinations with a speed, holds that remember, on a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from shipper.clock import Deadline
from shipper.contracts import Source
from shipper.drain.drain import Drain, Order, Outcome
from shipper.drain.drainable import Fallback
from shipper.drain.state import DrainState, State
from shipper.events import Metrics, Reporter
from shipper.notice import Hold, Need, Notice, NoticeKind
from shipper.testing.clock import FakeClock

LIFE = Order("SIGTERM", ends_life=True, why="test")
RUN = Order("SIGTERM", ends_life=False, why="test")
NOTICE = Order("notice from test", ends_life=True, why="test", stop=False)
START = 1000.0  # what a fake clock shows at first
STANDING = (Notice("test", NoticeKind.IMMINENT, "the test says so"),)


class Services(Source):
    """Services that write until ``leave_at``; ``met``: that they lived is known, so that their end is known, too."""

    name = "services"

    def __init__(self, clock: FakeClock, leave_at: float = 0.0, *, met: bool = True) -> None:
        self.clock = clock
        self.leave_at = leave_at
        self.met = met
        self.calls: list[str] = []
        self.settles_in = 0.0
        self.wrote_at = float("-inf")

    async def settled(self) -> None:
        await self.clock.sleep(self.settles_in)

    async def run(self) -> None:
        await asyncio.Event().wait()

    def stop_reading(self) -> None:
        self.calls.append("stop_reading")

    def silent(self, quiet_seconds: float) -> bool:
        now = self.clock.monotonic()
        return now >= self.leave_at and now - max(self.wrote_at, self.leave_at) >= quiet_seconds

    def writers(self) -> bool | None:
        if not self.met:
            return None
        return self.clock.monotonic() < self.leave_at

    def close_events(self) -> None:
        self.calls.append(f"close_events at {self.clock.monotonic() - START:.1f}")

    def reopen(self) -> None:
        self.calls.append("reopen")


@dataclass
class Destination:
    """A pump that sends ``speed`` bytes a second; ``fails`` while it is down."""

    clock: FakeClock
    left: float = 0.0
    speed: float = 10e6
    name: str = "primary"
    fails: bool = False
    measured: bool = True
    hurried: bool = False
    hurried_at: float | None = None
    by_value: bool = False
    deadline: Deadline = field(init=False)
    active: bool = True
    sent: float = 0.0
    finished: bool = False
    last_answer: float = 0.0  # bytes that it acknowledges after the end of the time for data
    orders: list[bool] = field(default_factory=list)
    shares_with: Destination | None = None
    failed_at: float = float("-inf")
    repays: bool = False
    mended: bool = False  # it fails only until it is tried again

    def __post_init__(self) -> None:
        self.deadline = Deadline(self.clock)
        self._at = self.clock.monotonic()
        self._came = [(float("-inf"), self.left)]  # moment, and all bytes that had come by then

    def _work(self) -> None:
        now = self.clock.monotonic()
        if self.active and not self.fails and not self.finished:
            sent = min(self.left, self.speed * (now - self._at))
            self.left -= sent
            self.sent += sent
        self._at = now

    def write(self, size: float) -> None:
        self._work()
        self.left += size
        self._came.append((self.clock.monotonic(), self._came[-1][1] + size))

    def set_failing(self, fails: bool) -> None:
        self._work()
        self.fails = fails

    def last_failed_try(self) -> float:
        return self.failed_at

    def repay(self, on: bool) -> None:
        self.repays = on

    def urgent(self, on: bool) -> None:
        """Whoever waits tries at once."""
        self.hurried = on
        if self.mended:
            self.set_failing(False)
        if self.fails:
            self.failed_at = self.clock.monotonic()
        if on and self.hurried_at is None:
            self.hurried_at = self.clock.monotonic()

    def order_by_value(self, on: bool) -> None:
        self.by_value = on
        self.orders.append(on)

    async def finish(self, until: Deadline) -> None:
        self._work()
        self.left -= min(self.left, self.last_answer)
        self.finished = True

    def idle(self) -> bool:
        return self.backlog_bytes() == 0

    def backlog(self) -> dict[str, int]:
        self._work()
        left = round(self.left) if self.active else 0
        return {"app.log": left} if left else {}

    def backlog_bytes(self) -> int:
        self._work()
        if not self.active:
            return 0
        other = self.shares_with
        if other is not None and other.active:
            other._work()
            return round(min(self.left, other.left))
        return round(self.left)

    def oldest_unacknowledged(self) -> float:
        self._work()
        left = round(self.left) if self.active else 0
        gone = self._came[-1][1] - left
        oldest = next((at for at, came in self._came if came > gone), self.clock.monotonic())
        return self.clock.monotonic() - oldest if left else 0.0

    def rate(self) -> float:
        return self.speed if self.measured and not self.fails else 0.0

    def usual_answer(self) -> float:
        return 0.0

    def failing(self) -> bool:
        return self.fails

    def acknowledges(self) -> bool:
        """Whether a farewell would get through now."""
        return self.active and not self.fails


class Keeping(Hold):
    """A hold that remembers when it was released, and how."""

    def __init__(self, clock: FakeClock, release_when: str = "ended", name: str = "") -> None:
        self.name = name or f"hold-{release_when}"
        self.release_when = release_when
        self.clock = clock
        self.released: list[tuple[float, bool]] = []
        self.needs: list[Need] = []
        self.cancelled = False
        self.on_release: Callable[[], None] = lambda: None

    async def run(self, need: Callable[[], Need]) -> None:
        try:
            while True:
                self.needs.append(need())
                await self.clock.sleep(1.0)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def release(self, *, drained: bool) -> None:
        self.on_release()
        self.released.append((self.clock.monotonic() - START, drained))


@dataclass
class Stage:
    """A drain with one source and one destination; ``steps`` happen while it runs: (seconds after its begin, what)."""

    leave: float = 0.0
    left: float = 0.0
    speed: float = 10e6
    met: bool = True
    with_fallback: bool = False
    quiet: float = 0.0
    reserve: float = 1.0
    services_grace: float = 30.0
    hold_kinds: Sequence[str] = ()
    notices: tuple[Notice, ...] = ()
    unproved: list[str] = field(default_factory=list)
    farewells: list[tuple[State, float, float]] = field(default_factory=list)  # outcome, at, seconds it had

    def __post_init__(self) -> None:
        self.clock = FakeClock(START)
        self.report = Reporter(self.clock, Metrics())
        self.source = Services(self.clock, START + self.leave, met=self.met)
        self.primary = Destination(self.clock, self.left, self.speed)
        self.spare = Destination(self.clock, self.left, name="archive", active=False)
        self.primary.shares_with = self.spare
        self.holds = [Keeping(self.clock, kind) for kind in self.hold_kinds]
        self.state = DrainState()
        self.farewell_takes = 0.0
        self.at = 0.0
        self.drain = self.make()

    def make(self) -> Drain:
        return Drain(
            state=self.state,
            sources=[self.source],
            pumps=[self.primary],
            farewell=self._farewell,
            clock=self.clock,
            report=self.report,
            quiet_seconds=self.quiet,
            reserve_seconds=self.reserve,
            services_grace=self.services_grace,
            holds=self.holds,
            notices=lambda: self.notices,
            unproved=lambda: self.unproved,
            fallback=Fallback(self.spare, self._activate, self._stand_by) if self.with_fallback else None,
            random=Random(7),
        )

    def _activate(self) -> None:
        self.spare.left = self.primary.left
        self.spare.active = True
        self.spare._at = self.clock.monotonic()

    def _stand_by(self) -> None:
        self.spare.active = False

    async def _farewell(self, outcome: Outcome, deadline: Deadline) -> None:
        self.farewells.append((outcome.state, self.clock.monotonic() - START, deadline.remaining()))
        if self.farewell_takes:
            await self.clock.sleep(min(self.farewell_takes, deadline.remaining()))

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.clock.monotonic() - START

    def carry_out(
        self, order: Order, seconds: float, *steps: tuple[float, Callable[[], object]], limit: float = 3600
    ) -> Outcome:
        """Begin to drain at once, do each step at its time, and wait for the end."""
        return asyncio.run(self.play(order, seconds, *steps, limit=limit))

    async def play(
        self, order: Order, seconds: float, *steps: tuple[float, Callable[[], object]], limit: float = 3600
    ) -> Outcome:
        background = asyncio.create_task(self.drain.run())
        await self.clock.settle()
        began = self.clock.monotonic()
        self.deadline = Deadline.after(self.clock, seconds)
        task = asyncio.create_task(self.drain.carry_out(order, self.deadline))
        for at, act in sorted(steps, key=lambda step: step[0]):
            await self.clock.run(began + at - self.clock.monotonic())
            act()
        while not task.done() and self.clock.monotonic() < began + limit:
            await self.clock.run(0.1)
        self.ended = self.now
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)
        return await task
