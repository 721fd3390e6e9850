"""Which lines of a text are one event: by what begins an event, by what goes on with one, or by indentation.

A chunk is looked at as a whole, so that no Python bytecode runs per line unless an event is over a limit. Where the events
lie depends on nothing but the bytes and on whether the chunk begins inside an event; so the same bytes give the same events
whenever they are looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, chain, compress, count, islice, pairwise, repeat
from operator import add, not_, sub
from typing import Literal, TypeAlias

from shipper.shape.text import whole

Kind: TypeAlias = Literal["start", "continuation", "indent"]

PREFIX = 1024  # bytes of a line that a pattern sees: a line of a megabyte must not cost a pattern's worst case
MIN_BYTES = 64
INDENTED = r"^(?:[ \t]|$)"  # a blank line belongs to the event that it stands in


@dataclass(frozen=True, slots=True)
class Parts:
    """Events, or parts of events, in a chunk.

    ``starts``: where each begins, the first at 0. ``continued``: the indexes of those that go on with the event of the part
    before. ``inner``: of these, the ones that begin in the middle of a line.
    """

    starts: list[int]
    continued: frozenset[int] = frozenset()
    inner: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Multiline:
    """A rule for joining lines to events.

    ``kind``: ``start``: a line in which ``pattern`` is found begins an event; ``continuation``: one in which it is found
    goes on with the event before; ``indent``: a line that begins with a space or a tab, or is blank, goes on. The pattern is
    searched for in the first 1024 bytes of each line, without the line end; what must stand at the beginning has a ``^``.
    ``timeout``: seconds without growth after which the last event is taken to be complete. ``max_lines``, ``max_bytes``: an
    event beyond these is split; a single line beyond ``max_bytes``, too.
    """

    kind: Kind
    pattern: re.Pattern[bytes]
    timeout: float = 0.5
    max_lines: int = 500
    max_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        if self.max_lines < 1 or self.max_bytes < MIN_BYTES:
            raise ValueError(f"an event takes at least 1 line and {MIN_BYTES} bytes")

    @classmethod
    def of(
        cls, kind: Kind, pattern: str = "", timeout: float = 0.5, max_lines: int = 500, max_bytes: int = 1 << 20
    ) -> Multiline:
        """The rule with its pattern given as text (``indent`` has its own). Raises re.error when it is not one, ValueError."""
        chosen = INDENTED if kind == "indent" else pattern
        return cls(kind, re.compile(chosen.encode()), timeout, max_lines, max_bytes)

    def begins(self, line: bytes) -> bool:
        """Whether a line (without its line end) begins an event."""
        found = self.pattern.search(line, 0, PREFIX) is not None
        return found if self.kind == "start" else not found

    def parts(self, chunk: bytes, *, inside: bool = False, inner: bool = False) -> Parts:
        """The events of ``chunk``, which must not be empty.

        ``inside``: an event was under way before it, so that its first line may go on with that; else it begins one in any
        case. ``inner``: the chunk even begins in the middle of a line.
        """
        lines = chunk.split(b"\n")
        if not lines[-1]:
            lines.pop()
        bare = [line.removesuffix(b"\r") for line in lines] if b"\r" in chunk else lines
        at = list(
            map(add, accumulate(map(len, lines), initial=0), count())
        )  # where each line begins; the last: the end
        first = list(chain((0,), compress(range(1, len(lines)), self._flags(islice(bare, 1, None)))))
        continued = {0} if inside and (inner or not self.begins(bare[0])) else set()
        starts = list(map(at.__getitem__, first))
        first.append(len(lines))
        if self._fit(first, starts, at[-1]):
            return Parts(starts, frozenset(continued), frozenset({0} if inside and inner else ()))
        return self._split(chunk, lines, at, first, continued, inside and inner)

    def _flags(self, lines: Iterator[bytes]) -> Iterator[object]:
        """For each line something true where it begins an event."""
        found = map(self.pattern.search, lines, repeat(0), repeat(PREFIX))
        return found if self.kind == "start" else map(not_, found)

    def _fit(self, first: list[int], starts: list[int], end: int) -> bool:
        most_lines = max(map(sub, first[1:], first))
        longest = max(map(sub, [*starts[1:], end], starts)) - 1  # the line end does not count
        return bool(most_lines <= self.max_lines and longest <= self.max_bytes)

    def _split(
        self, chunk: bytes, lines: list[bytes], at: list[int], first: list[int], continued: set[int], inner: bool
    ) -> Parts:
        starts: list[int] = []
        inside = {0} if inner else set()
        for begin, behind in pairwise(first):
            starts.append(at[begin])
            for border, in_line in self._borders(chunk, lines, at, range(begin, behind)):
                continued.add(len(starts))
                if in_line:
                    inside.add(len(starts))
                starts.append(border)
        return Parts(starts, frozenset(continued), frozenset(inside))

    def _borders(self, chunk: bytes, lines: list[bytes], at: list[int], event: range) -> Iterator[tuple[int, bool]]:
        """Where one event is split: the position, and whether it lies inside a line."""
        start, held = at[event.start], 0
        for index in event:
            end = at[index] + len(lines[index])
            if held and (held == self.max_lines or end - start > self.max_bytes):
                start, held = at[index], 0
                yield start, False
            while end - start > self.max_bytes:
                start = whole(chunk, start + self.max_bytes)
                yield start, True
            held += 1
