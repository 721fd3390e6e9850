"""Counting requests of services that send their spans by OTLP instead of handing them over: the same book, the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from shipper.measure.counts import Key, Tally
from shipper.measure.requests import READ_BYTES, RequestCounter
from shipper.measure.spans import MeasuredStream

Served: TypeAlias = tuple[str, bool, int]
"""One request, as its server span tells of it: the route (empty where it has none), whether it failed, and how many ns it
took."""


class ServedStream(MeasuredStream, Protocol):
    """Spans of many services, in requests of OTLP."""

    def served(self, at: int, limit: int) -> tuple[Sequence[tuple[Mapping[str, object], Sequence[Served]]], int]:
        """The requests told of from position ``at`` on, in about ``limit`` bytes, and the position behind.

        For each resource met its attributes, those the host adds included, and its requests: none, where its spans are of
        other kinds. The position is ``at`` itself when there is nothing new. Raises OSError, `ShipperError`.
        """


class OtlpRequests:
    """Reads one stream. A `shipper.measure.requests.Reader`."""

    after_spans = False
    holding = False

    def __init__(self, stream: ServedStream, counter: RequestCounter) -> None:
        self.stream = stream
        self._counter = counter

    def read(self, at: int, tally: Tally, *, last: bool) -> int:
        """See `Reader.read`."""
        found, after = self.stream.served(at, READ_BYTES)
        for attributes, requests in found:
            keys: dict[str, Key] = {}
            declared = self._counter.key(attributes, "")
            self._counter.sources.declared(declared.who.service)
            if requests:
                self._counter.sources.served(declared.who.service)
            else:
                tally.declare(declared)
            for route, error, duration_ns in requests:
                key = keys.get(route)
                if key is None:
                    key = keys[route] = self._counter.key(attributes, route)
                tally.count(key, error=error, duration_ns=duration_ns)
        return after
