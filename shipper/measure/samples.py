"""The book of requests as OTLP metrics: one resource a service, cumulative since each line's own start.

By the rules by which OpenTelemetry names become Prometheus names, ``shipper.requests`` is ``shipper_requests_total`` and
``shipper.request.duration`` is ``shipper_request_duration_seconds``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shipper import __version__
from shipper.measure.counts import Book, Line, Serving
from shipper.otlp import metrics
from shipper.otlp.encode import AttributeValue, resource, scope

SCOPE = scope("shipper.measure", __version__)
OK, ERROR = "ok", "error"
REQUESTS_HELP = "Requests served, by what became of them: one for each server span."
DURATION_HELP = "How long serving them took."
RUNS_HELP = "Runs of jobs (shipper exec), by how they ended; each is a request of its service as well."
RUN_TIME_HELP = "How long all these runs took together."
SUCCESS, FAILURE = "success", "failure"


@dataclass(frozen=True, slots=True)
class Samples:
    """An encoded ExportMetricsServiceRequest, and how much it holds."""

    payload: bytes
    points: int
    metrics: int

    def __add__(self, other: Samples) -> Samples:
        """Both, as one request."""
        return Samples(self.payload + other.payload, self.points + other.points, self.metrics + other.metrics)


NOTHING = Samples(b"", 0, 0)


def of_book(book: Book, host: Mapping[str, AttributeValue], instance: str, time_ns: int) -> Samples:
    """All numbers of the book as they are at ``time_ns``. ``host``: the attributes of the host, ``instance`` names it."""
    bounds = [bound / 1e9 for bound in book.bounds.buckets_ns]
    samples = NOTHING
    for who, lines in book.by_service():
        found = [
            metrics.counter("shipper.requests", _requests(lines, time_ns), unit="{request}", description=REQUESTS_HELP),
            metrics.histogram(
                "shipper.request.duration", _durations(lines, bounds, time_ns), unit="s", description=DURATION_HELP
            ),
        ]
        payload = metrics.export_metrics(resource(identity(who, host, instance)), SCOPE, found)
        samples += Samples(payload, 3 * len(lines), len(found))
    for who, lines in book.by_job():
        found = [
            metrics.counter("shipper.job.runs", _runs(lines, time_ns), unit="{run}", description=RUNS_HELP),
            metrics.counter("shipper.job.duration", _run_times(lines, time_ns), unit="s", description=RUN_TIME_HELP),
        ]
        payload = metrics.export_metrics(resource(identity(who, host, instance)), SCOPE, found)
        samples += Samples(payload, 3 * len(lines), len(found))
    return samples


def identity(who: Serving, host: Mapping[str, AttributeValue], instance: str) -> dict[str, AttributeValue]:
    """The resource attributes of a service on this host."""
    own = {
        "service.name": who.service,
        "service.version": who.release,
        "shipper.generation": who.generation,
        "deployment.environment.name": who.environment,
        "service.instance.id": instance,
    }
    others = {key: value for key, value in host.items() if key not in own}
    return {**others, **{key: value for key, value in own.items() if value}}


def _requests(lines: Iterable[tuple[str, Line]], time_ns: int) -> Sequence[bytes]:
    points = []
    for route, line in lines:
        for outcome, count in ((OK, line.requests - line.errors), (ERROR, line.errors)):
            points.append(metrics.number(count, time_ns, line.start_ns, {"outcome": outcome, **_route(route)}))
    return points


def _runs(lines: Iterable[tuple[str, Line]], time_ns: int) -> Sequence[bytes]:
    points = []
    for job, line in lines:
        for outcome, count in ((SUCCESS, line.requests - line.errors), (FAILURE, line.errors)):
            points.append(metrics.number(count, time_ns, line.start_ns, {"job.name": job, "outcome": outcome}))
    return points


def _run_times(lines: Iterable[tuple[str, Line]], time_ns: int) -> Sequence[bytes]:
    return [metrics.number(line.duration_ns / 1e9, time_ns, line.start_ns, {"job.name": job}) for job, line in lines]


def _durations(lines: Iterable[tuple[str, Line]], bounds: Sequence[float], time_ns: int) -> Sequence[bytes]:
    return [
        metrics.distribution(line.buckets, bounds, line.duration_ns / 1e9, time_ns, line.start_ns, _route(route))
        for route, line in lines
    ]


def _route(route: str) -> dict[str, AttributeValue]:
    return {"http.route": route} if route else {}
