"""What a polling watcher needs so that the same answer, read a hundred times, is one notice with one time.

The board would find out as well. But a time that is worked out anew at each poll wanders by the whole second that a ``Date``
header is exact to; and a notice said again is an answer that made sense, which may not be true of the rest of it.
"""

from __future__ import annotations

from shipper.notice import Notice, NoticeBoard
from shipper.notices.times import Times, parse_time

MANY = 256


class Once:
    """Says a notice when it is new or changed, and takes it back when it was said."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._said: dict[str, Notice] = {}

    def say(self, board: NoticeBoard, notice: Notice) -> None:
        """Say it, unless it is what was said last under its key."""
        if self._said.get(notice.key) != notice:
            self._said[notice.key] = notice
            board.notice(notice)

    def take_back(self, board: NoticeBoard, key: str, why: str) -> None:
        """Withdraw what stands under ``key``, if anything."""
        if self._said.pop(key, None) is not None:
            board.withdrawn(self._source, key, why)

    def forget(self, key: str) -> None:
        """It stands, but the platform will say no more of it."""
        self._said.pop(key, None)


class Moments:
    """Converts stated times (`Times`), each text once: what it meant when first read is what it means."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._known: dict[str, float] = {}

    def of(self, text: str, server_date: str | None) -> float:
        """The moment in monotonic seconds. Raises ValueError for a text that is no time."""
        if text not in self._known:
            if len(self._known) >= MANY:
                self._known.clear()
            self._known[text] = self._times.monotonic_of(parse_time(text), server_date)
        return self._known[text]
