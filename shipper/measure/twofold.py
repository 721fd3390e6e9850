"""Services that say of each request twice, in a span and in a line of their log: each request is counted once.

Spans are better: they know the route, and how long it took to the nanosecond. So where a service's requests come in spans,
what its log says of them is passed over. That a service hands over spans of requests is only known with the first of them,
which ends after the line was written; so lines of a service that hands over something wait a while for it.
"""

from __future__ import annotations

import json

from shipper.clock import Clock

PATIENCE = 10.0
"""Seconds that lines wait for the first span of a request of a service which hands something over."""


class Sources:
    """What is known of where requests of each service are told of. What `dump` gives is kept for the next run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._declared: set[str] = set()
        self._served: set[str] = set()
        self._kept: frozenset[str] = frozenset()
        self._waiting: dict[str, float] = {}

    def restore(self, kept: str) -> None:
        """Take up what the run before knew; nothing is better than something damaged."""
        try:
            self._served.update(str(name) for name in json.loads(kept or "[]"))
        except (ValueError, TypeError):
            return
        self._kept = frozenset(self._served)

    def declared(self, service: str) -> None:
        """It hands over something."""
        self._declared.add(service)

    def served(self, service: str) -> None:
        """It handed over a span of a request."""
        self._served.add(service)

    def in_spans(self, service: str) -> bool:
        """Whether its requests come in spans."""
        return service in self._served

    def unclear(self, service: str) -> bool:
        """Whether they may yet come in spans: True for a while from the first time this is asked."""
        if service not in self._declared or service in self._served:
            return False
        now = self._clock.monotonic()
        return now < self._waiting.setdefault(service, now) + PATIENCE

    def dump(self) -> str:
        """What is new since `kept`, as text; empty when nothing is."""
        return "" if self._served == self._kept else json.dumps(sorted(self._served))

    def kept(self) -> None:
        """What `dump` gave last is stored."""
        self._kept = frozenset(self._served)
