"""Records of a time without a spool, kept for when the sidecar has made it: a service is often up before its sidecar is.

Adding takes no lock. Who gets the turn counts and trims, others leave their record to it; a record of a signal handler that
interrupts that is seen to by the interrupted code, or at the next one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from shipper.sdk.writer.room import NO_SPOOL
from shipper.sdk.writer.turn import Claim, Turn

if TYPE_CHECKING:
    from shipper.sdk.writer.record import Record
    from shipper.sdk.writer.series import Series

_OBJECT = 256  # bytes of memory a record takes beside its body, about


class Held:
    """The latest records of all series, at most so many and so many bytes; older ones are lost, and counted there."""

    def __init__(self, most_records: int, most_bytes: int) -> None:
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._added: deque[tuple[Series, Record]] = deque()
        self._kept: deque[tuple[Series, Record]] = deque()
        self._bytes = 0  # of those in `_kept`
        self._turn = Turn()

    def __bool__(self) -> bool:
        return bool(self._kept or self._added)

    def add(self, series: Series, record: Record) -> None:
        """Keep a record until `write`."""
        if _size(record) > self._most_bytes:
            series.losses.add(NO_SPOOL, record.worth)
            return
        self._added.append((series, record._replace(slot=-1)))  # a slot would be one of another table
        mine = Claim()
        try:
            if self._turn.take(mine):
                self._fold()
        finally:
            self._turn.give_back(mine)

    def write(self) -> None:
        """Hand over what was kept, now that there is a root; what cannot be written all the same is kept or counted again."""
        if self:
            for series, record in self._take():
                series.append(*record)

    def lose(self) -> None:
        """The process ends, and nobody will come for them."""
        for series, record in self._take():
            series.losses.add(NO_SPOOL, record.worth)

    def _take(self) -> list[tuple[Series, Record]]:
        """All that is kept, oldest first; it is the caller's now."""
        mine = Claim()
        try:
            if not self._turn.wait(mine):
                return []
            self._fold()
            taken = list(self._kept)
            self._kept.clear()
            self._bytes = 0
            return taken
        finally:
            self._turn.give_back(mine)

    def _fold(self) -> None:
        while self._added:
            series, record = self._added.popleft()
            self._kept.append((series, record))
            self._bytes += _size(record)
        while self._bytes > self._most_bytes or len(self._kept) > self._most_records:
            series, record = self._kept.popleft()
            self._bytes -= _size(record)
            series.losses.add(NO_SPOOL, record.worth)


def _size(record: Record) -> int:
    return len(record.body) + _OBJECT
