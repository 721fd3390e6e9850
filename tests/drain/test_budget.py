"""Whether the time will do, and what follows: order, fallback, and when to begin."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.drain.budget import Budget, Load, share
from shipper.drain.earlier import Earlier
from shipper.drain.plan import Plan, Sight, make_plan
from shipper.drain.stampede import FEW_REQUESTS, LONGEST, start_delay
from shipper.drain.state import State
from shipper.testing.clock import FakeClock
from tests.drain.drainkit import LIFE, NOTICE, START, Destination, Stage

MB = 1_000_000


@pytest.mark.parametrize(
    ("load", "usable", "by_value"),
    [
        (Load(100 * MB, 10e6, False), 60, False),
        (Load(100 * MB, 10e6, False), 11, True),
        (Load(50 * MB, 0.0, False), 5, True),  # rate unknown, and short
        (Load(50 * MB, 0.0, False), 30, False),
        (Load(1, 10e6, True), 600, True),  # it fails: when it is back, the best goes first
        (Load(0, 0.0, True), 600, False),
        (Load(100 * MB, 10e6, False), 0, True),
    ],
)
def test_value_decides_the_order_when_time_may_be_short(load: Load, usable: float, by_value: bool) -> None:
    """Remaining time, measured rate and backlog decide; an unknown rate counts as 10 MB/s."""
    assert Budget().look(0.0, usable, load).by_value is by_value


@given(st.lists(st.floats(11e6, 19e6), min_size=2, max_size=30))
def test_a_wavering_rate_does_not_make_the_order_flap(rates: list[float]) -> None:
    """Between short and ample the order stays what it was."""
    budget = Budget()
    assert budget.look(0.0, 10, Load(100 * MB, 10e6, False)).by_value
    looks = [budget.look(i * 0.25, 10, Load(100 * MB, rate, False)).by_value for i, rate in enumerate(rates)]
    assert all(looks)
    assert not budget.look(99.0, 100, Load(100 * MB, 15e6, False)).by_value


def test_one_slow_look_is_no_miss() -> None:
    """A look that falls between two answers calls no fallback; a second one like it does."""
    budget = Budget()
    assert not budget.look(0.0, 60, Load(100 * MB, 1e6, False)).miss
    assert not budget.look(0.25, 60, Load(90 * MB, 9e6, False)).miss
    assert not budget.look(0.5, 60, Load(80 * MB, 1e6, False)).miss
    assert "and 59.0 s are left" in budget.look(0.75, 59, Load(79 * MB, 1e6, False)).miss


def test_a_failure_is_given_time_in_proportion_to_what_is_left() -> None:
    """With two minutes a destination may fail for two seconds, with two seconds for a fifth of one."""
    for usable, patience in ((120.0, 2.0), (2.0, 0.2)):
        budget = Budget()
        load = Load(MB, 0.0, True)
        assert not budget.look(0.0, usable, load).miss
        assert not budget.look(patience * 0.9, usable, load).miss
        assert budget.look(patience * 1.01, usable, load).miss == "it fails"


def test_a_destination_that_takes_nothing_is_a_miss_whatever_it_says() -> None:
    """One that never answers and has no rate yet is found out by its backlog, also while services write on."""
    budget = Budget()
    assert not budget.look(0.0, 100, Load(MB, 0.0, False)).miss
    assert not budget.look(4.9, 95, Load(2 * MB, 0.0, False)).miss
    assert "taken nothing for 5.1 s" in budget.look(5.1, 95, Load(2 * MB, 0.0, False)).miss


def test_who_acknowledges_late_has_more_time() -> None:
    """One that usually takes seconds to acknowledge stands still only when it takes three times as long."""
    budget = Budget()
    assert not budget.look(0.0, 400, Load(MB, 0.0, False, usual=6.0)).miss
    assert not budget.look(17.9, 380, Load(MB, 0.0, False, usual=6.0)).miss
    assert "taken nothing for 18.1 s" in budget.look(18.1, 380, Load(MB, 0.0, False, usual=6.0)).miss


def test_a_service_that_goes_on_writing_makes_no_standstill() -> None:
    """Where the backlog never falls because new bytes come as fast as old ones go, nothing in it gets old."""
    budget = Budget()
    looks = [budget.look(i * 0.25, 5, Load(1000 + i, 1e6, False, oldest=0.1)) for i in range(20)]
    assert not any(look.miss for look in looks)
    assert "taken nothing" in budget.look(5.0, 5, Load(1020, 1e6, False, oldest=5.0)).miss


def test_progress_is_seen_also_where_services_write_on() -> None:
    """A backlog that falls now and then is no standstill, however large it stays."""
    budget = Budget()
    for at in range(40):
        assert not budget.look(at * 1.0, 100, Load(3 * MB + (at % 2) * 1000, 0.0, False)).miss


@given(st.integers(0, 10**12), st.floats(0, 1e9), st.booleans(), st.floats(0, 1e6))
def test_every_plan_adds_up(backlog: int, rate: float, failing: bool, seconds: float) -> None:
    """A plan never leaves more than there is, and its words are there for every figure."""
    plan = make_plan(
        [Sight("a", {"app.log": backlog} if backlog else {}, rate, failing)],
        state="running",
        seconds=seconds,
        origin="test",
        reserve=min(1.0, seconds / 4),
    )
    (leg,) = plan.legs
    assert 0 <= leg.left <= leg.backlog_bytes == backlog
    assert "a: " in plan.text()


@given(st.integers(0, 10**10), st.floats(0, 1e9), st.integers())
def test_a_drain_begins_soon(backlog: int, remaining: float, seed: int) -> None:
    """Jitter takes at most a tenth of the time and three seconds, and a small backlog none at all."""
    delay = start_delay(backlog, remaining, Random(seed))
    assert 0 <= delay <= min(LONGEST, remaining / 10)
    assert delay == 0 or backlog > FEW_REQUESTS


@given(st.floats(0, 100), st.floats(0, 30), st.floats(0, 100))
def test_the_reserve_is_derived_from_whatever_the_deadline_is_now(left: float, setting: float, later: float) -> None:
    """A moved deadline moves what the sending has, and a quarter is the most that is kept back."""
    clock = FakeClock(START)
    deadline = Deadline.after(clock, left)
    early = Earlier(clock, deadline, setting)
    assert early.at == pytest.approx(START + left - min(setting, left / 4))
    clock.advance(1.0)
    assume(deadline.at != START + 1 + later)  # to where it is already is no move: the share stays that of the last one
    deadline.move(START + 1 + later)
    assert early.at == pytest.approx(START + 1 + later - min(setting, later / 4))


def test_a_share_above_one_will_not_do() -> None:
    """The share of the time that a backlog needs is what every decision is made of."""
    assert share(Load(100 * MB, 10e6, False), 5) == 2
    assert share(Load(0, 0.0, True), 0) == 0


# -- in a drain ----------------------------------------------------------------------------------------------------------


def test_too_much_for_the_time_goes_by_value() -> None:
    """A backlog larger than the deadline allows is ordered by value; what is left is the farewell's to say (T-74)."""
    stage = Stage(left=300e6, speed=5e6)
    assert stage.carry_out(LIFE, 30).state is State.EXPIRED
    assert stage.primary.by_value
    assert stage.primary.backlog_bytes() > 100e6


