"""Notices a service that serves requests without server spans, and says once what to do about it.

There is no thread that could look: it is done when the service emits something a minute after its start.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

PATIENCE = 60.0
_MOST_BYTES = 4 << 20  # of a table in /proc/self/net that are looked through
_MOST_DESCRIPTORS = 4096
_FRAMEWORKS = {  # module -> what to write; the first that is imported counts
    "fastapi": ("FastAPI", "shipper.init(app=app)"),
    "starlette": ("Starlette", "shipper.init(app=app)"),
    "django": ("Django", "shipper.init(app=application)"),
    "flask": ("Flask", "shipper.init(app=app)"),
    "quart": ("Quart", "app.asgi_app = shipper.asgi(app.asgi_app)"),
    "sanic": ("Sanic", "pip install opentelemetry-instrumentation-asgi and its middleware"),
    "falcon": ("Falcon", "pip install opentelemetry-instrumentation-falcon, or app = shipper.wsgi(app)"),
    "pyramid": ("Pyramid", "pip install opentelemetry-instrumentation-pyramid, or app = shipper.wsgi(app)"),
    "bottle": ("Bottle", "app = shipper.wsgi(app)"),
    "aiohttp.web": ("aiohttp", "pip install opentelemetry-instrumentation-aiohttp-server"),
    "tornado.web": ("Tornado", "pip install opentelemetry-instrumentation-tornado"),
    "grpc._server": ("gRPC", "pip install opentelemetry-instrumentation-grpc"),
    "uvicorn": ("uvicorn", "app = shipper.asgi(app)"),
    "hypercorn": ("hypercorn", "app = shipper.asgi(app)"),
    "gunicorn": ("gunicorn", "app = shipper.wsgi(app)"),
}


class Watch:
    """Looks at the spans and log records that go by. ``say`` is called at most once a process, with the advice."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._due = clock() + PATIENCE
        self.done = False

    def span(self, kind: SpanKind) -> bool:
        """A span of this kind began. True: there is nothing more to look for, as with `emitted`."""
        if kind is SpanKind.SERVER:
            self.done = True
        return self.emitted()

    def emitted(self) -> bool:
        """Something was emitted."""
        if not self.done and self._clock() >= self._due:
            self.done = True
            advice = missing()
            if advice:
                self._say(advice)
        return self.done


class WatchingSpans(SpanProcessor):
    """Shows the beginning of each span to a `Watch`."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if not self._watch.done:
            self._watch.span(span.kind)

    def on_end(self, span: ReadableSpan) -> None:
        """Nothing."""


class WatchingLogs(LogRecordProcessor):
    """Lets a `Watch` look at the clock at each log record."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if not self._watch.done:
            self._watch.emitted()

    def shutdown(self) -> None:
        """Nothing."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def missing() -> str:
    """What to do about the missing server spans; empty where this process does not serve, or not by a known framework."""
    found = next((advice for module, advice in _FRAMEWORKS.items() if module in sys.modules), None)
    if found is None or not listens():
        return ""
    name, fix = found
    return f"this {name} service serves without server spans, so its requests cannot be counted; the fix: {fix}"


def listens() -> bool:
    """Whether this process has a listening TCP or unix socket."""
    own = _sockets()
    return bool(own) and not own.isdisjoint(_listening())


def _sockets() -> set[str]:
    """The inodes of the sockets among our descriptors."""
    found = set()
    try:
        names = os.listdir("/proc/self/fd")[:_MOST_DESCRIPTORS]
    except OSError:
        return set()
    for name in names:
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _listening() -> set[str]:
    """The inodes of all listening sockets of this network namespace: proc_net(5), unix(7)."""
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        found.update(fields[9] for fields in _rows(table) if len(fields) > 9 and fields[3] == "0A")
    found.update(fields[6] for fields in _rows("unix") if len(fields) > 6 and int(fields[3], 16) & 0x10000)
    return found


def _rows(table: str) -> list[list[str]]:
    try:
        with open(f"/proc/self/net/{table}", "rb") as file:
            return [line.split() for line in file.read(_MOST_BYTES).decode("ascii", "replace").splitlines()[1:]]
    except OSError:
        return []


def watch(tracers: Any, loggers: Any, say: Callable[[str], None]) -> None:
    """Put a `Watch` on the providers (None where there is none)."""
    shared = Watch(say)
    if tracers is not None:
        tracers.add_span_processor(WatchingSpans(shared))
    if loggers is not None:
        loggers.add_log_record_processor(WatchingLogs(shared))


def watched(handler: logging.Handler, watch: Watch) -> logging.Handler:
    """The handler, showing each record to ``watch`` for as long as that looks: our bridge goes past the providers."""

    def look(record: logging.LogRecord) -> bool:
        if watch.emitted():
            handler.removeFilter(look)
        return True

    handler.addFilter(look)
    return handler
