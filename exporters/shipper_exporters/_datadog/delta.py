"""Counts since the start made into counts since the last point, which is all that Datadog's OTLP intake takes.

https://docs.datadoghq.com/opentelemetry/setup/otlp_ingest/metrics/ and .../guide/otlp_delta_temporality/ : monotonic sums,
histograms and exponential histograms have to be deltas; gauges, summaries and sums that go both ways are as they are.

A point that only says that its series ends carries nothing to send, and is left out without being counted.

What the first point of a series is worth depends on when the series began: if nobody can have sent any of it before, all of
it; else nothing, as it only says where counting goes on from. So that a restart is no beginning, the newest point of each
series that was taken is kept, written together with the cursor that says that it was.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from shipper.contracts import Signal
from shipper.otlp.decode import parse
from shipper.otlp.messages import envelopes, points

FIRST = "first points of series that began before this run, from which counting goes on"
LATE = "points that are not newer than what was sent of their series"
SHAPE = "histograms whose buckets changed without a new start"

_DELTA, _CUMULATIVE = 1, 2
_KINDS = frozenset({"sum", "histogram", "exponential_histogram"})
_NO_RECORDED_VALUE = 1

_SINCE = b""  # under this key is kept since when no series was forgotten for want of room
_TIMES = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The newest point of a series that was made into a delta; ``point`` is without what tells the series."""

    start_ns: int
    time_ns: int
    point: bytes = field(repr=False)

    @classmethod
    def of(cls, point: Any) -> Seen:
        """What has to be known of a point."""
        bare = type(point)()
        bare.CopyFrom(point)
        for unneeded in ("attributes", "exemplars"):
            bare.ClearField(unneeded)
        return cls(point.start_time_unix_nano, point.time_unix_nano, bare.SerializeToString())

    def encoded(self) -> bytes:
        """As it is kept."""
        return _TIMES.pack(self.start_ns, self.time_ns) + self.point

    @classmethod
    def decoded(cls, data: bytes) -> Seen:
        """As it was kept."""
        start_ns, time_ns = _TIMES.unpack_from(data)
        return cls(start_ns, time_ns, data[_TIMES.size :])


@dataclass(frozen=True)
class Converted:
    """A request as deltas, of ``points`` data points; ``left_out`` by reason. ``before``: what `Deltas.undo` needs.

    ``forgotten``: series that made room for others, and since when none is missing.
    """

    data: bytes = field(repr=False)
    points: int
    left_out: Mapping[str, int]
    before: Mapping[bytes, tuple[Seen | None, Seen]] = field(repr=False)
    forgotten: Mapping[bytes, bytes | None] = field(repr=False)

    def keep(self) -> dict[bytes, bytes | None]:
        """What has to be known of it after a restart, once it is taken."""
        return {**{key: seen.encoded() for key, (_, seen) in self.before.items()}, **self.forgotten}


