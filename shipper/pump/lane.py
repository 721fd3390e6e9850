"""Where one destination stands on one stream, in memory; the ledger holds the same durably."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shipper.clock import Clock
from shipper.contracts import Batch, Cut, Stream, StreamKind
from shipper.intervals import IntervalSet
from shipper.ledger import Cursor
from shipper.pump.value import REST, Wanted


class Lane:
    """A pump's view of one stream: ``at`` is where what was never cut begins, ``low`` is where settled positions end.

    Usually a lane is cut strictly forward. Ranges beyond ``at`` may be taken already: because the destination said that it
    has them, or because they were more valuable (``wanted``) and went first. They are stepped over.
    """

    __slots__ = (
        "_ahead",
        "_ahead_size",
        "_clock",
        "_marks",
        "_noticed_at",
        "_noticed_to",
        "_resumes",
        "_spot",
        "at",
        "done",
        "low",
        "queued",
        "rank",
        "rest_until",
        "resume",
        "retired",
        "stream",
        "wanted",
    )

    def __init__(self, stream: Stream, cursor: Cursor, clock: Clock) -> None:
        self.stream = stream
        self.at = cursor.cut_to
        self.resume = cursor.resume
        self.done: IntervalSet = cursor.done.copy()
        self.low = self.done.prefix(stream.start)
        self.queued = False  # in a rotation: it may have something to cut
        self.rank = REST  # how valuable its next cut is; only looked at while value decides
        self.retired = False  # everybody is done with the stream: nothing of it can be read any more
        self.rest_until = 0.0  # after a read error: not tried before this moment
        self.wanted: Wanted | None = None  # while value decides the order
        self._clock = clock
        self._noticed_at = clock.monotonic()
        self._noticed_to = stream.frontier()
        self._ahead = IntervalSet([*cursor.ahead, *(pair for pair in self.done if pair[1] > self.at)])
        self._ahead_size = 0
        self._resumes: dict[int, int] = {}  # end of a cut ahead that ended inside an event -> where that event began
        self._spot = self.at  # where the last attempt to cut began
        self._marks: deque[tuple[int, int, float]] = deque()  # cuts not yet settled, and when their bytes were seen
        self._step_over()

    @property
    def counts(self) -> bool:
        """True for data; the streams that carry the account itself are in no figure."""
        return self.stream.kind is StreamKind.DATA

    def uncut(self) -> int:
        """Source bytes seen but not cut."""
        return max(0, self.stream.frontier() - self.at - self._ahead_size)

    def unsettled(self, elsewhere: IntervalSet | None = None) -> int:
        """Source bytes seen but not settled, here or ``elsewhere``: the backlog."""
        frontier = self.stream.frontier()
        if self.low >= frontier:
            return 0
        if elsewhere:
            done = IntervalSet([*self.done, *elsewhere])
            return sum(end - start for start, end in done.missing(self.low, frontier))
        if len(self.done) <= 1:  # everything settled is the prefix: the usual case
            return frontier - self.low
        return sum(end - start for start, end in self.done.missing(self.low, frontier))

    def idle(self) -> bool:
        """True when everything that was seen is settled."""
        return self.low >= self.stream.frontier()

    def unanswered(self) -> int | None:
        """The lowest position that was cut and is not settled."""
        taken = [(self.stream.start, self.at), *self._ahead]
        return next((gap[0] for a, b in taken for gap in self.done.missing(a, b)), None)

    def cut(self, limit: int, observed_ns: int, avoid: IntervalSet | None = None) -> tuple[Piece, Batch] | None:
        """The next batch and what to remember of it, taking its range. Raises what `Stream.cut` does.

        ``avoid``: ranges that another destination settles for this one too.
        """
        if not self._ahead and self.wanted is None and not avoid:
            self._spot = self.at
            batch = self.stream.cut(self.at, self.resume, limit, observed_ns)
        else:
            batch = self._cut_around(limit, observed_ns, avoid)
        if batch is None:
            return None
        cut, since = batch.cut, self.since(batch.cut.start)
        mark = (cut.start, cut.end, since)
        if self._marks and cut.start < self._marks[-1][0]:
            insort(self._marks, mark)
        else:
            self._marks.append(mark)
        self._take(cut.start, cut.end, cut.next_resume)
        return Piece(self, cut, since), batch

    def _cut_around(self, limit: int, observed_ns: int, avoid: IntervalSet | None) -> Batch | None:
        """The most valuable batch of what is not taken yet."""
        taken = IntervalSet([*self._ahead, *avoid]) if avoid else self._ahead
        for start, end in self._spots(taken):
            self._spot = start
            resume = self.resume if start == self.at else self._resumes.get(start, start)
            if end is None:
                batch = self.stream.cut(start, resume, limit, observed_ns)
            else:
                batch = self.stream.cut_up_to(start, resume, end, limit, observed_ns)
            if batch is not None:
                if self._ahead.overlaps(batch.cut.start, batch.cut.end):
                    self._cut_across(batch.cut)
                return batch
        return None

    def _spots(self, taken: IntervalSet) -> Iterator[tuple[int, int | None]]:
        """Where to cut and up to where, the most valuable first; no end: as far as the stream gives."""
        frontier = self.stream.frontier()
        if self.wanted is not None:
            for start, end in self.wanted.ranges(self.stream, taken, self.at, frontier):
                yield start, end if end < frontier else None
        for start, end in taken.missing(self.at, frontier)[:1]:
            yield start, end if end < frontier else None

    def _cut_across(self, cut: Cut) -> None:
        """A stream without borders was cut over what the destination has: that is on its way again, not done."""
        self.done.remove(cut.start, cut.end)
        self._ahead.remove(cut.start, cut.end)

    def _take(self, start: int, end: int, resume: int) -> None:
        """A range was cut, or is given up."""
        if start == self.at:
            self.at, self.resume = end, resume
            if self._ahead:
                self._step_over()
            return
        self._ahead.add(start, end)
        if resume != end:
            self._resumes[end] = resume
        self._measure_ahead()

    def _step_over(self) -> None:
        """Go on behind what is taken from ``at`` on; what a destination has ends where a batch ended."""
        behind = self._ahead.prefix(self.at)
        if behind > self.at:
            self.at, self.resume = behind, self._resumes.pop(behind, behind)
        self._ahead.remove(self.stream.start, self.at)
        self._measure_ahead()

    def _measure_ahead(self) -> None:
        frontier = self.stream.frontier()
        beyond = sum(end - max(start, frontier) for start, end in self._ahead.overlaps(frontier, 1 << 63))
        self._ahead_size = self._ahead.total() - beyond

    def skip(self, to: int) -> tuple[int, int]:
        """Go on behind destroyed bytes; the range that is given up with that, as far as it was not taken before."""
        start = self._spot
        gone = next(iter(self._ahead.missing(start, max(start, to))), (start, start))
        if gone[0] < gone[1]:
            self._take(*gone, gone[1])
        return gone

    def settle(self, start: int, end: int) -> bool:
        """Positions need nothing more; True when ``low`` moved."""
        self.done.add(start, end)
        low = self.done.prefix(self.stream.start)
        if low <= self.low:
            return False
        self.low = low
        while self._marks and self._marks[0][1] <= low:
            self._marks.popleft()
        return True

    def noticed(self) -> None:
        """The stream may have grown: the moment that counts where the stream itself does not know when it was."""
        if self.at >= self._noticed_to:
            self._noticed_at = self._clock.monotonic()
        self._noticed_to = self.stream.frontier()

    def weigh(self) -> int:
        """How valuable what would be cut next is (``rank``); only asked for while value decides."""
        if self.wanted is not None:
            self.rank = self.wanted.rank(self.stream, self._ahead, self.at)
        return self.rank

    def since(self, position: int) -> float:
        """When the uncut byte at ``position`` was first seen (monotonic seconds), as well as that is known."""
        seen = self.stream.first_seen(position + 1)
        return self._noticed_at if seen is None else seen

    def oldest(self) -> float:
        """When the oldest byte that is not settled was first seen."""
        if self._marks and self._marks[0][0] <= self.low:
            return self._marks[0][2]
        return self.since(self.low)


@dataclass(frozen=True, slots=True)
class Piece:
    """One cut on its way: of which lane, and since when (monotonic seconds) its oldest record was seen."""

    lane: Lane
    cut: Cut
    since: float

    @property
    def key(self) -> tuple[str, Cut]:
        """As the ledger wants it."""
        return (self.lane.stream.id, self.cut)


def only_data(pieces: Iterable[Piece]) -> bool:
    """Whether nothing of these tells of the life."""
    return all(piece.lane.counts for piece in pieces)
