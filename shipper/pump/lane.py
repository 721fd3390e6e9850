"""Where one destination stands on one stream, in memory; the ledger holds the same durably."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shipper.clock import Clock
from shipper.contracts import Batch, Cut, Stream, StreamKind
from shipper.intervals import IntervalSet
from shipper.ledger import Cursor


class Lane:
    """A pump's view of one stream: ``at`` is where the next cut begins, ``low`` is where settled positions end."""

    __slots__ = (
        "_clock",
        "_known_ahead",
        "_marks",
        "_noticed_at",
        "_noticed_to",
        "at",
        "done",
        "low",
        "queued",
        "rest_until",
        "resume",
        "stream",
    )

    def __init__(self, stream: Stream, cursor: Cursor, clock: Clock) -> None:
        self.stream = stream
        self.at = cursor.cut_to
        self.resume = cursor.resume
        self.done: IntervalSet = cursor.done.copy()
        self.low = self.done.prefix(stream.start)
        self.queued = False  # in a rotation: it may have something to cut
        self.rest_until = 0.0  # after a read error: not tried before this moment
        self._clock = clock
        self._noticed_at = clock.monotonic()
        self._noticed_to = stream.frontier()
        self._known_ahead = bool(self.done) and self.done.pairs()[-1][1] > self.at
        self._marks: deque[tuple[int, int, float]] = deque()  # cuts not yet settled, and when their bytes were seen

    @property
    def counts(self) -> bool:
        """True for data; the streams that carry the account itself are in no figure."""
        return self.stream.kind is StreamKind.DATA

    def uncut(self) -> int:
        """Source bytes seen but not cut."""
        return max(0, self.stream.frontier() - self.at)

    def unsettled(self) -> int:
        """Source bytes seen but not settled: the backlog."""
        frontier = self.stream.frontier()
        if self.low >= frontier:
            return 0
        if len(self.done) <= 1:  # everything settled is the prefix: the usual case
            return frontier - self.low
        return sum(end - start for start, end in self.done.missing(self.low, frontier))

    def idle(self) -> bool:
        """True when everything that was seen is settled."""
        return self.low >= self.stream.frontier()

    def cut(self, limit: int, observed_ns: int) -> tuple[Piece, Batch] | None:
        """The next batch and what to remember of it, moving ``at`` over it. Raises what `Stream.cut` does."""
        if self._known_ahead:
            limit = self._up_to_known(limit)
        batch = self.stream.cut(self.at, self.resume, limit, observed_ns)
        if batch is None:
            return None
        cut, since = batch.cut, self.since(batch.cut.start)
        if self._known_ahead:  # cut across something the destination has: it is on its way again, not done
            self.done.remove(cut.start, cut.end)
        self._marks.append((cut.start, cut.end, since))
        self.at = cut.end
        self.resume = cut.next_resume
        return Piece(self, cut, since), batch

    def _up_to_known(self, limit: int) -> int:
        """Step over what the destination is known to have, and cut no further than to the next such range."""
        behind = self.done.prefix(self.at)
        if behind > self.at:
            self.at = self.resume = behind  # what a destination has ends where a batch ended: at an event
        ahead = [start for start, _ in self.done if start > self.at]
        self._known_ahead = bool(ahead)
        return min(limit, ahead[0] - self.at) if ahead else limit

    def skip(self, to: int) -> tuple[int, int]:
        """Go on behind destroyed bytes; the range that is given up with that."""
        gone = (self.at, max(self.at, to))
        self.at = self.resume = gone[1]
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