def test_ample_time_keeps_the_simple_order() -> None:
    """Where everything fits nothing is overtaken."""
    stage = Stage(left=20e6)
    stage.carry_out(LIFE, 120)
    assert stage.primary.orders == []


def test_a_deadline_moved_near_turns_to_value_and_one_moved_away_turns_back() -> None:
    """The order follows the deadline while the drain runs (T-75)."""
    stage = Stage(left=100e6, speed=5e6)
    steps = [(1.0, lambda: stage.deadline.move(START + 8)), (3.0, lambda: stage.deadline.move(START + 300))]
    assert stage.carry_out(LIFE, 120, *steps).state is State.DRAINED
    assert stage.primary.orders == [True, False]


def test_the_fallback_takes_over_when_the_primary_fails() -> None:
    """A primary that is down leaves its share to the fallback, and the host is empty when that has everything."""
    stage = Stage(left=50e6, with_fallback=True)
    stage.primary.fails = True
    outcome = stage.carry_out(LIFE, 60)
    assert outcome.state is State.DRAINED
    assert outcome.fallback == "archive"
    assert stage.spare.hurried
    assert stage.farewells[0][1] < 8
    assert stage.farewells[0][2] <= 1.0  # nobody waits until the deadline for the primary to take a farewell


def test_the_fallback_helps_a_primary_that_is_too_slow() -> None:
    """A projected miss is enough: the primary need not fail."""
    stage = Stage(left=100e6, speed=1e6, with_fallback=True)
    outcome = stage.carry_out(LIFE, 30)
    assert outcome.state is State.DRAINED
    assert outcome.fallback == "archive"


