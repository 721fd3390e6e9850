"""Data points as HEC metric events in the multi-metric format: those of one time and equal dimensions are one event.

https://help.splunk.com/en/splunk-enterprise/get-data-in/metrics/get-metrics-in-from-other-sources : names are of letters,
digits, ``_``, ``.`` and ``:``; values are numbers. A histogram is its ``_sum``, its ``_count`` and its cumulative ``_bucket``
with the dimension ``le``, which is what ``histperc`` reads. What has no such form is counted by its reason and left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from shipper.contracts import Signal
from shipper.otlp.decode import attributes_of, parse
from shipper.otlp.encode import AttributeValue
from shipper.otlp.messages import envelopes, points
from shipper_exporters._splunk.fields import Head, Placement, flat, place

EXPONENTIAL = "exponential histograms"
NO_VALUE = "data points without a value that is a number, or without a time"

_NO_RECORDED_VALUE = 1
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.:]")
_TYPES = {"gauge": "Gauge", "sum": "Sum", "histogram": "Histogram", "summary": "Summary"}
_encode = msgspec.json.encode

Value = tuple[str, float, Mapping[str, AttributeValue]]
"""A name, its number, and the dimensions besides those of the point."""


@dataclass(frozen=True)
class Converted:
    """Events, each with a line feed behind it, of ``points`` data points; ``left_out`` points by reason."""

    events: bytes = field(repr=False)
    points: int
    left_out: Mapping[str, int]


def metric_events(payloads: Iterable[bytes], placement: Placement) -> Converted:
    """The metric events of Export requests. Raises `MalformedOtlp`."""
    out: list[bytes] = []
    left_out: Counter[str] = Counter()
    count = 0
    for payload in payloads:
        for resource, _, metrics in envelopes(Signal.METRICS, parse(Signal.METRICS, payload)):
            gathered = _Gathered(attributes_of(resource.attributes), placement)
            for metric in metrics:
                kind = metric.WhichOneof("data")
                for point in points(metric):
                    count += 1
                    reason = gathered.add(metric, kind, point)
                    if reason:
                        left_out[reason] += 1
            out.append(gathered.events())
    return Converted(b"".join(out), count, left_out)


def metric_name(name: str) -> str:
    """A name as Splunk takes it."""
    named = _NOT_ALLOWED.sub("_", name)
    return named if named[:1].isalpha() else f"m.{named.lstrip('_')}"


class _Gathered:
    """The points of one resource, by time and dimensions."""

    def __init__(self, resource: Mapping[str, AttributeValue], placement: Placement) -> None:
        self._head = Head.of({}, {}, placement)
        self._place = _encode(place(resource, placement))[1:-1]
        self._resource = resource
        self._groups: dict[tuple[int, bytes], list[dict[str, float]]] = {}

    def add(self, metric: Any, kind: str, point: Any) -> str:
        """Take up a point; else why it cannot be."""
        if kind == "exponential_histogram":
            return EXPONENTIAL
        if point.flags & _NO_RECORDED_VALUE:
            return ""  # it says that the series ends, for which Splunk has no word, and nobody misses a number
        if not point.time_unix_nano:
            return NO_VALUE
        values = list(_values(metric_name(metric.name), kind, point))
        if not values or not all(math.isfinite(number) for _, number, _ in values):
            return NO_VALUE
        own = attributes_of(point.attributes)
        for name, number, extra in values:
            fields = flat({**self._resource, **own, **extra, "metric_type": _TYPES[kind]})
            groups = self._groups.setdefault((point.time_unix_nano, _encode(fields)), [{}])
            if name in groups[-1]:
                groups.append({})
            groups[-1][name] = number
        return ""

    def events(self) -> bytes:
        """An event for each group."""
        out = []
        where = self._place + b"," if self._place else b""
        for (time_ns, fields), groups in self._groups.items():
            for group in groups:
                named = _encode({f"metric_name:{name}": number for name, number in group.items()})
                time = b"%d.%09d" % divmod(time_ns, 1_000_000_000)
                out.append(
                    b'{"time":%b,%b"event":"metric","fields":{%b,%b}}\n' % (time, where, fields[1:-1], named[1:-1])
                )
        return b"".join(out)


def _values(name: str, kind: str, point: Any) -> Iterator[Value]:
    if kind in ("gauge", "sum"):
        number = point.WhichOneof("value")
        if number:
            yield name, getattr(point, number), {}
        return
    yield f"{name}_count", point.count, {}
    if kind == "summary" or point.HasField("sum"):
        yield f"{name}_sum", point.sum, {}
    if kind == "summary":
        for one in point.quantile_values:
            yield f"{name}_{_shown(one.quantile)}", one.value, {"qt": _shown(one.quantile)}
        return
    below = 0
    for bound, count in zip([*point.explicit_bounds, math.inf], point.bucket_counts, strict=False):
        below += count
        yield f"{name}_bucket", below, {"le": _shown(bound)}


def _shown(number: float) -> str:
    """A bound or a quantile as dimensions have it: all of its digits, and no exponent, as the Collector writes them."""
    if not math.isfinite(number):
        return "+Inf" if number == math.inf else str(number)
    return format(Decimal(repr(number)), "f").removesuffix(".0")
