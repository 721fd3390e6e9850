"""A drain that only a notice began: nothing irreversible before it must be, a stop makes the exit due, it can be taken back."""

from __future__ import annotations

import math

from shipper.drain.silence import NOTICE_QUIET
from shipper.drain.state import State
from tests.drain.drainkit import LIFE, NOTICE, RUN, START, Order, Stage

NOTICE_OF_RUN = Order("notice from test", ends_life=False, why="test", stop=False)


def test_services_that_live_keep_a_noticed_drain_reading() -> None:
    """An empty backlog is not the end while services live: they will still write their shutdown messages (T-68)."""
    stage = Stage(leave=40)
    assert stage.carry_out(NOTICE, 120).state is State.DRAINED
    assert stage.farewells[0][1] > 40
    assert "stop_reading" not in stage.source.calls


def test_a_noticed_drain_ends_within_a_moment_of_the_services_end() -> None:
    """With nothing left to send the farewell is said within 300 ms of the services' end."""
    stage = Stage(leave=40, quiet=0.25)
    stage.carry_out(NOTICE, 120)
    assert 0.1 <= stage.farewells[0][1] - 40 < 0.2


def test_quiet_is_not_taken_for_the_end_where_nothing_is_known_of_writers() -> None:
    """Without any evidence of writers a notice waits longer for quiet than a stop does."""
    stage = Stage(met=False)
    assert stage.carry_out(NOTICE, 120).state is State.DRAINED
    assert NOTICE_QUIET <= stage.farewells[0][1] < NOTICE_QUIET + 0.5


def test_a_notice_of_a_restart_does_not_stop_reading_by_itself() -> None:
    """Where the disk stays, reading goes on until somebody says stop; then what the files hold is the end."""
    stage = Stage(leave=1000)
    outcome = stage.carry_out(NOTICE_OF_RUN, 120, (30.0, lambda: stage.drain.stop_said(RUN)))
    assert outcome.state is State.DRAINED
    assert outcome.order is RUN
    assert stage.source.calls[0] == "stop_reading"
    assert 30 < stage.farewells[0][1] < 30.2


def test_a_stop_makes_quiet_count_at_once() -> None:
    """After a SIGTERM the services are being stopped too, so the usual quiet time is enough."""
    stage = Stage(met=False)
    outcome = stage.carry_out(NOTICE, 120, (3.0, lambda: stage.drain.stop_said(LIFE)))
    assert outcome.order is LIFE
    assert 3 < stage.farewells[0][1] < 3.2


def test_a_second_stop_changes_nothing() -> None:
    """Platforms repeat SIGTERM: whose stop it was stays the first one's (T-71)."""
    stage = Stage(leave=5)
    outcome = stage.carry_out(LIFE, 60, (1.0, lambda: stage.drain.stop_said(RUN)))
    assert outcome.order is LIFE


def test_a_notice_that_is_withdrawn_leaves_everything_as_it_was() -> None:
    """A rebalance that is cancelled ends the drain without a farewell, and pumps and deadline are as before (T-75)."""
    stage = Stage(leave=1000, left=1e9, speed=1e6)
    outcome = stage.carry_out(NOTICE, 120, (20.0, lambda: stage.drain.withdraw("cancelled")))
    assert outcome.state is State.RUNNING
    assert stage.state.state is State.RUNNING
    assert stage.farewells == []
    assert stage.source.calls == ["reopen"]
    assert not stage.primary.hurried
    assert not stage.primary.by_value
    assert stage.primary.deadline.at == math.inf


def test_a_withdrawn_drain_can_be_begun_again() -> None:
    """The same run drains for the next notice as if there had been none before."""
    stage = Stage(leave=30, left=1e6)
    assert stage.carry_out(NOTICE, 120, (2.0, lambda: stage.drain.withdraw("cancelled"))).state is State.RUNNING
    assert stage.carry_out(LIFE, 60).state is State.DRAINED
    assert len(stage.farewells) == 1
    assert stage.state.state is State.DRAINED


def test_a_stop_cannot_be_withdrawn() -> None:
    """Whoever said stop waits for the exit, whatever becomes of the notice."""
    stage = Stage(leave=5)
    answers: list[bool] = []
    steps = [
        (1.0, lambda: stage.drain.stop_said(LIFE)),
        (2.0, lambda: answers.append(stage.drain.withdraw("cancelled"))),
    ]
    assert stage.carry_out(NOTICE, 60, *steps).state is State.DRAINED
    assert answers == [False]


def test_a_stop_in_the_same_moment_beats_a_withdrawal() -> None:
    """A withdrawal that was not yet acted upon is nothing once a stop was said."""
    stage = Stage(leave=5)
    steps = [
        (1.0, lambda: stage.drain.withdraw("cancelled")),
        (1.0, lambda: stage.drain.stop_said(LIFE)),
    ]

    def both() -> None:
        for _, act in steps:
            act()

    assert stage.carry_out(NOTICE, 60, (1.0, both)).state is State.DRAINED


def test_a_withdrawal_during_the_farewell_comes_too_late() -> None:
    """Once the last record is being said the run ends."""
    stage = Stage()
    stage.farewell_takes = 5.0
    answers: list[bool] = []
    outcome = stage.carry_out(NOTICE, 60, (2.0, lambda: answers.append(stage.drain.withdraw("cancelled"))))
    assert outcome.state is State.DRAINED
    assert answers == [False]


def test_a_withdrawal_without_a_drain_is_refused() -> None:
    """Nothing is under way, so nothing is taken back, and the next drain is not harmed."""
    stage = Stage()
    assert not stage.drain.withdraw("cancelled")
    assert stage.carry_out(NOTICE, 60).state is State.DRAINED


def test_a_notice_whose_time_comes_ends_in_a_farewell() -> None:
    """Services that do not end do not outlast a notice's deadline either, moved as it was (T-75)."""
    stage = Stage(leave=1e6)
    outcome = stage.carry_out(NOTICE, 120, (10.0, lambda: stage.deadline.move(START + 30)))
    assert outcome.state is State.EXPIRED
    assert 28.9 < stage.farewells[0][1] < 29.2


def test_quiet_alone_is_not_waited_for_longer_than_the_time_allows() -> None:
    """Where nothing is known of writers and little time is left, a third of it has to do."""
    stage = Stage(met=False)
    assert stage.carry_out(NOTICE, 7.0).state is State.DRAINED
    assert 2.0 <= stage.farewells[0][1] < 2.2
