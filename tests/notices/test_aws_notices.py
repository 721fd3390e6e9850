"""What EC2 says of an instance's end, through its metadata service, and what follows from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from shipper.notice import NoticeKind
from shipper.notices.ec2 import Ec2Watcher, Look, pause
from shipper.notices.imds import Imds
from shipper.testing.platforms.imds import REBALANCE, SPOT_ACTION, SPOT_TIME, FakeImds
from shipper.testing.platforms.loopback import Trap, cut_off, hang, huge, page, redirect, text, web_page
from tests.notices.ec2_kit import Instance, group, on_ec2, rebalance, scheduled, spot
from tests.notices.listening import CountingClock, RecordingBoard, at_work, until

# -- spot --------------------------------------------------------------------------------------------------------------


def test_aws_nothing_is_said_of_an_instance_that_goes_on() -> None:
    """404 on both items is an answer, and means nothing."""

    async def story(at: Instance) -> None:
        await at.look(3)
        assert not at.board.told
        assert not at.board.complaints
        assert at.board.good >= 4

    on_ec2(spot, story)


@pytest.mark.parametrize("action", ["terminate", "stop"])
def test_aws_spot_interruption_has_its_deadline(action: str) -> None:
    """An interruption is one imminent notice with the stated time, however often it is read."""

    async def story(at: Instance) -> None:
        at.imds.interrupt(action, seconds=120)
        await at.look(4)
        assert len(at.board.told) == 1
        assert at.only.kind is NoticeKind.IMMINENT
        assert at.only.ends_life
        assert action in at.only.evidence
        assert at.board.left() == pytest.approx(120 - 3 * 5, abs=1.5 + 5)

    on_ec2(spot, story)


def test_aws_spot_interruption_is_seen_at_the_first_look() -> None:
    """A notice that stands before the sidecar does is seen at once."""

    async def story(at: Instance) -> None:
        assert at.board.drains

    on_ec2(spot, story, before=lambda imds: imds.interrupt())


def test_aws_spot_hibernation_leaves_seconds_and_is_over_after_resume() -> None:
    """Hibernation begins at once and ends no life; when the process wakes up the notice is gone."""

    async def story(at: Instance) -> None:
        at.imds.interrupt("hibernate", seconds=120)
        await at.look()
        assert at.only.budget == "ec2-spot-hibernate"
        assert not at.only.ends_life
        assert at.board.left() <= 5.0
        at.imds.set(SPOT_ACTION, None)
        await at.look()
        assert not at.board.drains

    on_ec2(spot, story)


def test_aws_spot_time_that_slides_is_no_reprieve() -> None:
    """A time that is counted anew at each request keeps the deadline that was said first."""

    async def story(at: Instance) -> None:
        at.imds.interrupt(seconds=120, slides=True)
        await at.look()
        first = at.board.deadline.at
        await at.look(10)
        assert at.board.deadline.at == pytest.approx(first, abs=1)

    on_ec2(spot, story)


def test_aws_spot_older_item_is_a_second_look() -> None:
    """Only termination-time says it: that is a notice; a text there that is no time is none."""

    async def story(at: Instance) -> None:
        at.imds.set(SPOT_TIME, "not scheduled")
        await at.look()
        assert not at.board.told
        assert not at.board.complaints
        at.imds.set(SPOT_TIME, "2023-11-14T22:15:20Z")  # the clock began at 22:13:20
        await at.look()
        assert at.board.drains
        assert 100 < at.board.left() < 120

    on_ec2(spot, story)


def test_aws_spot_does_not_withdraw_by_silence() -> None:
    """There is no cancel of an interruption: a 404 after it takes nothing back."""

    async def story(at: Instance) -> None:
        at.imds.interrupt()
        await at.look()
        at.imds.set(SPOT_ACTION, None)
        at.imds.set(SPOT_TIME, None)
        await at.look(2)
        assert at.board.drains

    on_ec2(spot, story)


@pytest.mark.parametrize("ago", [10, 3600])
def test_aws_spot_time_in_the_past(ago: int) -> None:
    """Just past: the usual budget counts; long past with the host alive: it is said, and nothing drains."""

    async def story(at: Instance) -> None:
        assert at.board.drains == (ago == 10)
        if ago == 10:
            assert at.board.left() == pytest.approx(60.0, abs=1)

    on_ec2(spot, story, before=lambda imds: imds.interrupt(seconds=-ago))


@pytest.mark.parametrize("skew", [-7200.0, 86_400.0])
def test_aws_spot_deadline_despite_a_wrong_clock(skew: float) -> None:
    """The Date header tells how wrong this host's clock is, so the deadline is right all the same."""

    async def story(at: Instance) -> None:
        at.clock.jump_wall(skew)
        at.imds.date_skew = -skew
        now = 1_700_000_000 + 5
        at.imds.set(SPOT_ACTION, json.dumps({"action": "terminate", "time": _iso(now + 120)}))
        await at.look()
        assert at.board.left() == pytest.approx(120, abs=2)

    on_ec2(spot, story)


