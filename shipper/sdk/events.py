"""``shipper.event()``: something happened, said as an OpenTelemetry event (a log record with an event name)."""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger

from shipper import __version__
from shipper.sdk import voice
from shipper.sdk.emit.redact import Texts
from shipper.sdk.emit.values import key_text, plain_value
from shipper.sdk.faults import Faults

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
_faults = Faults(voice.say)
_PLAIN = (str, bool, int, float, bytes)


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
                attributes=_attributes(attributes),
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


def _attributes(attributes: object) -> dict[str, Any] | None:
    """What OpenTelemetry's logger takes without a warning for each value, as from `logging`."""
    if not attributes:
        return None
    if isinstance(attributes, Mapping):
        return {key_text(key): _value(attributes[key]) for key in list(attributes)}
    kind = type(attributes).__name__
    voice.say(f"shipper.event(attributes=...): a mapping of names to values is wanted, not {kind}; they are left out")
    return None


def _value(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value  # redacted and cut on its way, whichever that is
    from shipper.sdk.start import started  # which brings much that an event alone does not need

    first = started()
    return plain_value(value, Texts(first.settings.redact if first else None, _faults))  # it is cut here


def _severity(severity: object) -> SeverityNumber:
    if isinstance(severity, str) and severity.strip().upper() in _SEVERITIES:
        return _SEVERITIES[severity.strip().upper()]
    if isinstance(severity, int) and 0 < severity <= SeverityNumber.FATAL4.value:
        return SeverityNumber(severity)
    voice.say(
        f"shipper.event(severity={severity!r}): this is none of {', '.join(_SEVERITIES)}, or 1 to 24; INFO is used"
    )
    return SeverityNumber.INFO
