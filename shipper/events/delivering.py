"""What is said and counted of records on their way to a destination."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from shipper.events.event import Event
from shipper.own_metrics import Metrics


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
