"""What the processors and the log bridge need of the hand-off, and the declarations they share.

`Handoff` is `shipper.sdk.writer.spooler.Spooler` seen from here; tests have a small one in memory.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Protocol

from shipper.otlp.encode import scope as encode_scope
from shipper.otlp.wire import field, text
from shipper.sdk.emit.attributes import Attributes
from shipper.sdk.emit.redact import Texts

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_MOST = 1024
ResourceOf = Callable[["Resource | None"], tuple[bytes, bytes]]
Look = Callable[..., bool]
"""Is shown what goes by (the kind of a span; nothing of a log record) until it says that it has seen enough."""


class Series(Protocol):
    """The frames of one signal of this process."""

    def resource(self, key: Hashable, make: Callable[[], tuple[bytes, bytes]]) -> int: ...
    def scope(self, key: Hashable, make: Callable[[], bytes]) -> int: ...
    def route(self, text: str) -> int: ...
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
    ) -> bool: ...
    def drop(self, cause: str, count: int = 1) -> None: ...


class OpenSpans(Protocol):
    """The table of spans that have begun and not ended."""

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
    ) -> int: ...
    def clear(self, slot: int) -> None: ...


class Handoff(Protocol):
    """Where records go."""

    @property
    def open_spans(self) -> OpenSpans: ...
    def series(self, signal: str) -> Series: ...


class Declared:
    """Numbers of resources and scopes in a series, found by identity because their own hashes cost more than a span.

    An object is kept as long as its number is, so that its id cannot become another's.
    """

    def __init__(self, series: Series, resource_of: ResourceOf) -> None:
        self._series = series
        self._resource_of = resource_of
        self._resources: dict[int, tuple[Resource | None, int]] = {}
        self._scopes: dict[int, tuple[InstrumentationScope | None, int]] = {}
        self._pairs: dict[int, tuple[Resource | None, InstrumentationScope | None, tuple[int, int]]] = {}
        forget_in_children(self, Declared.forget)

    def forget(self) -> None:
        """Ask the series anew for every number, as a forked child must."""
        self._resources = {}
        self._scopes = {}
        self._pairs = {}

    def pair(self, resource: Resource | None, scope: InstrumentationScope | None) -> tuple[int, int]:
        """The numbers of both: of one tracer they are the same for all spans, so that there is one thing to look up."""
        found = self._pairs.get(id(scope))
        if found is not None and found[0] is resource:
            return found[2]
        numbers = self.resource(resource), self.scope(scope)
        if len(self._pairs) >= _MOST:
            self._pairs = {}
        self._pairs[id(scope)] = resource, scope, numbers
        return numbers

    def resource(self, resource: Resource | None) -> int:
        found = self._resources.get(id(resource))
        if found is not None:
            return found[1]
        number = self._series.resource(resource_key(resource), lambda: self._resource_of(resource))
        if len(self._resources) >= _MOST:
            self._resources = {}
        self._resources[id(resource)] = (resource, number)
        return number

    def scope(self, scope: InstrumentationScope | None) -> int:
        found = self._scopes.get(id(scope))
        if found is not None:
            return found[1]
        number = self._series.scope(_scope_key(scope), lambda: scope_content(scope))
        if len(self._scopes) >= _MOST:
            self._scopes = {}
        self._scopes[id(scope)] = (scope, number)
        return number


def forget_in_children(thing: Any, forget: Callable[[Any], None]) -> None:
    """Have ``forget(thing)`` called in forked children for as long as ``thing`` lives."""
    weak = weakref.ref(thing)

    def after() -> None:
        alive = weak()
        if alive is not None:
            forget(alive)

    os.register_at_fork(after_in_child=after)


def resource_key(resource: Resource | None) -> Hashable:
    """What two equal resources have in common."""
    if resource is None:
        return None
    return tuple(sorted((key, repr(value)) for key, value in resource.attributes.items()))


def _scope_key(scope: InstrumentationScope | None) -> Hashable:
    if scope is None:
        return None
    attributes = scope.attributes or {}
    return scope.name, scope.version, tuple(sorted((key, repr(value)) for key, value in attributes.items()))


def scope_content(scope: InstrumentationScope | None) -> bytes:
    """The content of an InstrumentationScope message. Never raises."""
    if scope is None:
        return b""
    out = [encode_scope(str(scope.name or ""), str(scope.version or ""))]
    Attributes(3, Texts()).put(out.append, dict(scope.attributes or {}).items())
    return b"".join(out)


def named_scope(name: str) -> bytes:
    """The content of an InstrumentationScope message that has a name only."""
    return field(1, text(name)) if name else b""
