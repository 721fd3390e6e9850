"""An EC2 instance with one of its watcher's looks at work, for tests of what each makes of the metadata service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shipper.notices.asg import LifecycleLook
from shipper.notices.ec2 import Ec2Watcher, Look
from shipper.notices.ec2_rebalance import RebalanceLook
from shipper.notices.ec2_scheduled import ScheduledLook
from shipper.notices.ec2_spot import SpotLook
from shipper.notices.imds import Imds
from shipper.notices.times import Times
from shipper.testing.platforms.imds import FakeImds
from tests.notices.listening import CountingClock, RecordingBoard, at_work, poll, until

Story = Callable[["Instance"], Awaitable[None]]


class Instance:
    """An instance with its watcher at work; ``pause`` is the time between two of its looks."""

    def __init__(self, imds: FakeImds, board: RecordingBoard, clock: CountingClock, pause: float) -> None:
        self.imds, self.board, self.clock, self.pause = imds, board, clock, pause

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await poll(self.clock, self.pause)

    @property
    def only(self):  # type: ignore[no-untyped-def]
        (notice,) = self.board.standing()
        return notice


def on_ec2(
    make: Callable[[CountingClock], Look], story: Story, *, before: Callable[[FakeImds], None] | None = None
) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeImds(clock=clock) as imds:
            if before is not None:
                before(imds)
            board = RecordingBoard(clock)
            look = make(clock)
            watcher = Ec2Watcher(clock=clock, imds=Imds(clock=clock, endpoint=imds.url), looks=(look,))
            async with at_work(watcher, board):
                await until(lambda: clock.waits[look.interval], "the first look")
                await story(Instance(imds, board, clock, look.interval))

    asyncio.run(run())


def spot(clock: CountingClock) -> Look:
    return SpotLook(clock=clock, times=Times(clock))


def scheduled(clock: CountingClock) -> Look:
    return ScheduledLook(times=Times(clock))


def rebalance(clock: CountingClock) -> Look:
    return RebalanceLook()


def group(clock: CountingClock) -> Look:
    return LifecycleLook()
