"""Whether a target can be read: said when it changes, shown on /metrics, and shipped beside the target's own numbers."""

from __future__ import annotations

from shipper.events import Problem, Reporter, Said
from shipper.otlp import metrics

UP = "shipper.scrape.up"


class Health:
    """Of one target. What is down for long is said once, and once more when it is back."""

    def __init__(self, target: str, report: Reporter) -> None:
        self._target = target
        self._report = report
        self._down = False
        self._gauge = report.metrics.scrape_up.labels(target)

    def up(self) -> None:
        """It could be read."""
        if self._down:
            self._report(Said(f"{self._target} can be read again"))
        self._down = False
        self._gauge.set(1)

    def down(self, why: str) -> None:
        """It could not be read; its numbers go on where they stood when it is back."""
        if not self._down:
            self._report(Problem("scrape", f"{self._target} cannot be read: {why}", self._target))
        self._down = True
        self._gauge.set(0)

    def malformed(self, count: int) -> None:
        """It was read, but some of it contradicts itself."""
        message = f"{self._target}: {count} points contradict themselves and are left out"
        self._report(Problem("scrape-malformed", message, self._target))

    def sample(self, time_ns: int) -> bytes:
        """The metric that says so."""
        point = metrics.number(0 if self._down else 1, time_ns)
        return metrics.gauge(UP, [point], description="1 where the target could be read, else 0.")
