"""Whatever happens in whatever order: the farewell is in time, the outcome true, nobody let go early, nobody twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.drain.drain import Outcome
from shipper.drain.order import Order
from shipper.drain.state import State
from tests.drain.drainkit import LIFE, NOTICE, RUN, STANDING, START, Stage

SLACK = 0.06  # seconds: three looks

Action = tuple[str, float]
actions = st.one_of(
    st.tuples(
        st.sampled_from(["stop", "stop run", "withdraw", "fail", "recover", "end", "begin", "abort"]), st.just(0.0)
    ),
    st.tuples(st.just("grow"), st.floats(1, 80e6)),
    st.tuples(st.just("move"), st.floats(2, 20)),
    st.tuples(st.just("spare"), st.sampled_from([0.0, 1.0])),
    st.tuples(st.just("relay"), st.sampled_from([0.0, 1.0])),
)


@dataclass
class Watched(Stage):
    """A stage that writes down what was true at each moment that counts."""

    at_farewell: list[tuple[Outcome, bool, bool, float]] = field(default_factory=list)
    at_release: list[tuple[str, bool, bool, int]] = field(default_factory=list)
    withdrawn: bool = False
    aborted_at: float | None = None
    stops: list[Order] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        for hold in self.holds:
            hold.on_release = lambda name=hold.name: self.at_release.append(  # type: ignore[misc]
                (name, self.primary.idle(), bool(self.unproved), len(self.farewells))
            )

    async def _farewell(self, outcome: Outcome, deadline: Deadline) -> None:
        self.at_farewell.append((outcome, self.primary.idle(), self.source.silent(0.0), self.deadline.at - START))
        await super()._farewell(outcome, deadline)

    def do(self, action: Action) -> Callable[[], object]:
        what, value = action
        return {
            "stop": lambda: self._stop(LIFE),
            "stop run": lambda: self._stop(RUN),
            "withdraw": self._withdraw,
            "fail": lambda: self.primary.set_failing(True),
            "recover": lambda: self.primary.set_failing(False),
            "end": lambda: setattr(self.source, "leave_at", min(self.source.leave_at, self.clock.monotonic())),
            "begin": lambda: setattr(self.source, "leave_at", self.clock.monotonic() + 3.0),
            "abort": self._abort,
            "grow": lambda: self._grow(value),
            "move": lambda: self.deadline.move(self.clock.monotonic() + value),
            "spare": lambda: self.spare.set_failing(bool(value)),
            "relay": lambda: self.unproved.append("relay") if value else self.unproved.clear(),
        }[what]

    def _stop(self, order: Order) -> None:
        self.stops.append(order)
        self.drain.stop_said(order)

    def _withdraw(self) -> None:
        self.withdrawn = self.drain.withdraw("the model says so") or self.withdrawn

    def _abort(self) -> None:
        if self.aborted_at is None:
            self.aborted_at = self.now
        self.drain.abort()

    def _grow(self, size: float) -> None:
        if self.source.silent(0.0):
            return  # who is gone writes nothing
        self.primary.write(size)
        if self.spare.active:
            self.spare.write(size)


@settings(max_examples=60, deadline=None)
@given(
    begun_by=st.sampled_from([LIFE, RUN, NOTICE]),
    seconds=st.floats(1, 20),
    leave=st.floats(0, 30),
    left=st.sampled_from([0.0, 1e6, 40e6, 300e6]),
    fallback=st.booleans(),
    script=st.lists(st.tuples(st.floats(0.01, 6), actions), max_size=8),
)
def test_no_order_of_events_breaks_a_promise(
    begun_by: Order, seconds: float, leave: float, left: float, fallback: bool, script: list[tuple[float, Action]]
) -> None:
    """Notices, stops, withdrawals, moved deadlines, outages and growing backlogs, at any time (T-68 to T-75)."""
    stage = Watched(
        leave=leave,
        left=left,
        with_fallback=fallback,
        hold_kinds=["empty", "ended"],
        notices=STANDING,
        services_grace=10.0,
    )
    steps: list[tuple[float, Callable[[], object]]] = []
    at = 0.0
    for pause, action in script:
        at += pause
        steps.append((at, stage.do(action)))
    outcome = stage.carry_out(begun_by, seconds, *steps)
    check(stage, outcome, begun_by)


def check(stage: Watched, outcome: Outcome, begun_by: Order) -> None:
    """The promises of a drain."""
    assert stage.clock.sleeping() == 0, "something of the drain is left"
    if outcome.state is State.RUNNING:
        assert stage.withdrawn
        assert not outcome.order.stop
        assert not any(was.writing is False for was, *_ in stage.at_farewell)
        assert not stage.primary.hurried
        assert "stop_reading" not in stage.source.calls
        return
    last, idle, silent, deadline = stage.at_farewell[-1]
    said_at = stage.farewells[-1][1]
    assert said_at <= deadline + SLACK, "the farewell came after the deadline"
    assert last.state is outcome.state
    assert outcome.order.reason in (begun_by.reason, *(order.reason for order in stage.stops))
    if outcome.state is State.DRAINED:
        assert idle, "drained, with something left"
        assert silent or not outcome.order.ends_life, "drained, with services that write"
    else:
        aborted = stage.aborted_at is not None and said_at <= stage.aborted_at + SLACK
        reserve = min(1.0, stage.farewells[-1][2] * 4 / 3 + SLACK)
        assert aborted or said_at >= deadline - reserve - SLACK, "given up before the time was over"
    check_holds(stage)


def check_holds(stage: Watched) -> None:
    """Each is released once, and as drained only with nothing left and nobody unproved."""
    for hold in stage.holds:
        assert len(hold.released) == (1 if stage.notices else 0), f"{hold.name} was released {len(hold.released)} times"
        (_, drained), (_, idle, unproved, farewells) = (
            hold.released[0],
            next(seen for seen in stage.at_release if seen[0] == hold.name),
        )
        if drained:
            assert idle
            assert not unproved
        if hold.release_when == "ended":
            assert farewells >= 1, "let go before the farewell"