def test_aws_spot_time_in_another_zone() -> None:
    """``+02:00`` is understood, not taken for UTC."""

    async def story(at: Instance) -> None:
        at.imds.set(SPOT_ACTION, '{"action": "terminate", "time": "2023-11-15T00:15:20+02:00"}')
        await at.look()
        assert 100 < at.board.left() < 120

    on_ec2(spot, story)


def test_aws_spot_unreadable_time_is_still_an_interruption() -> None:
    """An action with a time nobody can read drains by the usual budget; a word nobody knows is an interruption as well."""

    async def story(at: Instance) -> None:
        at.imds.set(SPOT_ACTION, '{"action": "evict", "time": "soon"}')
        await at.look()
        assert at.only.deadline is None
        assert at.board.left() <= 60.0

    on_ec2(spot, story)


MAD = [
    page(500),
    page(400),
    web_page(),
    huge(1 << 20),
    cut_off(),
    redirect("http://127.0.0.1:1/"),
    text("{"),
    text("[]"),
    text("null"),
    text('{"time": "2023-11-14T22:15:20Z"}'),
    text('{"action": ["terminate"]}'),
    text("[" * 30_000),
    Trap(text("").reply.__class__(200, b"\xff\xfe{}")),  # type: ignore[union-attr]
    text(""),
]


@pytest.mark.parametrize("trap", MAD)
@pytest.mark.parametrize("look", [(spot, SPOT_ACTION), (rebalance, REBALANCE)])
def test_aws_mad_answers_are_unknown(trap: Trap, look: tuple[Callable[[CountingClock], Look], str]) -> None:
    """An answer that makes no sense begins nothing, takes nothing back, and is said; the next good one counts."""
    make, path = look

    async def story(at: Instance) -> None:
        at.imds.trap(path, trap)
        await at.look()
        assert at.board.complaints
        assert "Traceback" not in at.board.complaints[0]
        assert not at.board.told
        at.imds.interrupt()
        at.imds.recommend_rebalance()
        await at.look()
        assert len(at.board.told) == 1
        at.imds.trap(path, trap)
        await at.look()
        assert at.board.standing()
        assert not at.board.taken_back

    on_ec2(make, story)


# -- rebalance ---------------------------------------------------------------------------------------------------------


def test_aws_rebalance_is_advice() -> None:
    """A rebalance recommendation drains nothing; its time is no deadline."""

    async def story(at: Instance) -> None:
        at.imds.recommend_rebalance()
        await at.look(2)
        assert at.only.kind is NoticeKind.ADVISORY
        assert at.only.deadline is None
        assert not at.board.drains

    on_ec2(rebalance, story)


# -- the group's target state ------------------------------------------------------------------------------------------


def test_aws_several_notices_at_once_and_one_item_that_hangs() -> None:
    """Four sources say four things over one token; the earliest counts, and the one that never answers delays none."""

    async def run() -> None:
        clock = CountingClock()
        async with FakeImds(clock=clock) as imds:
            imds.trap_always(REBALANCE, hang())
            imds.interrupt(seconds=120)
            imds.set_target_state("Terminated")
            imds.schedule(seconds=3600)
            board = RecordingBoard(clock)
            looks = (rebalance(clock), spot(clock), group(clock), scheduled(clock))
            watcher = Ec2Watcher(clock=clock, imds=Imds(clock=clock, endpoint=imds.url), looks=looks)
            async with at_work(watcher, board):
                await until(lambda: len(board.standing()) == 3, "three notices")
                assert imds.count("/latest/api/token", "PUT") == 1
                assert board.imminent().notice.source == "ec2-asg"  # type: ignore[union-attr]
                clock.advance(2.0)
                await until(lambda: "ec2-rebalance" in board.sources_unknown(), "the hanging one is unknown")
                assert list(board.sources_unknown()) == ["ec2-rebalance"]

    asyncio.run(run())


def test_aws_looks_again_later_and_later_but_not_too_late() -> None:
    """The first failure costs one interval; a service that never answered is asked each minute, one that did more often."""
    assert [pause(5, failures, 60) for failures in range(7)] == [5, 5, 10, 20, 40, 60, 60]
    assert [pause(5, failures, 20) for failures in range(5)] == [5, 5, 10, 20, 20]
    assert pause(60, 50, 20) == 60


def _iso(seconds: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
