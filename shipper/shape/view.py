"""A stream seen through something that changes its batches: masks them, or leaves records out.

Positions, borders and cuts are those of the stream itself, so whoever sees it like that has cursors, resends and halves like
any other. Only what a batch holds is another, and the same each time it is built.
"""

from __future__ import annotations

from abc import abstractmethod

from shipper.contracts import Batch, Cut, Stream
from shipper.intervals import IntervalSet


class StreamView(Stream):
    """``stream``, each batch as `shown`."""

    def __init__(self, stream: Stream) -> None:
        self.id = stream.id
        self.signal = stream.signal
        self.kind = stream.kind
        self.name = stream.name
        self.start = stream.start
        self._stream = stream
        self._met = IntervalSet()

    @abstractmethod
    def shown(self, batch: Batch) -> Batch:
        """What is seen of a batch. Asked again and again, it says the same."""

    def newly_cut(self, batch: Batch) -> Batch:
        """The same, of a batch that was just cut: the place to count what was found in it, where it is `met` for the first time."""
        return self.shown(batch)

    def met(self, cut: Cut) -> bool:
        """Whether anything of this range was not asked about before. Whoever cuts it next, it is known from now on."""
        new = bool(self._met.missing(cut.start, cut.end))
        self._met.add(cut.start, cut.end)
        return new

    def frontier(self) -> int:
        """See `Stream.frontier`."""
        return self._stream.frontier()

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut`."""
        batch = self._stream.cut(at, resume, limit, observed_ns)
        return None if batch is None else self.newly_cut(batch)

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut_up_to`."""
        batch = self._stream.cut_up_to(at, resume, end, limit, observed_ns)
        return None if batch is None else self.newly_cut(batch)

    def reread(self, cut: Cut) -> Batch:
        """See `Stream.reread`."""
        return self.shown(self._stream.reread(cut))

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`."""
        return self._stream.halve(cut)

    def border(self, position: int) -> int | None:
        """See `Stream.border`."""
        return self._stream.border(position)

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        """See `Stream.valuable`; it may be what is not shown, as only order depends on it."""
        return self._stream.valuable(start, end)

    def released(self, below: int) -> None:
        """See `Stream.released`."""
        self._stream.released(below)

    @property
    def finished(self) -> bool:
        """See `Stream.finished`."""
        return self._stream.finished

    def first_seen(self, position: int) -> float | None:
        """See `Stream.first_seen`."""
        return self._stream.first_seen(position)
