"""``shipper.event()``: something happened, said as an OpenTelemetry event (a log record with an event name)."""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger

from shipper import __version__
from shipper.sdk import voice

SCOPE = "shipper.event"
_SEVERITIES = {
    "TRACE": SeverityNumber.TRACE,
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARN": SeverityNumber.WARN,
    "WARNING": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
    "FATAL": SeverityNumber.FATAL,
    "CRITICAL": SeverityNumber.FATAL,
}


def emit(name: str, attributes: Mapping[str, Any] | None, severity: int | str) -> None:
    """`shipper.event`. The time stamp is now, as the specification demands for events; there is no severity text."""
    try:
        now = time_ns()
        get_logger(SCOPE, __version__).emit(
            LogRecord(
                timestamp=now,
                observed_timestamp=now,
                severity_number=_severity(severity),
                event_name=_name(name),
                attributes=dict(attributes) if attributes else None,
            )
        )
    except Exception as error:  # the service's own values may do anything
        voice.fault("shipper.event", error)


def _name(name: object) -> str:
    if isinstance(name, str) and name.strip():
        return name.strip()
    voice.say(
        f"shipper.event({name!r}): the name of an event is a text such as cache.warmed; it is recorded as unnamed"
    )
    return "unnamed"


def _severity(severity: object) -> SeverityNumber:
    if isinstance(severity, str) and severity.strip().upper() in _SEVERITIES:
        return _SEVERITIES[severity.strip().upper()]
    if isinstance(severity, int) and 0 < severity <= SeverityNumber.FATAL4.value:
        return SeverityNumber(severity)
    voice.say(
        f"shipper.event(severity={severity!r}): this is none of {', '.join(_SEVERITIES)}, or 1 to 24; INFO is used"
    )
    return SeverityNumber.INFO
