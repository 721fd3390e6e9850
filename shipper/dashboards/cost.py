"""What a fleet costs in series, samples, requests, objects and bytes: computed from the same settings as the rules.

The bench case ``fleet-series`` makes such a fleet against a real Prometheus and holds the series it counts to these numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.rules import recording_groups

DAY = 86400.0
RAW_SECONDS = 2 * 3600.0
"""How long raw series have to be kept: no board and no rule but the history group's reads them further back."""

RECORDED_DAYS = 90
SERIES_LIMIT = 60
"""What a host may push by default."""

SAMPLES_A_REQUEST = 2000
"""``max_samples_per_send`` of the destination ``prometheus``, if nothing else is set."""

OBJECT_SECONDS = 30.0
"""``linger`` of the destination ``archive``: an object that is not full is written after this time."""

OBJECT_BYTES = 16 << 20
"""``object_bytes`` of the destination ``archive``."""

OBJECTS_PUT = 2
"""An object and its range list."""

KEPT_DEPLOYS = 50
"""Deploys of one service that the keeper keeps alive, at most."""

DEPLOY_SERIES = 3
"""Started, finished, desired hosts; a withdrawal is one more."""

VERDICT_SERIES = 18
"""Of the newest generation of a service, where verdicts are computed: its word and numbers, for errors and latency."""

STORED_BYTES = 1.9
"""Of one sample in a block of Prometheus, index included; as ``fleet-series`` measured it."""

ARCHIVED_BYTES = 11.5
"""Of one sample in an archive, gzipped, range lists included; as ``fleet-series`` measured it."""

GZIP_RATIO = 0.163
"""Of log lines in OTLP, as docs/measurements.md has it."""


@dataclass(frozen=True, slots=True)
class HostSeries:
    """What one host pushes: of itself, for each destination, for each service."""

    own: int
    destination: int
    service: int

    def total(self, destinations: int, services: int) -> int:
        """All series of a host."""
        return self.own + self.destination * destinations + self.service * services


