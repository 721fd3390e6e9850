"""What a sample of a Prometheus series is on its way from OTLP to a destination, whatever form it is written in there.

A series is told from others by its labels, which are kept encoded as remote write 1.0 has them: most of what is sent is of a
series that was seen before, and costs a look-up of these bytes. Beside them stand the same labels as text, and the family that
says of which type and unit the series is; remote write 2.0 and expositions are made from those.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipper.otlp.wire import field as wire_field
from shipper.otlp.wire import read_varint, varint

if TYPE_CHECKING:
    from shipper_exporters._prometheus.native import Native

STALE = struct.pack("<Q", 0x7FF0000000000002)
"""The value that ends a series (Prometheus, ``model/value/value.go``)."""

COUNTER, GAUGE, HISTOGRAM, SUMMARY = 1, 2, 3, 5
"""Types as ``Metadata.MetricType`` of remote write 2.0 numbers them."""

DOUBLE = struct.Struct("<d")
HISTOGRAM_TAG = 0x22
"""The first byte of a value that is a native histogram: its field in a TimeSeries of remote write 1.0."""

NO_POINT = -1
"""The number of the data point of a sample that stands for none: a zero that was put before a sum."""

_NAN = struct.pack("<Q", 0x7FF8000000000001)


class Family:
    """A metric's name in Prometheus and what is known of it. ``type``: see `COUNTER`; ``unit`` as its name has it.

    ``is_cumulative``: its values count from a start on, and so may have one, and exemplars.
    """

    __slots__ = ("bucket", "count", "help", "is_cumulative", "name", "total", "type", "unit")

    def __init__(self, name: str, type: int = 0, unit: str = "", help: str = "") -> None:
        self.name = name
        self.type = type
        self.unit = unit
        self.help = help
        self.bucket, self.count, self.total = f"{name}_bucket", f"{name}_count", f"{name}_sum"
        self.is_cumulative = type not in (0, GAUGE)


class Labels(bytes):
    """The labels of one series, encoded as the first fields of a TimeSeries of remote write 1.0.

    ``texts``: the same as text, name and value by turns, sorted by name, with ``__name__``. ``family``: of which metric it is.
    """

    texts: tuple[str, ...]
    family: Family

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]], family: Family) -> Labels:
        """Those of a series; none may be empty or there twice."""
        ordered = tuple(sorted(pairs))
        found = cls(
            b"".join(
                wire_field(1, wire_field(1, key.encode()) + wire_field(2, value.encode())) for key, value in ordered
            )
        )
        found.texts = tuple(text for pair in ordered for text in pair)
        found.family = family
        return found


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measurement behind a sample: what it was, when, and of which trace. At most 128 characters of labels."""

    value: float
    time_ms: int
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class More:
    """What few samples have. ``start_ms``: when its counter began; 0 where that is not known.

    ``delta``: its value is what came since the last point, not since the start. ``native``: its value where that is a native
    histogram and has to be added up. ``carried``: the sum so far, where the value was made by adding up.
    """

    start_ms: int = 0
    exemplars: tuple[Exemplar, ...] = ()
    delta: bool = False
    native: Native | None = field(default=None, repr=False)
    carried: float | Native | None = field(default=None, repr=False)


Sample = tuple[int, bytes, bytes, int, More | None]
"""Time in ms, the series (`Labels`), the encoded value with its time, the number of the data point it came from, and the rest.

The value is a whole field: of a Sample (tag 0x12, in both versions of the protocol) or of a Histogram (0x22 as in 1.0).
"""


def pairs_of(labels: Labels) -> Iterable[tuple[str, str]]:
    """Names and values of labels, sorted by name."""
    return zip(labels.texts[::2], labels.texts[1::2], strict=True)


def time_tail(time_ms: int) -> bytes:
    """How a time stands behind the value of a sample."""
    return b"\x10" + varint(time_ms)


def number_field(value: bytes, tail: bytes) -> bytes:
    """The field of a sample from the eight bytes of its double and `time_tail`."""
    return b"\x12" + bytes((9 + len(tail),)) + b"\x09" + value + tail


def number_of(value: bytes) -> float:
    """The double in the field of a sample."""
    return float(DOUBLE.unpack_from(value, 3)[0])


def is_histogram(value: bytes) -> bool:
    """Whether an encoded value is a native histogram."""
    return value[0] == HISTOGRAM_TAG


def is_end(value: bytes) -> bool:
    """Whether an encoded value ends its series."""
    if value[0] != HISTOGRAM_TAG:
        return value.startswith(STALE, 3)
    _, at = read_varint(value, 1, len(value))
    return value.startswith(STALE, at + 1)  # its sum, which is written first


def plain(value: float) -> bytes:
    """The bytes of a double that must not be taken for the end of a series."""
    return plain_bytes(DOUBLE.pack(value))


def plain_bytes(packed: bytes) -> bytes:
    """The same of a double's bytes."""
    return _NAN if packed == STALE else packed
