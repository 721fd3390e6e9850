"""A deadline that was a guess, and services that do not end: the host is let go, and the run does not go before it must."""

from __future__ import annotations

import asyncio
import math

from shipper.clock import Deadline
from shipper.drain.order import Order, Outcome
from shipper.drain.state import State
from tests.drain.drainkit import Stage

GUESS = Order("notice from ec2-asg", True, "the group wants it gone", stop=False, guessed=True)
STATED = Order("notice from ec2-spot", True, "terminate", stop=False)


def test_a_guessed_deadline_that_passes_is_no_end() -> None:
    """The farewell is said in time, as an expired one with services writing; then shipping goes on as noticed."""

    async def story() -> None:
        stage = Stage(leave=math.inf)
        outcome = await stage.play(GUESS, 30.0)
        assert outcome.state is State.NOTICED
        assert stage.state.state is State.NOTICED
        assert [state for state, _, _ in stage.farewells] == [State.EXPIRED]
        assert stage.farewells[0][1] <= 30.0
        assert not stage.primary.hurried
        assert math.isinf(stage.primary.deadline.at)
        assert "reopen" in stage.source.calls

    asyncio.run(story())


def test_a_stated_deadline_that_passes_is_the_end() -> None:
    """What the platform stated is believed."""

    async def story() -> None:
        stage = Stage(leave=math.inf)
        outcome = await stage.play(STATED, 30.0)
        assert outcome.state is State.EXPIRED
        assert outcome.exit_code == 3

    asyncio.run(story())


def test_a_guess_is_no_guess_any_more_once_a_stated_time_counts() -> None:
    """The notice whose clock is the earliest decides what its deadline means, not the one that began the drain; either way."""

    async def story() -> None:
        for began, counts, end in ((GUESS, STATED, State.EXPIRED), (STATED, GUESS, State.NOTICED)):
            stage = Stage(leave=math.inf)

            def another(stage: Stage = stage, counts: Order = counts) -> None:
                stage.deadline.move(stage.clock.monotonic() + 10.0)
                stage.drain.notice_counts(counts)

            outcome = await stage.play(began, 30.0, (5.0, another))
            assert outcome.state is end
            assert outcome.order is counts
            assert 14.0 <= stage.farewells[-1][1] <= 15.0

    asyncio.run(story())


def test_a_notice_after_a_stop_changes_nothing() -> None:
    """Whoever waits for the exit gets it, and the farewell says whom it was said to."""

    async def story() -> None:
        stage = Stage(leave=math.inf)
        stop = Order("SIGTERM", True, "the system is stopping")
        outcome = await stage.play(stop, 30.0, (5.0, lambda: stage.drain.notice_counts(GUESS)))
        assert outcome.state is State.EXPIRED
        assert outcome.order is stop

    asyncio.run(story())


class Waiting(Stage):
    """A farewell that nobody acknowledges: it is waited for until its deadline."""

    async def _farewell(self, outcome: Outcome, deadline: Deadline) -> None:
        await super()._farewell(outcome, deadline)
        while not deadline.expired():
            await self.clock.sleep(0.05)


def test_a_farewell_that_a_guess_asked_for_does_not_take_the_time_of_the_next_drain() -> None:
    """A time that is stated meanwhile is for what is left to send, not for an answer that does not come."""

    async def story() -> None:
        stage = Waiting(leave=math.inf)
        outcome = await stage.play(
            GUESS, 30.0, (29.5, lambda: stage.deadline.move(stage.clock.monotonic() + 100.0)), limit=60.0
        )
        assert outcome.state is State.NOTICED
        assert stage.ended <= 30.5

    asyncio.run(story())


def test_a_guess_is_the_end_once_somebody_said_stop() -> None:
    """Whoever waits for the exit gets it."""

    async def story() -> None:
        stage = Stage(leave=math.inf)
        stop = Order("SIGTERM", True, "the system is stopping")
        outcome = await stage.play(GUESS, 30.0, (5.0, lambda: stage.drain.stop_said(stop)))
        assert outcome.state is State.EXPIRED

    asyncio.run(story())


def test_a_host_whose_service_never_falls_silent_is_let_go() -> None:
    """What is always behind by a moment is no reason to keep a host for the hour its platform would wait."""

    async def story() -> None:
        stage = Stage(leave=math.inf, hold_kinds=("empty", "ended"), speed=2000.0)

        def chatter() -> None:
            stage.primary.write(100.0)  # is sent within a tenth of a second, and comes again before that

        words = [(0.05 * number, chatter) for number in range(1, 1400)]
        outcome = await stage.play(STATED, 60.0, *words)
        assert outcome.state is State.EXPIRED
        empty, ended = stage.holds
        assert empty.released[0][0] < 3.0
        assert 30.0 <= ended.released[0][0] < 40.0
        assert ended.released[0][1]

    asyncio.run(story())


def test_a_backlog_that_stays_keeps_the_host() -> None:
    """What was written long ago and is not sent is what a hold is for."""

    async def story() -> None:
        stage = Stage(leave=math.inf, hold_kinds=("empty", "ended"), left=1e9, speed=1000.0)
        await stage.play(STATED, 60.0)
        assert [hold.released[0][1] for hold in stage.holds] == [False, False]

    asyncio.run(story())
