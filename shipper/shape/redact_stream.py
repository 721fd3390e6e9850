"""A stream whose batches are masked: what every destination, and the quarantine, sees of it.

It stands between a stream and the pumps, so that there is one place that everything passes which leaves the host. Positions,
cuts and counts are those of the stream itself, and a batch that is built again is masked again in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from shipper.contracts import Batch, Cut, Stream, StreamKind
from shipper.intervals import IntervalSet
from shipper.shape.redact import Redaction

Count = Callable[[Mapping[str, int]], None]


class RedactedStream(Stream):
    """``stream``, masked. ``count`` gets what was found, by pattern, when a range is cut for the first destination."""

    def __init__(self, stream: Stream, redaction: Redaction, count: Count) -> None:
        self.id = stream.id
        self.signal = stream.signal
        self.kind = stream.kind
        self.name = stream.name
        self.start = stream.start
        self._stream = stream
        self._redaction = redaction
        self._count = count
        self._counted = IntervalSet()

    def frontier(self) -> int:
        """See `Stream.frontier`."""
        return self._stream.frontier()

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut`."""
        return self._cut(self._stream.cut(at, resume, limit, observed_ns))

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut_up_to`."""
        return self._cut(self._stream.cut_up_to(at, resume, end, limit, observed_ns))

    def reread(self, cut: Cut) -> Batch:
        """See `Stream.reread`."""
        return self._masked(self._stream.reread(cut))[0]

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`."""
        return self._stream.halve(cut)

    def border(self, position: int) -> int | None:
        """See `Stream.border`."""
        return self._stream.border(position)

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        """See `Stream.valuable`."""
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

    def _cut(self, batch: Batch | None) -> Batch | None:
        if batch is None:
            return None
        masked, counts = self._masked(batch)
        start, end = batch.cut.start, batch.cut.end
        if counts and self._counted.missing(start, end):
            self._count(counts)
        self._counted.add(start, end)
        return masked

    def _masked(self, batch: Batch) -> tuple[Batch, Mapping[str, int]]:
        redacted = self._redaction.request(batch.signal, batch.payload)
        return (replace(batch, payload=redacted.data) if redacted.counts else batch), redacted.counts


def redacted_view(redaction: Redaction, count: Count) -> Callable[[Stream], Stream]:
    """How data streams are seen; those that carry the account of a life tell of nothing but Shipper itself."""

    def view(stream: Stream) -> Stream:
        return RedactedStream(stream, redaction, count) if stream.kind is StreamKind.DATA else stream

    return view