@dataclass(frozen=True, slots=True)
class FleetSize:
    """``hosts`` at one time and ``deploys`` a day, in all ``services`` together; each host runs one of them.

    A deploy replaces all hosts of its service. ``logs`` is what a host writes in a day, in bytes.
    """

    hosts: int
    deploys: float
    services: int = 1
    destinations: int = 1
    gateways: int = 1
    logs: float = 0.0

    @property
    def lives(self) -> float:
        """Hosts that are born in a day because of deploys."""
        return self.deploys * self.hosts / self.services


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. ``how`` says what it is made of."""

    part: str
    what: str
    value: float
    unit: str
    how: str


@dataclass(frozen=True, slots=True)
class RecordedSeries:
    """What rules record: by generation, by service, and once."""

    generation: int
    service: int
    fleet: int

    def total(self, generations: float, services: int) -> float:
        """All recorded series that there are after so many generations."""
        return self.generation * generations + self.service * services + self.fleet


def recorded_series(config: BoardConfig) -> RecordedSeries:
    """Counted from the rules: each records one series a generation, or one a service."""
    rules = [rule for group in recording_groups(config) for rule in group.rules]
    by_generation = sum(rule.record in names.GENERATION_RECORDED for rule in rules)
    by_service = sum(rule.record in names.SERVICE_RECORDED for rule in rules)
    return RecordedSeries(by_generation, by_service, len(rules) - by_generation - by_service)


def bill(config: BoardConfig, fleet: FleetSize, host: HostSeries) -> Iterator[Line]:
    """All figures, in the order in which they are shown."""
    yield from _raw(config, fleet, host)
    yield from _recorded(config, fleet)
    yield from _archive(config, fleet, host)


def _raw(config: BoardConfig, fleet: FleetSize, host: HostSeries) -> Iterator[Line]:
    part = "raw"
    a_host = host.total(fleet.destinations, 1)
    push = config.intervals.push
    births = fleet.lives * RAW_SECONDS / DAY
    samples = fleet.hosts * a_host / push
    parts = math.ceil(a_host / SAMPLES_A_REQUEST)
    yield Line(
        part,
        "series a host",
        a_host,
        "",
        f"{host.own} of itself, {host.destination} a destination, {host.service} a service",
    )
    yield Line(part, "series now", fleet.hosts * a_host, "", f"{fleet.hosts:,} hosts")
    yield Line(
        part, "series in 2 hours", (fleet.hosts + births) * a_host, "", f"and {births:,.0f} that were born in that time"
    )
    yield Line(part, "new series a day", fleet.lives * a_host, "", f"{fleet.lives:,.0f} hosts born")
    yield Line(part, "samples", samples, "1/s", f"every {push:g} s")
    yield Line(part, "remote-write requests, from hosts", fleet.hosts * parts / push, "1/s", "each host by itself")
    yield Line(
        part, "remote-write requests, from gateways", samples / SAMPLES_A_REQUEST, "1/s",
        f"at least: {SAMPLES_A_REQUEST:,} samples in one",
    )  # fmt: skip
    yield Line(part, "on disk", samples * DAY * STORED_BYTES / 1e9, "GB a day", f"{STORED_BYTES:g} bytes a sample")
    kept = samples * RAW_SECONDS * STORED_BYTES / 1e9
    yield Line(part, "on disk, if kept for 2 hours", kept, "GB", "no rule or board needs them longer")


def _recorded(config: BoardConfig, fleet: FleetSize) -> Iterator[Line]:
    part = "recorded"
    series = recorded_series(config)
    generations = fleet.services + fleet.deploys
    lasting = fleet.services + fleet.deploys * config.windows.ended / DAY
    samples = series.total(lasting, fleet.services) / config.intervals.evaluate
    long = fleet.services + fleet.deploys * RECORDED_DAYS
    yield Line(part, "series a generation", series.generation, "", "however many hosts it has")
    yield Line(part, "series a service", series.service, "", "however many generations it has had")
    yield Line(
        part, "series after a day", series.total(generations, fleet.services), "", f"{generations:,.0f} generations"
    )
    yield Line(
        part, f"series after {RECORDED_DAYS} days", series.total(long, fleet.services), "", f"{long:,.0f} generations"
    )
    kept = min(KEPT_DEPLOYS * fleet.services, fleet.deploys * 14)
    yield Line(part, "series of deploys", kept * DEPLOY_SERIES, "", "kept alive by a gateway, for 14 days at most")
    yield Line(
        part, "series of verdicts", fleet.services * VERDICT_SERIES, "", "where they are computed; one a minute each"
    )
    yield Line(
        part,
        "samples",
        samples,
        "1/s",
        f"at most: a generation is recorded for {config.windows.ended / 60:g} min after its end",
    )
    size = samples * DAY * RECORDED_DAYS * STORED_BYTES / 1e9
    yield Line(part, f"on disk, {RECORDED_DAYS} days", size, "GB", f"{STORED_BYTES:g} bytes a sample")


def _archive(config: BoardConfig, fleet: FleetSize, host: HostSeries) -> Iterator[Line]:
    part = "archive"
    metrics = fleet.hosts * host.total(fleet.destinations, 1) / config.intervals.push * DAY * ARCHIVED_BYTES
    logs = fleet.hosts * fleet.logs
    objects = sum(_objects(size, fleet.gateways) for size in (metrics, logs) if size)
    each = f"{fleet.gateways} gateway{'s' * (fleet.gateways > 1)}, an object each {OBJECT_SECONDS:g} s or {OBJECT_BYTES >> 20} MiB"
    yield Line(part, "PUTs", objects * OBJECTS_PUT, "a day", f"{each}, and its range list")
    yield Line(part, "metrics", metrics / 1e9, "GB a day", f"{ARCHIVED_BYTES:g} bytes a sample")
    if logs:
        how = f"{logs / 1e9:,.1f} GB as written, compressed to {GZIP_RATIO:.1%}"
        yield Line(part, "logs", logs * GZIP_RATIO / 1e9, "GB a day", how)
    whole = (metrics + logs * GZIP_RATIO) / 1e9
    yield Line(part, "all", whole * RECORDED_DAYS, f"GB in {RECORDED_DAYS} days", "nothing is deleted by Shipper")


def _objects(size: float, gateways: int) -> float:
    """Objects of one signal a day: by time, or by their uncompressed size where that comes first."""
    return max(gateways * DAY / OBJECT_SECONDS, size / OBJECT_BYTES)
