"""From settings to what measures: which endpoints and directories are read, and whose their numbers are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from shipper.clock import Clock
from shipper.config.schema_numbers import Metrics, Requests, Scrape
from shipper.contracts import Hub, Source, StreamKind
from shipper.events import Reporter
from shipper.labels.identity import Identity
from shipper.labels.times import GENERATION_STARTED, RELEASE_BUILT
from shipper.ledger import LedgerThread
from shipper.measure.counts import Bounds
from shipper.measure.exposition import BookCollector
from shipper.measure.log_lines import UNITS, Names, line_format
from shipper.measure.log_requests import LogRequests, LogRule
from shipper.measure.own import OwnMetrics
from shipper.measure.own_reading import HostFacts
from shipper.measure.requests import RequestCounter
from shipper.measure.source import MeasureSource, Target
from shipper.measure.stream import LIFE, NAME, MetricsStream
from shipper.measure.writing import Writer
from shipper.otlp.encode import AttributeValue

_EDGES = (0.1, 0.4, 1, 2, 10)  # of the objective


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is measured. ``attributes``: the resource attributes of the host, ``instance``: its name on every series.

    ``takers``: the destinations that take metrics, of all the ``destinations`` there are.
    """

    attributes: Mapping[str, AttributeValue]
    instance: str
    life: str
    birth_ns: int
    state_dir: str
    takers: Sequence[str]
    destinations: Sequence[str]
    facts: HostFacts


def facts(identity: Identity, born_ns: int, *, gateway: bool = False) -> HostFacts:
    """What is known of the host for as long as it lives. ``born_ns``: when its life began. ``gateway``: it is one."""
    return HostFacts(
        born_ns,
        image=identity.image.value,
        zone=str(identity.extra.get("cloud.availability_zone", "")),
        host_type=str(identity.extra.get("host.type", "")),
        generation_started_ns=identity.times.get(GENERATION_STARTED, 0),
        release_built_ns=identity.times.get(RELEASE_BUILT, 0),
        gateway=gateway,
    )


def counter(
    settings: Requests, place: Place, *, ledger: LedgerThread, clock: Clock, report: Reporter
) -> RequestCounter:
    """What counts requests; a source of span streams tells it of them."""
    return RequestCounter(
        bounds(settings), routes=settings.routes, host=place.attributes, ledger=ledger, clock=clock, report=report
    )


def log_requests(
    settings: Requests,
    covering: Callable[[Sequence[str]], Callable[[str], bool]],
    counter: RequestCounter,
    report: Reporter,
    jobs: Sequence[LogRule] = (),
) -> LogRequests:
    """What has the logs read that tell of requests. ``covering``: whether a path matches globs, as tailing sees it.

    ``jobs``: the rules for what tells of runs of jobs.
    """
    rules = []
    for wanted in settings.logs:
        names = Names(wanted.status, wanted.duration, wanted.level, wanted.route, UNITS[wanted.unit])
        format = line_format(wanted.format, names)
        rules.append(LogRule(covering(wanted.files), format, _serving(wanted.service), wanted.besides_spans))
    return LogRequests([*rules, *jobs], counter, report)


def _serving(service: str) -> Callable[[str], Mapping[str, object]]:
    return lambda path: {"service.name": service} if service else {}


def bounds(settings: Requests) -> Bounds:
    """The bounds of the book."""
    edges = settings.buckets or [settings.objective * edge for edge in _EDGES]
    return Bounds(tuple(round(edge * 1e9) for edge in edges), settings.max_services, settings.max_routes)


def source(
    requests: RequestCounter | None,
    settings: Metrics,
    place: Place,
    *,
    after: Sequence[Source],
    hub: Hub,
    ledger: LedgerThread,
    clock: Clock,
    report: Reporter,
    closed: bool = False,
) -> MeasureSource:
    """The source of all numbers. ``after``: the sources that tell ``requests`` of streams; None of these: a gateway.

    ``closed``: of an earlier life, of which there is nothing to measure any more.
    """

    def stream(name: str, kind: StreamKind) -> MetricsStream:
        return MetricsStream(
            os.path.join(place.state_dir, name),
            life=place.life,
            hub=hub,
            ledger=ledger,
            destinations=place.takers,
            max_bytes=settings.spool_max,
            report=report,
            name=name,
            kind=kind,
        )

    host = {**place.attributes, "service.instance.id": place.instance}
    return MeasureSource(
        requests,
        targets(settings, place, clock, report),
        Writer(stream(NAME, StreamKind.DATA), stream(LIFE, StreamKind.LIFE), clock, report),
        own=OwnMetrics(place.facts, host, place.destinations, ledger=ledger, report=report)
        if settings.own and place.takers and not closed
        else None,
        over=closed,
        collector=None if requests is None else BookCollector(lambda: requests.book, routes=requests.routes),
        host=place.attributes,
        instance=place.instance,
        interval=settings.interval,
        after=after,
        clock=clock,
        report=report,
    )


def targets(settings: Metrics, place: Place, clock: Clock, report: Reporter) -> list[Target]:
    """What is read, as configured. Nothing of it is imported where nothing is configured."""
    found: list[Target] = []
    if settings.scrape:
        from shipper.measure.scrape import Endpoint, ScrapeLimits

        limits = ScrapeLimits(settings.timeout, settings.max_body, settings.max_samples)
        for wanted in settings.scrape:
            found.append(
                Endpoint(
                    wanted.url,
                    _endpoint_attributes(wanted, place),
                    interval=wanted.interval or settings.interval,
                    limits=limits,
                    birth_ns=place.birth_ns,
                    clock=clock,
                    report=report,
                )
            )
    if settings.multiprocess_dirs:
        from shipper.measure.multiprocess import Directory

        for path in settings.multiprocess_dirs:
            name = os.path.basename(path.rstrip("/"))
            found.append(
                Directory(
                    path,
                    {**place.attributes, "service.instance.id": f"{place.instance}:{name}"},
                    interval=settings.interval,
                    max_bytes=settings.max_body,
                    birth_ns=place.birth_ns,
                    clock=clock,
                    report=report,
                )
            )
    return found


def _endpoint_attributes(wanted: Scrape, place: Place) -> dict[str, AttributeValue]:
    """The resource of an endpoint: two of one service on one host are told apart by their ports."""
    parts = urlsplit(wanted.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    attributes: dict[str, AttributeValue] = {
        **place.attributes,
        "service.instance.id": f"{place.instance}:{port}",
        "server.address": parts.hostname or "",
        "server.port": port,
        "url.scheme": parts.scheme,
    }
    if wanted.service:
        attributes["service.name"] = wanted.service
    return attributes
