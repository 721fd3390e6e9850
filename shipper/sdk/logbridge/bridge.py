"""From `logging` to the hand-off: a record is encoded where it is logged, without going through OpenTelemetry's Logger.

The handler holds no lock: the append is atomic by itself, and a lock held over I/O would stop every thread of a service and
be held for ever in a forked child. Where there is no spool, the same records go to an OpenTelemetry logger provider.
How records get here is `shipper.sdk.logbridge.hook`.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from itertools import islice
from time import time_ns
from typing import TYPE_CHECKING, Any

from shipper.handoff.frame import ERROR, Kind
from shipper.otlp.wire import varint_field
from shipper.sdk.emit.limits import count_limit
from shipper.sdk.emit.log_encode import MAX_PART, LogEncoder, event_name, trace
from shipper.sdk.emit.logs import ERROR_SEVERITY
from shipper.sdk.emit.seam import Declared, Handoff, ResourceOf, forget_in_children, named_scope
from shipper.sdk.emit.values import as_text
from shipper.sdk.faults import Faults
from shipper.sdk.logbridge import hook
from shipper.sdk.logbridge.current import current_span_context
from shipper.sdk.logbridge.places import Places
from shipper.sdk.logbridge.records import PLAIN, Reading, message, read

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import SpanContext

__all__ = ["ShipperHandler", "install", "is_own", "uninstall"]

FROM_ENVIRONMENT = -1
_LOG = int(Kind.LOG)
_LOW = (1 << 64) - 1
_NESTED = 4  # records logged while a record is being encoded, by the __str__ of an argument or a signal handler
_CACHED = 4096
_TIMES = struct.Struct("<BQBQ").pack
_OWN = ("shipper", "opentelemetry.exporter")
_PLAIN_SIZE, _PLAIN_LAST = len(PLAIN), PLAIN[-1]
_depth: ContextVar[int] = ContextVar("shipper_logging_depth", default=0)
_NO_SPAN: tuple[SpanContext | None, bytes, int] = (None, b"", 0)


class ShipperHandler(logging.Handler):
    """Hands records over: to the spool where ``spooler`` is given, else to the OpenTelemetry logger ``provider``.

    ``resource`` is asked once in each process for the resource that records belong to (that of the service's provider, or
    None), and ``resource_of`` what it declares. ``level``: what is below is not taken. ``code``: with the place in the code
    as ``code.*`` attributes. ``thread``: with ``thread.id`` and ``thread.name``. ``limit``: attributes of a record
    (None: any number). Nothing it does raises into the service; faults are counted in ``faults``.
    """

    def __init__(
        self,
        spooler: Handoff | None = None,
        resource_of: ResourceOf | None = None,
        *,
        resource: Callable[[], Resource | None] = lambda: None,
        provider: Any = None,
        level: int = logging.NOTSET,
        encoder: LogEncoder | None = None,
        code: bool = True,
        thread: bool = False,
        limit: int | None = FROM_ENVIRONMENT,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(level)
        self._encoder = encoder or LogEncoder()
        self.faults = faults or self._encoder.texts.faults
        self._overflows = 0  # records lost at the end of the stack, where there is no room to count them
        self.texts = self._encoder.texts
        self.code = code
        self._thread = thread
        self._count_limit = count_limit(os.environ) if limit == FROM_ENVIRONMENT else limit
        self._give: Callable[[logging.LogRecord], None]
        if spooler is not None:
            self._series = spooler.series("logs")
            self._declared = Declared(self._series, resource_of or (lambda _: (b"", b"")))
            self._resource = resource
            self._give = self._append
        else:
            from shipper.sdk.logbridge.bridge_provider import Emitter

            self._give = Emitter(provider, self).emit
        self._spool = spooler is not None
        self._places = Places(code)
        self._bodies = self._encoder.bodies
        self._last = _NO_SPAN
        self._given: ContextVar[object] = ContextVar("shipper_given", default=None)
        self._forget()
        forget_in_children(self, ShipperHandler._forget)

    def _forget(self) -> None:
        self._resource_number = 0
        self._scopes: dict[str, int] = {}

    def createLock(self) -> None:
        """There is none: see the top of this file."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter by level and filters, and emit, without a lock. Never raises."""
        try:
            if record.levelno < self.level:
                return False
            passed: Any = not self.filters or (not is_own(record.name, _OWN) and self.filter(record))
            if passed:
                self.emit(passed if isinstance(passed, logging.LogRecord) else record)
            return bool(passed)
        except Exception as error:
            self._failed("a filter of the log bridge failed", error)
            return False

    def handle_foreign(self, record: logging.LogRecord, mark: object) -> None:
        """Handle a record that was made of another library's; ``mark`` is an object of its own by which to know it again."""
        self._given.set(mark)
        self.handle(record)

    def was_given(self, mark: object) -> bool:
        """Whether the record with this mark came here last in this context."""
        return self._given.get() is mark

    def emit(self, record: logging.LogRecord) -> None:
        mark = record.__dict__.get("extra")
        if type(mark) is dict:  # a record that loguru gave to `logging` has its own ``extra`` in it
            if self.was_given(mark):
                return
            self._given.set(mark)
        depth = _depth.get()
        if depth >= _NESTED:
            self.faults.count("a log record was logged while it was being encoded, again and again")
            return
        token = _depth.set(depth + 1)
        try:
            if self._overflows and self._spool:
                lost, self._overflows = self._overflows, 0
                self.faults.settle(lost, self._series.drop)
            self._give(record)
        except RecursionError:
            self._overflows += 1
        except Exception as error:
            self._failed("a log record could not be handed over", error)
        finally:
            _depth.reset(token)

    def _failed(self, cause: str, error: Exception) -> None:
        self.faults.count(cause, error)
        if self._spool:
            self._series.drop("unencodable")

    def _append(self, record: logging.LogRecord) -> None:
        scope = self._scopes.get(record.name)
        if scope is None:
            scope = self._scope(record.name)
        if scope < 0:
            return
        place, severity = self._places[
            record.pathname, record.lineno, record.funcName, record.levelno, record.levelname
        ]
        context = current_span_context()
        last = self._last
        if context is not last[0]:
            last = self._last = _trace_of(context)
        members = record.__dict__
        more = b""
        if (
            len(members) == _PLAIN_SIZE
            and next(reversed(members)) == _PLAIN_LAST
            and not record.exc_info
            and not record.stack_info
            and not self._thread
        ):
            try:
                body: Any = record.getMessage()
            except Exception:
                body = message(record)
        else:
            reading = read(record)
            body = reading.body
            more = self._more(record, reading)
        now = time_ns()
        times = _TIMES(0x09, int(record.created * 1e9), 0x59, now)
        if type(body) is str and self.texts.redact is None and body.isascii() and len(body) <= MAX_PART:
            data = body.encode()
            whole: Iterable[bytes] = (b"".join((times, place, last[1], more, self._bodies[len(data)], data)),)
        else:
            whole = self._encoder.with_body(b"".join((times, place, last[1], more)), body)
        for content in whole:
            self._series.append(
                _LOG,
                content,
                now,
                ERROR if severity >= ERROR_SEVERITY else 0,
                self._resource_number or self._declare(),
                scope,
                0,
                severity,
                1,
                0,
                last[2],
            )

    def _more(self, record: logging.LogRecord, reading: Reading) -> bytes:
        attributes = self.attributes(record, reading)
        dropped = 0
        if self._count_limit is not None and len(attributes) > self._count_limit:
            dropped = len(attributes) - self._count_limit
            attributes = dict(islice(attributes.items(), self._count_limit))
        out = self._encoder.members(attributes)
        if reading.event_name:
            out += event_name(reading.event_name)
        return out + varint_field(7, dropped) if dropped else out

    def attributes(self, record: logging.LogRecord, reading: Reading) -> dict[str, Any]:
        """The attributes of a reading, and those of its thread if they are wanted."""
        if self._thread:
            return {**reading.attributes, "thread.id": record.thread, "thread.name": record.threadName}
        return reading.attributes

    def _scope(self, name: str) -> int:
        """The number of the scope of a logger; -1 for loggers whose records would feed themselves."""
        number = -1
        if not is_own(as_text(name), _OWN):
            number = self._series.scope(("logging", name), lambda: named_scope(as_text(name)))
        if len(self._scopes) >= _CACHED:
            self._scopes.clear()
        self._scopes[name] = number
        return number

    def _declare(self) -> int:
        self._resource_number = self._declared.resource(self._resource())
        return self._resource_number

    def flush(self) -> None:
        """What was logged is handed over."""

    def close(self) -> None:
        """Nothing to close, and nothing to take out of the list of handlers: configuration functions close all they find."""


def install(handler: ShipperHandler) -> None:
    """From now on every record of `logging` and of loguru (imported already or later) goes to ``handler`` as well."""
    from shipper.sdk.logbridge import loguru_bridge

    hook.install(handler)
    loguru_bridge.install(handler)


def uninstall() -> None:
    """As before `install`."""
    hook.uninstall()


def is_own(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a logger is one of these or below one of them."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _trace_of(context: SpanContext | None) -> tuple[SpanContext | None, bytes, int]:
    if context is None:
        return _NO_SPAN
    return context, trace(context.trace_id, context.span_id, int(context.trace_flags)), context.trace_id & _LOW
