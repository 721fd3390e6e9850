"""The entries of one sequence as a stream: cut at entries, read again by their numbers."""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace

from shipper.clock import Clock
from shipper.contracts import Batch, Cut, Signal, StreamKind
from shipper.errors import RangeGone
from shipper.otlp.wire import field
from shipper.shape import Shaped
from shipper.sources.books import SizedStream
from shipper.sources.journal.chain import GONE, Chain
from shipper.sources.journal.file import Entry, Gap, JournalFile
from shipper.sources.journal.position import ENTRY, entry_of, start_of
from shipper.sources.journal.records import Gathered, Records

_MOST = 2048  # entries looked at for one batch: what is left out costs time as well
_URGENT = frozenset((b"0", b"1", b"2", b"3"))  # priorities: error and worse


class JournalStream(SizedStream):
    """The records of a chain, from ``start`` on."""

    signal = Signal.LOGS
    kind = StreamKind.DATA

    def __init__(
        self,
        id: str,
        name: str,
        chain: Chain,
        records: Records,
        *,
        start: int,
        life: str,
        hold: float,
        clock: Clock,
        shipped: Callable[[JournalStream, Gathered, Shaped], None],
    ) -> None:
        """``hold``: seconds for which the parts of a split message wait for the next. ``shipped``: told once of each range."""
        self.id = id
        self.name = name
        self.start = start
        self.chain = chain
        self.released_to = start
        self.read_to = start
        self.grown_at = clock.monotonic()
        self.closing = False
        self._records = records
        self._life = life
        self._hold = hold
        self._clock = clock
        self._shipped = shipped
        self._size = start
        self._fixed: int | None = None  # where this run ends
        self._final = False
        self._seen_to: list[int] = []
        self._seen_at: list[float] = []

    # What the source tells the stream ---------------------------------------------------------------------------------

    def sighted(self, seq: int) -> bool:
        """All entries with a lower number are to be seen; True when that is news."""
        position = start_of(seq)
        if position <= self._size:
            return False
        self._size = position
        self.grown_at = self._clock.monotonic()
        self._seen_to.append(position)
        self._seen_at.append(self.grown_at)
        return True

    def fix(self) -> None:
        """What is seen by now is all that this run ships."""
        if self._fixed is None:
            self._fixed = self._size

    def end(self, position: int) -> None:
        """It ends here for good."""
        self._size = self._fixed = position
        self._final = True

    @property
    def size(self) -> int:
        """How far it was seen to reach."""
        return self._size

    @property
    def idle(self) -> bool:
        """Whether every destination has all that was seen."""
        return self.released_to >= self._size

    # What the pumps ask ------------------------------------------------------------------------------------------------

    def frontier(self) -> int:
        """See `Stream.frontier`."""
        return self._size if self._fixed is None else self._fixed

    @property
    def finished(self) -> bool:
        """See `Stream.finished`."""
        return self._final

    def first_seen(self, position: int) -> float | None:
        """See `Stream.first_seen`."""
        index = bisect_left(self._seen_to, position)
        return self._seen_at[index] if index < len(self._seen_to) else None

    def released(self, below: int) -> None:
        """See `Stream.released`."""
        if below > self.released_to:
            self.released_to = below
            passed = bisect_left(self._seen_to, below + 1)
            del self._seen_to[:passed], self._seen_at[:passed]

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut`."""
        return self.cut_up_to(at, resume, self.frontier(), limit, observed_ns)

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut_up_to`."""
        end = min(end, self.frontier())
        if at >= end:
            return None
        self._check(at, end)
        gathered = self._gather(at, end, limit)
        if gathered is None:
            return None
        shaped = self._records.shape(gathered, observed_ns)
        if gathered.end > self.read_to:
            self._shipped(self, gathered, shaped)
            self.read_to = gathered.end
        return self._carry(at, gathered, shaped, observed_ns)

    def reread(self, cut: Cut) -> Batch:
        """See `Stream.reread`."""
        gathered = self._again(cut)
        return self._carry(cut.start, gathered, self._records.shape(gathered, cut.observed_ns), cut.observed_ns)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`."""
        gathered = self._again(cut)
        if not gathered.borders:
            return None
        middle = min(gathered.borders, key=lambda border: abs(2 * border - cut.start - cut.end))
        first, second = self._part(cut, cut.start, middle), self._part(cut, middle, cut.end)
        return first, replace(second, records=cut.records - first.records, filtered=cut.filtered - first.filtered)

    def border(self, position: int) -> int | None:
        """See `Stream.border`: an entry may be one part of a message, which is then marked as such."""
        return max(self.start, position // ENTRY * ENTRY)

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        """See `Stream.valuable`: the entries of priority error and worse."""
        found: list[tuple[int, int]] = []
        for entry, file in self._entries(start, min(end, self.frontier())):
            place = start_of(entry.seq), start_of(entry.seq + 1)
            if not self._records.is_one_of(entry, file, _URGENT):
                continue
            if found and found[-1][1] == place[0]:
                found[-1] = (found[-1][0], place[1])
            else:
                found.append(place)
        return found

    # Reading -----------------------------------------------------------------------------------------------------------

    def _check(self, at: int, end: int) -> None:
        """Raises `RangeGone` where what begins at ``at`` is in no file any more."""
        lowest = self.chain.lowest
        there = end if lowest is None else min(end, start_of(lowest))
        if at < there:
            if self.chain.awaited:
                raise OSError(errno.EAGAIN, "not all files of the journal can be opened yet", self.name)
            raise RangeGone(self.id, at, there, GONE)

    def _entries(self, start: int, end: int) -> Iterator[tuple[Entry, JournalFile]]:
        for found in self.chain.entries(entry_of(start)):
            if isinstance(found, Gap):
                continue
            if start_of(found[0].seq) >= end:
                return
            yield found

    def _gather(self, at: int, end: int, limit: int) -> Gathered | None:
        """What a batch from ``at`` holds; None where it would be only the beginning of a message whose next part may come."""
        gathered = self._read(at, end, limit)
        begins = gathered.open_at
        if begins is None or self.closing or self._final or gathered.size >= limit or self._held_long(begins):
            return gathered
        return None if begins <= at else self._read(at, begins, limit)

    def _held_long(self, position: int) -> bool:
        seen = self.first_seen(position + 1)
        return seen is None or self._clock.monotonic() - seen >= self._hold

    def _read(self, at: int, end: int, limit: float) -> Gathered:
        gathered = Gathered(at, limit)
        for found in self.chain.entries(entry_of(at)):
            if isinstance(found, Gap):
                if start_of(found.start) >= end:
                    break
                if gathered.entries:
                    return gathered
                if self.chain.suspect():
                    raise OSError(errno.EAGAIN, "a file of the journal was deleted just now", self.name)
                if self.chain.awaited:
                    raise OSError(errno.EAGAIN, "not all files of the journal can be opened yet", self.name)
                why = GONE if found.why == GONE else f"its file is damaged: {found.why}"
                raise RangeGone(self.id, at, min(end, start_of(found.end)), why)
            entry, file = found
            if start_of(entry.seq) >= end:
                break
            self._records.take(gathered, entry, file, max(at, start_of(entry.seq)), end)
            if gathered.size >= limit or gathered.entries >= _MOST:
                return gathered
        gathered.end = end
        return gathered

    def _again(self, cut: Cut) -> Gathered:
        """What an earlier cut holds. Raises `RangeGone` when it does not any more."""
        gathered = self._read(cut.start, cut.end, float("inf"))
        if gathered.guard != cut.guard or gathered.end != cut.end:
            raise RangeGone(self.id, cut.start, cut.end, GONE if gathered.entries else f"{GONE}, all of them")
        return gathered

    def _part(self, cut: Cut, start: int, end: int) -> Cut:
        gathered = self._read(start, end, float("inf"))
        return self._carry(start, gathered, self._records.shape(gathered, cut.observed_ns), cut.observed_ns).cut

    def _carry(self, start: int, gathered: Gathered, shaped: Shaped, observed_ns: int) -> Batch:
        payload = shaped.payload or field(1, field(1, self._records.resource_of(b"")))  # proves that the range was read
        cut = Cut(
            start,
            gathered.end,
            start,
            gathered.end,
            shaped.records,
            observed_ns,
            gathered.guard,
            gathered.filtered + shaped.filtered,
            shaped.sampled,
        )
        return Batch(self._life, self.id, self.signal, cut, payload)
