"""What earlier lives of this host left is shipped beside the run, one life after the other, the oldest first.

Nothing that happens to it may harm the run: whatever goes wrong is said, and the rest stays on the disk for the next start.
A drain of the run does not wait for it. Where the disk goes with the host, it gets the time that is left after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from shipper.clock import Clock, Deadline
from shipper.errors import StateDamaged
from shipper.events import Problem, Reporter, Said
from shipper.labels.remains import EarlierLife, delete

RETRY_SECONDS = 30.0


class EarlierRun(Protocol):
    """A run that only ships what an earlier life left, put together."""

    async def ship(self, deadline: Deadline) -> bool:
        """Send all of it and say farewell; True when every destination has it, the farewell too. False: time was up."""

    def backlog(self) -> int:
        """Bytes not acknowledged by the destination that has least."""

    async def aclose(self) -> None:
        """Take it apart; what is on the disk is as good for the next start as if it had been killed."""


class Remains:
    """The earlier lives that are waiting, and the one that is being shipped."""

    def __init__(
        self,
        waiting: Sequence[EarlierLife],
        put_together: Callable[[EarlierLife], Awaitable[EarlierRun]],
        give_up: Callable[[EarlierLife, str], None],
        *,
        clock: Clock,
        report: Reporter,
    ) -> None:
        """``put_together`` raises `ShipperError`; ``give_up`` sets aside what never can be shipped, and says so."""
        self._waiting = list(waiting)
        self._put_together = put_together
        self._give_up = give_up
        self._clock = clock
        self._report = report
        self._current: EarlierRun | None = None
        self._work: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Ship until nothing is left or cancelled; it may be run again then. Never raises for what is wrong with the remains."""
        if not self._waiting:
            return
        self._work = asyncio.ensure_future(self._ship_all(Deadline(self._clock)))
        try:
            await asyncio.wait({self._work})
        finally:
            await self._stopped()

    async def finish(self, deadline: Deadline) -> None:
        """The disk goes with the host and the run has said its last words: send what can be sent of this until ``deadline``."""
        await self._stopped()
        if self._waiting and not deadline.expired():
            await self._ship_all(deadline)

    def status(self) -> list[dict[str, Any]]:
        """What ``shipper status`` shows: one entry for each earlier life, the one that is being shipped first."""
        return [
            {
                "life": earlier.life,
                "runs": earlier.record.runs,
                "backlog_bytes": self._current.backlog() if number == 0 and self._current is not None else None,
            }
            for number, earlier in enumerate(self._waiting)
        ]

    async def _stopped(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
            self._work = None

    async def _ship_all(self, deadline: Deadline) -> None:
        while self._waiting and not deadline.expired():
            earlier = self._waiting[0]
            try:
                if not await self._ship(earlier, deadline):
                    return
                await asyncio.to_thread(delete, earlier)
            except StateDamaged as damage:
                self._give_up(earlier, str(damage))
            except Exception as problem:  # a bug in it, too, must cost nothing but the remains their time
                said = f"what life {earlier.life} left cannot be shipped now, it stays on this disk: {_first(problem)}"
                self._report(Problem("remains", said, earlier.life))
                await self._clock.sleep(min(RETRY_SECONDS, deadline.remaining()))
                continue
            else:
                self._report(Said(f"all that life {earlier.life} of this host left is shipped"))
            self._waiting.remove(earlier)

    async def _ship(self, earlier: EarlierLife, deadline: Deadline) -> bool:
        run = await self._put_together(earlier)
        self._current = run
        try:
            return await run.ship(deadline)
        finally:
            self._current = None
            await run.aclose()


def _first(problem: BaseException) -> str:
    """What is wrong, in a few words; of several things the first."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return f"{type(problem).__name__}: {problem}"
