"""Lets platforms go on before the end of a drain: a host that has nothing left to save should not be kept for its services.

Some holds wait for no more than an empty backlog. Those that wait for the services' end are let go, too, once the services
have had their time: they may not end before the platform ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shipper.clock import Deadline
from shipper.drain.crew import Crew
from shipper.drain.order import Outcome
from shipper.events import Said

LOOK_SECONDS = 0.02  # how often a drain looks around; a look costs microseconds a file
CAUGHT_UP_SECONDS = 1.0  # of exposure: what a busy service is always behind by
FAREWELL_AHEAD_SECONDS = 5.0  # for a farewell that is said while services still write


class EarlyRelease:
    """Of one drain. ``outcome`` is what its farewell would say if everything were out now."""

    def __init__(
        self, crew: Crew, early: Deadline, repaying: Callable[[], bool], outcome: Callable[[], Outcome]
    ) -> None:
        """``early``: until when there is time for anything but the last farewell. ``repaying``: see `Steering.repaying`."""
        self._crew = crew
        self._early = early
        self._repaying = repaying
        self._outcome = outcome
        self._began = crew.clock.monotonic()
        self._reading = True
        self._empty_since: float | None = None
        self._close_since: float | None = (
            None  # since when hardly anything is left: so it stays where services write on
        )
        self._ahead: asyncio.Task[None] | None = None

    def look(self, *, ends_life: bool, reading: bool) -> None:
        """Release holds that need not wait for the services, and those that have waited long enough for them.

        ``reading``: services may still write. To be called at every turn of the drain.
        """
        crew = self._crew
        self._reading = reading
        if not (ends_life or crew.noticed()) or not crew.holds.kept:
            return
        now = crew.clock.monotonic()
        if not self._caught_up():
            self._empty_since = None
            return
        if self._empty_since is None:
            self._empty_since = now  # one turn more: what the sources saw in this one may be there by then
            return
        if crew.unproved():
            return
        crew.holds.release_empty()
        if now - self._began < crew.services_grace or not reading:
            return
        if crew.holds.waiting() and self._ahead is None:
            self._ahead = asyncio.create_task(self._let_go_while_writing())

    async def cancel(self) -> None:
        """The drain is over; what is under way of this is its to end."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.gather(self._ahead, return_exceptions=True)

    def _caught_up(self) -> bool:
        """Nothing is left, or for a while now only what services that still write said a moment ago: with these it never ends."""
        now = self._crew.clock.monotonic()
        if self._crew.nothing_left():
            return not self._repaying()
        close = all(p.idle() or p.oldest_unacknowledged() < CAUGHT_UP_SECONDS for p in self._crew.pumps)
        if not close or not self._reading:
            self._close_since = None
            return False
        if self._close_since is None:
            self._close_since = now
        # Had nothing been acknowledged meanwhile, the oldest would be older by now.
        return now - self._close_since >= CAUGHT_UP_SECONDS

    async def _let_go_while_writing(self) -> None:
        """The services do not end by themselves: the platform will end them, and we read what they say to that.

        The farewell goes first, since the host may be gone the moment it is let go. If it is not, another one follows.
        """
        crew = self._crew
        crew.report(Said(f"services still write after {crew.services_grace:.0f} s: the host is let go all the same"))
        # Data goes on meanwhile, so this farewell is waited for a while, not until nothing is on its way.
        soon = Deadline.after(crew.clock, min(FAREWELL_AHEAD_SECONDS, self._early.remaining()))
        await crew.farewell(self._outcome(), soon)
        while not self._caught_up():
            await crew.clock.sleep(LOOK_SECONDS)
        crew.holds.release_all(drained=True)
