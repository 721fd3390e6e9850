"""The drain: reading stops last, the deadline holds, the farewell is always written."""

from __future__ import annotations

import gc

import pytest

from shipper.drain.state import State
from tests.drain.drainkit import LIFE, RUN, START, Stage


def test_an_empty_run_ends_at_once() -> None:
    """With nothing left the process goes at once, not after a fixed grace."""
    stage = Stage()
    assert stage.carry_out(RUN, 25).exit_code == 0
    assert stage.farewells[0][1] < 0.1


def test_the_end_of_a_run_fixes_what_is_read() -> None:
    """A restart does not wait for writers: what the files hold now is the end."""
    stage = Stage(leave=60)
    assert stage.carry_out(RUN, 25).state is State.DRAINED
    assert stage.source.calls[0] == "stop_reading"


def test_the_end_of_a_life_reads_until_the_writers_are_gone() -> None:
    """Reading stops last: lines written during the drain are sent, and open ones closed only once nobody writes (T-68)."""
    stage = Stage(leave=3)
    written = [(at, lambda: stage.primary.write(1e6)) for at in (0.5, 1.5, 2.9)]
    assert stage.carry_out(LIFE, 25, *written).state is State.DRAINED
    assert stage.source.calls == ["close_events at 3.0"]
    assert stage.primary.sent == 3e6


def test_the_pacing_is_lifted_and_the_deadline_shared() -> None:
    """Every pump is told to hurry and holds the very deadline of the drain."""
    stage = Stage()
    stage.carry_out(RUN, 25)
    assert stage.primary.hurried
    assert stage.primary.deadline is stage.deadline


def test_a_blocked_destination_does_not_outlast_the_deadline() -> None:
    """With a destination that takes nothing the drain ends before its deadline, with time for the farewell (T-69, T-78)."""
    stage = Stage(left=1e6)
    stage.primary.fails = True
    outcome = stage.carry_out(RUN, 10)
    assert outcome.exit_code == 3
    state, at, seconds = stage.farewells[0]
    assert state is State.EXPIRED
    assert at < 9.1
    assert seconds > 0.8


def test_a_farewell_says_what_is_left_when_nothing_more_is_sent() -> None:
    """Before the account of what is left is drawn up, data stops; where nothing is left there is nothing to stop."""
    stage = Stage(left=100e6)
    assert stage.carry_out(LIFE, 5).state is State.EXPIRED
    assert stage.primary.finished
    stage = Stage(left=1e6)
    assert stage.carry_out(LIFE, 5).state is State.DRAINED
    assert not stage.primary.finished


def test_a_last_answer_that_settles_everything_is_not_late() -> None:
    """What was on its way at the end of the time and arrived: nothing is left, and the exit status says so."""
    stage = Stage(left=1e6, speed=0.0)
    stage.primary.last_answer = 1e6
    assert stage.carry_out(LIFE, 5).exit_code == 0
    assert stage.farewells[0][0] is State.DRAINED
    stage = Stage(left=1e6, speed=0.0, leave=60.0)
    stage.primary.last_answer = 1e6
    outcome = stage.carry_out(LIFE, 5)
    assert (outcome.exit_code, outcome.writing) == (3, True)


def test_a_destination_that_recovers_is_used(caplog: pytest.LogCaptureFixture) -> None:
    """What failed at first is sent when the destination is back within the time (T-70)."""
    stage = Stage(left=1e6)
    stage.primary.fails = True
    outcome = stage.carry_out(LIFE, 60, (20.0, lambda: stage.primary.set_failing(False)))
    assert outcome.exit_code == 0
    assert 20 < stage.farewells[0][1] < 21


def test_writers_that_never_leave_do_not_outlast_the_deadline() -> None:
    """A service that keeps its log open and writes on cannot make the sidecar miss its deadline."""
    stage = Stage(leave=1000)
    outcome = stage.carry_out(LIFE, 10)
    assert outcome.state is State.EXPIRED  # also with nothing left to send: it will write more
    assert outcome.writing
    assert stage.ended <= 11
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
    """A second notice with an earlier deadline shortens the drain under way (T-75)."""
    stage = Stage(left=1e9)
    outcome = stage.carry_out(RUN, 60, (0.5, lambda: stage.deadline.move(START + 5)))
    assert outcome.state is State.EXPIRED
    assert 3.8 < stage.farewells[0][1] < 4.5


def test_a_deadline_that_moves_later_gives_more_time() -> None:
    """An extended hold lets a drain finish that would have expired (T-75)."""
    stage = Stage(left=200e6)
    outcome = stage.carry_out(RUN, 5, (0.5, lambda: stage.deadline.move(START + 60)))
    assert outcome.state is State.DRAINED


def test_a_deadline_that_has_passed_already_ends_in_a_farewell() -> None:
    """A notice that comes too late still leaves an account, and nothing hangs."""
    stage = Stage(left=1e9, leave=99)
    assert stage.carry_out(LIFE, 0.0).state is State.EXPIRED
    assert len(stage.farewells) == 1


def test_an_abort_writes_the_farewell_and_goes() -> None:
    """Whoever loses patience (a second signal) still gets an account of what was left (T-71)."""
    stage = Stage(left=1e9)
    assert stage.carry_out(RUN, 60, (2.0, lambda: stage.drain.abort())).state is State.EXPIRED
    assert stage.farewells[0][1] < 2.1
    assert stage.farewells[0][2] <= 1.0


def test_an_abort_before_the_drain_is_not_forgotten() -> None:
    """Patience that was lost during the start is lost (T-71)."""
    stage = Stage(left=1e9)
    stage.drain.abort()
    assert stage.carry_out(RUN, 60).state is State.EXPIRED
    assert stage.farewells[0][1] < 0.1


def test_the_reserve_is_never_more_than_a_quarter_of_the_time() -> None:
    """Of two seconds a drain still gets one and a half, and the reserve follows a deadline that is moved."""
    stage = Stage(left=1e9, reserve=5.0)
    stage.carry_out(LIFE, 2)
    assert 1.4 < stage.farewells[0][1] < 1.6
    moved = Stage(left=1e9, reserve=5.0)
    moved.carry_out(LIFE, 100, (1.0, lambda: moved.deadline.move(START + 5)))
    assert 3.9 < moved.farewells[0][1] < 4.1


def test_a_wall_clock_that_jumps_moves_no_deadline() -> None:
    """NTP may step the clock by an hour in the middle of a drain: only the monotonic one counts (T-77)."""
    stage = Stage(left=50e6)
    assert stage.carry_out(LIFE, 25, (1.0, lambda: stage.clock.jump_wall(3600))).state is State.DRAINED
    assert 4.9 < stage.farewells[0][1] < 5.3


def test_nothing_of_a_drain_is_left_behind() -> None:
    """After a drain no task of it sleeps on, whatever way it ended (T-72)."""
    for seconds, left in ((25.0, 0.0), (2.0, 1e9)):
        stage = Stage(left=left, leave=0.5, hold_kinds=["empty", "ended"])
        stage.carry_out(LIFE, seconds)
        assert stage.clock.sleeping() == 0
