"""What a run says of its end in the account: the notices that stand, and the farewell, however full the disk may be.

A host that falls silent after a notice has said why; one that says farewell has said what it left. Both go to every
destination, and the farewell is waited for until its deadline.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from shipper.clock import Clock, Deadline
from shipper.conductor import Conductor
from shipper.drain.order import Outcome
from shipper.drain.state import State
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter, Said
from shipper.notices.board import Standing
from shipper.parts import Parts

RETRY_SECONDS = 0.25
WORTH_TELLING = 5.0  # seconds by which a deadline has to move to be stated again


class LastWords:
    """Speaks for one run."""

    def __init__(self, parts: Parts, conductor: Conductor, *, clock: Clock, report: Reporter) -> None:
        self._parts = parts
        self._conductor = conductor
        self._clock = clock
        self._report = report

    async def birth(self) -> None:
        """State that the run has begun; given up when somebody demands its end meanwhile."""
        parts = self._parts
        await self._stated(
            lambda: parts.account.birth(parts.notes),
            lambda: math.inf if self._conductor.stop is None else 0.0,
        )

    async def tell_notices(self) -> None:
        """State each notice once, and again when its deadline moved; until cancelled.

        None behind a farewell, which has to be the last word: the life would be taken for one that ended without. Where the
        run outlives it, they are stated then.
        """
        told: dict[tuple[str, str], float] = {}
        while True:
            seen = self._conductor.changes
            for one in self._conductor.board.all():
                if self._parts.account.over:
                    break
                before = told.get(one.key)
                if before is None or not (before == one.at or abs(before - one.at) < WORTH_TELLING):
                    told[one.key] = one.at
                    await self._tell(self.describe(one))
            if self._parts.account.over:
                await self._clock.sleep(RETRY_SECONDS)
            else:
                await self._conductor.next_change(seen)

    def describe(self, one: Standing) -> dict[str, Any]:
        """A notice as the account and ``shipper status`` have it."""
        left = one.at - self._clock.monotonic()
        return {
            "source": one.notice.source,
            "kind": one.notice.kind.value,
            "evidence": one.notice.evidence,
            "deadline_ns": self._clock.wall_ns() + round(left * 1e9) if math.isfinite(left) else None,
            "assumed": one.assumed,
            "ends_life": one.notice.ends_life,
        }

    async def farewell(self, outcome: Outcome, deadline: Deadline) -> None:
        """State how the run ended, and have that sent, until ``deadline``."""
        words = {
            "reason": outcome.order.reason,
            "ends_life": outcome.order.ends_life,
            "why": outcome.order.why,
            "outcome": outcome.state.value,
            "fallback": outcome.fallback,
            "writing": outcome.writing,
        }
        written = await self._stated(lambda: self._parts.account.farewell(words), deadline.remaining)
        await self._end_numbers(outcome, deadline)
        if outcome.writing and outcome.state is State.DRAINED:
            self.go_on(lives=False)  # said ahead of time: the host is let go while services still write
        pumps = [pump for pump in self._parts.every_pump if pump.takes_part]
        sent = await asyncio.gather(*(pump.wait_idle(deadline, include_account=True) for pump in pumps))
        if not written:
            self._report(Problem("farewell", "the farewell could not be written down, so nobody has it"))
        for pump, done in zip(pumps, sent, strict=True):
            if written and not done:
                said = f"{pump.name} has not acknowledged the farewell; it stays on this disk"
                self._report(Problem("farewell", said))
        if outcome.state is State.DRAINED:
            self._report(Said("drained: everything read is acknowledged"))
        else:
            said = f"the drain ended early; left unacknowledged: {self._parts.left()}"
            self._report(Problem("expired", said))

    async def _end_numbers(self, outcome: Outcome, deadline: Deadline) -> None:
        """What the numbers say of it, and, where a life ends with the run, the end of every series of this host."""
        left = sum(pump.backlog_bytes() for pump in self._parts.pumps)
        self._report.metrics.farewells.labels(outcome.state.value).inc()
        self._report.metrics.drain_left.set(left)
        numbers = self._parts.numbers
        if numbers is not None and outcome.order.ends_life:
            await self._stated(lambda: numbers.farewell(outcome.state.value, left), deadline.remaining)

    def go_on(self, *, lives: bool = True) -> None:
        """The run outlived its farewell. ``lives``: so does the host, and that farewell is not true any more."""
        self._parts.account.go_on()
        if self._parts.numbers is not None:
            self._parts.numbers.go_on(outlived=lives)

    async def _tell(self, words: dict[str, Any]) -> None:
        await self._stated(lambda: self._parts.account.notice(words), lambda: 0.0)

    async def _stated(self, statement: Callable[[], Awaitable[None]], left: Callable[[], float]) -> bool:
        """Write a statement, tried again on a full disk while seconds are ``left``; False when it could not be written.

        The run matters more than what is said of it.
        """
        while True:
            try:
                await statement()
                return True
            except (ShipperError, OSError) as problem:
                self._report(Problem("account", f"a statement cannot be written now: {problem}", "statement"))
            if (seconds := left()) <= 0:
                return False
            await self._clock.sleep(min(RETRY_SECONDS, seconds))
