"""When a fallback stands in for destinations that are down, and when it stands by again.

| the fallback | what happens | then |
|---|---|---|
| stands by | a destination is down for ``after`` seconds | it helps: it gets what that destination lacks |
| helps | another one is down for that long, or one of several is well | it helps those that are down now |
| helps | all are well | it stands by; each of the others still gets everything, from its own cursor |
| stands by, or helps | a drain calls it | it works for the drain, as `shipper.pump.share` says |
| works for a drain | the drain is taken back | it stands by, and helps at once where somebody is still down |

A destination is down from the moment it fails until it is *well*: it answered several times in a row, or once and then did not
fail for a while. One that answers now and then is down all the same, so the fallback neither comes nor goes with every answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.pump.share import Primary, Share

LOOK_SECONDS = 1.0
WELL_ANSWERS = 3  # in a row
WELL_SECONDS = 30.0  # without a failure, for one that has little to send


class Watched(Primary, Protocol):
    """A destination that may go down: a pump."""

    @property
    def name(self) -> str: ...

    def failing(self) -> bool:
        """True while it takes nothing."""

    def answers_in_a_row(self) -> int:
        """How many attempts were answered since the last one that failed."""

    def last_failure(self) -> float:
        """When an attempt failed last (the clock's monotonic seconds)."""

    def backlog_bytes(self) -> int:
        """Bytes that it lacks."""


class Helper(Protocol):
    """The fallback: a pump that stands by."""

    @property
    def name(self) -> str: ...

    def activate(self, share: Share) -> None:
        """Work in a share."""

    def stand_by(self) -> None:
        """Work no more."""


class Doing(Enum):
    """What the fallback does."""

    STANDING_BY = "standing by"
    HELPING = "helping"
    DRAINING = "draining"


class Outage:
    """Looks after one fallback; `run` it beside the pumps. ``after``: seconds; inf: it helps in drains only."""

    def __init__(
        self, primaries: Sequence[Watched], fallback: Helper, *, after: float, clock: Clock, report: Reporter
    ) -> None:
        self.doing = Doing.STANDING_BY
        self.down: list[str] = []  # the destinations that it stands in for
        self._primaries = [_Down(primary, clock) for primary in primaries]
        self._fallback = fallback
        self._after = after
        self._clock = clock
        self._report = report
        self._show(helps=False)  # a series that begins when it rises cannot be seen to rise

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while math.isfinite(self._after):
            await self._clock.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Do what the table says."""
        for primary in self._primaries:
            primary.look()
        if self.doing is not Doing.DRAINING:
            self._help([primary for primary in self._primaries if primary.seconds() >= self._after])

    def drain(self) -> None:
        """A drain needs the fallback, for all that any destination lacks."""
        self._begin(Doing.DRAINING, [], Share(primary.pump for primary in self._primaries))

    def drain_over(self) -> None:
        """The drain was taken back."""
        self._stand_by()
        self.look()

    def _help(self, down: Sequence[_Down]) -> None:
        names = [primary.pump.name for primary in down]
        if names == self.down:
            return
        for primary in self._primaries:
            if primary.pump.name in self.down and primary not in down:
                self._say_well(primary)
        for primary in down:
            if primary.pump.name not in self.down:
                self._say_down(primary)
        if down:
            self._begin(Doing.HELPING, names, Share((primary.pump for primary in down), repaid=True))
        else:
            self._stand_by()

    def _begin(self, doing: Doing, down: list[str], share: Share) -> None:
        self.doing, self.down = doing, down
        self._fallback.activate(share)
        self._show(helps=True)

    def _stand_by(self) -> None:
        self.doing, self.down = Doing.STANDING_BY, []
        self._fallback.stand_by()
        self._show(helps=False)

    def _show(self, *, helps: bool) -> None:
        self._report.metrics.fallback_helping.labels(self._fallback.name).set(int(helps))

    def _say_down(self, primary: _Down) -> None:
        name, helper = primary.pump.name, self._fallback.name
        said = f"{name} is down for {primary.seconds():.0f} s: {helper} gets what it lacks until it is well"
        self._report(Problem("fallback", said, name))

    def _say_well(self, primary: _Down) -> None:
        name, owed = primary.pump.name, primary.pump.backlog_bytes()
        self._report(Said(f"{name} is well again, and gets the {owed:,} bytes that it lacks itself"))


class _Down:
    """Since when one destination is down."""

    def __init__(self, pump: Watched, clock: Clock) -> None:
        self.pump = pump
        self._clock = clock
        self._since = math.inf

    def look(self) -> None:
        """Find out whether it is."""
        if self.pump.failing():
            self._since = min(self._since, self._clock.monotonic())
        elif self._well():
            self._since = math.inf

    def seconds(self) -> float:
        """For how long; -inf while it is well."""
        return self._clock.monotonic() - self._since

    def _well(self) -> bool:
        answers = self.pump.answers_in_a_row()
        quiet = self._clock.monotonic() - self.pump.last_failure() >= WELL_SECONDS
        return answers >= WELL_ANSWERS or (answers > 0 and quiet)
