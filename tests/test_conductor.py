"""When a drain begins, by when it has to be done, and when it is taken back: signals, requests and notices together."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from shipper.conductor import Conductor
from shipper.config import Config
from shipper.config.schema_ending import Drain, Notices
from shipper.drain.state import State
from shipper.errors import ConfigError
from shipper.events import Reporter
from shipper.notice import Notice, NoticeKind
from shipper.testing.clock import FakeClock

IMMINENT, ADVISORY = NoticeKind.IMMINENT, NoticeKind.ADVISORY
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


async def _no_flush(timeout: float) -> bool:
    return True


class Scene:
    """A conductor on a clock that stands still."""

    def __init__(self, env: dict[str, str] | None = None, **settings: object) -> None:
        self.clock = FakeClock()
        drain = Drain(**{"ephemeral": "auto", **settings})  # type: ignore[arg-type]
        config = Config(drain=drain, notices=Notices())
        self.conductor = Conductor(
            config, "sidecar", env=env or {}, clock=self.clock, report=Reporter(self.clock), flush=_no_flush
        )

    def say(self, source: str, after: float | None, budget: str = "unknown", kind: NoticeKind = IMMINENT) -> None:
        """A notice whose stated time is ``after`` seconds from now."""
        at = None if after is None else self.clock.monotonic() + after
        self.conductor.board.notice(Notice(source, kind, f"{source} says so", at, budget))

    def left(self) -> float:
        """Seconds to the deadline."""
        return self.conductor.deadline.remaining()


def scene(test: Callable[[Scene], None], env: dict[str, str] | None = None, **settings: object) -> None:
    """Run a test within an event loop."""

    async def inside() -> None:
        test(Scene(env, **settings))

    asyncio.run(inside())


def test_without_a_reason_there_is_no_drain() -> None:
    """Nothing said, or only an advisory: no order and no deadline."""

    def check(s: Scene) -> None:
        assert s.conductor.order() is None
        s.say("rebalance", None, kind=ADVISORY)
        assert s.conductor.order() is None
        assert s.conductor.hurried()
        assert s.conductor.state.state is State.NOTICED
        assert math.isinf(s.left())
        s.conductor.board.withdrawn("rebalance", "", "over")
        assert s.conductor.state.state is State.RUNNING

    scene(check)


def test_a_notice_alone_begins_a_drain_that_nobody_waits_for() -> None:
    """It ends the life, and can be taken back."""

    def check(s: Scene) -> None:
        s.say("ec2-spot", 110.0)
        order = s.conductor.order()
        assert order is not None
        assert (order.reason, order.ends_life, order.stop) == ("notice from ec2-spot", True, False)
        s.conductor.board.withdrawn("ec2-spot", "", "over")
        assert s.conductor.order() is None
        assert math.isinf(s.left())

    scene(check)


def test_a_word_that_comes_after_the_services_is_as_good_as_a_stop() -> None:
    """Lambda stops the function before it tells its extensions: no writer is waited for."""

    def check(s: Scene) -> None:
        s.say("lambda", 2.0, "lambda")
        order = s.conductor.order()
        assert order is not None
        assert (order.stop, order.ends_life) == (True, True)

    scene(check)


def test_a_signal_is_the_end_of_the_life_while_a_notice_stands() -> None:
    """On a machine a SIGTERM ends the run; with a notice that the machine goes, the life."""

    def check(s: Scene) -> None:
        s.say("gce", None, budget="gce-spot")
        s.conductor.on_signal("SIGTERM")
        order = s.conductor.order()
        assert order is not None
        assert order.ends_life
        assert order.stop
        assert s.left() == 22.0

    scene(check, {"INVOCATION_ID": "x"})


def test_nothing_takes_back_a_stop() -> None:
    """After a signal a withdrawn notice only gives the time back that the signal itself leaves."""

    def check(s: Scene) -> None:
        s.say("azure", 20.0)
        s.conductor.on_signal("SIGTERM")
        assert s.left() == 20.0
        s.conductor.board.withdrawn("azure", "", "over")
        order = s.conductor.order()
        assert order is not None
        assert order.reason == "SIGTERM"
        assert s.left() == 85.0

    scene(check, {"INVOCATION_ID": "x"})


def test_the_hook_of_a_pod_already_has_the_time_of_its_signal_in_it() -> None:
    """SIGTERM after preStop does not shorten what the hook began: both are the same grace period."""

    def check(s: Scene) -> None:
        s.conductor.notice_by_hand({})
        s.clock.advance(20.0)
        left = s.left()
        s.conductor.on_signal("SIGTERM")
        assert s.left() == left > 2.0

    scene(check, POD | {"SHIPPER_NATIVE_SIDECAR": "true", "SHIPPER_TERMINATION_GRACE": "60"})


def test_a_native_sidecar_without_a_hook_counts_on_the_minimum() -> None:
    """The other containers may have used up the whole grace."""

    def check(s: Scene) -> None:
        s.conductor.on_signal("SIGTERM")
        assert s.left() == 2.0

    scene(check, POD | {"SHIPPER_NATIVE_SIDECAR": "true", "SHIPPER_TERMINATION_GRACE": "60"})


def test_a_stop_by_systemd_counts_for_more_than_the_guess_before_it() -> None:
    """What logind gave was the time before services are stopped; the unit's own time begins with the signal."""

    def check(s: Scene) -> None:
        s.say("logind", None, budget="logind")
        s.clock.advance(3.0)
        s.conductor.on_signal("SIGTERM")
        assert s.left() == 85.0

    scene(check, {"INVOCATION_ID": "x"})


