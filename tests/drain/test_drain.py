"""The drain: reading stops last, the deadline holds, the farewell is always written."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field

import pytest

from shipper.clock import Deadline
from shipper.contracts import Source
from shipper.drain.drain import Drain, Order, Outcome
from shipper.drain.state import DrainState, State
from shipper.events import Reporter
from shipper.testing.clock import FakeClock

LIFE = Order("SIGTERM", ends_life=True, why="test")
RUN = Order("SIGTERM", ends_life=False, why="test")


class Writers(Source):
    """A source whose writers leave at a given moment."""

    name = "writers"

    def __init__(self, clock: FakeClock, leave_at: float) -> None:
        self.clock = clock
        self.leave_at = leave_at
        self.calls: list[str] = []
        self.settles_in = 0.0

    async def settled(self) -> None:
        await self.clock.sleep(self.settles_in)

    async def run(self) -> None:
        await asyncio.Event().wait()

    def stop_reading(self) -> None:
        self.calls.append("stop_reading")

    def silent(self, quiet_seconds: float) -> bool:
        return self.clock.monotonic() >= self.leave_at

    def close_events(self) -> None:
        self.calls.append(f"close_events at {self.clock.monotonic() - 1000:.1f}")


@dataclass
class Backlog:
    """A pump that is empty at a given moment."""

    clock: FakeClock
    empty_at: float
    deadline: Deadline = field(init=False)
    hurried: bool = False

    def urgent(self, on: bool) -> None:
        self.hurried = on

    async def wait_idle(self, deadline: Deadline) -> bool:
        while self.clock.monotonic() < self.empty_at:
            if deadline.expired():
                return False
            await self.clock.sleep(0.1)
        return True


@dataclass
class Stage:
    """A drain with one source and one pump, on a fake clock that starts at 1000 s."""

    leave: float = 0.0
    empty: float = 0.0
    farewells: list[tuple[State, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.source = Writers(self.clock, 1000 + self.leave)
        self.pump = Backlog(self.clock, 1000 + self.empty)
        self.state = DrainState()
        self.drain = Drain(
            state=self.state,
            sources=[self.source],
            pumps=[self.pump],
            farewell=self._farewell,
            clock=self.clock,
            report=Reporter(self.clock),
            quiet_seconds=0.25,
            reserve_seconds=1.0,
        )

    async def _farewell(self, outcome: Outcome, deadline: Deadline) -> None:
        self.farewells.append((outcome.state, deadline.remaining()))

    def carry_out(
        self, order: Order, seconds: float, *, abort_at: float | None = None, moved_to: float | None = None
    ) -> Outcome:
        async def run() -> Outcome:
            deadline = Deadline.after(self.clock, seconds)
            task = asyncio.create_task(self.drain.carry_out(order, deadline))
            if abort_at is not None:
                await self.clock.run(abort_at)
                self.drain.abort()
            if moved_to is not None:
                await self.clock.run(0.5)
                deadline.move(1000 + moved_to)
            while not task.done():
                await self.clock.run(0.1)
            return task.result()

        return asyncio.run(run())


def test_an_empty_run_ends_at_once() -> None:
    """With nothing left the process goes at once, not after a fixed grace."""
    stage = Stage()
    assert stage.carry_out(RUN, 25).exit_code == 0
    assert stage.clock.monotonic() < 1000.5


def test_the_end_of_a_run_fixes_what_is_read() -> None:
    """A restart does not wait for writers: what the files hold now is the end."""
    stage = Stage(leave=60)
    assert stage.carry_out(RUN, 25).state is State.DRAINED
    assert stage.source.calls[0] == "stop_reading"


def test_the_end_of_a_life_reads_until_the_writers_are_gone() -> None:
    """Reading stops last: open lines are only closed once nobody writes any more."""
    stage = Stage(leave=3)
    assert stage.carry_out(LIFE, 25).state is State.DRAINED
    assert stage.source.calls == ["close_events at 3.0"]


def test_the_pacing_is_lifted_and_the_deadline_shared() -> None:
    """Every pump is told to hurry and holds the very deadline of the drain."""
    stage = Stage()
    stage.carry_out(RUN, 25)
    assert stage.pump.hurried
    assert stage.pump.deadline is stage.drain.deadline


def test_a_backlog_that_does_not_fit_expires_with_time_left_for_the_farewell() -> None:
    """When the deadline comes first, the exit status is 3 and the farewell still has its reserve."""
    stage = Stage(empty=100)
    outcome = stage.carry_out(RUN, 10)
    assert outcome.exit_code == 3
    assert stage.farewells[0][0] is State.EXPIRED
    assert stage.farewells[0][1] > 0.8


def test_writers_that_never_leave_do_not_outlast_the_deadline() -> None:
    """A service that keeps its log open and writes on cannot make the sidecar miss its deadline."""
    stage = Stage(leave=1000)
    assert stage.carry_out(LIFE, 10).state is State.EXPIRED  # also with nothing left to send: it will write more
    assert stage.clock.monotonic() <= 1011
    assert len(stage.farewells) == 1


def test_what_was_seen_is_written_down_even_when_the_writers_took_all_the_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A source that needs a moment to write down what it saw gets it at the deadline; one that needs longer does not."""
    for seconds, said in ((0.01, False), (30.0, True)):
        caplog.clear()
        stage = Stage(leave=99)
        stage.source.settles_in = seconds
        assert stage.carry_out(LIFE, 5).state is State.EXPIRED
        gc.collect()  # a failure that nobody looked at is said when it is collected
        assert ("before everything found was written down" in caplog.text) is said
        assert "never retrieved" not in caplog.text


def test_a_deadline_that_moves_earlier_is_obeyed() -> None:
    """A second notice with an earlier deadline shortens the drain under way."""
    stage = Stage(empty=100)
    assert stage.carry_out(RUN, 60, moved_to=5).state is State.EXPIRED
    assert stage.clock.monotonic() < 1006


def test_a_deadline_that_moves_later_gives_more_time() -> None:
    """An extended hold lets a drain finish that would have expired."""
    stage = Stage(empty=20)
    assert stage.carry_out(RUN, 5, moved_to=60).state is State.DRAINED


def test_an_abort_writes_the_farewell_and_goes() -> None:
    """Whoever loses patience still gets an account of what was left."""
    stage = Stage(empty=100)
    assert stage.carry_out(RUN, 60, abort_at=2).state is State.EXPIRED
    assert stage.clock.monotonic() < 1003
    assert stage.farewells[0][1] <= 1.0
