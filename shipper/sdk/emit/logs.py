"""Log records emitted through OpenTelemetry's API are handed over inline: one frame with one write."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from shipper.handoff.frame import ERROR, Kind
from shipper.sdk.emit.log_encode import LogEncoder, encode_log
from shipper.sdk.emit.seam import Declared, Handoff, Look, ResourceOf
from shipper.sdk.faults import Faults
from shipper.sdk.logbridge.hook import from_twin

if TYPE_CHECKING:
    from opentelemetry._logs import SeverityNumber
    from opentelemetry.context import Context
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

__all__ = ["LogEncoder", "ShipperLogRecordProcessor", "encode_log"]

_LOG = int(Kind.LOG)
_LOW = (1 << 64) - 1
ERROR_SEVERITY = 17
"""SeverityNumber ERROR; from here on a record counts as an error."""


class ShipperLogRecordProcessor(LogRecordProcessor):
    """Appends each record to the series ``logs``. ``minimum``: the SeverityNumber below which records are not taken.

    Records without a severity are always taken. ``look`` is told of each until it has seen enough. Nothing it does raises
    into the service; faults are counted in ``faults``.
    """

    def __init__(
        self,
        spooler: Handoff,
        resource_of: ResourceOf,
        encoder: LogEncoder | None = None,
        minimum: int = 0,
        faults: Faults | None = None,
        look: Look | None = None,
    ) -> None:
        self._look = look
        self._series = spooler.series("logs")
        self._declared = Declared(self._series, resource_of)
        self._encoder = encoder or LogEncoder()
        self._minimum = minimum
        self.faults = faults or self._encoder.texts.faults
        self._overflows = 0  # records lost at the end of the stack, where there is no room to count them

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        try:
            if self._overflows:
                lost, self._overflows = self._overflows, 0
                self.faults.settle(lost, self._series.drop)
            if self._look is not None and self._look():
                self._look = None
            record = log_record.log_record
            number = record.severity_number
            severity = number._value_ if number is not None else 0
            if 0 < severity < self._minimum or (record.severity_text is not None and from_twin()):
                return  # OpenTelemetry's own handler always says the level's name
            resource, scope = self._declared.pair(log_record.resource, log_record.instrumentation_scope)
            for body in self._encoder.encode(log_record):
                self._series.append(
                    _LOG,
                    body,
                    time_ns(),
                    ERROR if severity >= ERROR_SEVERITY else 0,
                    resource,
                    scope,
                    0,
                    severity,
                    1,
                    0,
                    (record.trace_id or 0) & _LOW,
                )
        except RecursionError:
            self._overflows += 1
        except Exception as error:
            self.faults.count("a log record could not be handed over", error)
            self._series.drop("unencodable")

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Whether a record of this severity would be taken."""
        return severity_number is None or not 0 < severity_number.value < self._minimum

    def shutdown(self) -> None:
        """Nothing is held back, so there is nothing to do."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """True: what was emitted is handed over."""
        return True
