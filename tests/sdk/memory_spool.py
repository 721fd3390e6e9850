"""A hand-off in memory, and what was handed over as decoded OTLP messages."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Given(NamedTuple):
    kind: int
    body: bytes
    time_ns: int
    flags: int
    resource: int
    scope: int
    route: int
    severity: int
    count: int
    duration_ns: int
    trace: int
    slot: int

    @property
    def log(self) -> LogRecord:
        return LogRecord.FromString(self.body)

    @property
    def span(self) -> Span:
        return Span.FromString(self.body)


class MemorySeries:
    def __init__(self) -> None:
        self.given: list[Given] = []
        self.dropped: dict[str, int] = {}
        self.resources: dict[Hashable, tuple[bytes, bytes]] = {}
        self.scopes: list[tuple[Hashable, bytes]] = []
        self.routes: list[str] = []

    def resource(self, key: Hashable, make: Callable[[], tuple[bytes, bytes]]) -> int:
        self.resources.setdefault(key, make())
        return list(self.resources).index(key) + 1

    def scope(self, key: Hashable, make: Callable[[], bytes]) -> int:
        if key not in [known for known, _ in self.scopes]:
            self.scopes.append((key, make()))
        return [known for known, _ in self.scopes].index(key) + 1

    def route(self, text: str) -> int:
        if text not in self.routes:
            self.routes.append(text)
        return self.routes.index(text) + 1

    def append(
        self,
        kind: int,
        body: bytes,
        time_ns: int,
        flags: int = 0,
        resource: int = 0,
        scope: int = 0,
        route: int = 0,
        severity: int = 0,
        count: int = 1,
        duration_ns: int = 0,
        trace: int = 0,
        slot: int = -1,
    ) -> bool:
        self.given.append(
            Given(kind, body, time_ns, flags, resource, scope, route, severity, count, duration_ns, trace, slot)
        )
        return True

    def drop(self, cause: str, count: int = 1) -> None:
        self.dropped[cause] = self.dropped.get(cause, 0) + count

    @property
    def logs(self) -> list[LogRecord]:
        return [one.log for one in self.given]

    @property
    def spans(self) -> list[Span]:
        return [one.span for one in self.given]

    def scope_of(self, given: Given) -> InstrumentationScope:
        return InstrumentationScope.FromString(self.scopes[given.scope - 1][1])


class MemoryOpenSpans:
    def __init__(self) -> None:
        self.begun: list[tuple[Any, ...]] = []
        self.cleared: list[int] = []

    def begin(
        self,
        trace_id: int,
        span_id: int,
        parent_id: int,
        start_ns: int,
        kind: int,
        name: str,
        resource: int,
        scope: int,
    ) -> int:
        self.begun.append((trace_id, span_id, parent_id, start_ns, kind, name, resource, scope))
        return len(self.begun) - 1

    def clear(self, slot: int) -> None:
        self.cleared.append(slot)


class MemorySpool:
    def __init__(self) -> None:
        self.open_spans = MemoryOpenSpans()
        self._series: dict[str, MemorySeries] = {}

    def series(self, signal: str) -> MemorySeries:
        return self._series.setdefault(signal, MemorySeries())


def nothing_stated(resource: object) -> tuple[bytes, bytes]:
    return b"", b""


def plain(value: AnyValue) -> Any:
    """The Python value that an AnyValue stands for."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind)


def attributes_of(message: Any) -> dict[str, Any]:
    """The attributes of a decoded Span, Event, Link or LogRecord; fails when a name occurs twice."""
    found = {pair.key: plain(pair.value) for pair in message.attributes}
    assert len(found) == len(message.attributes)
    return found
