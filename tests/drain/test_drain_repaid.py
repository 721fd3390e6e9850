"""A destination that is back before a drain ends gets what its fallback took, as far as the time goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shipper.drain.budget import STANDSTILL, Budget, Load
from shipper.drain.order import Order
from shipper.drain.state import State
from tests.drain.drainkit import LIFE, RUN, STANDING, Stage

MB = 1_000_000


def stage_in_an_outage(left: float = 20e6, speed: float = 10e6, **more: object) -> Stage:
    """Its primary fails; the fallback takes 10 MB a second."""
    stage = Stage(left=left, speed=speed, with_fallback=True, **more)  # type: ignore[arg-type]
    stage.primary.set_failing(True)
    return stage


def back(stage: Stage) -> Callable[[], None]:
    """The primary takes data again."""
    return lambda: stage.primary.set_failing(False)


def test_one_that_is_back_is_repaid_before_the_end() -> None:
    """The drain goes on until it has everything, and no longer; the account says that the fallback took part."""
    stage = stage_in_an_outage()
    outcome = stage.carry_out(LIFE, 60, (3.0, back(stage)))
    assert (outcome.state, outcome.fallback) == (State.DRAINED, "archive")
    assert stage.primary.backlog() == {}
    assert 4.9 <= stage.farewells[0][1] < 5.5  # 20 MB from the third second on


def test_one_that_fails_is_not_waited_for() -> None:
    """The fallback has everything: the host may go."""
    stage = stage_in_an_outage()
    assert stage.carry_out(LIFE, 60).state is State.DRAINED
    assert stage.primary.left == 20e6
    assert stage.farewells[0][1] < 4.5  # two seconds until it took over, and two of work


def test_one_that_was_just_mended_is_asked_before_the_end() -> None:
    """Between two attempts nobody knows that it is back: so it is asked once more, and repaid."""
    stage = stage_in_an_outage()
    stage.carry_out(LIFE, 60, (3.0, lambda: setattr(stage.primary, "mended", True)))
    assert stage.primary.backlog() == {}


def test_one_that_does_not_answer_when_asked_holds_up_the_end_by_seconds() -> None:
    """Its attempt may hang: two seconds, or a tenth of what is left."""
    ended = []
    for answers in (True, False):
        stage = stage_in_an_outage()
        if not answers:
            stage.primary.urgent = lambda on: None  # type: ignore[method-assign]
        stage.carry_out(LIFE, 60)
        ended.append(stage.farewells[0][1])
    assert ended[1] - ended[0] == pytest.approx(2.0, abs=0.3)


def test_what_is_not_repaid_in_time_is_not_late() -> None:
    """Nothing is left that nobody has: drained, at the deadline; sending stops before the farewell, which says who has what."""
    stage = stage_in_an_outage(speed=1e6)
    outcome = stage.carry_out(LIFE, 10, (3.0, back(stage)))
    assert outcome.state is State.DRAINED
    assert stage.primary.finished
    assert 8.9 <= stage.farewells[0][1] < 9.2
    assert 0 < stage.primary.left < 20e6


def test_a_run_that_ends_does_not_wait() -> None:
    """Its disk stays: the next run repays."""
    stage = stage_in_an_outage()
    stage.carry_out(RUN, 60, (3.9, back(stage)))
    assert stage.primary.left > 0
    assert stage.farewells[0][1] < 4.5


def test_one_that_takes_nothing_is_not_waited_for_either() -> None:
    """It does not fail, but asks for patience; the fallback has everything."""
    stage = stage_in_an_outage(speed=0.0)
    stage.carry_out(LIFE, 600, (3.0, back(stage)))
    assert stage.farewells[0][1] < 5.0 + STANDSTILL


def test_a_deadline_that_is_a_guess_ends_it_all_the_same() -> None:
    """Everything is somewhere, so the run need not live on for it."""
    stage = stage_in_an_outage(speed=1e6)
    guess = Order("notice from test", ends_life=True, why="test", stop=False, guessed=True)
    assert stage.carry_out(guess, 10, (3.0, back(stage))).state is State.DRAINED


def test_the_host_is_kept_for_it() -> None:
    """A hold that waits for an empty backlog only is released when nothing is owed any more, in the time that there is."""
    stage = stage_in_an_outage(hold_kinds=["empty"], notices=STANDING)
    stage.carry_out(LIFE, 60, (3.0, back(stage)))
    ((released, drained),) = stage.holds[0].released
    assert drained
    assert 4.9 <= released < 5.5


def test_a_drain_that_is_taken_back_ends_it() -> None:
    """Everybody works for himself again."""
    stage = stage_in_an_outage(speed=1e6)
    order = Order("notice from test", ends_life=True, why="test", stop=False)
    outcome = stage.carry_out(order, 60, (3.0, back(stage)), (5.0, lambda: stage.drain.withdraw("the test says so")))
    assert outcome.state is State.RUNNING
    assert not stage.primary.repays


@pytest.mark.parametrize(
    ("load", "usable", "repays"),
    [
        (Load(0, 10e6, False, lent=500 * MB), 60, True),  # however much it is
        (Load(0, 10e6, True, lent=500 * MB), 60, False),
        (Load(100 * MB, 10e6, False, lent=500 * MB), 60, True),
        (Load(100 * MB, 10e6, False, lent=500 * MB), 11, False),  # what nobody has goes first
    ],
)
def test_there_has_to_be_time_for_what_nobody_has(load: Load, usable: float, repays: bool) -> None:
    """Only then a destination gets what is safe already."""
    assert Budget().look(0.0, usable, load).repays is repays


def test_what_is_repaid_goes_by_value_too() -> None:
    """The rest of what it lacks may be for the fallback alone: errors and last words first."""
    assert Budget().look(0.0, 60, Load(0, 10e6, False, lent=900 * MB)).by_value
    assert not Budget().look(0.0, 60, Load(0, 10e6, False, lent=100 * MB)).by_value
