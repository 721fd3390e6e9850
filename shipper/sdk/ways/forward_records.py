"""What a span and a log record look like as a record of the forward protocol: flat, with the identity under its label names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from shipper.sdk.emit.redact import Texts, cut
from shipper.sdk.identity import Identity

_LABELS = ("service", "release", "image", "generation", "environment", "host", "life", "instance")
_DEPTH = 24
_INT64 = 1 << 63


class Labels:
    """The identity as fields of a record; made once for each identity."""

    def __init__(self, identity: Callable[[], Identity]) -> None:
        self._identity = identity
        self._of: Identity | None = None
        self._fields: dict[str, str] = {}

    def __call__(self) -> dict[str, str]:
        """The labels that are known."""
        identity = self._identity()
        if identity is not self._of:
            self._fields = {name: value for name in _LABELS if (value := getattr(identity, name))}
            self._of = identity
        return self._fields

    @property
    def service(self) -> str:
        """The service's name, for the tag."""
        return self().get("service", "unknown_service")


def log_record_fields(record: ReadWriteLogRecord, labels: Labels, texts: Texts) -> dict[str, Any]:
    """The fields of a log record."""
    log = record.log_record
    fields: dict[str, Any] = {**labels(), "message": plain(log.body, texts)}
    if log.event_name:
        fields["event"] = log.event_name
    if log.severity_number is not None and log.severity_number.value:
        fields["severity"] = log.severity_text or log.severity_number.name
        fields["severity_number"] = log.severity_number.value
    if log.trace_id:
        fields["trace_id"], fields["span_id"] = f"{log.trace_id:032x}", f"{log.span_id or 0:016x}"
    if record.instrumentation_scope is not None and record.instrumentation_scope.name:
        fields["logger"] = record.instrumentation_scope.name
    if log.attributes:
        fields["attributes"] = plain(log.attributes, texts)
    return fields


def span_record(span: ReadableSpan, labels: Labels, texts: Texts) -> dict[str, Any]:
    """The fields of a span that has ended. Times in nanoseconds since the epoch."""
    context: Any = span.context
    fields: dict[str, Any] = {
        **labels(),
        "name": texts.clean(span.name),
        "kind": span.kind.name.lower(),
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "start_time": span.start_time or 0,
        "end_time": span.end_time or 0,
        "status": span.status.status_code.name.lower(),
    }
    if span.parent is not None:
        fields["parent_span_id"] = f"{span.parent.span_id:016x}"
    if span.status.status_code is StatusCode.ERROR and span.status.description:
        fields["status_message"] = texts.clean(span.status.description)
    if span.attributes:
        fields["attributes"] = plain(span.attributes, texts)
    if span.events:
        fields["events"] = [
            {"name": event.name, "time": event.timestamp, "attributes": plain(event.attributes or {}, texts)}
            for event in span.events
        ]
    return fields


def plain(value: Any, texts: Texts, depth: int = _DEPTH) -> Any:
    """A copy that MessagePack can hold: texts redacted and cut, numbers outside 64 bits and other objects as their text."""
    if value is None or isinstance(value, bool | float | bytes):
        return value
    if isinstance(value, str):
        return cut(texts.clean(value))
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else str(value)
    if depth and isinstance(value, Mapping):
        return {str(key): plain(item, texts, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple):
        return [plain(item, texts, depth - 1) for item in value]
    return cut(texts.clean(str(value)))
