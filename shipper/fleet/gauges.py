"""Series that one writer keeps alive for a fleet: what they are now as OTLP gauges, and stale markers for those that ended.

There is no instance on them: whoever writes them, they are the same series. Names are OpenTelemetry's form of those in
Prometheus: ``shipper.deploy.started_timestamp`` in seconds becomes ``shipper_deploy_started_timestamp_seconds``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from shipper import __version__
from shipper.otlp import metrics
from shipper.otlp.encode import AttributeValue, key_value, resource, scope
from shipper.otlp.wire import field, fixed64_field, varint_field

_NO_RECORDED_VALUE = 1  # DataPointFlags: the series ended

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One series: its name, and as pairs in order the attributes of its resource and its own."""

    name: str
    resource: Labels
    attributes: Labels


@dataclass(frozen=True, slots=True)
class Described:
    """What is said of the series of one scope: each name's unit (empty: none) and what it is."""

    scope: str
    units: Mapping[str, str]
    help: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An ExportMetricsServiceRequest and how much it holds."""

    payload: bytes
    points: int
    metrics: int


class Writer(Protocol):
    """Where series go."""

    async def write(self, series: Encoded, time_ns: int) -> None:
        """Append one request. Raises `ShipperError`: then nothing was written."""

    def close(self) -> None:
        """Let go of files."""


def encode(
    described: Described, values: Mapping[Series, int | float], time_ns: int, ended: Iterable[Series] = ()
) -> Encoded:
    """One request with all values as they are at ``time_ns``, and the ends of series that are no more."""
    points: dict[Labels, dict[str, list[bytes]]] = {}
    for series, value in values.items():
        point = metrics.number(value, time_ns, attributes=_attributes(series))
        points.setdefault(series.resource, {}).setdefault(series.name, []).append(point)
    for series in ended:
        points.setdefault(series.resource, {}).setdefault(series.name, []).append(_end(series, time_ns))
    own = scope(described.scope, __version__)
    payload = b"".join(
        metrics.export_metrics(
            resource(dict(about)),
            own,
            [
                metrics.gauge(name, found, unit=described.units[name], description=described.help[name])
                for name, found in named.items()
            ],
        )
        for about, named in points.items()
    )
    units = [found for named in points.values() for found in named.values()]
    return Encoded(payload, sum(map(len, units)), len(units))


def labels(values: Mapping[str, str]) -> Labels:
    """Attributes as pairs, without those that are empty."""
    return tuple((name, value) for name, value in values.items() if value)


def _end(series: Series, time_ns: int) -> bytes:
    """A point without a value (NumberDataPoint: time 3, attributes 7, flags 8)."""
    attributes = b"".join(field(7, key_value(name, value)) for name, value in series.attributes)
    return fixed64_field(3, time_ns) + attributes + varint_field(8, _NO_RECORDED_VALUE)


def _attributes(series: Series) -> dict[str, AttributeValue]:
    return dict(series.attributes)
