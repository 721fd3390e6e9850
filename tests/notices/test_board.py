"""Which notice counts, decided over a clock that stands still."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.events import Reporter
from shipper.notice import Notice, NoticeKind
from shipper.notices.board import STALE_SECONDS, Board
from shipper.notices.budgets import BUDGETS, Budgets
from shipper.testing.clock import FakeClock

IMMINENT, SCHEDULED, ADVISORY = NoticeKind.IMMINENT, NoticeKind.SCHEDULED, NoticeKind.ADVISORY


async def _no_flush(timeout: float) -> bool:
    return True


class Scene:
    """A board with its clock, and how often it said that something changed."""

    def __init__(self, lead: float = 120.0, budgets: dict[str, float] | None = None) -> None:
        self.clock = FakeClock()
        self.report = Reporter(self.clock)
        self.changes = 0
        self.board = Board(
            clock=self.clock,
            report=self.report,
            budgets=Budgets(budgets),
            lead=lead,
            changed=self._count,
            flush=_no_flush,
        )

    def _count(self) -> None:
        self.changes += 1

    def say(self, source: str = "spot", kind: NoticeKind = IMMINENT, after: float | None = None, key: str = "") -> None:
        """A notice whose stated time is ``after`` seconds from now."""
        at = None if after is None else self.clock.monotonic() + after
        self.board.notice(Notice(source, kind, f"{source} says so", at, budget="ec2-spot", key=key))

    def left(self) -> float:
        """Seconds to the effective deadline."""
        return self.board.deadline.at - self.clock.monotonic()


def test_the_earliest_deadline_of_all_imminent_notices_counts() -> None:
    """Of an hour's hook and a spot interruption the interruption decides, in whichever order they come."""
    for order in ((3600.0, 110.0), (110.0, 3600.0)):
        scene = Scene()
        for number, after in enumerate(order):
            scene.say(f"source{number}", after=after)
        assert scene.left() == 110.0


def test_a_notice_said_again_changes_nothing() -> None:
    """A platform polled every five seconds is one notice, even when the converted time jitters by fractions."""
    scene = Scene()
    scene.say(after=100.0)
    for _ in range(10):
        scene.clock.advance(5.0)
        scene.board.notice(Notice("spot", IMMINENT, "spot says so", scene.board.deadline.at + 0.2, budget="ec2-spot"))
    assert scene.changes == 1
    assert scene.left() == 50.0


def test_a_stated_deadline_may_move_either_way() -> None:
    """What the source says now replaces what it said before: a heartbeat gives time, an operator takes it."""
    scene = Scene()
    scene.say(after=100.0)
    scene.say(after=1000.0)
    assert scene.left() == 1000.0
    scene.say(after=10.0)
    assert scene.left() == 10.0
    assert scene.changes == 3


def test_only_its_own_source_takes_a_notice_back() -> None:
    """Another source's withdrawal, or the same source's of another key, leaves the notice standing."""
    scene = Scene()
    scene.say("azure", after=60.0, key="event-1")
    scene.board.withdrawn("logind", "event-1", "not mine")
    scene.board.withdrawn("azure", "event-2", "another")
    assert scene.left() == 60.0
    scene.board.withdrawn("azure", "event-1", "the event is gone")
    assert scene.board.standing() == ()
    assert math.isinf(scene.board.deadline.at)


def test_unknown_is_neither_a_notice_nor_its_end() -> None:
    """A source that cannot be asked leaves everything as it was, and is shown as such."""
    scene = Scene()
    scene.board.unknown("spot", "no answer")
    assert scene.board.imminent() is None
    scene.say(after=60.0)
    scene.board.unknown("spot", "no answer")
    assert scene.left() == 60.0
    assert scene.board.sources_unknown() == {"spot": "no answer"}
    assert scene.report.metrics.registry.get_sample_value("shipper_notice_source_up", {"source": "spot"}) == 0


def test_without_a_stated_time_the_platforms_usual_one_counts_from_the_first_word() -> None:
    """Saying it again does not start the budget again."""
    scene = Scene(budgets={"ec2-spot": 40.0})
    scene.say()
    scene.clock.advance(15.0)
    scene.say()
    assert scene.left() == 25.0
    assert scene.changes == 1


def test_a_time_that_just_passed_becomes_the_budget() -> None:
    """A platform whose stated time lies a little in the past may be late: the host still has its last seconds."""
    scene = Scene()
    scene.say(after=-30.0)
    assert scene.left() == BUDGETS["ec2-spot"]


def test_a_time_long_past_is_no_reason_to_drain() -> None:
    """A spot time that stayed in the metadata after nothing happened begins no drain, and is said once."""
    scene = Scene()
    for _ in range(3):
        scene.say(after=-STALE_SECONDS - 1)
    assert scene.board.imminent() is None
    assert scene.changes == 0


