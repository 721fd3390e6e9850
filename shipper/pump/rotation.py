"""Whose turn it is: every stream with something to cut gets one batch per round, so a hot one delays no quiet one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from operator import attrgetter

from shipper.contracts import Batch, Exporter, Signal, StreamKind
from shipper.pump.gather import Gathering
from shipper.pump.lane import Lane, Piece
from shipper.pump.value import REST


class Rotation:
    """The lanes of one signal that may have something to cut, and the request that is being filled from them."""

    def __init__(self, signal: Signal, exporter: Exporter) -> None:
        self.signal = signal
        self._exporter = exporter
        self.gathering = self._new()
        self.since = float("inf")  # since when something waits here (monotonic seconds)
        self.by_value = False  # the most valuable lane is next, not the one that waits longest
        self._data_too = True
        self._lanes: deque[Lane] = deque()
        self._carried: tuple[Piece, Batch] | None = None

    def queue(self, lane: Lane, now: float) -> bool:
        """Give ``lane`` a turn; what tells the life's story goes first. False when it had one coming, or gets none."""
        if lane.queued or not self._takes(lane):
            return False
        lane.queued = True
        self.since = min(self.since, now)
        if lane.stream.kind is StreamKind.LIFE:
            self._lanes.appendleft(lane)
        else:
            self._lanes.append(lane)
        return True

    def drop(self, lane: Lane) -> None:
        """The stream is retired; it may just be having its turn."""
        if lane in self._lanes:
            self._lanes.remove(lane)
        lane.queued = False

    def drop_data(self) -> None:
        """From now on only what tells of the life gets a turn. What was cut and not committed is not sent."""
        self._data_too = False
        for lane in [lane for lane in self._lanes if lane.counts]:
            self.drop(lane)
        if all(piece.lane.counts for piece in self.gathering.pieces):
            self.gathering = self._new()
        if self._carried is not None and self._carried[0].lane.counts:
            self._carried = None

    def next(self) -> Lane | None:
        """The lane whose turn it is, taken out; None when nobody has anything.

        What tells of a life in samples goes last: it is the end of series, and what comes behind that would be refused.
        """
        if self.signal is Signal.METRICS and len(self._lanes) > 1:
            lane = next((lane for lane in self._lanes if lane.counts), self._lanes[0])
            self._lanes.remove(lane)
            return lane
        if self.by_value and len(self._lanes) > 1:
            lane = min(self._lanes, key=attrgetter("rank"))  # the first of them: they take turns
            self._lanes.remove(lane)
            return lane
        return self._lanes.popleft() if self._lanes else None

    def again(self, lane: Lane) -> None:
        """It has more: back to the end of the queue."""
        if self._takes(lane):
            self._lanes.append(lane)
        else:
            self.out(lane)

    def out(self, lane: Lane) -> None:
        """It has nothing now and comes back when it is announced."""
        lane.queued = False

    def put(self, piece: Piece, batch: Batch, most: float, worth: int = REST) -> bool:
        """Put a batch of that ``worth`` into the request; False when it has to be the first of the next one."""
        held = self.gathering
        if held and (held.life != batch.life or held.contents.raw + len(batch.payload) > most):
            self._carried = (piece, batch)
            return False
        held.add(piece, batch)
        held.worth = min(held.worth, worth)
        return True

    def take(self, now: float) -> Gathering:
        """The request as filled so far; a new one begins, with what did not fit."""
        taken, self.gathering = self.gathering, self._new()
        if self._carried is not None:
            self.gathering.add(*self._carried)
            self._carried = None
        self.since = now if self.waiting else float("inf")
        return taken

    def rest(self) -> None:
        """Nothing was there after all."""
        if not self.waiting:
            self.since = float("inf")

    @property
    def blocked(self) -> bool:
        """True when a batch waits that belongs to the next request: this one is as full as it gets."""
        return self._carried is not None

    @property
    def waiting(self) -> bool:
        """True when there is, or may be, something to send."""
        return bool(self._lanes) or bool(self.gathering) or self.blocked

    @property
    def life_first(self) -> bool:
        """True when a birth or farewell is next."""
        return bool(self._lanes) and self._lanes[0].stream.kind is StreamKind.LIFE

    @property
    def rank(self) -> int:
        """The worth of what is next; the same for all while value does not decide."""
        return min((lane.rank for lane in self._lanes), default=REST) if self.by_value else REST

    @property
    def worth(self) -> int:
        """The worth of what would be sent next: of what is in the request, or is next."""
        return min(self.rank, self.gathering.worth)

    def _new(self) -> Gathering:
        return Gathering(self.signal, self._exporter)

    def _takes(self, lane: Lane) -> bool:
        return self._data_too or not lane.counts

    def lanes(self) -> Iterator[Lane]:
        """Those in the queue, in order."""
        return iter(self._lanes)