def test_a_fallback_that_was_not_needed_gets_the_farewell_only() -> None:
    """The farewell goes to primary and fallback, and the outcome says that it was not needed."""
    stage = Stage(left=1e6, with_fallback=True)
    active: list[bool] = []
    stage.spare.order_by_value = lambda on: None  # type: ignore[method-assign]
    outcome = stage.carry_out(LIFE, 60, (0.05, lambda: active.append(stage.spare.active)))
    assert outcome.fallback == ""
    assert active == [False]
    assert stage.spare.active


def test_a_drain_that_is_taken_back_lets_the_fallback_stand_by_again() -> None:
    """After a withdrawal everybody works for himself."""
    stage = Stage(left=50e6, leave=1e6, with_fallback=True)
    stage.primary.fails = True
    steps = [(20.0, lambda: stage.drain.withdraw("cancelled"))]
    assert stage.carry_out(NOTICE, 60, *steps).state is State.RUNNING
    assert not stage.spare.active
    stage.primary.fails = False
    stage.source.leave_at = 0.0
    assert stage.carry_out(LIFE, 60).state is State.DRAINED


def test_an_outage_of_every_destination_ends_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can be reached: no crash, no missed deadline, and the log says that nobody can help."""
    for fallback in (True, False):
        stage = Stage(left=5e6, with_fallback=fallback)
        stage.primary.fails = stage.spare.fails = True
        assert stage.carry_out(LIFE, 20).state is State.EXPIRED
        assert stage.farewells[0][1] < 19.2
    assert "there is no fallback: primary: it fails" in caplog.text


def test_a_large_backlog_begins_with_jitter_and_a_small_one_at_once() -> None:
    """500 hosts do not end their retries' waits in the same instant; a nearly empty one goes at once."""
    for left, earliest, latest in ((50e6, 0.02, 3.0), (1e6, 0.0, 0.001)):
        stage = Stage(left=left)
        stage.carry_out(LIFE, 60)
        assert stage.primary.hurried_at is not None
        assert earliest <= stage.primary.hurried_at - START <= latest


# -- on paper ------------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_would_happen() -> None:
    """Backlog, rate, time, order, fallback, holds and what would be left, for a person and as data."""
    stage = Stage(left=300e6, speed=2e6, with_fallback=True, hold_kinds=["ended"])
    plan = stage.drain.plan(25.0, "drain.deadline")
    (leg,) = plan.legs
    assert (leg.seconds, leg.order, leg.left) == (150.0, "value", 300_000_000 - 48_000_000)
    assert plan.fallback_used
    text = plan.text()
    assert "running; a drain has 25.0 s (drain.deadline), 1.00 s of it kept for the farewell" in text
    assert "primary: 300,000,000 bytes, about 150.0 s at 2.00 MB/s (measured)" in text
    assert "errors and last words first; 252,000,000 bytes would be left" in text
    assert "fallback archive: takes over as well" in text
    assert "keeps waiting until then: hold-ended" in text
    assert plan.as_dict()["legs"][0]["streams"] == {"app.log": 300_000_000}


def test_a_plan_of_an_empty_host_is_short() -> None:
    """With nothing to do it says so."""
    assert "primary: nothing left to send" in Stage().drain.plan(25.0, "test").text()


def test_a_plan_for_no_deadline_needs_none() -> None:
    """Where nobody is in a hurry everything gets there."""
    plan = Stage(left=1e9).drain.plan(float("inf"), "none")
    assert plan.seconds is None
    assert plan.legs[0].left == 0
    assert "no deadline" in plan.text()


def test_a_plan_made_during_a_drain_tells_whose_time_it_is() -> None:
    """What is asked for then is not looked at, so it is not what the plan says either."""
    stage = Stage(left=1e9)
    plans: list[Plan] = []
    stage.carry_out(LIFE, 20, (5.0, lambda: plans.append(stage.drain.plan(1.0, "--deadline"))))
    assert [(round(plan.seconds or 0), plan.origin) for plan in plans] == [(15, "of the drain under way")]


def test_the_plan_names_the_largest_streams_only() -> None:
    """Thousands of files make no plan of thousands of lines, and the sum is right all the same."""
    backlog = {f"s{i:04d}": i for i in range(1, 1001)}
    plan = make_plan([Sight("a", backlog, 0.0, False)], state="running", seconds=9, origin="t", reserve=1)
    (leg,) = plan.legs
    assert len(leg.streams) == 11
    assert sum(leg.streams.values()) == leg.backlog_bytes


def test_a_destination_of_the_kit_is_what_a_drain_asks_for() -> None:
    """The double keeps to what it stands for: half its backlog is gone in half the time."""
    clock = FakeClock(START)
    destination = Destination(clock, left=10e6, speed=1e6)
    clock.advance(5)
    assert destination.backlog_bytes() == 5_000_000