def test_a_deadline_that_is_reached_stays_where_it_is() -> None:
    """While a drain runs into its deadline, the same words said again do not give it more time."""
    scene = Scene()
    scene.say(after=10.0)
    deadline = scene.board.deadline.at
    scene.clock.advance(20.0)
    scene.board.notice(Notice("spot", IMMINENT, "spot says so", deadline, budget="ec2-spot"))
    assert scene.board.deadline.at == deadline


def test_a_scheduled_notice_becomes_imminent_when_its_time_is_near() -> None:
    """Days ahead it only stands; `lead` before its time it is the deadline."""
    scene = Scene(lead=120.0)
    scene.say(kind=SCHEDULED, after=86_400.0)
    assert scene.board.imminent() is None
    assert scene.board.next_due() == 86_400.0 - 120.0
    scene.clock.advance(scene.board.next_due())
    scene.board.look()
    assert scene.left() == 120.0
    assert math.isinf(scene.board.next_due())


def test_an_advisory_has_no_deadline() -> None:
    """A rebalance recommendation stands, and nothing ends because of it."""
    scene = Scene()
    scene.say(kind=ADVISORY, after=5.0)
    assert [notice.kind for notice in scene.board.standing()] == [ADVISORY]
    assert scene.board.imminent() is None
    assert math.isinf(scene.board.deadline.at)


def test_the_gauge_counts_what_stands() -> None:
    """Notices can be seen from outside by kind."""
    scene = Scene()
    scene.say("a", after=5.0)
    scene.say("b", after=5.0)
    scene.say("c", kind=ADVISORY)
    scene.board.withdrawn("a", "", "over")
    value = scene.report.metrics.registry.get_sample_value
    assert value("shipper_notices", {"kind": "imminent"}) == 1
    assert value("shipper_notices", {"kind": "advisory"}) == 1


def test_a_time_that_is_no_number_is_as_good_as_none() -> None:
    """A watcher's slip with NaN costs no drain: the budget counts."""
    scene = Scene()
    scene.say(after=math.nan)
    assert scene.left() == BUDGETS["ec2-spot"]


actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("say"),
            st.sampled_from("abc"),
            st.sampled_from(list(NoticeKind)),
            st.one_of(st.none(), st.floats(-1000, 5000)),
        ),
        st.tuples(st.just("withdraw"), st.sampled_from("abc")),
        st.tuples(st.just("unknown"), st.sampled_from("abc")),
        st.tuples(st.just("advance"), st.floats(0.1, 500)),
    ),
    max_size=30,
)


@given(actions)
@settings(max_examples=60, deadline=None)
def test_the_effective_deadline_is_always_the_least_of_what_is_imminent(steps: list[tuple[object, ...]]) -> None:
    """Whatever is said in whatever order, nothing raises, and deadline, imminence and standing notices agree."""
    scene = Scene()
    for step in steps:
        if step[0] == "say":
            scene.say(str(step[1]), kind=step[2], after=step[3])  # type: ignore[arg-type]
        elif step[0] == "withdraw":
            scene.board.withdrawn(str(step[1]), "", "over")
            assert all(notice.source != step[1] for notice in scene.board.standing())
        elif step[0] == "unknown":
            before = scene.board.standing()
            scene.board.unknown(str(step[1]), "away")
            assert scene.board.standing() == before
        else:
            scene.clock.advance(float(step[1]))  # type: ignore[arg-type]
            scene.board.look()
        due = [one.at for one in scene.board.all() if one.notice.kind is IMMINENT]
        if due:
            assert scene.board.deadline.at <= min(due)
        imminent = scene.board.imminent()
        assert scene.board.deadline.at == (imminent.at if imminent else math.inf)


@pytest.mark.parametrize("name", sorted(BUDGETS))
def test_every_budget_is_positive_and_can_be_overridden(name: str) -> None:
    """What the configuration says stands in the place of what is usual."""
    assert BUDGETS[name] > 0
    assert Budgets({name: 77.0}).seconds(name) == 77.0


def test_a_guess_that_was_outlived_asks_for_nothing_more() -> None:
    """The notice stands, said again it changes nothing; with a stated time it counts again."""
    scene = Scene()
    scene.say()
    scene.clock.advance(BUDGETS["ec2-spot"] - 1.0)
    scene.board.outlived()
    assert scene.board.imminent() is None
    assert len(scene.board.standing()) == 1
    scene.say()
    assert scene.board.imminent() is None
    scene.say(after=50.0)
    assert scene.left() == 50.0


def test_a_stated_time_is_not_outlived() -> None:
    """What a platform stated is the end, however long the host lives after it."""
    scene = Scene()
    scene.say(after=10.0)
    scene.clock.advance(9.0)
    scene.board.outlived()
    assert scene.left() == 1.0
