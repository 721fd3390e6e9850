"""Where stdout is collected (``SHIPPER_LOGS=stdout``), log records are not handed over: they get the ids of the current span.

- Every `logging.LogRecord` made inside a span gets ``trace_id``, ``span_id`` and ``trace_flags``, every one ``service``,
  so that JSON formatters write them as fields. Set behind `logging.Logger.callHandlers` and not by a record factory:
  from there on ``extra={"trace_id": ...}`` of the service's own would be an error, here it stays.
- Lines of plain formatters get `` trace_id=... span_id=...`` at the end of their first line.
- A format that names ``otelTraceID``, ``otelSpanID``, ``otelTraceSampled``, ``otelServiceName`` (as with OpenTelemetry's
  own instrumentation) or ``trace_id`` gets these, outside of spans too, and nothing is appended to its lines.
- structlog: `add_ids` stands before the renderer, whenever structlog is configured.
- loguru: the ids are in ``record["extra"]``, empty outside of spans so that a format may name ``{extra[trace_id]}``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from functools import wraps
from types import ModuleType
from typing import Any

from shipper.sdk.faults import Faults
from shipper.sdk.later import when_imported
from shipper.sdk.logbridge import hook
from shipper.sdk.logbridge.current import current_span_context

_NAMED = ("otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName", "%(trace_id)", "{trace_id", "${trace_id")
_format = logging.Formatter.format


class Stamp(logging.Handler):
    """Stands where the bridge does otherwise, and only adds the ids."""

    def __init__(self, service: str = "", faults: Faults | None = None) -> None:
        super().__init__()
        self.service = service
        self.faults = faults or Faults()

    def createLock(self) -> None:
        """There is none: nothing is shared."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        try:
            add_ids(None, "", record.__dict__)
            if self.service:
                record.__dict__.setdefault("service", self.service)
        except Exception as error:
            self.faults.count("the ids of a span could not be added to a log record", error)
        return True


def add_ids(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: the ids of the current span, unless the event has its own."""
    context = current_span_context()
    if context is not None and context.is_valid and "trace_id" not in event:
        event["trace_id"] = format(context.trace_id, "032x")
        event["span_id"] = format(context.span_id, "016x")
        event["trace_flags"] = format(int(context.trace_flags), "02x")
    return event


def install(service: str = "") -> None:
    """Add ids from now on, in `logging`, structlog and loguru."""
    stamp = Stamp(service)
    hook.install(stamp)
    logging.Formatter.format = _format_with_ids  # type: ignore[method-assign]
    when_imported("structlog", lambda module: _to_structlog(module, stamp.faults))
    when_imported("loguru", lambda module: _to_loguru(module, stamp.faults))


def uninstall() -> None:
    """As before `install`, for `logging`."""
    hook.uninstall()
    logging.Formatter.format = _format  # type: ignore[method-assign]


def _format_with_ids(self: logging.Formatter, record: logging.LogRecord) -> str:
    members = record.__dict__
    fmt = self._fmt
    if fmt is not None and any(name in fmt for name in _NAMED):
        _name_all(members)
        return _format(self, record)
    line = _format(self, record)
    if type(self).format is not _format_with_ids or "trace_id" not in members or line.startswith("{"):
        return line  # its own way of formatting, such as JSON
    head, newline, rest = line.partition("\n")
    return f"{head} trace_id={members['trace_id']} span_id={members.get('span_id', '')}{newline}{rest}"


def _name_all(members: dict[str, Any]) -> None:
    trace = members.setdefault("trace_id", "")
    span = members.setdefault("span_id", "")
    members.setdefault("otelTraceID", trace or "0")
    members.setdefault("otelSpanID", span or "0")
    members.setdefault("otelTraceSampled", str(members.get("trace_flags", "00"))[-1:] in "13579bdf")
    members.setdefault("otelServiceName", members.get("service", ""))


def _to_structlog(module: ModuleType, faults: Faults) -> None:
    try:
        if module.is_configured():
            module.configure(processors=_with_ids(module.get_config()["processors"]))
        for name in ("configure", "configure_once"):
            setattr(module, name, _configuring(getattr(module, name)))
    except Exception as error:  # a structlog that is not as this knows it
        faults.count("the ids could not be added to structlog", error)


def _with_ids(processors: Any) -> list[Any]:
    given = list(processors)
    return given if add_ids in given else [*given[:-1], add_ids, *given[-1:]]


def _configuring(configure: Callable[..., None]) -> Callable[..., None]:
    """One of structlog's functions of configuration, which puts the ids before the renderer."""

    @wraps(configure)
    def configure_with_ids(processors: Any = None, *args: Any, **kwargs: Any) -> None:
        configure(_with_ids(processors) if processors else processors, *args, **kwargs)

    return configure_with_ids


def _to_loguru(module: ModuleType, faults: Faults) -> None:
    try:
        logger: Any = module.logger
        before = getattr(logger._core, "patcher", None)

        def patch(record: Any) -> None:
            if before is not None:
                before(record)
            extra = add_ids(None, "", record["extra"])
            extra.setdefault("trace_id", "")
            extra.setdefault("span_id", "")

        logger.configure(patcher=patch)
    except Exception as error:  # a loguru that is not as this knows it
        faults.count("the ids could not be added to loguru", error)
