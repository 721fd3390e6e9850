"""Where events go: into the log, with repeats held back, and into the metrics."""

from __future__ import annotations

import logging

from shipper.clock import Clock
from shipper.events.event import Event
from shipper.own_metrics import Metrics

REPEAT_SECONDS = 60.0


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
        if not self._logger.isEnabledFor(event.level):
            return
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
