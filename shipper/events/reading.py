"""What is said and counted of what this host's own streams and platform tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from shipper.events.event import Event
from shipper.own_metrics import Metrics


@dataclass(frozen=True, slots=True)
class BytesLost(Event):
    """Bytes were destroyed before every destination had them; the range names them, and each account says who lacks them."""

    level: ClassVar[int] = logging.ERROR
    stream: str
    name: str
    start: int
    end: int
    cause: str  # a fixed word: truncated, replaced, deleted, ...

    def text(self) -> str:
        """See `Event.text`."""
        gone = f"{self.name}: bytes [{self.start}, {self.end}) were {self.cause}"
        return f"{gone} before every destination had them ({self.stream})"

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
