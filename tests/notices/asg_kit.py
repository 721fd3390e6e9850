"""An instance of an Auto Scaling group with its watcher and its hold at work, against fakes of both services."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shipper.notice import Need
from shipper.notices.asg import LifecycleLook
from shipper.notices.asg_hold import AsgHold
from shipper.notices.ec2 import Ec2Watcher
from shipper.notices.imds import TIMEOUT_SECONDS, Imds
from shipper.testing.platforms.autoscaling import FakeAutoScaling
from shipper.testing.platforms.imds import FakeImds
from tests.notices.listening import CountingClock, RecordingBoard, at_work, until

BEAT, DONE = "RecordLifecycleActionHeartbeat", "CompleteLifecycleAction"
TAGS = {"aws:autoscaling:groupName": "checkout-asg"}


class Scene:
    """An instance of a group, its watcher and its hold at work."""

    def __init__(self, api: FakeAutoScaling, imds: FakeImds, board: RecordingBoard, clock: AskingClock) -> None:
        self.api, self.imds, self.board, self.clock = api, imds, board, clock
        self.said: list[str] = []
        self.hold: CountedHold

    def need(self) -> Need:
        return Need(1000, self.board.drains, self.board.standing(), self.board.deadline.at)

    async def begin(self) -> None:
        """The group wants the instance gone, and the watcher has seen it."""
        self.api.terminate()
        self.imds.set_target_state("Terminated")
        await self.passes(5.0, until=lambda: self.board.drains)
        assert self.board.drains
        await self.passes(0.25)

    async def passes(self, seconds: float, until: Callable[[], Any] | None = None) -> None:
        """Time goes on in steps as small as the hold's own, with real turns for sockets and the thread between."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end and not (until is not None and until()):
            await self.rest()
            due = self.clock.next_due()
            step = min(end, due if due is not None else end) - self.clock.monotonic()
            self.clock.advance(max(step, 0.0))
        await self.rest()

    async def rest(self) -> None:
        """Wait, in real time, until neither a request nor a call in the thread is under way."""
        quiet = 0
        while quiet < 20:
            await asyncio.sleep(0)
            if self.clock.asking() or self.hold.calling:
                quiet = 0
                await asyncio.sleep(0.001)
            else:
                quiet += 1


class AskingClock(CountingClock):
    """Knows how many requests are under way by their time-outs."""

    def __init__(self) -> None:
        super().__init__()
        self._asking = 0

    def asking(self) -> bool:
        return self._asking > 0

    async def sleep(self, seconds: float) -> None:
        self._asking += seconds == TIMEOUT_SECONDS
        try:
            await super().sleep(seconds)
        finally:
            self._asking -= seconds == TIMEOUT_SECONDS


class CountedHold(AsgHold):
    """Knows how many calls are under way in its thread."""

    calling = 0

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        self.calling += 1
        try:
            return await super()._in_thread(work)
        finally:
            self.calling -= 1


def in_group(
    story: Callable[[Scene], Awaitable[None]], *, hooks: Sequence[str] = (), tags: dict[str, str] | None = TAGS
) -> None:
    async def run() -> None:
        clock = AskingClock()
        async with FakeImds(clock=clock, tags=tags) as imds, FakeAutoScaling(clock=clock) as api:
            board = RecordingBoard(clock)
            scene = Scene(api, imds, board, clock)
            look = LifecycleLook()
            service = Imds(clock=clock, endpoint=imds.url)
            scene.hold = CountedHold(
                clock=clock,
                report=lambda event: scene.said.append(event.text()),  # type: ignore[arg-type]
                imds=service,
                look=look,
                hooks=hooks,
                endpoint=api.url,
            )
            watcher = Ec2Watcher(clock=clock, imds=service, looks=(look,))
            async with at_work(watcher, board):
                holding = asyncio.create_task(scene.hold.run(scene.need))
                try:
                    await until(lambda: clock.sleeping() == 2, "both rest")
                    await story(scene)
                    assert not holding.done() or holding.exception() is None
                finally:
                    holding.cancel()
                    await asyncio.wait([holding])
                    await scene.hold.aclose()

    asyncio.run(run())
