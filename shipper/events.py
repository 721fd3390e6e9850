"""Everything Shipper says about itself: one small type each, which emits its metric and its log line together.

A component never logs or counts by hand; it reports an event. So a line in the log always has its counter, each can be
found here, and a message that would repeat is said at most once a minute per subject (with how often it was held back).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from shipper.clock import Clock
from shipper.own_metrics import Metrics as Metrics

REPEAT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Event(ABC):
    """Base of all events. ``level`` is the log level; ``subject`` tells repeats apart."""

    level: ClassVar[int] = logging.INFO

    @abstractmethod
    def text(self) -> str:
        """One sentence for a person: what happened, where, what to do next."""

    def subject(self) -> str:
        """Repeats with the same subject are said at most once a minute; empty: always said."""
        return ""

    def count(self, metrics: Metrics) -> None:  # noqa: B027 - many events are only said
        """Move the metrics that belong to this event."""


@dataclass(frozen=True, slots=True)
class Said(Event):
    """Something worth saying once that has no counter: started, stopped, a decision taken."""

    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return self.message


@dataclass(frozen=True, slots=True)
class Problem(Event):
    """Something went wrong and was survived. ``kind`` is a fixed word (a metric label), ``message`` says where and what next."""

    level: ClassVar[int] = logging.WARNING
    kind: str
    message: str
    about: str = ""

    def text(self) -> str:
        """See `Event.text`."""
        return self.message

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.kind} {self.about}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.problems.labels(self.kind).inc()


@dataclass(frozen=True, slots=True)
class BytesLost(Event):
    """Bytes were destroyed by somebody before they could be read; the range names them."""

    level: ClassVar[int] = logging.ERROR
    stream: str
    name: str
    start: int
    end: int
    cause: str  # a fixed word: truncated, replaced, deleted, ...

    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.name}: bytes [{self.start}, {self.end}) were {self.cause} before they could be read ({self.stream})"
        )

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.lost_bytes.labels(self.cause).inc(self.end - self.start)


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """Bytes of a file are no text, so no record came of them; nothing is lost by that."""

    level: ClassVar[int] = logging.INFO
    stream: str
    name: str
    start: int
    end: int
    cause: str  # a fixed word: gap

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.name}: bytes [{self.start}, {self.end}) are a {self.cause} that nobody wrote, and were skipped ({self.stream})"

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.cause} {self.stream}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.skipped_bytes.labels(self.cause).inc(self.end - self.start)


@dataclass(frozen=True, slots=True)
class NotTaken(Event):
    """Bytes were let go of because no destination takes their signal; that it is so was said at the start."""

    level: ClassVar[int] = logging.DEBUG
    stream: str
    name: str
    signal: str
    start: int
    end: int

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.name}: bytes [{self.start}, {self.end}) go nowhere, no destination takes {self.signal} ({self.stream})"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.not_taken.labels(self.signal).inc(self.end - self.start)


@dataclass(frozen=True, slots=True)
class NotRouted(Event):
    """Records were read and go nowhere: every destination has a route, and none of these takes them."""

    level: ClassVar[int] = logging.DEBUG
    stream: str
    name: str
    signal: str
    records: int

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.name}: {self.records} records of {self.signal} go nowhere, no route takes them ({self.stream})"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.unrouted.labels(self.signal).inc(self.records)


@dataclass(frozen=True, slots=True)
class Redacted(Event):
    """Secrets were masked in a batch: how many of each pattern, and never what they were."""

    level: ClassVar[int] = logging.DEBUG
    counts: Mapping[str, int]

    def text(self) -> str:
        """See `Event.text`."""
        return f"masked {', '.join(f'{number} of {name}' for name, number in sorted(self.counts.items()))}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        for name, number in self.counts.items():
            metrics.redacted.labels(name).inc(number)


@dataclass(frozen=True, slots=True)
class NoticeSeen(Event):
    """A platform says that this host will end (``again``: it says more of what it said before)."""

    level: ClassVar[int] = logging.WARNING
    source: str
    kind: str
    message: str
    again: bool = False

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.kind} notice from {self.source}{' (changed)' if self.again else ''}: {self.message}"

    def subject(self) -> str:
        """See `Event.subject`: a deadline that keeps moving is not said every time."""
        return self.source if self.again else ""


@dataclass(frozen=True, slots=True)
class Received(Event):
    """A receiver took records in: they are durable and were acknowledged to the sender."""

    level: ClassVar[int] = logging.DEBUG
    receiver: str
    signal: str
    records: int

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: received {self.records} records ({self.signal})"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.received.labels(self.receiver, self.signal).inc(self.records)


@dataclass(frozen=True, slots=True)
class DuplicateRecords(Event):
    """Records came again; ``stored`` when their batch overlapped one stored before only in part, so it was kept."""

    receiver: str
    records: int
    stored: bool

    def text(self) -> str:
        """See `Event.text`."""
        what = "stored again, as they came in another batch than before" if self.stored else "not stored again"
        return f"{self.receiver}: {self.records} records came twice and were {what}"

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.receiver} {self.stored}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.duplicates.labels(self.receiver).inc(self.records)


@dataclass(frozen=True, slots=True)
class RequestRefused(Event):
    """A receiver did not take a request; the sender was told why. ``cause`` is a fixed word."""

    level: ClassVar[int] = logging.WARNING
    receiver: str
    cause: str
    status: int
    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: refused a request with {self.status}: {self.message}"

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.receiver} {self.cause}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.refused.labels(self.receiver, self.cause).inc()


@dataclass(frozen=True, slots=True)
class RecordsRefused(Event):
    """A receiver took a request but for some records of it; the sender was told. ``cause`` is a fixed word."""

    level: ClassVar[int] = logging.WARNING
    receiver: str
    cause: str
    records: int
    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: left out {self.records} records of a request: {self.message}"

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.receiver} {self.cause}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.refused.labels(self.receiver, self.cause).inc(self.records)


@dataclass(frozen=True, slots=True)
class ConnectionEnded(Event):
    """A receiver closed a connection, or did not take it, for what the client did. ``cause`` is a fixed word."""

    level: ClassVar[int] = logging.WARNING
    receiver: str
    cause: str
    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: closed a connection: {self.message}"

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.receiver} {self.cause}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.refused.labels(self.receiver, self.cause).inc()


@dataclass(frozen=True, slots=True)
class MessagesDropped(Event):
    """Messages reached this host but not the spool, and their sender was not asked to send them again: they are lost."""

    level: ClassVar[int] = logging.ERROR
    receiver: str
    cause: str  # a fixed word: full, kernel, ...
    messages: int
    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: {self.messages} messages are lost: {self.message}"

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.receiver} {self.cause}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.refused.labels(self.receiver, self.cause).inc(self.messages)


@dataclass(frozen=True, slots=True)
class Unparsed(Event):
    """A receiver did not understand records; each is kept as it came, with a mark. ``cause`` is a fixed word."""

    level: ClassVar[int] = logging.WARNING
    receiver: str
    cause: str
    records: int
    example: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: {self.records} records are kept as they came ({self.cause}), such as {self.example}"

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.receiver} {self.cause}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.unparsed.labels(self.receiver, self.cause).inc(self.records)


class Reporter:
    """Takes events: logs each (repeats held back) and moves its metrics."""

    def __init__(self, clock: Clock, metrics: Metrics | None = None, logger: logging.Logger | None = None) -> None:
        self.metrics = metrics or Metrics()
        self._clock = clock
        self._logger = logger or logging.getLogger("shipper")
        self._said: dict[tuple[type[Event], str], tuple[float, int]] = {}

    def __call__(self, event: Event) -> None:
        """Report one event; never raises into the caller."""
        event.count(self.metrics)
        subject = event.subject()
        held = 0
        if subject:
            now = self._clock.monotonic()
            last, held = self._said.get((type(event), subject), (float("-inf"), 0))
            if now - last < REPEAT_SECONDS:
                self._said[(type(event), subject)] = (last, held + 1)
                return
            if len(self._said) > 10_000:
                self._said.clear()
            self._said[(type(event), subject)] = (now, 0)
        again = f" ({held} more like this in between)" if held else ""
        self._logger.log(event.level, "%s%s", event.text(), again)


@dataclass(frozen=True, slots=True)
class Retried(Event):
    """A request will be sent again. ``cause`` is a fixed word (a metric label), ``reason`` what the destination said."""

    level: ClassVar[int] = logging.WARNING
    destination: str
    cause: str
    reason: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination}: will be tried again: {self.reason}"

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.destination} {self.cause}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.retried.labels(self.destination, self.cause).inc()


@dataclass(frozen=True, slots=True)
class Quarantined(Event):
    """A destination refuses a batch for good; it was set aside on disk under ``id``."""

    level: ClassVar[int] = logging.ERROR
    destination: str
    key: str
    records: int
    cause: str  # a fixed word: rejected, too_large
    reason: str
    id: str

    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.destination} refused {self.records} records ({self.key}): {self.reason}; "
            f"kept in quarantine, see: shipper quarantine show {self.id}"
        )

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.destination} {self.cause}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.quarantined.labels(self.destination, self.cause).inc(self.records)


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """Records that were cut but not yet acknowledged are given up, by range: they cannot be read again, or not be set aside."""

    level: ClassVar[int] = logging.ERROR
    destination: str
    name: str
    key: str
    records: int
    cause: str  # a fixed word
    reason: str

    def text(self) -> str:
        """See `Event.text`."""
        return (
            f"{self.name}: {self.records} records ({self.key}) are given up for {self.destination}, which had not "
            f"acknowledged them: {self.reason}"
        )

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.dropped.labels(self.destination, self.cause).inc(self.records)


@dataclass(frozen=True, slots=True)
class PartialSuccess(Event):
    """A destination took a request but refused some of its records, without saying which."""

    level: ClassVar[int] = logging.WARNING
    destination: str
    rejected: int
    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.destination} refused {self.rejected} records of a request it took: {self.message or 'no reason given'}"

    def subject(self) -> str:
        """See `Event.subject`."""
        return self.destination

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.rejected.labels(self.destination).inc(self.rejected)


@dataclass(frozen=True, slots=True)
class ServiceLoss(Event):
    """A service lost records on their way to us: it said so itself, or their sequence numbers are missing (``gap``)."""

    level: ClassVar[int] = logging.ERROR
    service: str
    signal: str
    records: int
    cause: str  # the SDK's own word, or "gap"

    def text(self) -> str:
        """See `Event.text`."""
        if self.cause == "gap":
            return (
                f"{self.service}: {self.records} {self.signal} frames are missing; calls that had not returned when the "
                "process died, or a loss"
            )
        return (
            f"{self.service} lost {self.records} records ({self.signal}) before it could hand them over: {self.cause}"
        )

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.service} {self.signal} {self.cause}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.service_lost.labels(self.signal, _word(self.cause)).inc(self.records)


def _word(cause: str) -> str:
    """A cause that another program stated, fit for a metric label."""
    return cause if len(cause) <= 40 and cause.replace("_", "").isalnum() else "other"
