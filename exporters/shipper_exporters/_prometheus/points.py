"""The fields of OTLP data points that Prometheus has a place for, read from the wire without decoding the rest.

Field numbers: opentelemetry-proto ``metrics/v1/metrics.proto``. Attributes stay as they are, because almost every point is of a
series whose labels were worked out before.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from shipper.errors import MalformedOtlp
from shipper.otlp.wire import FIXED64, LENGTH, VARINT, fields, read_tag, read_varint, skip

NO_RECORDED_VALUE = 1
"""The flag of a point that says: from here on this series has no value."""

_DOUBLE = struct.Struct("<d")
_I64 = struct.Struct("<q")
_NUMBER_ATTRIBUTES = 7


@dataclass(slots=True)
class Number:
    """A NumberDataPoint. ``value``: the eight bytes of its double; None when it carries none.

    ``exemplars`` are undecoded here and everywhere below, as `shipper_exporters._prometheus.exemplars` reads them.
    """

    time_ns: int
    value: bytes | None
    flags: int
    attributes: bytes
    start_ns: int = 0
    exemplars: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Distribution:
    """A HistogramDataPoint: counts of each bucket alone, and one bound less than there are counts."""

    time_ns: int = 0
    count: int = 0
    total: float | None = None
    counts: tuple[int, ...] = ()
    bounds: tuple[float, ...] = ()
    flags: int = 0
    attributes: bytes = b""
    start_ns: int = 0
    exemplars: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Exponential:
    """An ExponentialHistogramDataPoint. A side is the offset of its first bucket, and counts of each bucket alone."""

    time_ns: int = 0
    count: int = 0
    total: float | None = None
    scale: int = 0
    zero_count: int = 0
    zero_threshold: float = 0.0
    positive: tuple[int, tuple[int, ...]] = (0, ())
    negative: tuple[int, tuple[int, ...]] = (0, ())
    flags: int = 0
    attributes: bytes = b""
    start_ns: int = 0
    exemplars: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Quantiles:
    """A SummaryDataPoint: values by quantile."""

    start_ns: int = 0
    time_ns: int = 0
    count: int = 0
    total: float = 0.0
    values: tuple[tuple[float, float], ...] = ()
    flags: int = 0
    attributes: bytes = b""


def number(data: bytes, at: int, end: int) -> Number:
    """The NumberDataPoint in ``data[at:end]``. Raises `MalformedOtlp`. Written out, because it is what most bytes are."""
    time_ns = start_ns = flags = 0
    value: bytes | None = None
    own = b""
    exemplars: tuple[bytes, ...] = ()
    while at < end:
        tag = data[at]
        if tag == 0x3A and at + 1 < end and data[at + 1] < 0x80:  # an attribute, of less than 128 bytes
            stop = at + 2 + data[at + 1]
        elif tag in (0x11, 0x19, 0x21, 0x31):  # start, time, double, integer
            stop = at + 9
            if tag == 0x11:
                start_ns = int.from_bytes(data[at + 1 : stop], "little")
            elif tag == 0x19:
                time_ns = int.from_bytes(data[at + 1 : stop], "little")
            elif tag == 0x21:
                value = data[at + 1 : stop]
            elif tag == 0x31 and stop <= end:
                value = _DOUBLE.pack(_I64.unpack_from(data, at + 1)[0])
        else:
            field, wire, behind = read_tag(data, at, end)
            begin, stop = skip(data, wire, behind, end)
            if field == 8 and wire == VARINT:
                flags = read_varint(data, behind, end)[0]
            elif field == 5 and wire == LENGTH:
                exemplars += (data[begin:stop],)
            elif field != _NUMBER_ATTRIBUTES:
                at = stop
                continue
        if stop > end:
            raise MalformedOtlp("a data point ends inside a field", at)
        if tag == 0x3A:
            own += data[at:stop]
        at = stop
    return Number(time_ns, value, flags, own, start_ns, exemplars)


def distribution(data: bytes, at: int, end: int) -> Distribution:
    """The HistogramDataPoint in ``data[at:end]``. Raises `MalformedOtlp`."""
    point = Distribution()
    counts: list[bytes] = []
    bounds: list[bytes] = []
    own: list[bytes] = []
    for field, wire, start, value, stop in fields(data, at, end):
        if wire == FIXED64:
            if field == 2:
                point.start_ns = int.from_bytes(data[value:stop], "little")
            elif field == 3:
                point.time_ns = int.from_bytes(data[value:stop], "little")
            elif field == 4:
                point.count = int.from_bytes(data[value:stop], "little")
            elif field == 5:
                (point.total,) = _DOUBLE.unpack_from(data, value)
        if field == 6:
            counts.append(data[value:stop])
        elif field == 7:
            bounds.append(data[value:stop])
        elif field == 8 and wire == LENGTH:
            point.exemplars += (data[value:stop],)
        elif field == 9 and wire == LENGTH:
            own.append(data[start:stop])
        elif field == 10 and wire == VARINT:
            point.flags = read_varint(data, value, stop)[0]
    point.counts = _packed(counts, "Q")
    point.bounds = _packed(bounds, "d")
    point.attributes = b"".join(own)
    if point.counts and len(point.counts) != len(point.bounds) + 1:
        raise MalformedOtlp(f"{len(point.counts)} buckets with {len(point.bounds)} bounds", at)
    return point


def exponential(data: bytes, at: int, end: int) -> Exponential:
    """The ExponentialHistogramDataPoint in ``data[at:end]``. Raises `MalformedOtlp`."""
    point = Exponential()
    own: list[bytes] = []
    for field, wire, start, value, stop in fields(data, at, end):
        if wire == FIXED64:
            _fixed(point, field, data[value:stop])
        elif wire == VARINT:
            whole, _ = read_varint(data, value, stop)
            if field == 6:
                point.scale = _unzigzag(whole)
            elif field == 10:
                point.flags = whole
        elif wire == LENGTH:
            if field == 1:
                own.append(data[start:stop])
            elif field == 8:
                point.positive = _side(data, value, stop)
            elif field == 9:
                point.negative = _side(data, value, stop)
            elif field == 11:
                point.exemplars += (data[value:stop],)
    if not 0.0 <= point.zero_threshold < math.inf:
        raise MalformedOtlp("a zero threshold that is no width", at)
    point.attributes = b"".join(own)
    return point


def _fixed(point: Exponential, field: int, eight: bytes) -> None:
    """Take a field of eight bytes."""
    if field == 2:
        point.start_ns = int.from_bytes(eight, "little")
    elif field == 3:
        point.time_ns = int.from_bytes(eight, "little")
    elif field == 4:
        point.count = int.from_bytes(eight, "little")
    elif field == 5:
        (point.total,) = _DOUBLE.unpack(eight)
    elif field == 7:
        point.zero_count = int.from_bytes(eight, "little")
    elif field == 14:
        (point.zero_threshold,) = _DOUBLE.unpack(eight)


def _side(data: bytes, at: int, end: int) -> tuple[int, tuple[int, ...]]:
    """The Buckets of an exponential histogram: its offset and its counts, packed or not."""
    offset = 0
    counts: list[int] = []
    for field, wire, _, value, stop in fields(data, at, end):
        if field == 1 and wire == VARINT:
            offset = _unzigzag(read_varint(data, value, stop)[0])
        elif field == 2 and wire == VARINT:
            counts.append(read_varint(data, value, stop)[0])
        elif field == 2 and wire == LENGTH:
            while value < stop:
                count, value = read_varint(data, value, stop)
                counts.append(count)
    return offset, tuple(counts)


def _unzigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)


def quantiles(data: bytes, at: int, end: int) -> Quantiles:
    """The SummaryDataPoint in ``data[at:end]``. Raises `MalformedOtlp`."""
    point = Quantiles()
    values: list[tuple[float, float]] = []
    own: list[bytes] = []
    for field, wire, start, value, stop in fields(data, at, end):
        if wire == FIXED64:
            if field == 2:
                point.start_ns = int.from_bytes(data[value:stop], "little")
            elif field == 3:
                point.time_ns = int.from_bytes(data[value:stop], "little")
            elif field == 4:
                point.count = int.from_bytes(data[value:stop], "little")
            elif field == 5:
                (point.total,) = _DOUBLE.unpack_from(data, value)
        elif field == 6 and wire == LENGTH:
            pair = {
                one: _DOUBLE.unpack_from(data, a)[0] for one, w, _, a, _ in fields(data, value, stop) if w == FIXED64
            }
            values.append((pair.get(1, 0.0), pair.get(2, 0.0)))
        elif field == 7 and wire == LENGTH:
            own.append(data[start:stop])
        elif field == 8 and wire == VARINT:
            point.flags = read_varint(data, value, stop)[0]
    point.values = tuple(values)
    point.attributes = b"".join(own)
    return point


def _packed(parts: list[bytes], kind: str) -> tuple[Any, ...]:
    """Numbers of eight bytes each, packed into one field or not."""
    whole = b"".join(parts)
    if len(whole) % 8:
        raise MalformedOtlp("a list of numbers that do not fill it", 0)
    return struct.unpack(f"<{len(whole) // 8}{kind}", whole)
