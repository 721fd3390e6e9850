"""The drain: what is left is sent, reading stops last, the farewell says the truth, and the process goes at once.

One `Deadline` object is shared with everybody who takes part; it may be moved while the drain runs, and everything that
waits looks at it again. A part of the time is kept for the farewell, because a host that dies with an account of what it
left is worth more than one more request.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from random import Random

from shipper.clock import Clock, Deadline
from shipper.contracts import Source
from shipper.drain.course import Course, show
from shipper.drain.crew import Crew, Farewell
from shipper.drain.drainable import Drainable, Fallback
from shipper.drain.endings import Endings
from shipper.drain.holds import Holds
from shipper.drain.order import Order, Outcome
from shipper.drain.plan import Plan, Sight, make_plan
from shipper.drain.state import DrainState, Input
from shipper.events import Reporter, Said
from shipper.notice import Hold, Need, Notice

__all__ = ["Drain", "Fallback", "Order", "Outcome", "show"]


class Drain:
    """One per run, made at its start; `run` it beside the pumps. It can be carried out again after it was taken back.

    ``farewell`` writes the last record of the run and returns when it was sent or its deadline came. ``fallback`` gets
    the farewell too, and the rest when the ``pumps`` do not get it done. ``notices`` are those that stand, ``unproved``
    the names of destinations that took data but are local relays nobody trusts: for these, holds are kept.
    """

    def __init__(
        self,
        *,
        state: DrainState,
        sources: Sequence[Source],
        pumps: Sequence[Drainable],
        farewell: Farewell,
        clock: Clock,
        report: Reporter,
        quiet_seconds: float,
        reserve_seconds: float,
        services_grace: float = 30.0,
        endings: Endings | None = None,
        holds: Sequence[Hold] = (),
        notices: Callable[[], tuple[Notice, ...]] = tuple,
        unproved: Callable[[], Sequence[str]] = tuple,
        fallback: Fallback | None = None,
        random: Random | None = None,
    ) -> None:
        self._endings = endings or Endings([], clock=clock, report=report)
        self._notices = notices
        self._clock = clock
        self._report = report
        self._holds = Holds(holds, need=self.need, clock=clock, report=report)
        self._crew = Crew(
            state=state,
            sources=sources,
            pumps=pumps,
            fallback=fallback,
            farewell=farewell,
            holds=self._holds,
            noticed=lambda: bool(notices()),
            unproved=unproved,
            ended=self._endings.ended,
            quiet=quiet_seconds,
            reserve=reserve_seconds,
            services_grace=services_grace,
            clock=clock,
            report=report,
            random=random or Random(),
        )
        self._course: Course | None = None
        self._aborted = False

    async def run(self) -> None:
        """Hold what is to be held, and get to know whose end to wait for, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._holds.run(), name="holds")
            tasks.create_task(self._endings.run(), name="endings")

    @property
    def deadline(self) -> Deadline:
        """The deadline of the drain under way; without one, a deadline that never comes."""
        return self._course.deadline if self._course is not None else Deadline(self._clock)

    @property
    def holds(self) -> list[str]:
        """Names of the holds that have not been released."""
        return self._holds.kept

    def need(self) -> Need:
        """Why the host should live on, for holds."""
        backlog = sum(pump.backlog_bytes() for pump in self._crew.pumps)
        return Need(backlog, self._course is not None, self._notices(), self.deadline.at)

    # -- carrying out --------------------------------------------------------------------------------------------

    async def carry_out(self, order: Order, deadline: Deadline) -> Outcome:
        """Drain until empty, the deadline, or an abort; then the farewell. Never raises for what a destination does.

        With ``order.stop`` false it may be taken back meanwhile (`withdraw`): then nothing of it remains, and the outcome is
        `State.RUNNING`. With ``order.guessed``, too, a deadline that passes is no end: the outcome is `State.NOTICED`.
        """
        course = self._course = Course(order, deadline, self._crew)
        course.aborted = self._aborted
        self._crew.state.on(Input.STOP)
        show(self._crew.state.state, self._report)
        self._report(Said(f"draining because of {order.reason} ({order.why}); {_time_left(deadline)}"))
        try:
            return await course.run()
        finally:
            self._course = None

    def stop_said(self, order: Order) -> None:
        """Somebody demands the exit while a drain is under way that only a notice began. Nothing takes this back."""
        if self._course is not None and not self._course.order.stop:
            self._course.order = order
            self._report(Said(f"{order.reason} while draining ({order.why}); {_time_left(self._course.deadline)}"))

    def notice_counts(self, order: Order) -> None:
        """Of several notices this one counts now: the drain goes on because of it, and its deadline may be a guess, or none.

        After a stop was said it changes nothing.
        """
        if self._course is not None and not self._course.order.stop:
            self._course.order = order

    def withdraw(self, why: str) -> bool:
        """The notice that began the drain under way is taken back; False when a stop was said, or it is too late."""
        return self._course is not None and self._course.withdraw(why)

    def abort(self) -> None:
        """Somebody lost patience: stop sending, write the farewell, go. Before a drain, it holds for the next one."""
        self._aborted = True
        if self._course is not None:
            self._course.aborted = True

    # -- looking ahead -------------------------------------------------------------------------------------------

    def plan(self, seconds: float, origin: str) -> Plan:
        """What a drain would do now that had ``seconds``; ``origin`` says where that figure comes from.

        While one is under way, its own remaining time counts, and neither is looked at.
        """
        crew, course = self._crew, self._course
        if course is not None and math.isfinite(course.deadline.at):
            seconds, origin = course.deadline.remaining(), "of the drain under way"
        return make_plan(
            [Sight.of(pump) for pump in crew.pumps],
            state=crew.state.state.value,
            seconds=seconds,
            origin=origin,
            reserve=course.early.reserve if course is not None else min(crew.reserve, seconds / 4),
            fallback=crew.fallback.pump.name if crew.fallback is not None else "",
            taken_over=course is not None and course.steering.needed,
            holds=self._holds.kept,
            unproved=list(crew.unproved()),
            waiting_for=self._endings.describe(),
        )


def _time_left(deadline: Deadline) -> str:
    left = deadline.remaining()
    return f"{left:.1f} s to go" if left < 1e9 else "no deadline"
