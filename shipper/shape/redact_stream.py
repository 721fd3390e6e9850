"""A stream whose batches are masked: what every destination, and the quarantine, sees of it.

It stands between a stream and the pumps, so that there is one place that everything passes which leaves the host. A batch that is
built again is masked again in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from shipper.contracts import Batch, Stream, StreamKind
from shipper.shape.redact import Redaction
from shipper.shape.view import StreamView

Count = Callable[[Mapping[str, int]], None]


class RedactedStream(StreamView):
    """``stream``, masked. ``count`` gets what was found, by pattern, when a range is cut for the first destination."""

    def __init__(self, stream: Stream, redaction: Redaction, count: Count) -> None:
        super().__init__(stream)
        self._redaction = redaction
        self._count = count

    def shown(self, batch: Batch) -> Batch:
        """See `StreamView.shown`."""
        return self._masked(batch)[0]

    def newly_cut(self, batch: Batch) -> Batch:
        """See `StreamView.newly_cut`."""
        masked, counts = self._masked(batch)
        if self.met(batch.cut) and counts:
            self._count(counts)
        return masked

    def _masked(self, batch: Batch) -> tuple[Batch, Mapping[str, int]]:
        redacted = self._redaction.request(batch.signal, batch.payload)
        return (replace(batch, payload=redacted.data) if redacted.counts else batch), redacted.counts


def redacted_view(redaction: Redaction, count: Count) -> Callable[[Stream], Stream]:
    """How data streams are seen; those that carry the account of a life tell of nothing but Shipper itself."""

    def view(stream: Stream) -> Stream:
        return RedactedStream(stream, redaction, count) if stream.kind is StreamKind.DATA else stream

    return view
