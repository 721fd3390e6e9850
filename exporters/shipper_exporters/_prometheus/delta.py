"""Adding up what counts since the last point (delta), since Prometheus has a place only for what counts since a start.

A sum goes on only from what the destination took. Whenever that is not certain (the first point, a new run, one that was refused,
a series that was not heard of for long and had to make room) it begins anew, and a zero goes before it, stamped right after the
point's own start. Prometheus takes the fall to zero for the restart of a counter, so nothing is counted twice and nothing is
missing from ``increase``; so the sums need not outlive a run, and may be given up at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from shipper_exporters._prometheus.native import Native
from shipper_exporters._prometheus.samples import (
    NO_POINT,
    More,
    Sample,
    is_end,
    number_field,
    number_of,
    plain,
    time_tail,
)


@dataclass(frozen=True, slots=True)
class _Sum:
    value: float | Native
    start_ms: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Summed:
    """``samples``: in order of time, none of them a delta any more. ``late``: those of before what was counted already."""

    samples: list[Sample]
    late: list[Sample]


class Sums:
    """The sums of one destination, at most ``most``; the one longest not heard of makes room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sums: dict[bytes, _Sum] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def begin(self, samples: Iterable[Sample], there: Set[tuple[int, bytes]] = frozenset()) -> Summed:
        """``samples`` added to what was taken so far; what they come to counts once it is `taken`.

        ``there``: times and series of those that the destination took before, which are left out.
        """
        pending: dict[bytes, _Sum | None] = {}
        found: list[Sample] = []
        late: list[Sample] = []
        for sample in samples:
            time_ms, labels, _, point, more = sample
            if more is None or not more.delta:
                if is_end(sample[2]):
                    pending[labels] = None
                found.append(sample)
                continue
            if sample[:2] in there:
                continue
            so_far = pending[labels] if labels in pending else self._sums.get(labels)
            if so_far is None:
                so_far = _anew(sample, more)
                found.append(_sample(so_far.time_ms, labels, so_far.value, NO_POINT, More(so_far.start_ms)))
            elif time_ms <= so_far.time_ms:
                late.append(sample)
                continue
            value = _plus(so_far.value, _delta(sample, more))
            pending[labels] = _Sum(value, so_far.start_ms, time_ms)
            kept = More(so_far.start_ms, more.exemplars, carried=value)
            found.append(_sample(time_ms, labels, value, point, kept))
        found.sort(key=lambda one: one[0])
        return Summed(found, late)

    def taken(self, samples: Iterable[Sample]) -> None:
        """The destination has these."""
        for time_ms, labels, value, _, more in samples:
            if is_end(value):
                self._sums.pop(labels, None)
            elif more is not None and more.carried is not None:
                self._sums.pop(labels, None)  # behind all others: the first is the one longest not heard of
                self._sums[labels] = _Sum(more.carried, more.start_ms, time_ms)
        while len(self._sums) > self._most:
            del self._sums[next(iter(self._sums))]

    def doubtful(self, series: Iterable[bytes]) -> None:
        """Of a sample of these it is not certain that the destination has it."""
        for labels in series:
            self._sums.pop(labels, None)


def _anew(sample: Sample, more: More) -> _Sum:
    """Nothing, right after the start that a point says it has, or else right before the point itself."""
    time_ms = sample[0]
    zero_ms = more.start_ms + 1 if 0 < more.start_ms < time_ms - 1 else time_ms - 1
    return _Sum(more.native.zero() if more.native is not None else 0.0, zero_ms, zero_ms)


def _delta(sample: Sample, more: More) -> float | Native:
    return more.native if more.native is not None else number_of(sample[2])


def _plus(so_far: float | Native, more: float | Native) -> float | Native:
    if isinstance(so_far, Native) and isinstance(more, Native):
        return so_far.plus(more)
    if isinstance(so_far, Native) or isinstance(more, Native):
        return more  # a histogram became a number, or the other way round: nothing to add to
    return so_far + more


def _sample(time_ms: int, labels: bytes, value: float | Native, point: int, more: More) -> Sample:
    tail = time_tail(time_ms)
    if isinstance(value, Native):
        return time_ms, labels, value.encoded(tail), point, more
    return time_ms, labels, number_field(plain(value), tail), point, more
