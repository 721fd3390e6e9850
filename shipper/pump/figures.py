"""A pump in numbers: how long records were exposed, how much was acknowledged, and what is behind."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from shipper.own_metrics import Metrics
from shipper.pump.exposure import ExposureHistogram, ExposureStats
from shipper.pump.tools import Done

NAMED_STREAMS = 20  # streams with a backlog gauge of their own; the rest are "other"


class Figures:
    """Of the destination ``name``, in ``metrics``."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name = name
        self._metrics = metrics
        self._exposure = ExposureHistogram()
        self._exposure_metric = metrics.exposure.labels(name)
        self._acknowledged = metrics.acknowledged.labels(name)
        self._acknowledged_bytes = metrics.acknowledged_bytes.labels(name)
        self._filtered = metrics.left_out.labels(name, "filtered")
        self._sampled = metrics.left_out.labels(name, "sampled")
        self._named: set[str] = set()

    def settled(self, done: Done, now: float) -> None:
        """Pieces need nothing more since ``now`` (monotonic seconds): count what was acknowledged of them, and left out."""
        if done.acknowledged:
            for piece in done.pieces:
                if piece.lane.counts and piece.cut.records:
                    exposed = max(0.0, now - piece.since)
                    self._exposure.add(exposed)
                    self._exposure_metric.observe(exposed)
                    self._acknowledged_bytes.inc(piece.cut.end - piece.cut.start)
        self._acknowledged.inc(done.records)
        for piece in done.pieces:
            if piece.lane.counts and (piece.cut.filtered or piece.cut.sampled):
                self._filtered.inc(piece.cut.filtered)
                self._sampled.inc(piece.cut.sampled)

    def exposure(self, oldest: float) -> ExposureStats:
        """Over all of this run; ``oldest``: the age of what is still exposed, seconds."""
        return self._exposure.stats(oldest)

    def measure(self, backlog: Mapping[str, int], oldest: float) -> None:
        """Set the gauges: bytes by stream, and the age of the oldest in seconds."""
        self._metrics.oldest.labels(self._name).set(oldest)
        largest = heapq.nlargest(NAMED_STREAMS, backlog, key=backlog.__getitem__)
        for stream in self._named - set(largest):
            self._metrics.backlog.remove(self._name, stream)
        for stream in largest:
            self._metrics.backlog.labels(self._name, stream).set(backlog[stream])
        named = sum(backlog[stream] for stream in largest)
        self._metrics.backlog.labels(self._name, "other").set(sum(backlog.values()) - named)
        self._named = set(largest)
