"""Deploys as metrics: one series a fact, whose value is the moment, so that dashboards draw markers without looking into logs.

Names are OpenTelemetry's form of those in Prometheus: ``shipper.deploy.started_timestamp`` in seconds becomes
``shipper_deploy_started_timestamp_seconds``. There is no instance on them: whoever writes them, they are the same series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shipper import __version__
from shipper.fleet.deploys.model import Deploy
from shipper.otlp import metrics
from shipper.otlp.encode import AttributeValue, key_value, resource, scope
from shipper.otlp.wire import field, fixed64_field, varint_field

STARTED = "shipper.deploy.started_timestamp"
FINISHED = "shipper.deploy.finished_timestamp"
WITHDRAWN = "shipper.deploy.withdrawn_timestamp"
DESIRED = "shipper.generation.desired_hosts"
EPISODE = "shipper.generation.episode_started_timestamp"
KEEPER = "shipper.keeper.info"
_SCOPE = scope("shipper.deploy", __version__)
_SECONDS = "s"
_UNITS = {STARTED: _SECONDS, FINISHED: _SECONDS, WITHDRAWN: _SECONDS, EPISODE: _SECONDS, DESIRED: "{host}", KEEPER: ""}
_HELP = {
    STARTED: "When a deploy or rollback started.",
    FINISHED: "When it ended, well or not.",
    WITHDRAWN: "When a generation was taken back before it replaced the other.",
    DESIRED: "How many hosts the generation is meant to have.",
    EPISODE: "When the generation became the newest, for the first time or again.",
    KEEPER: "1 from the gateway that keeps the series of deploys alive.",
}
_NO_RECORDED_VALUE = 1  # DataPointFlags: the series ended

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One series: its name, and as pairs in order the attributes of its resource and its own."""

    name: str
    resource: Labels
    attributes: Labels


def of_deploys(deploys: Iterable[Deploy]) -> dict[Series, int]:
    """The series of deploys, oldest first, and their values: seconds since the epoch, or hosts."""
    found: dict[Series, int] = {}
    for deploy in deploys:
        about = _labels(
            {
                "service.name": deploy.service,
                "deployment.environment.name": deploy.env,
                "shipper.generation": deploy.generation,
                "service.version": deploy.release,
            }
        )
        inferred = {"inferred": "true" if deploy.inferred else "false"}
        again = {"episode": str(deploy.episode)} if deploy.episode > 1 else {}
        kind = {"action": "rollback" if deploy.rollback else "deploy", "from_release": deploy.from_release}
        if deploy.started_ns:
            found[Series(STARTED, about, _labels({**kind, **inferred, **again}))] = _seconds(deploy.started_ns)
            episode = Series(EPISODE, about, _labels({"episode": str(deploy.episode)}))
            found.setdefault(episode, _seconds(deploy.started_ns))  # a deploy repeated begins no other episode
        if deploy.finished_ns:
            status = {"status": deploy.status}
            found[Series(FINISHED, about, _labels({**kind, **inferred, **again, **status}))] = _seconds(
                deploy.finished_ns
            )
        if deploy.withdrawn_ns:
            found[Series(WITHDRAWN, about, _labels({**inferred, **again}))] = _seconds(deploy.withdrawn_ns)
        if deploy.desired_hosts:
            found[Series(DESIRED, about, ())] = deploy.desired_hosts
    return found


def of_keeper(gateway: str) -> dict[Series, int]:
    """The series that says who keeps the others."""
    return {Series(KEEPER, (), (("gateway", gateway),)): 1}


@dataclass(frozen=True, slots=True)
class Encoded:
    """An ExportMetricsServiceRequest and how much it holds."""

    payload: bytes
    points: int
    metrics: int


def encode(values: Mapping[Series, int], time_ns: int, ended: Iterable[Series] = ()) -> Encoded:
    """One request with all values as they are at ``time_ns``, and the ends of series that are no more."""
    points: dict[Labels, dict[str, list[bytes]]] = {}
    for series, value in values.items():
        point = metrics.number(value, time_ns, attributes=_attributes(series))
        points.setdefault(series.resource, {}).setdefault(series.name, []).append(point)
    for series in ended:
        points.setdefault(series.resource, {}).setdefault(series.name, []).append(_end(series, time_ns))
    payload = b"".join(
        metrics.export_metrics(
            resource(dict(about)),
            _SCOPE,
            [metrics.gauge(name, found, unit=_UNITS[name], description=_HELP[name]) for name, found in named.items()],
        )
        for about, named in points.items()
    )
    units = [found for named in points.values() for found in named.values()]
    return Encoded(payload, sum(map(len, units)), len(units))


def _end(series: Series, time_ns: int) -> bytes:
    """A point without a value (NumberDataPoint: time 3, attributes 7, flags 8)."""
    attributes = b"".join(field(7, key_value(name, value)) for name, value in series.attributes)
    return fixed64_field(3, time_ns) + attributes + varint_field(8, _NO_RECORDED_VALUE)


def _attributes(series: Series) -> dict[str, AttributeValue]:
    return dict(series.attributes)


def _labels(values: Mapping[str, str]) -> Labels:
    return tuple((name, value) for name, value in values.items() if value)


def _seconds(at_ns: int) -> int:
    return at_ns // 1_000_000_000
