"""What an event is, and the two of them that any room may report."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from shipper.own_metrics import Metrics


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
