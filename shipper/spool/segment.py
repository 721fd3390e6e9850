"""What is known in memory about one segment: where it begins and ends, and a few places where a frame surely starts.

A place is kept every 64 KiB, not for every frame, so that a large spool of small frames costs little memory; from the
nearest one the reader walks from frame to frame.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field

MARK_EVERY = 64 << 10


def _positions() -> array[int]:
    return array("Q")


@dataclass(slots=True)
class Segment:
    """The positions ``[base, end)`` in one file, whose name is ``base``."""

    base: int
    end: int
    marks: array[int] = field(default_factory=_positions)  # some of the frame starts, in order

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.end - self.base

    def grow(self, start: int, end: int) -> None:
        """A frame was appended at ``[start, end)``."""
        if not self.marks or start - self.marks[-1] >= MARK_EVERY:
            self.marks.append(start)
        self.end = end

    def reach(self, start: int, limit: int) -> int:
        """Bytes to read from a frame start on, so that the last frame in them is whole: about ``limit``, more for a large one."""
        index = bisect_right(self.marks, start + limit) - 1
        if index >= 0 and self.marks[index] > start:
            return self.marks[index] - start
        return (self.marks[index + 1] if index + 1 < len(self.marks) else self.end) - start

    def mark_before(self, position: int) -> int:
        """A frame start at or before ``position``."""
        index = bisect_right(self.marks, position) - 1
        return self.marks[index] if index >= 0 else self.base
