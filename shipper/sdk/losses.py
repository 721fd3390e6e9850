"""Counts of records that were not handed over, by cause; exact with threads and in signal handlers, without a lock.

An addition to a dict is two steps, between which another thread may add; an append to a deque is one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from shipper.sdk.turn import Turn

_FOLD_AT = 256


class Losses:
    """What was lost since the beginning (of this process: a forked child counts from zero)."""

    __slots__ = ("_added", "_told", "_totals", "_turn")

    def __init__(self) -> None:
        self._added: deque[tuple[str, int]] = deque()
        self._totals: dict[str, int] = {}
        self._told: Mapping[str, int] = {}
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

    @property
    def untold(self) -> bool:
        """Whether something was lost since `told`."""
        return bool(self._added) or self._told != self._totals

    def told(self, totals: Mapping[str, int]) -> None:
        """``totals`` is written where the sidecar finds it."""
        self._told = totals

    @property
    def last_told(self) -> Mapping[str, int]:
        """What was told last."""
        return self._told

    def _fold(self) -> None:
        if not self._turn.take():
            return
        try:
            while self._added:
                cause, count = self._added.popleft()
                self._totals[cause] = self._totals.get(cause, 0) + count
        finally:
            self._turn.give_back()
