"""The book of requests on /metrics, for those who scrape: the same numbers as those shipped, under the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shipper.measure.counts import Book, Key, Line
from shipper.measure.samples import (
    DURATION_HELP,
    ERROR,
    FAILURE,
    OK,
    REQUESTS_HELP,
    RUN_TIME_HELP,
    RUNS_HELP,
    SUCCESS,
)

LABELS = ("service", "env", "generation", "release")


class BookCollector(Collector):
    """Asks for the book at each scrape, so there is no second copy of the numbers."""

    def __init__(self, book: Callable[[], Book], *, routes: bool) -> None:
        self._book = book
        self._labels = (*LABELS, "route") if routes else LABELS

    def describe(self) -> list[Metric]:
        """Nothing to be asked at registration: the names are fixed."""
        return [Metric("shipper_requests", REQUESTS_HELP, "counter")]

    def collect(self) -> Iterator[Metric]:
        """The families of the book; none while there is no service."""
        book = self._book()
        if not book.lines:
            return
        requests = CounterMetricFamily("shipper_requests", REQUESTS_HELP, labels=(*self._labels, "outcome"))
        durations = HistogramMetricFamily("shipper_request_duration_seconds", DURATION_HELP, labels=self._labels)
        runs = CounterMetricFamily("shipper_job_runs", RUNS_HELP, labels=(*LABELS, "job_name", "outcome"))
        run_times = CounterMetricFamily("shipper_job_duration_seconds", RUN_TIME_HELP, labels=(*LABELS, "job_name"))
        for key, line in book.lines.items():
            if key.job:
                run = (*_who(key), key.job)
                runs.add_metric((*run, SUCCESS), line.requests - line.errors)
                runs.add_metric((*run, FAILURE), line.errors)
                run_times.add_metric(run, line.duration_ns / 1e9)
                continue
            labels = self._values(key)
            requests.add_metric((*labels, OK), line.requests - line.errors)
            requests.add_metric((*labels, ERROR), line.errors)
            durations.add_metric(labels, buckets=_cumulative(book, line), sum_value=line.duration_ns / 1e9)
        yield requests
        yield durations
        if runs.samples:
            yield runs
            yield run_times
        if book.folded:
            folded = CounterMetricFamily(
                "shipper_requests_folded",
                "Requests counted under 'other', by what there was no room for.",
                labels=("what",),
            )
            for what, count in book.folded.items():
                folded.add_metric((what,), count)
            yield folded

    def _values(self, key: Key) -> tuple[str, ...]:
        return (*_who(key), key.route) if "route" in self._labels else _who(key)


def _who(key: Key) -> tuple[str, ...]:
    who = key.who
    return (who.service, who.environment, who.generation, who.release)


def _cumulative(book: Book, line: Line) -> list[tuple[str, float]]:
    """Each bucket with all below it, as Prometheus wants them."""
    found, so_far = [], 0
    edges = [*(repr(bound / 1e9) for bound in book.bounds.buckets_ns), "+Inf"]
    for edge, count in zip(edges, line.buckets, strict=True):
        so_far += count
        found.append((edge, float(so_far)))
    return found
