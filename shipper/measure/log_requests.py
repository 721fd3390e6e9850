"""Counting requests that only a log tells of: each line once, whatever is killed in between.

The text of a tailed file is read once more, beside what is shipped of it, with a position of its own. That position and the
counts are put into the ledger together with those of spans (`shipper.measure.requests`), so one book holds all requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shipper.events import Reporter, Said
from shipper.measure.counts import Key, Tally
from shipper.measure.log_lines import LineFormat
from shipper.measure.requests import READ_BYTES, RequestCounter
from shipper.measure.spans import TextStream


@dataclass(frozen=True, slots=True)
class LogRule:
    """Which files tell of requests, and how. ``attributes_of``: what is known of who serves by the path of a file, beside
    what is known of the host. ``jobs``: each is the run of a job, whose name stands where others have their route."""

    covers: Callable[[str], bool]  # whether the file of this path does
    format: LineFormat
    attributes_of: Callable[[str], Mapping[str, object]] = lambda path: {}
    besides_spans: bool = False  # count also where requests of the same service come in spans
    jobs: bool = False


class LogRequests:
    """Has the streams of a file source read where a rule covers them. A `shipper.sources.file.measured.TextConsumer`."""

    def __init__(self, rules: Sequence[LogRule], counter: RequestCounter, report: Reporter) -> None:
        self._rules = rules
        self._counter = counter
        self._report = report
        self._passed_over: set[str] = set()

    def wants(self, path: str) -> bool:
        """Whether a rule covers this file."""
        return self._rule(path) is not None

    def add(self, stream: TextStream) -> None:
        """A stream exists; what a rule covers is followed."""
        rule = self._rule(stream.name)
        if rule is not None:
            self._counter.follow(_Lines(stream, rule, self._counter, self._say_passed_over))

    def ready(self, stream: TextStream) -> None:
        """There may be something new in it."""
        self._counter.ready(stream)

    def finished(self, stream: TextStream) -> None:
        """It will never grow again."""
        self._counter.finished(stream)

    def _rule(self, path: str) -> LogRule | None:
        return next((rule for rule in self._rules if rule.covers(path)), None)

    def _say_passed_over(self, service: str, file: str) -> None:
        if service not in self._passed_over:
            self._passed_over.add(service)
            said = f"requests of {service or 'the service'} are counted from its spans, so not from {file} as well"
            self._report(Said(said))


class _Lines:
    """Reads the lines of one stream. A `shipper.measure.requests.Reader`."""

    after_spans = True

    def __init__(
        self, stream: TextStream, rule: LogRule, counter: RequestCounter, passed_over: Callable[[str, str], None]
    ) -> None:
        self.stream = stream
        self.holding = False
        self._rule = rule
        self._counter = counter
        self._passed_over = passed_over
        self._attributes = rule.attributes_of(stream.name)
        self._key = counter.key(self._attributes, "")
        self._begun = False

    def read(self, at: int, tally: Tally, *, last: bool) -> int:
        """See `Reader.read`."""
        self.holding = False
        text, after = self.stream.text(at, READ_BYTES)
        service, sources = self._key.who.service, self._counter.sources
        if not self._rule.besides_spans:
            if sources.in_spans(service):
                if text:
                    self._passed_over(service, self.stream.name)
                return after
            if text and not last and sources.unclear(service):
                self.holding = True
                return at
        if not self._begun:  # its counters are there, at zero, before its first request is
            self._begun = True
            tally.declare(self._key)
        for request in self._rule.format.requests(text):
            tally.count(self._of(request.route), error=request.error, duration_ns=request.duration_ns)
            if self._rule.jobs:
                job = self._counter.job_key(self._attributes, request.route)
                tally.count(job, error=request.error, duration_ns=request.duration_ns)
        return after

    def _of(self, route: str) -> Key:
        by_route = route and self._counter.routes and not self._rule.jobs
        return self._counter.key(self._attributes, route) if by_route else self._key
