"""OTLP metrics as samples of Prometheus series: gauges, sums, histograms, exponential histograms, summaries.

What has no form in Prometheus is counted by its reason and left out, never quietly. Labels are worked out once for each series; a
point of a series that was seen before costs some lookups. What a point becomes is in `shipper_exporters._prometheus.emit`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from shipper.errors import MalformedOtlp
from shipper.otlp.wire import LENGTH, VARINT, fields, read_varint
from shipper_exporters._prometheus.emit import Emitter
from shipper_exporters._prometheus.labels import Pairs, attributes, identity, series
from shipper_exporters._prometheus.names import metric_name, unit_name
from shipper_exporters._prometheus.samples import COUNTER, GAUGE, HISTOGRAM, SUMMARY, Family, Labels, Sample

FALLING_DELTA = "sums that may fall and count since the last point (delta), so that only all of them say what it is"
UNSPECIFIED = "sums and histograms that do not say since when they count"
MALFORMED = "malformed data points"
NO_NAME = "metrics whose name has no letter or digit"

_DELTA, _CUMULATIVE = 1, 2
_GAUGE, _SUM, _HISTOGRAM, _EXPONENTIAL, _SUMMARY = 5, 7, 9, 10, 11
_KINDS = frozenset({_GAUGE, _SUM, _HISTOGRAM, _EXPONENTIAL, _SUMMARY})
_TEMPORAL = frozenset({_SUM, _HISTOGRAM, _EXPONENTIAL})
_RESOURCES = 4096  # whose labels are remembered
_FAMILIES = 10_000

_TYPES = {_GAUGE: GAUGE, _SUM: GAUGE, _HISTOGRAM: HISTOGRAM, _EXPONENTIAL: HISTOGRAM, _SUMMARY: SUMMARY}


@dataclass(frozen=True)
class Converted:
    """``samples`` in the order they came, of ``points`` data points in all; ``rejected`` points by reason.

    ``deltas``: some count since the last point, and are still to be added up.
    """

    samples: list[Sample] = field(repr=False)
    points: int
    rejected: Mapping[str, int]
    deltas: bool = False


class _Resource:
    """The labels of a resource's series, by family and attributes."""

    __slots__ = ("_external", "_identity", "_series")

    def __init__(self, external: Pairs, identity: Pairs) -> None:
        self._external = external
        self._identity = identity
        self._series: dict[tuple[str, bytes, str, int], Labels] = {}

    def __len__(self) -> int:
        return len(self._series)

    def labels(
        self, family: Family, name: str, own: bytes, number: int, extra: tuple[str, str] | None = None
    ) -> Labels:
        """See `shipper_exporters._prometheus.emit.Resource`."""
        key = (name, own, "" if extra is None else extra[1], family.type)
        found = self._series.get(key)
        if found is None:
            extras = () if extra is None else (extra,)
            found = series(name, family, self._external, attributes(own, number), self._identity, extras)
            self._series[key] = found
        return found


class Converter:
    """Converts requests; may be called from several threads.

    ``external``: labels added where a series has none of the name. ``remembered``: how many series' labels are kept; whoever
    makes more, as by a user's id in a label, makes all be worked out again.
    """

    def __init__(self, external: Mapping[str, str], remembered: int = 100_000) -> None:
        self._external = tuple(external.items())
        self._remembered = remembered
        self._lock = threading.Lock()
        self._resources: dict[bytes, _Resource] = {}
        self._families: dict[tuple[bytes, bytes, int], Family] = {}

    def convert(self, payloads: Iterable[bytes]) -> Converted:
        """All that the Export requests hold. Raises `MalformedOtlp` when one is broken outside of its data points."""
        with self._lock:
            walk = _Walk(self._resource, self._family)
            for payload in payloads:
                walk.request(payload)
            if sum(map(len, self._resources.values())) > self._remembered:
                self._resources.clear()
            out = walk.out
            return Converted(out.samples, out.points, dict(out.rejected), out.deltas)

    def _resource(self, content: bytes) -> _Resource:
        found = self._resources.pop(content, None)
        if found is None:
            found = _Resource(self._external, identity(content))
            if len(self._resources) >= _RESOURCES:
                del self._resources[next(iter(self._resources))]
        self._resources[content] = found  # behind all others: the first is the one longest not seen
        return found

    def _family(self, name: bytes, unit: bytes, kind: int, description: bytes) -> Family:
        key = (name, unit, kind)
        found = self._families.get(key)
        if found is None:
            if len(self._families) >= _FAMILIES:
                self._families.clear()
            counter, gauge = kind == _MONOTONIC, kind == _GAUGE
            of = unit.decode("utf-8", "replace")
            called = metric_name(name.decode("utf-8", "replace"), of, counter=counter, gauge=gauge)
            type_ = COUNTER if counter else _TYPES.get(kind, 0)
            found = Family(called, type_, unit_name(called, of), description.decode("utf-8", "replace"))
            self._families[key] = found
        return found


