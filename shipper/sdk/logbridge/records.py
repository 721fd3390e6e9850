"""What is in a `logging.LogRecord`: body, event name, attributes, severity; also what structlog and loguru put there.

Severities and texts are those of OpenTelemetry's own logging handler.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, NamedTuple

from shipper.sdk.emit.exceptions import STACK, TYPE, describe
from shipper.sdk.emit.values import as_text, key_text

EVENT_NAME = "otel.event.name"
_OLD_EVENT_NAME = "event.name"
PLAIN = tuple(logging.makeLogRecord({}).__dict__)
"""What every record has, in this order."""
RESERVED = frozenset(PLAIN) | {
    "asctime",
    "message",
    "taskName",
    "otelSpanID",  # what OpenTelemetry's and our own correlation add, which the record has in fields of its own
    "otelTraceID",
    "otelTraceSampled",
    "otelServiceName",
}
"""The attributes that are no ``extra``."""
_STRUCTLOG = frozenset({"_logger", "_name"})
_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_FATAL4 = 24
_LAST_INDEX, _LAST = len(PLAIN) - 1, PLAIN[-1]


class Reading(NamedTuple):
    """A record's body, the name of the event it is (or nothing), and its attributes without those of its place in the code."""

    body: Any
    event_name: str
    attributes: dict[str, Any]


def severity_number(level: int) -> int:
    """The SeverityNumber of a level of `logging`; 0 below DEBUG, as OpenTelemetry has it."""
    if level < logging.DEBUG:
        return 0
    if level > 53:
        return _FATAL4
    tens, ones = divmod(level, 10)
    return 1 + 4 * tens + min(ones, 3)


def severity_text(name: object) -> str:
    """The severity's text for the name of a level."""
    found = as_text(name)
    return _TEXTS.get(found, found)


def message(record: logging.LogRecord) -> str:
    """The formatted message; where message and arguments do not fit, both as they are and the fault."""
    try:
        found = record.getMessage()
        return found if type(found) is str else as_text(found)
    except Exception as error:
        return f"{as_text(record.msg)} [arguments {as_text(record.args)} do not fit: {type(error).__name__}]"


def read(record: logging.LogRecord) -> Reading:
    """Everything but the time, the severity and the place in the code. Never raises for an Exception."""
    attributes = _extras(record.__dict__)
    rendered_later = isinstance(record.msg, dict) and attributes.keys() >= _STRUCTLOG
    body = _structlog(record, attributes) if rendered_later else message(record)
    if record.exc_info:
        _exception(attributes, record.exc_info)
    elif record.exc_text and STACK not in attributes:  # a record that came through a queue or a socket
        attributes[STACK] = record.exc_text
    if record.stack_info:
        attributes.setdefault("code.stacktrace", as_text(record.stack_info))
    old = attributes.pop(_OLD_EVENT_NAME, None)
    name = attributes.pop(EVENT_NAME, None)
    name = old if name is None else name
    return Reading(body, as_text(name) if name is not None else "", attributes)


def _extras(members: dict[Any, Any]) -> dict[str, Any]:
    """What a record has besides what every record has: usually behind that, in the order in which it is made."""
    keys = list(members)
    if len(keys) > _LAST_INDEX and keys[_LAST_INDEX] == _LAST:
        del keys[: _LAST_INDEX + 1]
    return {
        key if type(key) is str else key_text(key): members[key]
        for key in keys
        if key not in RESERVED and key in members
    }


def _exception(attributes: dict[str, Any], info: Any) -> None:
    kind: type[BaseException] | None = None
    trace: TracebackType | None = None
    error: BaseException | None = None
    if isinstance(info, BaseException):
        error, trace = info, info.__traceback__
    elif isinstance(info, tuple) and len(info) == 3:
        kind, error, trace = info
    if isinstance(error, BaseException) or (isinstance(kind, type) and issubclass(kind, BaseException)):
        for key, value in describe(error, trace, kind).items():
            attributes.setdefault(key, value)


def _structlog(record: logging.LogRecord, attributes: dict[str, Any]) -> Any:
    """A record of structlog that is rendered later (``wrap_for_formatter``): its message is the dictionary of the event."""
    for key in _STRUCTLOG:
        attributes.pop(key, None)
    event: dict[Any, Any] = dict(record.msg) if isinstance(record.msg, dict) else {}
    body = event.pop("event", None)
    info = event.pop("exc_info", None)
    if info is True:
        info = record.exc_info
    if info and not record.exc_info:
        _exception(attributes, info)
    if as_text(event.get("level")).upper() == record.levelname:
        event.pop("level")
    if event.get("logger") == record.name:
        event.pop("logger")
    text = event.pop("exception", None)
    if isinstance(text, str) and TYPE not in attributes:
        attributes.setdefault(STACK, text)
    elif text is not None and not isinstance(text, str):
        event["exception"] = text
    if "stack" in event:
        attributes.setdefault("code.stacktrace", event.pop("stack"))
    attributes.update((key_text(key), value) for key, value in event.items())
    return body if body is None or isinstance(body, str) else as_text(body)
