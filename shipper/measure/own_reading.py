"""What Shipper's own registry says at one moment, summed up to what a host ships (`shipper.measure.catalogue`).

Plain values out, so that what becomes of them (adding up over runs, encoding) knows no registry.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from prometheus_client.metrics import MetricWrapperBase

from shipper import __version__
from shipper.measure import catalogue as c
from shipper.measure.catalogue import Own
from shipper.own_metrics import Metrics

Labels: TypeAlias = tuple[tuple[str, str], ...]
Series: TypeAlias = tuple[Own, Labels]
Values: TypeAlias = tuple[float, ...]
"""One number; of a histogram the count of each bucket alone, and the sum."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What does not change while a host lives. Times in nanoseconds since the epoch; 0: not known. Empty text: not known."""

    born_ns: int
    image: str = ""
    zone: str = ""
    host_type: str = ""
    generation_started_ns: int = 0
    release_built_ns: int = 0
    gateway: bool = False  # what it has not sent on is on a disk that outlives it: nothing of that is exposed


@dataclass(frozen=True, slots=True)
class Ending:
    """How the life ended, as far as that was said."""

    outcome: str = ""  # empty: no farewell
    left_bytes: int = 0


def read(metrics: Metrics, facts: HostFacts, destinations: Sequence[str], ending: Ending) -> dict[Series, Values]:
    """Every series of the host with its value of this run, those at zero included."""
    found = dict(_host(metrics, facts, ending))
    for name in destinations:
        found.update(_destination(metrics, name))
        if not facts.gateway:
            found[c.EXPOSURE, (("destination", name),)] = _exposure(metrics, name)
    for name, helps in _by(metrics.fallback_helping, "destination").items():
        found[c.FALLBACK_HELPING, (("destination", name),)] = (helps,)
    found.update(_sums(metrics))
    return found


def _host(metrics: Metrics, facts: HostFacts, ending: Ending) -> Iterable[tuple[Series, Values]]:
    info = {
        "image": facts.image,
        "zone": facts.zone,
        "host_type": facts.host_type,
        "shipper_version": __version__,
    }
    yield (c.HOST_INFO, tuple((name, value) for name, value in info.items() if value)), (1,)
    yield (c.HOST_STARTED, ()), (facts.born_ns / 1e9,)
    yield (c.GENERATION_STARTED, ()), ((facts.generation_started_ns or facts.born_ns) / 1e9,)
    if facts.release_built_ns:
        yield (c.RELEASE_BUILT, ()), (facts.release_built_ns / 1e9,)
    yield (c.HOST_STATE, ()), (c.STATES.get(ending.outcome) or _state(metrics),)
    kinds = _by(metrics.notices, "kind")
    for kind in c.NOTICE_KINDS:
        yield (c.NOTICES, (("kind", kind),)), (kinds.get(kind, 0),)
    for outcome in c.FAREWELLS:
        yield (c.FAREWELL, (("outcome", outcome),)), (outcome == ending.outcome,)
    yield (c.DRAIN_LEFT, ()), (ending.left_bytes,)


def _state(metrics: Metrics) -> int:
    current = [state for state, on in _by(metrics.drain_state, "state").items() if on]
    return c.STATES.get(current[0], 1) if current else 1


def _destination(metrics: Metrics, name: str) -> Iterable[tuple[Series, Values]]:
    to = (("destination", name),)
    for own, metric in (
        (c.BACKLOG, metrics.backlog),
        (c.OLDEST, metrics.oldest),
        (c.ACKNOWLEDGED, metrics.acknowledged),
        (c.ACKNOWLEDGED_BYTES, metrics.acknowledged_bytes),
        (c.QUARANTINED, metrics.quarantined),
        (c.REJECTED, metrics.rejected),
        (c.DROPPED, metrics.dropped),
    ):
        yield (own, to), (_sum(metric, name),)
    yield (c.DESTINATION_UP, to), (_by(metrics.destination_up, "destination").get(name, 1),)
    sent = dict.fromkeys(c.OUTCOMES.values(), 0.0)
    for labels, value in _children(metrics.requests):
        if labels["destination"] == name:
            sent[c.OUTCOMES.get(labels["outcome"], "failed")] += value
    for outcome, count in sent.items():
        yield (c.REQUESTS_SENT, (*to, ("outcome", outcome))), (count,)


def _exposure(metrics: Metrics, destination: str) -> Values:
    """Fewer buckets than the registry has: those that end where ours do."""
    below: dict[float, float] = {}
    total = seconds = 0.0
    for family in metrics.exposure.collect():
        for sample in family.samples:
            if sample.labels.get("destination") != destination:
                continue
            if sample.name.endswith("_bucket"):
                below[float(sample.labels["le"])] = sample.value
            elif sample.name.endswith("_count"):
                total = sample.value
            elif sample.name.endswith("_sum"):
                seconds = sample.value
    edges = [0.0, *(below.get(edge, 0.0) for edge in c.EXPOSURE_EDGES), total]
    return (*(b - a for a, b in pairwise(edges)), seconds)


def _sums(metrics: Metrics) -> Iterable[tuple[Series, Values]]:
    for own, metric in (
        (c.LOST, metrics.lost_bytes),
        (c.SERVICE_LOST, metrics.service_lost),
        (c.PROBLEMS, metrics.problems),
        (c.SPOOL, metrics.spool_bytes),
        (c.STREAMS, metrics.streams),
        (c.OPEN_FILES, metrics.open_files),
    ):
        yield (own, ()), (_sum(metric),)
    used = os.times()
    yield (c.MEMORY, ()), (resident_bytes(),)
    yield (c.CPU, ()), (used.user + used.system,)


def resident_bytes() -> int:
    """Memory of this process; 0 where the kernel does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _sum(metric: MetricWrapperBase, destination: str = "") -> float:
    return sum(value for labels, value in _children(metric) if not destination or labels["destination"] == destination)


def _by(metric: MetricWrapperBase, label: str) -> dict[str, float]:
    return {labels[label]: value for labels, value in _children(metric)}


def _children(metric: MetricWrapperBase) -> Iterable[tuple[Mapping[str, str], float]]:
    for family in metric.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                yield sample.labels, sample.value
