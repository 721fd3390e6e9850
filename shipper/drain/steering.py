"""Keeps the pumps of a drain on course: when their waits end, in which order they send, when a fallback takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from shipper.clock import Clock, Deadline
from shipper.drain.budget import PATIENCE, PATIENCE_SHARE, Budget, Load
from shipper.drain.drainable import Drainable, Fallback
from shipper.drain.stampede import start_delay
from shipper.events import Problem, Reporter, Said

LOOK_SECONDS = 0.25


class Steering:
    """One drain's hand on the pumps. ``needed`` is True once the fallback had to take over."""

    def __init__(
        self,
        pumps: Sequence[Drainable],
        fallback: Fallback | None,
        *,
        deadline: Deadline,
        early: Deadline,
        clock: Clock,
        report: Reporter,
        random: Random,
    ) -> None:
        """``deadline`` is handed to the pumps, ``early`` (less the reserve) is what the sending has to do with."""
        self._pumps = list(pumps)
        self._fallback = fallback
        self._deadline = deadline
        self._early = early
        self._clock = clock
        self._report = report
        self._budgets = [Budget() for _ in self._pumps]
        self._ordered = [False for _ in self._pumps]
        self._repaid = [False for _ in self._pumps]  # they get what only the fallback has
        self._idles = [False for _ in self._pumps]  # but do not take it
        self._next_look = clock.monotonic()
        backlog = sum(pump.backlog_bytes() for pump in self._pumps)
        self._hurry_at = clock.monotonic() + start_delay(backlog, early.remaining(), random)
        self._hurried = False
        self._active = False
        self._asked_at: float | None = None  # when those that failed last were asked once more
        self._asking = 0.0  # for how many seconds an answer to that is waited for
        self.needed = False

    @property
    def _all(self) -> list[Drainable]:
        return [*self._pumps, *([self._fallback.pump] if self._fallback is not None else [])]

    def look(self) -> None:
        """Do what is due now; cheap enough to be called at every turn of the drain."""
        now = self._clock.monotonic()
        if not self._hurried and now >= self._hurry_at:
            self.hurry()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._judge(now)

    def hurry(self) -> None:
        """End all waits of our own choice now."""
        self._hurried = True
        for pump in self._all:
            pump.deadline = self._deadline
            pump.urgent(True)

    def release(self) -> None:
        """The drain was taken back: everything as it was before."""
        for pump in self._all:
            pump.deadline = Deadline(self._clock)
            pump.urgent(False)
            pump.order_by_value(False)
            pump.repay(False)
        if self._fallback is not None and self._active:
            self._fallback.stand_by()

    def activate(self) -> None:
        """Let the fallback work, too, if there is one: at the latest for the farewell, which it always gets."""
        if self._fallback is None or self._active:
            return
        self._active = True
        if not self._hurried:
            self.hurry()  # there is no time left to be polite in
        self._fallback.activate()

    def repaying(self) -> bool:
        """Whether somebody takes what only the fallback has: worth the time that there is, though nothing is lost without."""
        told = zip(self._pumps, self._repaid, self._idles, strict=True)
        return any(gets and not idles and _lent(pump) for pump, gets, idles in told)

    def asking(self) -> bool:
        """Whether those that still lack something are just asked whether they take it, before we go.

        So one that was mended a moment ago is not left out; one that fails is not waited for.
        """
        now = self._clock.monotonic()
        owed = [pump for pump in self._pumps if _lent(pump)] if self._active else []
        if owed and self._asked_at is None:
            self._asked_at = now
            self._asking = min(PATIENCE, self._early.remaining() / PATIENCE_SHARE)
            for pump in owed:
                pump.urgent(True)
        since = self._asked_at if self._asked_at is not None else now
        return now - since < self._asking and any(pump.last_failed_try() < since for pump in owed)

    async def finish(self, until: Deadline) -> None:
        """Have nobody send data any more, so that the farewell says exactly what is left, and gets through."""
        await asyncio.gather(*(pump.finish(until) for pump in self._all))

    def _judge(self, now: float) -> None:
        usable = self._early.remaining()
        missing: list[str] = []
        for index, (pump, budget) in enumerate(zip(self._pumps, self._budgets, strict=True)):
            oldest = pump.oldest_unacknowledged()
            load = Load(pump.backlog_bytes(), pump.rate(), pump.failing(), oldest, _lent(pump), pump.usual_answer())
            verdict = budget.look(now, usable, load)
            self._repay(index, pump, verdict.repays)
            self._idles[index] = verdict.idles
            if verdict.by_value is not self._ordered[index]:
                self._ordered[index] = verdict.by_value
                self._order(pump, verdict.by_value)
            if verdict.miss:
                missing.append(f"{pump.name}: {verdict.miss}")
        if missing:
            self._missed(missing)

    def _order(self, pump: Drainable, by_value: bool) -> None:
        pump.order_by_value(by_value)
        if by_value:
            self._report(Said(f"time may be short for {pump.name}: errors and last words go first"))
        else:
            self._report(Said(f"time is ample for {pump.name} again: oldest first"))

    def _repay(self, index: int, pump: Drainable, on: bool) -> None:
        on = on and self._active
        if on is self._repaid[index]:
            return
        self._repaid[index] = on
        pump.repay(on)
        if on and (lent := _lent(pump)):
            self._report(
                Said(f"{pump.name} takes data: it gets the {lent:,} bytes that it lacks itself, while there is time")
            )

    def _missed(self, missing: list[str]) -> None:
        why = "; ".join(missing)
        if self._fallback is None:
            self._report(
                Problem("drain-late", f"will not be done in time, and there is no fallback: {why}", "no fallback")
            )
        elif not self.needed:
            self.needed = True
            self._report(Problem("drain-fallback", f"{self._fallback.pump.name} takes over as well: {why}"))
            self.activate()


def _lent(pump: Drainable) -> int:
    """Bytes that ``pump`` lacks, and its fallback has."""
    return max(0, sum(pump.backlog().values()) - pump.backlog_bytes())
