"""What one incarnation of a file holds: how far it was seen to reach, and what the bytes before certain positions were.

It never trusts that a file still holds what it held: every read brings along the bytes before it and compares. What the
finding means (truncated, copied, replaced) is for the source to find out; here it is only said that it must be looked at.
Usually one stream ships all of a content. The file of a container has two, for what went to stdout and to stderr; they read
the same bytes, each with positions of its own, and the content is done with when both are.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shipper.clock import Clock
from shipper.sources.file.handles import TailedFile
from shipper.sources.file.identity import GUARD_BYTES, HEAD_BYTES, Head, Key, guard_of
from shipper.sources.file.lines import Window

if TYPE_CHECKING:
    from shipper.sources.file.kind import Kind
    from shipper.sources.file.stream import FileStream

GUARDS = 32
SIGHTINGS = 512


class Changed(Exception):
    """A finding rather than an error: the file does not hold what it held a moment ago."""


class Content:
    """The bytes of one incarnation of a file, from ``start``; ``name`` is the path it had when it was first seen."""

    def __init__(
        self,
        id: str,
        *,
        name: str,
        start: int,
        kind: Kind,
        clock: Clock,
        suspicious: Callable[[Content], None],
        idle: Callable[[Content], None],
    ) -> None:
        """``suspicious`` is called when the content is not what it was, ``idle`` when all that was seen is released."""
        self.id = id
        self.name = name
        self.start = start
        self.kind = kind
        self.path = name  # the last one known
        self.head = Head(0, "")
        self.file: TailedFile | None = None
        self.streams: list[FileStream] = []  # that ship it, or a part of it each
        self.grown_at = -math.inf
        self.unfinished = False  # the last byte seen is no line end
        self.awaited: Key | None = None  # its file, which cannot be read yet, and is not given up for that
        self.closing = False  # unfinished lines and events are not held any longer
        self.rewritten = False  # its file was truncated in place before, and may be again
        self.copied = False  # a copy of it appeared beside it: its file is about to be truncated
        self.blocks = False  # nothing of it is given up to bound what is held
        self.gone_because = ""
        self.readable_to: float = math.inf  # what lies behind was destroyed
        self.gaps: list[tuple[int, int]] = []  # given up by who writes the file
        self._clock = clock
        self._suspicious = suspicious
        self._became_idle = idle
        self._size = start
        self._final = False
        self._fixed: int | None = None
        self._guards: OrderedDict[int, int] = OrderedDict()
        self._tail = (start, 0)
        self._sizes: list[int] = []
        self._times: list[float] = []

    # What the source tells ---------------------------------------------------------------------------------------------

    def expect(self, position: int, guard: int) -> None:
        """Remember what the bytes before ``position`` were (a guard of an earlier run)."""
        if guard and not self._in_gap(position):
            self._guards[position] = guard

    def sighted(self, size: int, when: float) -> None:
        """The content reaches to ``size`` and did so at ``when`` (monotonic seconds); a final one reaches no further."""
        if self._final:
            return
        if size > self._size and when > -math.inf:
            self._sizes.append(size)
            self._times.append(when)
            if len(self._sizes) > SIGHTINGS:  # coarser for what waits long: a time is never later than the truth
                del self._sizes[0:SIGHTINGS:2], self._times[1:SIGHTINGS:2]
        self._size = max(self._size, size)
        self.grown_at = max(self.grown_at, when)

    def look(self, size: int) -> bool:
        """Compare the file, ``size`` bytes long now, with what was seen; False when it is not the same content any more.

        Raises OSError when it cannot be read.
        """
        if self.file is None or self._final:
            return True
        if size < self._size:
            return False
        at = self._tail[0]
        tail = self._read_exactly(self.file, max(0, at - GUARD_BYTES), min(size, at + HEAD_BYTES))
        if guard_of(tail[: at - max(0, at - GUARD_BYTES)]) != self._tail[1]:
            return False
        beginning = self.file.read(
            min(size, HEAD_BYTES), 0
        )  # where lines repeat, the bytes before a position tell little
        if not self.head.matches(beginning):
            return False
        if size == at:
            return True
        if size > at + HEAD_BYTES:
            tail = self._read_exactly(self.file, size - GUARD_BYTES, size)
        if self.head.length < HEAD_BYTES:
            self.head = Head.of(beginning)
        self._tail = (size, guard_of(tail))
        self.unfinished = not tail.endswith(b"\n")
        self.sighted(size, self._clock.monotonic())
        return True

    def begin(self, file: TailedFile, size: int, head: bytes, when: float) -> None:
        """Take ``file`` up as it is now, ``size`` bytes long, trusting that it is ours."""
        self.file = file
        self.head = Head.of(head)
        tail = self._read_exactly(file, max(0, size - GUARD_BYTES), size)
        self._tail = (size, guard_of(tail))
        self.unfinished = not tail.endswith(b"\n")
        self.sighted(size, when)

    def _read_exactly(self, file: TailedFile, start: int, end: int) -> bytes:
        data = file.read(end - start, start)
        if len(data) < end - start:
            raise Changed(f"{self.name} is shorter than a moment ago")
        return data

    def known_guards(self) -> list[tuple[int, int]]:
        """Positions and the guards of the bytes before them, from low to high."""
        known = dict(self._guards)
        if self._tail[0] > self.start:
            known[self._tail[0]] = self._tail[1]
        return sorted(known.items())

    def give_up(self, gaps: Iterable[tuple[int, int]]) -> None:
        """Whoever writes the file has given these ranges up, for want of space: their bytes are zeros now."""
        self.gaps = sorted(gaps)
        for position in list(self._guards):
            if self._in_gap(position):
                del self._guards[position]

    def _in_gap(self, position: int) -> bool:
        """Whether what lies before ``position`` is partly given up, so that nothing can be recognised by it."""
        return any(start < position and position - GUARD_BYTES < end for start, end in self.gaps)

    def seal(self, readable_to: int, because: str) -> None:
        """Nothing will be appended. What lies behind ``readable_to`` was destroyed, ``because`` of what somebody did."""
        if not self._final:
            self._size = max(self._size, readable_to)
        self._final = True
        if readable_to < self._size:
            self.readable_to = readable_to
            self.gone_because = because

    def fix(self) -> None:
        """What is seen by now is all that this run ships."""
        if self._fixed is None:
            self._fixed = self._size

    # What it knows -----------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How far the file was seen to reach, also where that is no longer shipped."""
        return self._size

    @property
    def extent(self) -> int:
        """How far a final content can be read."""
        return int(min(self._size, self.readable_to))

    @property
    def finished(self) -> bool:
        """Whether nothing will ever be appended again."""
        return self._final

    @property
    def read_to(self) -> int:
        """Everything below was cut by every stream, for some destination."""
        return min((stream.read_to for stream in self.streams), default=self._size)

    @property
    def idle(self) -> bool:
        """Whether every destination has everything that was seen, and who counts it, too."""
        return all(stream.idle for stream in self.streams)

    def frontier(self) -> int:
        """The position up to which this run ships."""
        return self._size if self._fixed is None else self._fixed

    def first_seen(self, position: int) -> float | None:
        """When the bytes below ``position`` were first seen (monotonic seconds); None where that is not known."""
        index = bisect_left(self._sizes, position)
        return self._times[index] if index < len(self._times) else None

    # What its streams tell ---------------------------------------------------------------------------------------------

    def progressed(self) -> None:
        """A stream let go of something: it is not needed any more once all have."""
        passed = bisect_left(self._sizes, min(stream.released_to for stream in self.streams) + 1)
        del self._sizes[:passed], self._times[:passed]
        if self.idle:
            self._became_idle(self)

    def suspect(self) -> None:
        """A read found other bytes than were there: somebody has to find out why, and may find a copy."""
        self._suspicious(self)

    # Reading -----------------------------------------------------------------------------------------------------------

    def window(self, at: int, end: int) -> Window:
        """``[at, end)`` and up to 64 bytes before.

        Raises `Changed` when the bytes before ``at`` are not those that were read; at the beginning, where there are none, when
        the file does not begin as it did when it was looked at.
        """
        file = self.file
        if file is None:
            raise Changed(f"{self.name} is gone")
        base = max(0, at - GUARD_BYTES)
        window = Window(self._read_exactly(file, base, end), base)
        expected = self._guards.get(at)
        if expected is not None and guard_of(window.data[: at - base]) != expected:
            raise Changed(f"{self.name} no longer holds what was read")
        if base == 0 and self.head.length:  # none is known of a content that was never at the beginning of its file
            beginning = window.data if window.end >= self.head.length else file.read(HEAD_BYTES, 0)
            if not self.head.matches(beginning):
                raise Changed(f"{self.name} no longer begins with what was seen")
        return window

    def remember(self, window: Window, end: int) -> int:
        """The guard of the bytes before ``end``, which tells at the next read whether they are still there."""
        guard = guard_of(window.slice(max(window.base, end - GUARD_BYTES), end))
        self._guards[end] = guard
        self._guards.move_to_end(end)
        if len(self._guards) > GUARDS:
            self._guards.popitem(last=False)
        return guard
