"""Whether a target can be read: said when it changes, shown on /metrics, and shipped beside the target's own numbers.

A sidecar starts before the services and outlives them. So a target that was never there is no problem for a while.
"""

from __future__ import annotations

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.otlp import metrics

UP = "shipper.scrape.up"
PATIENCE = 120.0
"""Seconds in which a service may take its time to come up."""


class Health:
    """Of one target. What is down for long is said once, and once more when it is back."""

    def __init__(self, target: str, clock: Clock, report: Reporter) -> None:
        self._target = target
        self._clock = clock
        self._report = report
        self._down = False
        self._said = False
        self._patience_ends: float | None = clock.monotonic() + PATIENCE  # None: it was there
        self._gauge = report.metrics.scrape_up.labels(target)

    def up(self) -> None:
        """It could be read."""
        if self._said:
            self._report(Said(f"{self._target} can be read again"))
        self._down = self._said = False
        self._patience_ends = None
        self._gauge.set(1)

    def down(self, why: str) -> None:
        """It could not be read; its numbers go on where they stood when it is back."""
        self._down = True
        late = self._patience_ends is None or self._clock.monotonic() >= self._patience_ends
        if late and not self._said:
            self._report(Problem("scrape", f"{self._target} cannot be read: {why}", self._target))
            self._said = True
        self._gauge.set(0)

    def malformed(self, count: int) -> None:
        """It was read, but some of it contradicts itself."""
        message = f"{self._target}: {count} points contradict themselves and are left out"
        self._report(Problem("scrape-malformed", message, self._target))

    def sample(self, time_ns: int) -> bytes:
        """The metric that says so."""
        point = metrics.number(0 if self._down else 1, time_ns)
        return metrics.gauge(UP, [point], description="1 where the target could be read, else 0.")
