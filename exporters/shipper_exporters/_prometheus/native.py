"""Native histograms: made of OpenTelemetry's exponential ones, added up, and written as remote write wants them.

Both count in buckets whose bounds are powers of 2^(2^-scale); OpenTelemetry numbers a bucket by its lower bound, Prometheus by
its upper one, so indexes differ by one. Prometheus knows the scales -4 to 8: finer ones are made coarser, which is exact, and
coarser ones have no form. Rules: OpenTelemetry's specification, ``compatibility/prometheus_and_openmetrics.md``, "Exponential
Histograms"; the message: Prometheus, ``prompb/io/prometheus/write/v2/types.proto``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.otlp.wire import LENGTH, double_field, varint, varint_field
from shipper.otlp.wire import field as wire_field
from shipper_exporters._prometheus.points import Exponential
from shipper_exporters._prometheus.samples import HISTOGRAM_TAG, STALE, plain

FINEST, COARSEST = 8, -4
MAX_BUCKETS = 160  # of a sum, as OpenTelemetry's SDKs have by default; more make it coarser

_DEFAULT_ZERO_THRESHOLD = 1e-128
_LARGEST = 1023  # power of two that is a number
_GAP = 2  # empty buckets that are written out rather than begin another span, as Prometheus' own client does


@dataclass(frozen=True, slots=True)
class Native:
    """Counts by bucket; bucket ``n`` of ``positive`` ends at 2^(n * 2^-schema), that of ``negative`` at its opposite.

    ``total`` is NaN where the sum of what was measured is not known.
    """

    schema: int
    count: int
    total: float
    zero_count: int = 0
    zero_threshold: float = _DEFAULT_ZERO_THRESHOLD
    positive: Mapping[int, int] = field(default_factory=dict)
    negative: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, point: Exponential) -> Native | None:
        """What the point counted; None where its scale has no form."""
        if point.scale < COARSEST:
            return None
        coarser = max(0, point.scale - FINEST)
        return cls(
            point.scale - coarser,
            point.count,
            math.nan if point.total is None else point.total,
            point.zero_count,
            point.zero_threshold or _DEFAULT_ZERO_THRESHOLD,
            _buckets(point.positive, coarser),
            _buckets(point.negative, coarser),
        )

    def zero(self) -> Native:
        """The same before anything was counted."""
        return Native(self.schema, 0, 0.0, 0, self.zero_threshold, {}, {})

    def plus(self, more: Native) -> Native:
        """Both together, at the coarser of the two scales, and with few enough buckets."""
        one, other = self, more
        while one.zero_threshold != other.zero_threshold:
            one, other = one._with_zero(other.zero_threshold), other._with_zero(one.zero_threshold)
        schema = min(one.schema, other.schema)
        while True:
            positive = _added(
                _coarser(one.positive, one.schema - schema), _coarser(other.positive, other.schema - schema)
            )
            negative = _added(
                _coarser(one.negative, one.schema - schema), _coarser(other.negative, other.schema - schema)
            )
            if max(len(positive), len(negative)) <= MAX_BUCKETS or schema == COARSEST:
                break
            schema -= 1
        zeros = one.zero_count + other.zero_count
        total = one.total + other.total
        return Native(schema, one.count + other.count, total, zeros, one.zero_threshold, positive, negative)

    def _with_zero(self, threshold: float) -> Native:
        """The same with a zero bucket that is at least so broad; one that it would end in becomes part of it as a whole."""
        if threshold <= self.zero_threshold:
            return self
        last = math.ceil(math.log2(threshold) * 2**self.schema)  # the bucket that it ends in
        if last in self.positive or last in self.negative:
            threshold = max(threshold, 2.0 ** min(_LARGEST, last * 2.0**-self.schema))
        sides = (self.positive, self.negative)
        swallowed = sum(count for side in sides for at, count in side.items() if at <= last)
        positive, negative = ({at: count for at, count in side.items() if at > last} for side in sides)
        return Native(self.schema, self.count, self.total, self.zero_count + swallowed, threshold, positive, negative)

    def encoded(self, time_tail: bytes, *, stale: bool = False) -> bytes:
        """The field of a TimeSeries (of remote write 1.0). ``stale``: it ends its series."""
        content = b"".join(
            (
                b"\x19",
                STALE if stale else plain(self.total),
                varint_field(1, self.count),
                varint_field(4, _zigzag(self.schema)),
                double_field(5, self.zero_threshold),
                varint_field(6, self.zero_count),
                _side(8, 9, self.negative),
                _side(11, 12, self.positive),
                b"\x78",
                time_tail[1:],
            )
        )
        return bytes((HISTOGRAM_TAG,)) + varint(len(content)) + content


def _buckets(side: tuple[int, tuple[int, ...]], coarser: int) -> dict[int, int]:
    offset, counts = side
    found: dict[int, int] = {}
    for at, count in enumerate(counts, offset):
        if count:
            index = (at >> coarser) + 1
            found[index] = found.get(index, 0) + count
    return found


def _coarser(buckets: Mapping[int, int], by: int) -> Mapping[int, int]:
    if not by:
        return buckets
    found: dict[int, int] = {}
    for at, count in buckets.items():
        index = ((at - 1) >> by) + 1
        found[index] = found.get(index, 0) + count
    return found


def _added(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    found = dict(one)
    for at, count in other.items():
        found[at] = found.get(at, 0) + count
    return found


def _side(spans_number: int, deltas_number: int, buckets: Mapping[int, int]) -> bytes:
    """Spans of buckets, and of each bucket how much more it has than the one before."""
    if not buckets:
        return b""
    spans: list[list[int]] = []
    deltas: list[int] = []
    behind = before = 0
    for at in sorted(buckets):
        gap = at - behind  # for the first span counted from bucket 0
        if not spans or gap > _GAP:
            spans.append([gap, 0])
            gap = 0
        for count in (*[0] * gap, buckets[at]):
            spans[-1][1] += 1
            deltas.append(count - before)
            before = count
        behind = at + 1
    written = b"".join(
        wire_field(spans_number, varint_field(1, _zigzag(offset)) + varint_field(2, length)) for offset, length in spans
    )
    packed = b"".join(varint(_zigzag(delta)) for delta in deltas)
    return written + varint(deltas_number << 3 | LENGTH) + varint(len(packed)) + packed


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1
