"""Who else makes server spans for an application: looked up, so that no request ever gets two.

Instrumentations that stand *outside* of ours are seen by the span they have made current (`http.wanted`). This file is
about those *inside*: OpenTelemetry's own middleware anywhere in the chain, Flask's hooks, and frameworks that trace
themselves (FastAPI since 0.16x does so as soon as a tracer provider is set).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

_LINKS = (
    "app",
    "wsgi_app",
    "asgi_app",
    "wsgi",
    "application",
    "_app",
    "middleware_stack",
    "_middleware_chain",
    "get_response",
    "__wrapped__",
    "__self__",
    "func",
)
_LONGEST = 64
_TRACERS = ("opentelemetry.instrumentation.", "starlette.middleware.opentelemetry")


def walk(*apps: Any) -> Iterator[Any]:
    """The applications and everything they visibly wrap, outermost first. Bounded; closures cannot be looked into."""
    seen: set[int] = set()
    waiting = list(apps)
    while waiting and len(seen) < _LONGEST:
        found = waiting.pop(0)
        if found is None or id(found) in seen or isinstance(found, type):
            continue
        seen.add(id(found))
        yield found
        waiting += [_get(found, link) for link in _LINKS]


def is_a(part: Any, module: str, name: str) -> bool:
    """Whether ``part`` is an instance of a class, without importing what the service has not imported."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(part, kind)


def _get(part: Any, name: str) -> Any:
    try:
        return getattr(part, name, None)
    except Exception:  # a proxy that stands for nothing outside a request raises what it likes
        return None


class Others:
    """Whether another instrumentation inside ``apps`` makes the server spans; asked at every request, so kept cheap.

    The answer changes when an instrumentor comes later, or when Starlette builds its middleware at the first request:
    only then the chain is walked again.
    """

    def __init__(self, *apps: Any) -> None:
        self._apps = apps
        self._frameworks: list[Any] = []
        self._state: tuple[Any, ...] | None = None
        self._found = False
        self.native = False
        """Whether a framework that can trace itself is among them; then it knows of everything mounted below it."""

    def __call__(self) -> bool:
        """True when ours is to pass the request through."""
        if self._now() != self._state:
            parts = list(walk(*self._apps))
            self._frameworks = [part for part in parts if _may_change(part)]
            self._state = self._now()
            self._found = any(_traces(part) for part in parts)
            self.native = any(_get(part, "_native_telemetry") is not None for part in parts)
        return self._found

    def _now(self) -> tuple[Any, ...]:
        return tuple((_flag(part), id(_get(part, "middleware_stack"))) for part in self._frameworks)


def _may_change(part: Any) -> bool:
    """Starlette's and Flask's applications: instrumentors set a flag on them, and Starlette builds its chain late."""
    return any(_get(part, name) is not None for name in ("build_middleware_stack", "wsgi_app"))


def _flag(part: Any) -> bool:
    return _get(part, "_is_instrumented_by_opentelemetry") is True


def _traces(part: Any) -> bool:
    if str(_get(part, "__module__")).startswith(_TRACERS) and not _flag(part):
        return True
    if _native(part):
        return True
    # FastAPI's flag stands even where the instrumentor came too late to change the stack: a built stack tells the truth
    return _flag(part) and _get(part, "middleware_stack") is None


def _native(part: Any) -> bool:
    config = _get(_get(part, "_native_telemetry"), "config")
    return isinstance(config, dict) and bool(config.get("tracing"))
