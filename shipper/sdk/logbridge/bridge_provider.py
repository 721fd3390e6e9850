"""The log bridge where there is no spool: records become OpenTelemetry log records of the service's provider."""

from __future__ import annotations

import logging
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import context as context_api
from opentelemetry._logs import LogRecord, SeverityNumber

from shipper.sdk.emit.values import plain_value
from shipper.sdk.logbridge.hook import remove_twins
from shipper.sdk.logbridge.records import read, severity_number, severity_text

if TYPE_CHECKING:
    from shipper.sdk.logbridge.bridge import ShipperHandler

_OWN = ("shipper", "opentelemetry")
_SUPPRESSED = getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")


class Emitter:
    """Gives records to ``provider.get_logger(name)``; not those that exporting itself logs."""

    def __init__(self, provider: Any, handler: ShipperHandler) -> None:
        self._provider = provider
        self._handler = handler
        self._texts = handler.texts

    def emit(self, record: logging.LogRecord) -> None:
        """Emit one record: redacted here, because what exports it knows nothing of redaction."""
        from shipper.sdk.logbridge.bridge import is_own

        remove_twins()
        if is_own(record.name, _OWN) or context_api.get_value(_SUPPRESSED):
            return
        reading = read(record)
        attributes = dict(self._handler.attributes(record, reading))
        if self._handler.code:
            attributes["code.file.path"] = record.pathname
            attributes["code.function.name"] = record.funcName
            attributes["code.line.number"] = record.lineno
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                observed_timestamp=time_ns(),
                context=context_api.get_current(),
                severity_text=severity_text(record.levelname),
                severity_number=SeverityNumber(severity_number(record.levelno)),
                body=plain_value(reading.body, self._texts),
                attributes={name: plain_value(value, self._texts) for name, value in attributes.items()},
                event_name=reading.event_name or None,
            )
        )
