"""Holds: the host is let go once, not while there is something to save, and by the deadline at last."""

from __future__ import annotations

import asyncio

import pytest

from shipper.clock import Deadline
from shipper.drain.state import State
from tests.drain.drainkit import LIFE, NOTICE, RUN, STANDING, Keeping, Stage


def test_what_waits_for_empty_is_released_while_services_still_run() -> None:
    """A logind lock goes the moment nothing is left to send; the services are stopped only after that."""
    stage = Stage(left=20e6, leave=60, hold_kinds=["empty", "ended"], notices=STANDING)
    stage.carry_out(NOTICE, 120, limit=200)
    empty, ended = stage.holds
    ((at, drained),) = empty.released
    assert drained
    assert 2.0 <= at < 2.2
    ((at, drained),) = ended.released
    assert drained


def test_what_waits_for_the_end_is_released_after_the_farewell() -> None:
    """Letting go kills the host, so the farewell is written and sent before."""
    stage = Stage(leave=10, hold_kinds=["ended"], notices=STANDING)
    stage.farewell_takes = 2.0
    said: list[int] = []
    stage.holds[0].on_release = lambda: said.append(len(stage.farewells))
    stage.carry_out(NOTICE, 120)
    assert said == [1]
    assert 12.0 <= stage.holds[0].released[0][0] < 12.3


def test_the_host_is_released_within_300_ms_of_the_services_end() -> None:
    """With an empty backlog nothing but the quiet time keeps the host."""
    stage = Stage(leave=10, quiet=0.25, hold_kinds=["ended"], notices=STANDING)
    stage.carry_out(NOTICE, 120)
    assert stage.holds[0].released[0][0] - 10 < 0.3


def test_a_backlog_keeps_the_host_until_it_is_gone() -> None:
    """Nobody is let go while there is something to save and time to do it."""
    stage = Stage(left=50e6, hold_kinds=["empty", "ended"], notices=STANDING)
    stage.carry_out(NOTICE, 120)
    assert all(hold.released[0][0] > 4.99 and hold.released[0][1] for hold in stage.holds)


def test_at_the_deadline_everybody_is_let_go_and_told_that_time_is_up() -> None:
    """On expiry a hold is released as not drained, before the deadline itself."""
    stage = Stage(left=1e9, speed=1e6, hold_kinds=["empty", "ended"], notices=STANDING)
    stage.farewell_takes = 99.0
    assert stage.carry_out(NOTICE, 30).state is State.EXPIRED
    for hold in stage.holds:
        ((at, drained),) = hold.released
        assert not drained
        assert 29.0 <= at < 30.0


def test_services_that_do_not_end_keep_the_host_for_their_grace_only() -> None:
    """With nothing left to send the platform is let go after the grace; what services say to that is still read."""
    stage = Stage(leave=50, hold_kinds=["ended"], services_grace=30, notices=STANDING)
    outcome = stage.carry_out(NOTICE, 300, (45.0, lambda: stage.primary.write(5e6)))
    ((at, drained),) = stage.holds[0].released
    assert drained
    assert 30.0 <= at < 30.3
    assert [state for state, *_ in stage.farewells] == [State.DRAINED, State.DRAINED]
    assert stage.farewells[0][1] <= at
    assert stage.farewells[1][1] >= 50
    assert outcome.state is State.DRAINED
    assert stage.primary.sent == 5e6


def test_a_local_relay_keeps_the_host_until_the_deadline() -> None:
    """What an untrusted relay took is on this very host: it gets all the time there is, after it got the farewell."""
    stage = Stage(left=1e6, hold_kinds=["empty", "ended"], unproved=["relay"], notices=STANDING)
    stage.carry_out(NOTICE, 60)
    assert stage.farewells[0][1] < 1
    for hold in stage.holds:
        ((at, drained),) = hold.released
        assert 58.9 < at < 59.2
        assert not drained


def test_a_relay_that_proves_itself_frees_the_host() -> None:
    """The moment the destination can be trusted the host may go."""
    stage = Stage(hold_kinds=["ended"], unproved=["relay"], notices=STANDING)
    stage.carry_out(NOTICE, 60, (20.0, stage.unproved.clear))
    ((at, drained),) = stage.holds[0].released
    assert drained
    assert 20 <= at < 20.1


def test_a_withdrawn_notice_lets_the_holds_go_on() -> None:
    """Nothing is released for a host that will live, and the holds keep looking."""
    stage = Stage(leave=1e6, left=1e9, speed=1e6, hold_kinds=["empty", "ended"], notices=STANDING)

    async def play() -> None:
        background = asyncio.create_task(stage.drain.run())
        task = asyncio.create_task(stage.drain.carry_out(NOTICE, Deadline.after(stage.clock, 120)))
        await stage.clock.run(5)
        assert stage.holds[0].needs[-1].draining
        stage.drain.withdraw("cancelled")
        await stage.clock.run(5)
        assert (await task).state is State.RUNNING
        looks = len(stage.holds[0].needs)
        await stage.clock.run(10)
        assert len(stage.holds[0].needs) >= looks + 9
        assert not stage.holds[0].needs[-1].draining
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)

    asyncio.run(play())
    assert [hold.released for hold in stage.holds] == [[], []]


def test_a_restart_lets_nobody_go() -> None:
    """The end of a run on a host that stays is nobody's end: its holds are closed, not released."""
    stage = Stage(hold_kinds=["empty", "ended"])
    stage.carry_out(RUN, 25)
    assert [hold.released for hold in stage.holds] == [[], []]
    assert all(hold.cancelled for hold in stage.holds)


class Broken(Keeping):
    """A stranger's hold that does everything wrong."""

    async def run(self, need: object) -> None:
        raise RuntimeError("run is broken")

    async def release(self, *, drained: bool) -> None:
        await super().release(drained=drained)
        raise RuntimeError("release is broken")


class Stuck(Keeping):
    """A hold whose platform does not answer."""

    async def release(self, *, drained: bool) -> None:
        await super().release(drained=drained)
        await asyncio.Event().wait()


def test_a_broken_hold_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A hold that raises or never returns is said, the others are released, and the process ends."""
    stage = Stage()
    stage.notices = STANDING
    stage.holds = [Broken(stage.clock, name="broken"), Stuck(stage.clock, name="stuck"), Keeping(stage.clock)]
    stage.drain = stage.make()
    assert stage.carry_out(LIFE, 25).state is State.DRAINED
    assert all(len(hold.released) == 1 for hold in stage.holds)
    assert "run is broken" in caplog.text
    assert "stuck could not be let go within 5 s" in caplog.text
    assert stage.ended < 7


def test_a_hold_that_was_released_holds_again_after_a_withdrawal() -> None:
    """Its run has gone on, and the next drain releases it for itself."""
    stage = Stage(leave=1e6, hold_kinds=["empty"], notices=STANDING)
    assert stage.carry_out(NOTICE, 120, (5.0, lambda: stage.drain.withdraw("cancelled"))).state is State.RUNNING
    assert len(stage.holds[0].released) == 1
    stage.source.leave_at = 0.0
    stage.carry_out(LIFE, 60)
    assert len(stage.holds[0].released) == 2