def test_a_configured_time_is_the_time_of_a_stop() -> None:
    """`drain.deadline` beats what the platform usually gives."""

    def check(s: Scene) -> None:
        s.conductor.on_signal("SIGTERM")
        assert s.left() == 7.0

    scene(check, POD, deadline=7.0)


def test_a_repeated_signal_changes_nothing_and_a_second_interrupt_gives_up() -> None:
    """Platforms repeat SIGTERM; a person repeats Ctrl-C."""

    def check(s: Scene) -> None:
        s.conductor.on_signal("SIGTERM")
        s.clock.advance(5.0)
        left = s.left()
        s.conductor.on_signal("SIGTERM")
        assert s.left() == left
        s.conductor.on_signal("SIGINT")
        assert not s.conductor.impatient()
        s.conductor.on_signal("SIGINT")
        assert s.conductor.impatient()

    scene(check)


def test_shipper_drain_may_move_its_own_deadline_either_way() -> None:
    """Asked again with another time, that one counts."""

    def check(s: Scene) -> None:
        for seconds in (60.0, 600.0, 5.0):
            s.conductor.drain_by_hand({"deadline": seconds})
            assert s.left() == seconds

    scene(check)


@pytest.mark.parametrize("seconds", [0, -1, "20s", True, 1e10, None, math.nan])
def test_a_time_that_is_none_is_refused(seconds: object) -> None:
    """In words that name the field, and without a drain."""

    def check(s: Scene) -> None:
        for ask in (s.conductor.drain_by_hand, s.conductor.notice_by_hand, s.conductor.time_for_a_drain):
            with pytest.raises(ConfigError, match="deadline"):
                ask({"deadline": seconds})  # type: ignore[operator]
        assert s.conductor.order() is None

    scene(check)


def test_a_kind_that_nobody_knows_is_refused() -> None:
    """The three kinds are named."""

    def check(s: Scene) -> None:
        with pytest.raises(ConfigError, match="advisory, scheduled, imminent"):
            s.conductor.notice_by_hand({"kind": "sudden"})

    scene(check)


def test_whoever_waits_is_woken_by_every_change_and_by_time() -> None:
    """A notice, a stop, and a scheduled notice that comes near each end a wait; nothing is missed in between."""

    async def inside() -> None:
        s = Scene()
        conductor = s.conductor
        seen = conductor.changes
        s.say("a", 500.0)
        await conductor.next_change(seen)  # happened before it was waited for
        s.say("maintenance", 1000.0, kind=NoticeKind.SCHEDULED)
        conductor.board.withdrawn("a", "", "over")
        assert conductor.order() is None
        waiting = asyncio.create_task(conductor.next_change(conductor.changes))
        await s.clock.run(879.0)
        assert not waiting.done()
        await s.clock.run(1.0)
        await waiting
        order = conductor.order()
        assert order is not None
        assert order.reason == "notice from maintenance"
        assert s.left() == 120.0

    asyncio.run(inside())


def test_the_time_a_drain_would_have_says_where_it_comes_from() -> None:
    """For the dry run: the notice, the setting, or what a signal leaves here."""

    def check(s: Scene) -> None:
        seconds, origin = s.conductor.time_for_a_drain({})
        assert (seconds, "pod" in origin) == (25.0, True)
        s.say("gce", None, budget="gce-spot")
        assert s.conductor.time_for_a_drain({}) == (22.0, "the notice that stands")
        assert s.conductor.time_for_a_drain({"deadline": 3.0}) == (3.0, "--deadline")

    scene(check, POD)
