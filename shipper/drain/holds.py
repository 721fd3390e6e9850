"""Lets platforms go on: each hold is released exactly once, not while there is something to save, and at last by the deadline.

A hold that has been released is over, because its platform was told that it may go on; unless the drain is taken back: then
all hold again, for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.notice import Hold, Need

EMPTY = "empty"
RELEASE_SECONDS = 5.0  # a release that takes longer is left alone; the process has to end


class Holds:
    """All holds of a run. ``need`` is what they may look at meanwhile."""

    def __init__(self, holds: Sequence[Hold], *, need: Callable[[], Need], clock: Clock, report: Reporter) -> None:
        self._need = need
        self._clock = clock
        self._report = report
        self._kept: dict[Hold, str] = {hold: hold.name for hold in holds}  # in order, without those released
        self._all = tuple(holds)
        self._running: dict[Hold, asyncio.Task[None]] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Hold, from the start of the run, until cancelled; then close everything."""
        self._running = {hold: asyncio.create_task(self._hold(hold), name=f"hold-{hold.name}") for hold in self._kept}
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), *self._releasing, return_exceptions=True)
            for hold in self._all:
                await hold.aclose()

    def again(self) -> None:
        """The drain was taken back: what was released holds again, as far as its platform lets it."""
        self._kept = {hold: hold.name for hold in self._all}
        for hold, task in self._running.items():
            if task.done():
                self._running[hold] = asyncio.create_task(self._hold(hold), name=f"hold-{hold.name}")

    @property
    def kept(self) -> list[str]:
        """Names of those not released."""
        return list(self._kept.values())

    def holding(self) -> bool:
        """True while a platform really waits for us."""
        return any(hold.holding for hold in self._kept)

    def waiting(self) -> bool:
        """True while one stands that is released only when the services have ended, too."""
        return any(hold.release_when != EMPTY for hold in self._kept)

    def release_empty(self) -> None:
        """Nothing is left to send: let go of those that wait for no more than that. Returns at once."""
        self._begin([hold for hold in self._kept if hold.release_when == EMPTY], drained=True)

    def release_all(self, *, drained: bool) -> None:
        """Let go of all that stand. Returns at once; `released` waits."""
        self._begin(list(self._kept), drained=drained)

    async def released(self) -> None:
        """Return when every release under way is over, or has taken too long."""
        if self._releasing:
            await asyncio.wait(set(self._releasing))

    def _begin(self, holds: list[Hold], *, drained: bool) -> None:
        for hold in holds:
            del self._kept[hold]
            task = asyncio.create_task(self._release(hold, drained), name=f"release-{hold.name}")
            self._releasing.add(task)
            task.add_done_callback(self._releasing.discard)

    async def _release(self, hold: Hold, drained: bool) -> None:
        work = asyncio.ensure_future(hold.release(drained=drained))
        limit = asyncio.ensure_future(self._clock.sleep(RELEASE_SECONDS))
        try:
            await asyncio.wait({work, limit}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._report(
                    Problem("hold", f"{hold.name} could not be let go within {RELEASE_SECONDS:.0f} s", hold.name)
                )
            elif error := work.exception():
                self._report(Problem("hold", f"{hold.name} could not be let go: {_text(error)}", hold.name))
            else:
                self._report(Said(f"{hold.name} may go on: {'nothing is left here' if drained else 'time is up'}"))
        finally:
            work.cancel()
            limit.cancel()
            await asyncio.gather(work, limit, return_exceptions=True)

    async def _hold(self, hold: Hold) -> None:
        try:
            await hold.run(self._need)
        except Exception as error:  # a stranger's hold must not end the run it is there to protect
            self._report(Problem("hold", f"{hold.name} no longer holds: {_text(error)}", hold.name))


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
