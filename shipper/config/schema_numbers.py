"""Numbers: requests and their errors, metrics, deploys, verdicts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shipper.config.inputs import SecretPath
from shipper.config.section import Section
from shipper.config.units import Seconds, Size, Word

MIB = 1 << 20


class LogRequests(Section, frozen=True):
    """Requests of a service that only its log tells of; an entry may also be just a glob, of files in the common format."""

    shorthand: ClassVar[str] = "files"

    files: Annotated[list[str], Meta(description="Globs of tailed files.", min_length=1)]
    format: Annotated[
        str, Meta(description="common (access logs, combined too), json, or a regular expression with named groups.")
    ] = "common"
    status: Annotated[
        str, Meta(description="Field, or group, of the HTTP status; 500 and above is an error.", min_length=1)
    ] = "status"
    level: Annotated[
        str, Meta(description="Field, or group, of the severity; ERROR and worse is an error.", min_length=1)
    ] = "level"
    duration: Annotated[
        str, Meta(description="Field, or group, of how long it took; may have its unit.", min_length=1)
    ] = "duration"
    unit: Annotated[Literal["s", "ms", "us", "ns"], Meta(description="Of a duration that has none.")] = "s"
    route: Annotated[
        str, Meta(description="Field, or group, of the route, where `requests.routes` is on.", min_length=1)
    ] = "route"
    service: Annotated[str, Meta(description="service.name of what writes them; not set: that of the host.")] = ""
    besides_spans: Annotated[
        bool, Meta(description="Count also where the service hands over spans of its requests: they are counted twice.")
    ] = False


class Requests(Section, frozen=True):
    """Requests and errors, counted from the server spans that services hand over, or from logs (docs/requests.md)."""

    logs: Annotated[list[LogRequests], Meta(description="Where requests are counted from logs.")] = msgspec.field(
        default_factory=list
    )

    objective: Annotated[
        Seconds, Meta(description="A request should take no longer than this; one bucket ends here.", ge=0.001)
    ] = 0.5
    buckets: Annotated[
        list[Seconds],
        Meta(description="Where latency buckets end; not set: at a tenth, 0.4, 1, 2 and 10 times the objective."),
    ] = msgspec.field(default_factory=list)
    routes: Annotated[bool, Meta(description="Count each route by itself: ten more series a route.")] = False
    max_routes: Annotated[
        int, Meta(description="Routes of one service; requests of further ones are counted as 'other'.", ge=1)
    ] = 50
    max_services: Annotated[
        int,
        Meta(
            description="Services (name, release, generation, environment); further ones are counted as 'other'.", ge=1
        ),
    ] = 6


class Scrape(Section, frozen=True):
    """A Prometheus endpoint to read; an entry may also be just its URL."""

    shorthand: ClassVar[str] = "url"

    url: Annotated[str, Meta(description="Such as http://127.0.0.1:8000/metrics.")]
    service: Annotated[str, Meta(description="service.name of what answers there; not set: that of the host.")] = ""
    interval: Annotated[Seconds, Meta(description="How often to read it; 0: every `metrics.interval`.", ge=0)] = 0.0


class Metrics(Section, frozen=True):
    """The numbers shipped from this host: its own, requests, and what is read from services' own Prometheus clients."""

    own: Annotated[bool, Meta(description="Ship what Shipper says of this host and of itself (docs/metrics.md).")] = (
        True
    )
    interval: Annotated[Seconds, Meta(description="How often numbers are read and shipped.", ge=1)] = 15.0
    scrape: Annotated[list[Scrape], Meta(description="Endpoints on this host to read.")] = msgspec.field(
        default_factory=list
    )
    multiprocess_dirs: Annotated[
        list[str], Meta(description="PROMETHEUS_MULTIPROC_DIR of services: counters of killed workers are kept.")
    ] = msgspec.field(default_factory=list)
    timeout: Annotated[Seconds, Meta(description="Time for one endpoint to answer.", ge=0.1)] = 5.0
    max_body: Annotated[Size, Meta(description="A larger answer is not taken.")] = 8 * MIB
    max_samples: Annotated[int, Meta(description="An answer with more samples is not taken.", ge=1)] = 10_000
    allow_remote: Annotated[
        bool, Meta(description="Allow endpoints that are not on loopback: their numbers get this host's identity.")
    ] = False
    spool_max: Annotated[
        Size, Meta(description="Disk space for numbers that no destination has taken yet; the oldest go first.")
    ] = 16 * MIB


class Deploys(Section, frozen=True):
    """What a gateway does with deploys that it is told of, or infers (docs/deploys.md). Only read by shipper gateway."""

    keep: Annotated[Seconds, Meta(description="How long the series of a deploy are kept alive.", ge=60)] = 14 * 86400.0
    keeper: Annotated[
        Literal["auto", "always", "never"],
        Meta(
            description="Who writes these series: auto: one gateway of all that share an archive, by a lease in it, or the "
            "only one where there is no archive; always, never: this one."
        ),
    ] = "auto"
    lease: Annotated[
        Seconds, Meta(description="How long the lease lasts without being renewed; the same on all gateways.", ge=3)
    ] = 45.0


class Verdicts(Section, frozen=True):
    """The verdict on every newest generation, computed by a gateway (docs/verdict.md). Only read by shipper gateway."""

    prometheus: Annotated[
        str, Meta(description="Base URL of the Prometheus to ask, such as http://prometheus:9090; empty: none.")
    ] = ""
    token_file: Annotated[SecretPath, Meta(description="File whose first line is a bearer token for it.")] = ""
    every: Annotated[Seconds, Meta(description="How often each service is looked at.", ge=5)] = 60.0
    services: Annotated[list[Word], Meta(description="Which services; none given: all of them.")] = msgspec.field(
        default_factory=list
    )
    environments: Annotated[list[Word], Meta(description="Which environments; none given: all of them.")] = (
        msgspec.field(default_factory=list)
    )
    objective: Annotated[
        Seconds, Meta(description="A request should take no longer; a bucket of the histogram ends here.", ge=0.001)
    ] = 0.5
