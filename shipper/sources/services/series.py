"""One signal of one process: its segments in order, and what is known of them from having looked at every frame once.

The first look counts and checks; it is what tells how far whole frames reach, what was declared, which sequence numbers
are there, and so what was lost. Cutting batches reads the bytes again, from the page cache.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable

from shipper.contracts import Signal
from shipper.handoff.frame import OVERHEAD, Frame, Kind
from shipper.handoff.hello import printable, read_hello
from shipper.intervals import IntervalSet
from shipper.sources.services.declared import DECLARATIONS, Declared
from shipper.sources.services.place import Place
from shipper.sources.services.segment import Found, Segment, look, resync
from shipper.sources.services.settings import MAX_DAMAGES, MAX_DECLARATION, MAX_POSITION, MAX_RUNS, MAX_SEGMENT

CHUNK = 1 << 20
BORDER_BYTES = 64 << 10  # a border between frames is remembered once in so many bytes
SEAL_PATIENCE = 10.0  # seconds without growth after which a segment that has a successor counts as done with
NOTES = 5
_LATE = 64
_CAUSE = re.compile(r"[\w.-]{1,100}", re.ASCII)


class Series:
    """The segments of one series. ``say`` gets (kind of problem, sentence) for what is wrong with their content."""

    def __init__(
        self, place: Place, signal: Signal, owner: str, declared: Declared, say: Callable[[str, str], None]
    ) -> None:
        self.place = place
        self.owner = owner
        self.signal = signal
        self.declared = declared
        self.segments: list[Segment] = []
        self.seqs = IntervalSet()
        self.excused = IntervalSet()  # numbers that may be missing
        self.dropped: dict[str, int] = {}  # by cause, as the process said last
        self.told: dict[str, int] = {}  # the same, as far as it was reported
        self.holes: dict[int, tuple[int, int]] = {}  # start of a range that is gone unshipped -> (end, records)
        self.notes: deque[str] = deque(maxlen=NOTES)
        self.records = 0
        self.begins = 0  # everything below was shipped and deleted
        self.grown_at = float("-inf")
        self.newest_ns = 0
        self.ended = False  # its process is gone, and all it left was seen
        self.behind = False  # the last look did not get to the end
        self._say = say
        self._bases: list[int] = []
        self._looked_at = 0  # bytes, ever

    # What is there -----------------------------------------------------------------------------------------------------

    def frontier(self) -> int:
        """The position up to which there is something to ship."""
        last = self.until(self.segments[-1]) if self.segments else 0
        return max([self.begins, last, *(end for end, _ in self.holes.values())])

    def settled(self) -> int:
        """The position up to which nothing can be added any more, or the end of what is there of the first open segment."""
        return next((segment.reach for segment in self.segments if not segment.final), self.frontier())

    def listed(self, found: Iterable[tuple[int, str]]) -> None:
        """Take note of the segments that are there (base and name). One that is gone was dropped by its process."""
        there = dict(found)
        gone = [segment for segment in self.segments if segment.base not in there]
        for segment in gone:
            segment.final = True
            self.hole(segment.base, self.until(segment), segment.records)
        kept = {segment.base for segment in self.segments}
        new = [Segment(name, base) for base, name in there.items() if base not in kept and self._is_new(base)]
        if new:
            self._set([*self.segments, *new])

    def _is_new(self, base: int) -> bool:
        return base >= self.begins and not any(start <= base < end for start, (end, _) in self.holes.items())

    def never_seen(self) -> tuple[int, int] | None:
        """The range before the first segment that is gone without ever having been looked at."""
        first = self.segments[0] if self.segments else None
        if first is None or first.hello is None:
            return None
        start = max([self.begins, *(end for end, _ in self.holes.values())])
        return (start, first.base) if start < first.base else None

    def forget(self, segment: Segment) -> None:
        """It was deleted, shipped."""
        self._set([each for each in self.segments if each is not segment])

    def hole(self, start: int, end: int, records: int) -> None:
        """A range is gone before it was shipped; ``records`` as far as they are known."""
        if start < end:
            self.holes[start] = (end, records)
            self._set([each for each in self.segments if not start <= each.base < end])

    def _set(self, segments: list[Segment]) -> None:
        self.segments = sorted(segments, key=lambda segment: segment.base)
        self._bases = [segment.base for segment in self.segments]

    def at(self, position: int) -> Segment | None:
        """The segment that holds a position, or after which it is left free; None when that segment is gone."""
        index = bisect_right(self._bases, position) - 1
        if index < 0:
            return None
        return self.segments[index] if position < self.until(self.segments[index]) else None

    def until(self, segment: Segment) -> int:
        """Where the responsibility of a segment ends: positions left free behind a final one are its own."""
        if not segment.final:
            return segment.reach
        if segment.next_base > segment.reach:
            return segment.next_base
        following = self.after(segment)
        borders = [start for start in self.holes if start >= segment.reach]
        borders += [following.base] if following is not None else []
        return max(segment.reach, min(borders, default=segment.reach))

    def after(self, segment: Segment) -> Segment | None:
        """The segment that follows."""
        index = bisect_right(self._bases, segment.base)
        return self.segments[index] if index < len(self.segments) else None

    def following(self, position: int) -> Segment | None:
        """The first segment that begins behind a position."""
        index = bisect_right(self._bases, position)
        return self.segments[index] if index < len(self.segments) else None

    def read(self, segment: Segment, start: int, end: int) -> bytes:
        """The bytes of positions ``[start, end)`` of a segment, fewer when they are gone. Raises OSError, `Strange`."""
        with self.place.opened() as directory:
            descriptor = self.place.open_file(directory, segment.name)
            try:
                reach = min(end, segment.base + segment.size)  # positions behind may be left free
                return os.pread(descriptor, max(0, reach - start), start - segment.base)
            finally:
                os.close(descriptor)

    # Looking -----------------------------------------------------------------------------------------------------------

    def look(self, directory: int, now: float, only: str = "", most: int = 0) -> bool:
        """Look at what was appended; True when there is more to ship. ``only``: the one segment that changed.

        ``most``: about so many bytes, then `behind` is True; 0: all there is. Raises OSError and `Strange`, having seen
        what came before.
        """
        before = self.frontier()
        self.behind = False
        until = self._looked_at + most if most else 0
        for segment in self.segments:
            if not segment.final and only in ("", segment.name):
                self._look(directory, segment, now, until)
                if self.behind:
                    break
        return self.frontier() > before

    def _look(self, directory: int, segment: Segment, now: float, until: int) -> None:
        descriptor = self.place.open_file(directory, segment.name)
        try:
            size = os.fstat(descriptor).st_size
            if size > MAX_SEGMENT:
                self._say("services-size", f"{segment.name} has {size:,} bytes; no more than {MAX_SEGMENT:,} are read")
                size = MAX_SEGMENT
            if size != segment.size or segment.behind:
                segment.size = size
                segment.grown_at = self.grown_at = now
                self.behind = segment.behind = self._index(descriptor, segment, until)
        finally:
            os.close(descriptor)
        if segment.behind:
            return
        patience = now - segment.grown_at > SEAL_PATIENCE and self.after(segment) is not None
        if segment.sealed or patience:
            self._finish(segment)

    def _index(self, descriptor: int, segment: Segment, until: int) -> bool:
        """Look at the frames that are new; True when so many bytes were looked at that the rest has to wait."""
        while segment.whole < segment.size and not segment.sealed:
            if until and self._looked_at >= until:
                return True
            wanted = min(CHUNK, segment.size - segment.whole)
            data = os.pread(descriptor, wanted, segment.whole)
            found = look(data)
            if not found.end and len(data) < segment.size - segment.whole:  # a frame larger than that, or damage
                data = os.pread(descriptor, segment.size - segment.whole, segment.whole)
                found = look(data, most=1)
            self._looked_at += len(data)
            if found.end:
                self._take(segment, found)
                continue
            damaged = resync(data)
            if not damaged:
                return False  # the beginning of a frame, or what is left of one
            segment.damages += 1
            if segment.damages > MAX_DAMAGES:
                damaged = len(data)
            self._say(
                "services-damaged",
                f"{segment.name}: {damaged} bytes at {segment.whole} hold no whole frame and are skipped",
            )
            segment.whole += damaged
        return False

    def _take(self, segment: Segment, found: Found) -> None:
        for first, behind in found.seqs:
            self._came(first, behind)
        for frame in found.special:
            self._special(segment, frame)
        segment.whole += found.end
        if segment.whole - (segment.borders[-1] if segment.borders else 0) >= BORDER_BYTES:
            segment.borders.append(segment.whole)
        segment.records += found.records
        segment.newest_ns = max(segment.newest_ns, found.newest_ns)
        self.newest_ns = max(self.newest_ns, found.newest_ns)
        self.records += found.records

    def _came(self, first: int, behind: int) -> None:
        self.seqs.add(first, behind)
        if len(self.seqs) > MAX_RUNS:  # as many as there are threads is what a process has
            self._say(
                "services-numbers", f"sequence numbers of {self.signal} are in no order; losses are not told from them"
            )
            self.seqs.add(0, self.seqs.pairs()[-1][1])

    def _special(self, segment: Segment, frame: Frame) -> None:
        if frame.kind in DECLARATIONS:
            if problem := self.declared.take(frame):
                self._say("services-declaration", f"{segment.name} has {problem}; the records are shipped without it")
        elif frame.kind == Kind.SEAL:
            segment.sealed = True
            segment.next_base = frame.trace if frame.trace <= MAX_POSITION else 0
        elif len(frame.body) > MAX_DECLARATION:
            self._say("services-declaration", f"{segment.name} has a frame of kind {frame.kind} that is too large")
        elif frame.kind == Kind.HEAD:
            segment.hello = segment.hello or read_hello(frame.body)
        elif frame.kind == Kind.NOTE:
            self.notes.append(printable(frame.body.decode("utf-8", "replace")[:500]))
        elif frame.kind == Kind.DROPPED:
            self._drops(frame.body)

    def _drops(self, body: bytes) -> None:
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            return
        if isinstance(said, dict):
            for cause, count in list(said.items())[:50]:
                if (
                    isinstance(count, int)
                    and not isinstance(count, bool)
                    and 0 <= count < 1 << 53
                    and _CAUSE.fullmatch(cause)
                ):
                    self.dropped[cause] = max(count, self.dropped.get(cause, 0))

    def _finish(self, segment: Segment) -> None:
        segment.final = True
        if segment.whole < segment.size:
            self._say(
                "services-torn",
                f"{segment.name}: the last {segment.size - segment.whole} bytes are an unfinished frame; its process died "
                "over it, before the call returned",
            )

    def end(self) -> None:
        """Its process is gone and was looked at since: nothing is appended any more."""
        for segment in self.segments:
            if not segment.final:
                self._finish(segment)
        self.ended = True

    def lost(self) -> int:
        """Sequence numbers that never came, up to the highest one that did, but those of segments that are gone."""
        pairs = self.seqs.pairs()
        known = IntervalSet([*pairs, *self.excused])
        missing = sum(b - a for a, b in known.missing(0, pairs[-1][1])) if pairs else 0
        return min(missing, self.frontier() // OVERHEAD + _LATE)  # there was no room for more, whatever the numbers say

    def excuse(self, below: int) -> int:
        """Numbers below were in segments that are gone unseen, and a few behind: of their seal and of threads that were late.

        Returns how many of those below never came.
        """
        known = IntervalSet([*self.seqs, *self.excused])
        self.excused.add(0, below + _LATE)
        return sum(b - a for a, b in known.missing(0, below))