_MONOTONIC = -_SUM
"""The kind of a sum that only grows."""


class _Walk:
    """One conversion under way."""

    def __init__(
        self, resource: Callable[[bytes], _Resource], family: Callable[[bytes, bytes, int, bytes], Family]
    ) -> None:
        self.out = out = Emitter()
        self._emit: Mapping[int, Callable[..., None]] = {
            _HISTOGRAM: out.histogram, _EXPONENTIAL: out.exponential, _SUMMARY: out.summary,
        }  # fmt: skip
        self._resource_of = resource
        self._family_of = family

    def request(self, data: bytes) -> None:
        for number, wire, _, at, end in fields(data, 0, len(data)):
            if number == 1 and wire == LENGTH:
                self._resource_metrics(data, at, end)

    def _resource_metrics(self, data: bytes, at: int, end: int) -> None:
        content = b""
        scopes = []
        for number, wire, _, a, b in fields(data, at, end):
            if number == 1 and wire == LENGTH:
                content += data[a:b]  # parts of a message that comes in parts are joined
            elif number == 2 and wire == LENGTH:
                scopes.append((a, b))
        self.out.resource = self._resource_of(content)
        for start, stop in scopes:
            for number, wire, _, a, b in fields(data, start, stop):
                if number == 2 and wire == LENGTH:
                    self._metric(data, a, b)

    def _metric(self, data: bytes, at: int, end: int) -> None:
        name = unit = description = b""
        kind, body = 0, (0, 0)
        for number, wire, _, a, b in fields(data, at, end):
            if wire == LENGTH:
                if number == 1:
                    name = data[a:b]
                elif number == 2:
                    description = data[a:b]
                elif number == 3:
                    unit = data[a:b]
                elif number in _KINDS:
                    kind, body = number, (a, b)
        found, temporality, monotonic = [], 0, False
        for number, wire, _, a, b in fields(data, *body):
            if number == 1 and wire == LENGTH:
                found.append((a, b))
            elif number == 2 and wire == VARINT:
                temporality = read_varint(data, a, b)[0]
            elif number == 3 and wire == VARINT:
                monotonic = bool(read_varint(data, a, b)[0])
        family = self._family_of(name, unit, _MONOTONIC if kind == _SUM and monotonic else kind, description)
        why = _without_form(kind, temporality, monotonic=monotonic) or ("" if family.name else NO_NAME)
        if why:
            self._reject(why, len(found))
            return
        emit = self._emit.get(kind, self.out.number)
        delta = kind in _TEMPORAL and temporality == _DELTA
        for a, b in found:
            try:
                emit(family, data, a, b, delta=delta)
            except MalformedOtlp:
                self._reject(MALFORMED, 1)
                continue
            self.out.points += 1

    def _reject(self, reason: str, points: int) -> None:
        """Points are counted whatever becomes of them."""
        if points:
            self.out.rejected[reason] += points
            self.out.points += points


def _without_form(kind: int, temporality: int, *, monotonic: bool) -> str:
    """Why a metric has no form in Prometheus, or nothing."""
    if kind not in _TEMPORAL or temporality == _CUMULATIVE:
        return ""
    if temporality != _DELTA:
        return UNSPECIFIED
    return FALLING_DELTA if kind == _SUM and not monotonic else ""
