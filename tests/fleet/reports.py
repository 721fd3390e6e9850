"""A reporter whose events a test can look at."""

from __future__ import annotations

from shipper.clock import Clock
from shipper.events import Event, Reporter


class Kept(Reporter):
    """Keeps what was said."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.said: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.said.append(event)
        super().__call__(event)

    def texts(self) -> list[str]:
        return [event.text() for event in self.said]


def quiet(clock: Clock) -> Kept:
    """A reporter of its own registry."""
    return Kept(clock)
