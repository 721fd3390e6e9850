"""Counts of records that were not handed over, by cause; exact with threads and in signal handlers, without a lock.

An addition to a dict is two steps, between which another thread may add; an append to a deque is one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from shipper.sdk.writer.turn import Claim, Turn

_FOLD_AT = 256


class Losses:
    """What was lost since the beginning (of this process: a forked child counts from zero)."""

    __slots__ = ("_added", "_before", "_told", "_totals", "_turn")

    def __init__(self) -> None:
        self._added: deque[tuple[str, int]] = deque()
        self._totals: dict[str, int] = {}
        self._before: Mapping[str, int] = {}  # told in a directory that was left
        self._told: Mapping[str, int] = {}  # told in the current one
        self._turn = Turn()

    def add(self, cause: str, count: int = 1) -> None:
        """``count`` records were lost for ``cause``."""
        self._added.append((cause, count))
        if len(self._added) >= _FOLD_AT:
            self._fold()

    def totals(self) -> dict[str, int]:
        """Records lost so far, by cause."""
        self._fold()
        totals = dict(self._totals)
        for cause, count in tuple(self._added):  # left there by a fold that somebody else is at
            totals[cause] = totals.get(cause, 0) + count
        return totals

    def to_tell(self) -> dict[str, int]:
        """The totals as the current directory is to say them: without what an earlier one says."""
        before = self._before
        return {cause: more for cause, count in self.totals().items() if (more := count - before.get(cause, 0))}

    @property
    def untold(self) -> bool:
        """Whether something was lost since `told`."""
        return bool(self._added) or (bool(self._totals) and self._told != self.to_tell())

    def told(self, totals: Mapping[str, int]) -> None:
        """``totals`` (of `to_tell`) stand where the sidecar finds them."""
        self._told = totals

    def leave(self) -> None:
        """The directory in which they were told is left."""
        before = self._before
        self._before = {cause: before.get(cause, 0) + self._told.get(cause, 0) for cause in {*before, *self._told}}
        self._told = {}

    def _fold(self) -> None:
        mine = Claim()
        try:
            if not self._turn.take(mine):
                return
            while self._added:
                cause, count = self._added.popleft()
                self._totals[cause] = self._totals.get(cause, 0) + count
        finally:
            self._turn.give_back(mine)
