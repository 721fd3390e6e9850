"""How long records were exposed: from being seen to being acknowledged, kept as a histogram of constant size."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

SMALLEST = 1e-4  # seconds; shorter is not told apart
STEP = math.log(1.05)  # buckets 5 % apart: that is how exact a percentile is


@dataclass(frozen=True, slots=True)
class ExposureStats:
    """Exposure in seconds over all acknowledged batches of this run, and the age of the oldest record still exposed."""

    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    count: int = 0
    oldest: float = 0.0


class ExposureHistogram:
    """Counts by logarithmic bucket; about 400 buckets reach from 0.1 ms to a day."""

    __slots__ = ("_buckets", "_max", "count")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._max = 0.0
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one batch."""
        self._buckets[math.ceil(math.log(max(seconds, SMALLEST) / SMALLEST) / STEP)] += 1
        self._max = max(self._max, seconds)
        self.count += 1

    def percentile(self, share: float) -> float:
        """The exposure that ``share`` (0..1) of the batches stayed below; 0 when there are none."""
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(self._max, SMALLEST * math.exp(bucket * STEP))
        return 0.0

    def stats(self, oldest: float) -> ExposureStats:
        """Everything at once; ``oldest`` is passed through."""
        return ExposureStats(self.percentile(0.5), self.percentile(0.99), self._max, self.count, oldest)
