"""Which ranges of a backlog are worth most when there is no time for all of it: those with errors, and each stream's last words.

Whole ranges are ordered, never records within one. What holds errors is found out a slice at a time, the newest first, once
for all pumps: they look at the same `Values`.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipper.contracts import Stream, StreamKind
from shipper.intervals import IntervalSet

BLOCK = 64 << 10  # bytes: a range that is worth its own place in the order
SLICE = 1 << 20  # bytes looked at in one go, a few milliseconds
MOST = 2000  # ranges of one stream; what more there is goes in its turn
ERRORS, NEWEST, REST = 0, 1, 2
STORY = -1  # birth, notices, farewell


class Values:
    """The ranges with errors of all streams, as far as they were looked for."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[int, int]]] = {}
        self._looked: dict[str, IntervalSet] = {}
        self.changes = 0  # grows with every find

    def of(self, stream: str) -> list[tuple[int, int]]:
        """What was found in a stream, in the order in which it was; the list grows."""
        return self._found.setdefault(stream, [])

    def look(self, stream: Stream, low: int) -> bool:
        """Look at the newest slice above ``low`` that was not looked at yet; False when there is none."""
        looked = self._looked.setdefault(stream.id, IntervalSet())
        found = self.of(stream.id)
        gaps = looked.missing(low, stream.frontier() // BLOCK * BLOCK)  # the end is each stream's newest range anyway
        if not gaps or len(found) >= MOST:
            return False
        start, end = gaps[-1]
        start = max(start, (end - 1) // SLICE * SLICE)
        looked.add(start, end)
        if more := stream.valuable(start, end):
            found.extend(reversed(more))
            self.changes += 1
        return True

    def forget(self, stream: str) -> None:
        """The stream is retired."""
        self._found.pop(stream, None)
        self._looked.pop(stream, None)


class Wanted:
    """What one lane sends before the rest: the ranges with errors, then the newest range and what is appended to it."""

    __slots__ = ("_errors", "_newest", "_next", "_planned", "_stale")

    def __init__(self, errors: list[tuple[int, int]]) -> None:
        self._errors = errors
        self._next = 0  # those before are taken
        self._newest: int | None = None
        self._planned = -1  # the frontier that the newest range was taken from
        self._stale = True

    def renew(self) -> None:
        """Think again: the stream may have grown, and what others had claimed may be free."""
        self._next = 0
        self._stale = True

    def ranges(self, stream: Stream, taken: IntervalSet, at: int, frontier: int) -> Iterator[tuple[int, int]]:
        """What is not ``taken`` yet of the ranges wanted, one after the other; all of it lies in ``[at, frontier)``."""
        while self._next < len(self._errors):
            start, end = self._errors[self._next]
            yield from taken.missing(max(start, at), min(end, frontier))[:1]
            self._next += 1  # taken; or it was given and is not due
        newest = self._newest_of(stream, frontier)
        if newest is not None:
            yield from taken.missing(max(newest, at), frontier)[:1]

    def rank(self, stream: Stream, taken: IntervalSet, at: int) -> int:
        """The worth of what `ranges` would give first."""
        frontier = stream.frontier()
        while self._next < len(self._errors):
            start, end = self._errors[self._next]
            if taken.missing(max(start, at), min(end, frontier)):
                return ERRORS
            self._next += 1
        newest = self._newest_of(stream, frontier)
        return NEWEST if newest is not None and taken.missing(max(newest, at), frontier) else REST

    def _newest_of(self, stream: Stream, frontier: int) -> int | None:
        """Where the newest range begins; planned anew only when `renew` was called, so that the end is followed."""
        if self._stale and frontier != self._planned:
            self._planned = frontier
            self._newest = stream.border(max(stream.start, frontier - BLOCK))
        self._stale = False
        return self._newest


def rank_of_kind(kind: StreamKind) -> int:
    """The worth of a stream that no value is looked for in."""
    return {StreamKind.LIFE: STORY, StreamKind.ACCOUNT: NEWEST}.get(kind, REST)
