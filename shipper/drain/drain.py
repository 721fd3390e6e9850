"""The drain: what is left is sent, reading stops last, the farewell says the truth, and the process goes at once.

One `Deadline` object is shared with everybody who takes part; it may be moved while the drain runs, and everything that
waits looks at it again. A part of the time is kept for the farewell, because a host that dies with an account of what it
left is worth more than one more request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shipper.clock import Clock, Deadline
from shipper.contracts import Source
from shipper.drain.state import DrainState, Input, State
from shipper.events import Problem, Reporter, Said

LOOK_SECONDS = 0.02  # how often silence is looked for; a look costs microseconds a file


class Drainable(Protocol):
    """What a drain needs of a pump."""

    deadline: Deadline

    def urgent(self, on: bool) -> None:
        """Lift the pacing."""

    async def wait_idle(self, deadline: Deadline) -> bool:
        """True when everything known is settled; False when the deadline came first."""


@dataclass(frozen=True, slots=True)
class Order:
    """Why and how to drain."""

    reason: str  # "SIGTERM", "shipper drain", ...
    ends_life: bool
    why: str  # evidence for ``ends_life``


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a drain ended."""

    state: State
    order: Order

    @property
    def exit_code(self) -> int:
        """0 drained, 3 expired."""
        return 0 if self.state is State.DRAINED else 3


class Drain:
    """Carries out one drain. ``farewell`` writes the last record of the run and returns when it was sent or time is up."""

    def __init__(
        self,
        *,
        state: DrainState,
        sources: Sequence[Source],
        pumps: Sequence[Drainable],
        farewell: Callable[[Outcome, Deadline], Awaitable[None]],
        clock: Clock,
        report: Reporter,
        quiet_seconds: float,
        reserve_seconds: float,
    ) -> None:
        self._state = state
        self._sources = sources
        self._pumps = pumps
        self._farewell = farewell
        self._clock = clock
        self._report = report
        self._quiet = quiet_seconds
        self._reserve = reserve_seconds
        self._aborted = asyncio.Event()
        self.deadline = Deadline(clock)

    def abort(self) -> None:
        """Somebody lost patience: stop sending, write the farewell, go."""
        self._aborted.set()

    async def carry_out(self, order: Order, deadline: Deadline) -> Outcome:
        """Drain until empty, the deadline, or an abort; then the farewell. Never raises for what a destination does."""
        self.deadline = deadline
        self._state.on(Input.STOP)
        show(self._state.state, self._report)
        self._report(
            Said(f"draining because of {order.reason} ({order.why}); {self._left_to_say(deadline)}"),
        )
        for pump in self._pumps:
            pump.deadline = deadline
            pump.urgent(True)
        work = asyncio.ensure_future(self._empty(order))
        abort = asyncio.ensure_future(self._aborted.wait())
        try:
            await asyncio.wait({work, abort}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                self._state.on(Input.EMPTY if work.result() else Input.DEADLINE)
            else:
                self._state.on(Input.ABORT)
        finally:
            for task in (work, abort):
                task.cancel()
            await asyncio.gather(work, abort, return_exceptions=True)
        show(self._state.state, self._report)
        outcome = Outcome(self._state.state, order)
        # After an abort the farewell still gets its reserve, no more: the person at the keyboard waits.
        last = (
            Deadline.after(self._clock, min(self._reserve, deadline.remaining()))
            if self._aborted.is_set()
            else deadline
        )
        await self._farewell(outcome, last)
        return outcome

    async def _empty(self, order: Order) -> bool:
        """True when nothing is left to send before the deadline less the reserve."""
        early = _Earlier(self._clock, self.deadline, self._reserve)
        writers_gone = True
        if order.ends_life:
            # Reading stops last: the services are still writing their own last words.
            while not all(source.silent(self._quiet) for source in self._sources):
                if early.expired():
                    self._report(Problem("drain-writers", "the deadline came while files were still being written"))
                    writers_gone = False
                    break
                await self._clock.sleep(min(LOOK_SECONDS, max(0.001, early.remaining())))
        else:
            for source in self._sources:
                source.stop_reading()
        for source in self._sources:
            source.close_events()
        if not await self._settled(early):
            return False
        results = await asyncio.gather(*(pump.wait_idle(early) for pump in self._pumps))
        return writers_gone and all(results)  # what a writer says after this is not shipped: that is no empty host

    async def _settled(self, early: Deadline) -> bool:
        """Wait until the pumps know of everything the sources have seen; False when the deadline came first."""
        settling = asyncio.gather(*(source.settled() for source in self._sources))
        try:
            while not settling.done():
                # Looked for before the time is: writing down takes a moment, and is worth it also when time is up.
                await self._clock.sleep(LOOK_SECONDS)
                if early.expired() and not settling.done():
                    self._report(Problem("drain-sources", "the deadline came before everything found was written down"))
                    return False
        finally:
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
        settling.result()
        return True

    def _left_to_say(self, deadline: Deadline) -> str:
        left = deadline.remaining()
        return f"{left:.1f} s to go" if left < 1e9 else "no deadline"


def show(current: State, report: Reporter) -> None:
    """Bring the gauge of the state up to date."""
    for state in State:
        report.metrics.drain_state.labels(state.value).set(1 if state is current else 0)


class _Earlier(Deadline):
    """The same moment less a reserve, always derived from the shared one so that a moved deadline moves this too."""

    __slots__ = ("_of", "_reserve")

    def __init__(self, clock: Clock, of: Deadline, reserve: float) -> None:
        super().__init__(clock)
        self._of = of
        self._reserve = reserve

    @property
    def at(self) -> float:
        return self._of.at - self._reserve

    def remaining(self) -> float:
        return max(0.0, self.at - self._clock.monotonic())

    def expired(self) -> bool:
        return self._clock.monotonic() >= self.at
