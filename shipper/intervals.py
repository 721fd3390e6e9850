"""A set of half-open integer intervals: what a cursor, a dedupe index and an audit all are.

Kept as two sorted lists of borders, merged on the way in, so that the usual case (everything up to here) is one pair
and every question is a bisection.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class IntervalSet:
    """A mutable set of positions, held as disjoint, non-adjacent intervals ``[start, end)`` in order."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in intervals:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Add ``[start, end)``; an empty interval changes nothing. Raises ValueError when ``end < start``."""
        if end < start:
            raise ValueError(f"an interval cannot end before it starts: [{start}, {end})")
        if start == end:
            return
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def remove(self, start: int, end: int) -> None:
        """Take ``[start, end)`` out."""
        if end <= start:
            return
        low = bisect_right(self._ends, start)
        high = bisect_left(self._starts, end)
        if low >= high:
            return
        kept = [(a, b) for a, b in ((self._starts[low], start), (end, self._ends[high - 1])) if a < b]
        self._starts[low:high] = [a for a, _ in kept]
        self._ends[low:high] = [b for _, b in kept]

    def overlaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """The whole intervals of this set that share a position with ``[start, end)``."""
        low = bisect_right(self._ends, start)
        high = bisect_left(self._starts, end)
        return list(zip(self._starts[low:high], self._ends[low:high], strict=True))

    def covers(self, start: int, end: int) -> bool:
        """True when every position of ``[start, end)`` is in the set."""
        if start >= end:
            return True
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and self._ends[index] >= end

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``[start, end)`` that are not in the set, in order."""
        gaps: list[tuple[int, int]] = []
        at = start
        for a, b in self.overlaps(start, end):
            if a > at:
                gaps.append((at, a))
            at = max(at, b)
        if at < end:
            gaps.append((at, end))
        return gaps

    def common(self, other: IntervalSet) -> IntervalSet:
        """The positions that are in both."""
        return IntervalSet((max(a, start), min(b, end)) for start, end in self for a, b in other.overlaps(start, end))

    def prefix(self, start: int) -> int:
        """The position up to which the set has everything from ``start`` on; ``start`` itself when it has nothing."""
        index = bisect_right(self._starts, start) - 1
        return max(start, self._ends[index]) if index >= 0 else start

    def total(self) -> int:
        """How many positions are in the set."""
        return sum(self._ends) - sum(self._starts)

    def pairs(self) -> list[tuple[int, int]]:
        """All intervals, in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def copy(self) -> IntervalSet:
        """An independent copy."""
        other = IntervalSet()
        other._starts = self._starts.copy()
        other._ends = self._ends.copy()
        return other

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.pairs())

    def __len__(self) -> int:
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"IntervalSet({self.pairs()!r})"
