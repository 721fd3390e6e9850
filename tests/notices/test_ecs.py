"""ECS: the task that shall stop, and the protection of one that has much to send."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shipper.notice import Need, NoticeKind
from shipper.notices.ecs import POLL_SECONDS, EcsWatcher, seconds_of
from shipper.notices.ecs_hold import EcsHold
from shipper.testing.platforms.ecs import FakeEcs, exception, failure
from shipper.testing.platforms.loopback import Trap, cut_off, huge, page, text, web_page
from tests.notices.listening import CountingClock, RecordingBoard, at_work, poll, until

MIB = 1 << 20


def in_task(
    story: Callable[[FakeEcs, RecordingBoard, CountingClock], Awaitable[None]], *, stop_timeout: float | None = None
) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeEcs(clock=clock) as ecs:
            board = RecordingBoard(clock)
            watcher = EcsWatcher(clock=clock, metadata_uri=ecs.metadata_uri, stop_timeout=stop_timeout)
            async with at_work(watcher, board):
                await until(lambda: board.good, "the first look")
                await story(ecs, board, clock)

    asyncio.run(run())


async def look(clock: CountingClock) -> None:
    """One more question, answered and dealt with."""
    await poll(clock, POLL_SECONDS)


def test_ecs_task_that_shall_stop_is_a_notice() -> None:
    """DesiredStatus STOPPED is imminent, by the budget of ECS as no time is stated, and one notice however often read."""

    async def story(ecs: FakeEcs, board: RecordingBoard, clock: CountingClock) -> None:
        assert not board.told
        ecs.stop_task()
        await look(clock)
        await until(lambda: board.drains, "the notice")
        await look(clock)
        (notice,) = board.told
        assert notice.kind is NoticeKind.IMMINENT
        assert notice.ends_life
        assert 20 < board.left() <= 28

    in_task(story)


def test_ecs_stated_stop_timeout_is_the_deadline() -> None:
    """Who says ECS_CONTAINER_STOP_TIMEOUT gets that time less what is lost on the way, counted once."""

    async def story(ecs: FakeEcs, board: RecordingBoard, clock: CountingClock) -> None:
        ecs.stop_task()
        await look(clock)
        await until(lambda: board.drains, "the notice")
        at = board.deadline.at
        assert board.left() == pytest.approx(118, abs=3)
        await look(clock)
        assert board.deadline.at == at

    in_task(story, stop_timeout=120)


@pytest.mark.parametrize(
    "trap", [page(500), page(404), web_page(), huge(1 << 20), cut_off(), text("{"), text("{}"), text("[]")]
)
def test_ecs_mad_answers_are_unknown(trap: Trap) -> None:
    """An answer that makes no sense begins nothing and takes nothing back."""

    async def story(ecs: FakeEcs, board: RecordingBoard, clock: CountingClock) -> None:
        ecs.trap(ecs.task_path, trap)
        await look(clock)
        await until(lambda: board.complaints, "a complaint")
        assert not board.told
        ecs.stop_task()
        await look(clock)
        await until(lambda: board.drains, "the notice")
        ecs.trap(ecs.task_path, trap)
        await look(clock)
        assert board.drains

    in_task(story)


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("30", 30.0),
        ("30s", 30.0),
        ("2m", 120.0),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("", None),
        ("soon", None),
        ("0", None),
    ],
)
def test_ecs_stop_timeout_as_agent_and_task_definition_write_it(stated: str, seconds: float | None) -> None:
    """``30``, ``30s`` and ``1m30s`` are times; anything else is none."""
    assert seconds_of(stated) == seconds


# -- protection --------------------------------------------------------------------------------------------------------


class Held:
    """A hold at work, with a need that the test sets."""

    def __init__(self, ecs: FakeEcs, clock: CountingClock) -> None:
        self.ecs, self.clock = ecs, clock
        self.said: list[str] = []
        self.backlog, self.draining = 0, False
        report: Any = lambda event: self.said.append(event.text())  # noqa: E731
        self.hold = EcsHold(clock=clock, report=report, agent_uri=ecs.agent_uri)

    def need(self) -> Need:
        return Need(self.backlog, self.draining, (), math.inf)

    async def passes(self, seconds: float) -> None:
        """Time goes on second by second, each look done before the next."""
        for _ in range(round(seconds)):
            waits = self.clock.waits[1.0]
            self.clock.advance(1.0)
            await until(lambda waits=waits: self.clock.waits[1.0] > waits, "the next look")

    @property
    def asked(self) -> int:
        return self.ecs.count(self.ecs.protection_path, "PUT")


def holding(story: Callable[[Held], Awaitable[None]], **task: Any) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeEcs(clock=clock, **task) as ecs:
            held = Held(ecs, clock)
            running = asyncio.create_task(held.hold.run(held.need))
            try:
                await until(lambda: clock.waits[1.0], "the first look")
                await story(held)
                assert not running.done() or running.exception() is None
            finally:
                running.cancel()
                await asyncio.wait([running])
                await held.hold.aclose()

    asyncio.run(run())


def test_ecs_protection_while_much_is_unsent() -> None:
    """Above the threshold the task is protected, below a tenth of it no longer, and nothing is asked in between."""

    async def story(at: Held) -> None:
        await at.passes(3)
        assert not at.asked
        at.backlog = 2 * MIB
        await at.passes(2)
        assert at.ecs.protected()
        at.backlog = MIB // 2
        await at.passes(10)
        assert at.ecs.protected()
        assert at.asked == 1
        at.backlog = 0
        await at.passes(1)
        assert not at.ecs.protected()
        assert at.ecs.protections == [10, None]

    holding(story)


def test_ecs_protection_is_renewed_before_it_expires() -> None:
    """A backlog that lasts an hour is protected all that hour, by few requests."""

    async def story(at: Held) -> None:
        at.backlog = 2 * MIB
        for _ in range(12):
            await at.passes(1)
            at.clock.advance(299.0)
            await until(lambda: at.clock.sleeping() == 1, "rest")
            assert at.ecs.protected()
        assert 10 <= at.asked <= 14

    holding(story)


def test_ecs_release_takes_protection_off() -> None:
    """A released hold leaves no protection behind that would block a deployment, drained or not."""

    async def story(at: Held) -> None:
        at.backlog = 2 * MIB
        await at.passes(2)
        await at.hold.release(drained=False)
        assert not at.ecs.protected()

    holding(story)


def test_ecs_stopping_task_is_not_newly_protected() -> None:
    """During a drain ECS would refuse, so it is not asked."""

    async def story(at: Held) -> None:
        at.backlog, at.draining = 2 * MIB, True
        await at.passes(3)
        assert not at.asked

    holding(story)


@pytest.mark.parametrize("task", [{"service": ""}, {"task_role": False}])
def test_ecs_task_that_cannot_be_protected_says_so_once(task: dict[str, Any]) -> None:
    """A task of no service, or without a role, is told of once and hardly asked again."""

    async def story(at: Held) -> None:
        at.backlog = 2 * MIB
        await at.passes(60)
        assert len(at.said) == 1
        assert at.asked == 1

    holding(story, **task)


@pytest.mark.parametrize(
    "trap",
    [
        exception(400, "ThrottlingException", "Rate exceeded"),
        exception(500, "ServerException"),
        failure("DEPLOYMENT_BLOCKED"),
        page(500),
        web_page(),
        huge(1 << 20),
        text('{"protection": {"ProtectionEnabled": false}}'),
        text("[]"),
        cut_off(),
    ],
)
def test_ecs_protection_is_tried_again(trap: Trap) -> None:
    """What may pass is tried again later, and later still; it is never an exception."""

    async def story(at: Held) -> None:
        at.ecs.trap(at.ecs.protection_path, trap, trap)
        at.backlog = 2 * MIB
        await at.passes(10)
        assert at.asked == 1
        await at.passes(50)
        assert at.ecs.protected()
        assert at.asked == 3

    holding(story)


def test_ecs_protection_lasts_what_ecs_allows() -> None:
    """Minutes outside 1 to 2880 are refused when the hold is made."""
    for minutes in (0, 2881):
        with pytest.raises(ValueError, match="2880"):
            EcsHold(clock=CountingClock(), report=lambda event: None, agent_uri="http://x", minutes=minutes)  # type: ignore[arg-type]
