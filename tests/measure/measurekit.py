"""What the tests of this room share: span streams made of real frames, ledgers that die, and reading samples back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shipper.contracts import Signal, Stream
from shipper.events import Reporter
from shipper.handoff.frame import ERROR, Frame, Kind, pack, walk
from shipper.ledger import Ledger, LedgerThread
from shipper.measure.counts import Bounds
from shipper.measure.requests import RequestCounter
from shipper.otlp.messages import parse
from shipper.spool import SpoolStream
from shipper.testing.clock import FakeClock

HOST = {"service.name": "host", "service.version": "r0", "shipper.generation": "g0"}
BOUNDS = Bounds((50_000_000, 200_000_000, 500_000_000, 1_000_000_000, 5_000_000_000), max_services=6, max_routes=3)
SERVER, CLIENT = 2, 3


class SpanFile:
    """A trace stream as a service hands it over: frames one behind the other."""

    def __init__(self, id: str = "s1") -> None:
        self.id = id
        self.signal = Signal.TRACES
        self.start = 0
        self.data = bytearray()
        self.resources: dict[int, Mapping[str, str]] = {}
        self.routes: dict[int, str] = {}
        self.measured_to = -1
        self.measured_calls: list[int] = []
        self.trouble: Callable[[int], None] = lambda at: None
        self._seq = 0

    def add(self, kind: int, body: bytes = b"{}", **head: int) -> None:
        self.data += pack(kind, self._seq, body, **head)
        self._seq += 1

    def declare(self, number: int, **attributes: str) -> None:
        names = {"service": "service.name", "release": "service.version", "generation": "shipper.generation"}
        self.resources[number] = {names.get(key, key): value for key, value in attributes.items()}
        self.add(Kind.RESOURCE, resource=number)

    def span(
        self, *, kind: int = SERVER, error: bool = False, ms: float = 10, resource: int = 1, route: int = 0
    ) -> None:
        flags = kind | (ERROR if error else 0)
        self.add(
            Kind.SPAN, b"a span", flags=flags, duration_ns=round(ms * 1e6), resource=resource, route=route, time_ns=1
        )

    def frontier(self) -> int:
        return len(self.data)

    def frames(self, at: int, limit: int) -> tuple[list[Frame], int]:
        self.trouble(at)
        data = bytes(self.data[at : at + limit])
        walked = walk(data)
        if not walked.frames and at + len(data) < len(self.data):
            data = bytes(self.data[at:])
            walked = walk(data)
            return walked.frames[:1], at + walked.frames[0].end
        return walked.frames, at + walked.end

    def resource_attributes(self, number: int) -> Mapping[str, object]:
        return self.resources.get(number, HOST)

    def route(self, number: int) -> str:
        return self.routes.get(number, "")

    def measured(self, below: int) -> None:
        self.measured_calls.append(below)
        self.measured_to = max(self.measured_to, below)


def ledger_at(path: Path) -> LedgerThread:
    return LedgerThread(Ledger.open(path, report=Reporter(FakeClock())))


def counter_on(
    ledger: Any, clock: FakeClock, *, routes: bool = False, bounds: Bounds = BOUNDS, report: Reporter | None = None
) -> RequestCounter:
    return RequestCounter(
        bounds, routes=routes, host=HOST, ledger=ledger, clock=clock, report=report or Reporter(clock)
    )


async def count_all(counter: RequestCounter) -> None:
    while await counter.turn():
        pass


@dataclass
class Announced:
    """A hub that remembers."""

    streams: list[Stream] = field(default_factory=list)
    looks: int = 0

    def add(self, stream: Stream) -> None:
        self.streams.append(stream)

    def ready(self, stream: Stream) -> None:
        self.looks += 1

    def finished(self, stream: Stream) -> None:
        raise AssertionError("numbers never end")


@dataclass(frozen=True)
class Point:
    """A data point, flat."""

    resource: Mapping[str, Any]
    name: str
    labels: Mapping[str, str]
    value: float
    time_ns: int
    start_ns: int
    message: Any


def value_of(point: Any) -> float:
    """The value of a data point, of a distribution its count; NaN where it says that there is none any more."""
    if point.flags & 1:
        return math.nan
    return point.count if hasattr(point, "count") else getattr(point, point.WhichOneof("value"))


def points(payload: bytes) -> list[Point]:
    """Every data point of a metrics request; the value of a distribution is its count."""
    found = []
    for envelope in parse(Signal.METRICS, payload).resource_metrics:
        resource = {pair.key: pair.value.string_value for pair in envelope.resource.attributes}
        for scope in envelope.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    value = value_of(point)
                    labels = {pair.key: pair.value.string_value for pair in point.attributes}
                    found.append(
                        Point(
                            resource,
                            metric.name,
                            labels,
                            value,
                            point.time_unix_nano,
                            point.start_time_unix_nano,
                            point,
                        )
                    )
    return found


def batches(stream: Stream) -> list[list[Point]]:
    """The points of each sample that was written to a metrics stream, in order."""
    assert isinstance(stream, SpoolStream)
    return [points(frame.payload) for frame in stream._spool.frames(stream._spool.first(), 1 << 30)]
