"""What is said and counted of records that others hand over: to a receiver, or from a service's SDK."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from shipper.events.event import Event
from shipper.own_metrics import Metrics


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
class _Trouble(Event):
    """A receiver had trouble with what came. ``cause`` is a fixed word."""

    level: ClassVar[int] = logging.WARNING
    receiver: str
    cause: str

    def subject(self) -> str:
        """See `Event.subject`."""
        return f"{self.receiver} {self.cause}"


@dataclass(frozen=True, slots=True)
class RequestRefused(_Trouble):
    """A receiver did not take a request; the sender was told why. ``cause`` is a fixed word."""

    status: int
    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: refused a request with {self.status}: {self.message}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.refused.labels(self.receiver, self.cause).inc()


@dataclass(frozen=True, slots=True)
class RecordsRefused(_Trouble):
    """A receiver took a request but for some records of it; the sender was told. ``cause`` is a fixed word."""

    records: int
    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: left out {self.records} records of a request: {self.message}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.refused.labels(self.receiver, self.cause).inc(self.records)


@dataclass(frozen=True, slots=True)
class ConnectionEnded(_Trouble):
    """A receiver closed a connection, or did not take it, for what the client did. ``cause`` is a fixed word."""

    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: closed a connection: {self.message}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.refused.labels(self.receiver, self.cause).inc()


@dataclass(frozen=True, slots=True)
class MessagesDropped(_Trouble):
    """Messages reached this host but not the spool, and their sender was not asked to send them again: they are lost.

    ``cause`` is a fixed word: full, kernel, ...
    """

    level: ClassVar[int] = logging.ERROR
    messages: int
    message: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: {self.messages} messages are lost: {self.message}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.refused.labels(self.receiver, self.cause).inc(self.messages)


@dataclass(frozen=True, slots=True)
class Unparsed(_Trouble):
    """A receiver did not understand records; each is kept as it came, with a mark. ``cause`` is a fixed word."""

    records: int
    example: str

    def text(self) -> str:
        """See `Event.text`."""
        return f"{self.receiver}: {self.records} records are kept as they came ({self.cause}), such as {self.example}"

    def count(self, metrics: Metrics) -> None:
        """See `Event.count`."""
        metrics.unparsed.labels(self.receiver, self.cause).inc(self.records)


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
