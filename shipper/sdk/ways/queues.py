"""What the ways with a queue have in common: flushed on SIGTERM and at the end, within one deadline, and what is left is said."""

from __future__ import annotations

import time

from shipper.sdk import voice
from shipper.sdk.emit.seam import forget_in_children
from shipper.sdk.ways.endings import EXIT_SECONDS, at_end
from shipper.sdk.ways.flusher import Asked, flush_all
from shipper.sdk.ways.tally import Tally
from shipper.sdk.ways.terminate import Termination


class Queues:
    """The queues of one process, one per signal."""

    def __init__(self) -> None:
        self._flushers: list[Asked] = []
        self._tallies: list[Tally] = []
        self._always = False
        self._termination = Termination(lambda: self.flush(time.monotonic() + EXIT_SECONDS), self.say_rest)
        forget_in_children(self, Queues._anew)

    def tally(self, what: str) -> Tally:
        """A new count of what goes through a queue."""
        self._tallies.append(Tally(what))
        return self._tallies[-1]

    def add(self, flusher: Asked, *, always: bool = False) -> None:
        """One more queue. ``always``: it is flushed even when the tallies say that nothing waits."""
        self._flushers.append(flusher)
        self._always = self._always or always

    def install(self) -> None:
        """Be told of SIGTERM and of the end of the process."""
        at_end(self.end)
        self._termination.install()

    def flush(self, deadline: float) -> None:
        """Send what waits, until ``deadline`` (monotonic seconds) at most."""
        if self._always or any(tally.waiting for tally in self._tallies):
            flush_all(self._flushers, deadline)

    def end(self, deadline: float) -> None:
        """Flush, and say what could not be sent."""
        self.flush(deadline)
        self.say_rest()
        self._termination.at_end()

    def say_rest(self) -> None:
        """Say what was not sent, if it was not said."""
        for tally in self._tallies:
            if lost := tally.missing():
                voice.say(lost)

    def _anew(self) -> None:
        for tally in self._tallies:
            tally.anew()
