"""Everybody who takes part in a drain, as one value that its parts share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from shipper.clock import Clock, Deadline
from shipper.contracts import Source
from shipper.drain.drainable import Drainable, Fallback
from shipper.drain.holds import Holds
from shipper.drain.order import Outcome
from shipper.drain.state import DrainState
from shipper.events import Reporter

Farewell = Callable[[Outcome, Deadline], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Crew:
    """See `shipper.drain.drain.Drain` for what each is."""

    state: DrainState
    sources: Sequence[Source]
    pumps: Sequence[Drainable]
    fallback: Fallback | None
    farewell: Farewell
    holds: Holds
    noticed: Callable[[], bool]
    unproved: Callable[[], Sequence[str]]
    ended: Callable[[], bool | None]
    quiet: float
    reserve: float
    services_grace: float
    clock: Clock
    report: Reporter
    random: Random

    def nothing_left(self) -> bool:
        """Whether every destination has everything, or somebody has it in its place."""
        return all(pump.idle() for pump in self.pumps)
