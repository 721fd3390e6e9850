"""A lock that is only ever tried, for the seldom things (opening, rotating) beside a path that takes none.

Made of a dict and nothing else: gevent does not patch it, a forked child gets a new one without having to release the old,
and a signal handler that finds the interrupted code holding it learns that instead of waiting for itself.
"""

from __future__ import annotations

from _thread import get_ident
from time import monotonic, sleep

Claim = tuple[int]
_PATIENCE = 5.0  # seconds; what a turn is taken for takes well under a millisecond


def claim() -> Claim:
    """What a turn is taken with; made before the ``try`` in whose ``finally`` the turn is given back.

    So a KeyboardInterrupt between taking and ``try`` cannot leave the turn taken for ever.
    """
    return (get_ident(),)  # compared by identity


class Turn:
    """Held by one claim at a time."""

    __slots__ = ("_holder",)

    def __init__(self) -> None:
        self._holder: dict[int, Claim] = {}

    def take(self, mine: Claim) -> bool:
        """Take it; False when another claim has it, be it one of the caller's own interrupted code."""
        return self._holder.setdefault(0, mine) is mine

    def wait(self, mine: Claim) -> bool:
        """Take it as soon as it is free; False when the caller's own interrupted code has it, or it does not come."""
        give_up = monotonic() + _PATIENCE
        while not self.take(mine):
            if self.interrupted() or monotonic() > give_up:
                return False
            sleep(0.0002)
        return True

    def give_back(self, mine: Claim) -> None:
        """Let the next one have it, if ``mine`` has it."""
        if self._holder.get(0) is mine:
            del self._holder[0]

    def interrupted(self) -> bool:
        """Whether the caller's own thread has it: it interrupted itself, and waiting would be for ever."""
        holder = self._holder.get(0)
        return holder is not None and holder[0] == get_ident()
