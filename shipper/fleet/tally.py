"""What a payload holds by our own count, which is what an audit compares with what others said about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shipper.contracts import Signal
from shipper.otlp import decode
from shipper.otlp.encode import AttributeValue
from shipper.otlp.messages import envelopes, parse, points


@dataclass(frozen=True, slots=True)
class Tally:
    """Records of a payload (log records, spans, data points), and the resource of its first part."""

    records: int
    resource: Mapping[str, AttributeValue]


def tally(signal: Signal, payload: bytes) -> Tally:
    """Count by decoding all of it: stricter than a walk over the envelopes, and faster. Raises `MalformedOtlp`."""
    count = 0
    first: Mapping[str, AttributeValue] | None = None
    for resource, _, units in envelopes(signal, parse(signal, payload)):
        if first is None:
            first = decode.attributes_of(resource.attributes)
        count += sum(len(points(unit)) for unit in units) if signal is Signal.METRICS else len(units)
    return Tally(count, first or {})


def unit_sizes(signal: Signal, payload: bytes) -> Iterator[int]:
    """Records in each unit that `shipper.otlp.splice.take` counts: one, but for metrics. Raises `MalformedOtlp`."""
    for _, _, units in envelopes(signal, parse(signal, payload)):
        yield from (len(points(unit)) if signal is Signal.METRICS else 1 for unit in units)


def times(signal: Signal, unit: Any) -> Iterator[int]:
    """When a log record, a span or the points of a metric were, in ns since the epoch; ``unit`` is its message."""
    if signal is Signal.METRICS:
        yield from (point.time_unix_nano for point in points(unit))
    elif signal is Signal.TRACES:
        yield unit.start_time_unix_nano
    else:
        yield unit.time_unix_nano or unit.observed_time_unix_nano
