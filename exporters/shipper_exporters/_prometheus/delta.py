"""Adding up what counts since the last point (delta), since Prometheus has a place only for what counts since a start.

A sum goes on only from what the destination took. Whenever that is not certain (the first point, one that was refused, a series
that was not heard of for long and had to make room) it begins anew, and a zero goes before it, stamped right after the point's own
start. Prometheus takes the fall to zero for the restart of a counter, so nothing is counted twice and nothing is missing from
``increase``; so a sum may be given up at any time.

They are kept over restarts all the same: a request whose answer was lost with the sidecar has to come again with the very same
samples. A receiver that takes samples out of order would put the zero of a new sum between those that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

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
        self._sums: dict[bytes, _Sum] = {}  # by what a series is known by, see `_key`

    def __len__(self) -> int:
        return len(self._sums)

    def resume(self, kept: Mapping[bytes, bytes]) -> None:
        """Go on from what an earlier run kept, see `kept`."""
        for key, value in kept.items():
            self._sums[key] = _decoder.decode(value)

    def kept(self, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """What to keep of sums that changed; None: nothing any more."""
        return {key: _encoded(self._sums[key]) if key in self._sums else None for key in keys}

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
            so_far = pending[labels] if labels in pending else self._sums.get(_key(labels))
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

    def taken(self, samples: Iterable[Sample]) -> set[bytes]:
        """The destination has these; the keys of the sums that changed."""
        changed = set()
        for time_ms, labels, value, _, more in samples:
            if is_end(value):
                changed |= self.doubtful([labels])
            elif more is not None and more.carried is not None:
                key = _key(labels)
                self._sums.pop(key, None)  # behind all others: the first is the one longest not heard of
                self._sums[key] = _Sum(more.carried, more.start_ms, time_ms)
                changed.add(key)
        while len(self._sums) > self._most:
            key = next(iter(self._sums))
            del self._sums[key]
            changed.add(key)
        return changed

    def doubtful(self, series: Iterable[bytes]) -> set[bytes]:
        """Of a sample of these it is not certain that the destination has it; the keys of the sums that changed."""
        return {key for key in map(_key, series) if self._sums.pop(key, None) is not None}


_decoder = msgspec.msgpack.Decoder(_Sum)


def _encoded(one: _Sum) -> bytes | None:
    """None where histograms claim to have counted what fits no integer: then it begins anew."""
    try:
        return msgspec.msgpack.encode(one)
    except OverflowError:
        return None


def _key(labels: bytes) -> bytes:
    return blake2b(labels, digest_size=16).digest()


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