class Deltas:
    """The series of one destination. ``since_ns``: series that began later are counted from their beginning."""

    def __init__(self, since_ns: int, most: int = 100_000) -> None:
        self._since_ns = since_ns
        self._most = most
        self._seen: dict[bytes, Seen] = {}
        self._forgotten: dict[bytes, bytes | None] = {}

    def resume(self, kept: Mapping[bytes, bytes]) -> None:
        """Go on from what earlier runs kept, see `Converted.keep`."""
        for key, value in kept.items():
            if key == _SINCE:
                self._since_ns = max(self._since_ns, int.from_bytes(value, "big"))
            else:
                self._seen[key] = Seen.decoded(value)

    def convert(self, payload: bytes) -> Converted:
        """A request with deltas in place of counts since the start. Raises `MalformedOtlp`."""
        message = parse(Signal.METRICS, payload)
        left_out: Counter[str] = Counter()
        before: dict[bytes, tuple[Seen | None, Seen]] = {}
        count = kept = 0
        for resource, scope, metrics in envelopes(Signal.METRICS, message):
            place = resource.SerializeToString(deterministic=True)
            for metric in metrics:
                total = len(points(metric))
                count += total
                kept += self._metric(metric, (place, scope.name), left_out, before)
        forgotten, self._forgotten = self._forgotten, {}
        return Converted(message.SerializeToString() if kept else b"", count, left_out, before, forgotten)

    def undo(self, converted: Converted) -> None:
        """None of it was taken, and it comes again, if at all, in other requests."""
        for key, (earlier, set_to) in converted.before.items():
            if self._seen.get(key) is set_to:
                if earlier is None:
                    del self._seen[key]
                else:
                    self._seen[key] = earlier

    def _make_room(self) -> None:
        """Forget the series longest not heard of. Should it come back, or one as old, nobody knows what of it was sent."""
        if len(self._seen) <= self._most:
            return
        key = next(iter(self._seen))
        self._since_ns = max(self._since_ns, self._seen.pop(key).start_ns + 1)
        self._forgotten |= {key: None, _SINCE: self._since_ns.to_bytes(16, "big")}

    def _metric(self, metric: Any, place: tuple[bytes, str], left_out: Counter[str], before: dict[bytes, Any]) -> int:
        """Convert one metric in its place; how many points it has then."""
        kind = metric.WhichOneof("data") or ""
        data: Any = getattr(metric, kind) if kind else None
        with_value = [point for point in points(metric) if not point.flags & _NO_RECORDED_VALUE]
        counted = kind in _KINDS and data.aggregation_temporality == _CUMULATIVE
        if not counted or (kind == "sum" and not data.is_monotonic):
            if len(with_value) < len(points(metric)):
                _keep(data, with_value)
            return len(with_value)
        kept = []
        for point in sorted(with_value, key=lambda point: point.time_unix_nano):
            own = sorted(one.SerializeToString(deterministic=True) for one in point.attributes)
            key = _key(place[0], place[1].encode(), metric.name.encode(), kind.encode(), *own)
            reason = self._point(key, kind, point, before)
            if reason:
                left_out[reason] += 1
            else:
                kept.append(point)
        _keep(data, kept)
        data.aggregation_temporality = _DELTA
        return len(kept)

    def _point(self, key: bytes, kind: str, point: Any, before: dict[bytes, Any]) -> str:
        """Make a point a delta in its place; else why it is left out."""
        earlier = self._seen.pop(key, None)
        now = Seen.of(point)
        if earlier is not None and now.time_ns <= earlier.time_ns:
            self._seen[key] = earlier
            return LATE
        self._seen[key] = now
        before[key] = (before[key][0] if key in before else earlier, now)
        self._make_room()
        if earlier is None:
            return "" if now.start_ns and now.start_ns >= self._since_ns else FIRST
        last = type(point).FromString(earlier.point)
        if now.start_ns != earlier.start_ns or _less(kind, point, last):
            return ""  # it began anew: all of it is new
        if not _same_shape(kind, point, last):
            return SHAPE
        _subtract(kind, point, last)
        point.start_time_unix_nano = earlier.time_ns
        return ""


def _key(*parts: bytes) -> bytes:
    """One for each series."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def _keep(data: Any, kept: Sequence[Any]) -> None:
    """Have these points only."""
    encoded = [point.SerializeToString() for point in kept]
    del data.data_points[:]
    for one in encoded:
        data.data_points.add().MergeFromString(one)


def _less(kind: str, now: Any, earlier: Any) -> bool:
    return bool(_number(now) < _number(earlier) if kind == "sum" else now.count < earlier.count)


def _number(point: Any) -> float:
    which = point.WhichOneof("value")
    return float(getattr(point, which)) if which else 0.0


def _same_shape(kind: str, now: Any, earlier: Any) -> bool:
    if kind == "histogram":
        return list(now.explicit_bounds) == list(earlier.explicit_bounds) and len(now.bucket_counts) == len(
            earlier.bucket_counts
        )
    return kind == "sum" or bool(now.scale == earlier.scale)


def _subtract(kind: str, point: Any, earlier: Any) -> None:
    if kind == "sum":
        if point.WhichOneof("value") == earlier.WhichOneof("value") == "as_int":
            point.as_int -= earlier.as_int
        else:
            point.as_double = _number(point) - _number(earlier)
        return
    point.count -= earlier.count
    if point.HasField("sum"):
        point.sum -= earlier.sum
    for extreme in ("min", "max"):
        point.ClearField(extreme)  # of all time, and not of what is new
    if kind == "histogram":
        point.bucket_counts[:] = [a - b for a, b in zip(point.bucket_counts, earlier.bucket_counts, strict=True)]
        return
    point.zero_count -= earlier.zero_count
    for side in ("positive", "negative"):
        _subtract_buckets(getattr(point, side), getattr(earlier, side))


def _subtract_buckets(now: Any, earlier: Any) -> None:
    """Buckets of exponential histograms begin at an offset, which only ever moves outwards while the scale is the same."""
    shift = earlier.offset - now.offset
    counts = list(now.bucket_counts)
    for at, count in enumerate(earlier.bucket_counts, shift):
        if 0 <= at < len(counts):
            counts[at] = max(0, counts[at] - count)
    now.bucket_counts[:] = counts
