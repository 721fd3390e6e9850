"""The redaction hook for records that leave by OpenTelemetry's own exporters: the same texts as on the way to the spool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from shipper.sdk.emit.redact import Texts

_DEPTH = 24


def clean(value: Any, texts: Texts, depth: int = _DEPTH) -> Any:
    """A value with every text in it after the hook; what nests too deep becomes a text itself."""
    if isinstance(value, str):
        return texts.clean(value)
    if isinstance(value, Mapping):
        return {k: clean(v, texts, depth - 1) for k, v in value.items()} if depth else texts.clean(str(value))
    if isinstance(value, list | tuple):
        return tuple(clean(item, texts, depth - 1) for item in value) if depth else texts.clean(str(value))
    return value


def redact_log(record: ReadWriteLogRecord, texts: Texts) -> None:
    """Change a record in place, before it is queued."""
    if texts.redact is None:
        return
    log = record.log_record
    log.body = clean(log.body, texts)
    if log.attributes:
        log.attributes = clean(log.attributes, texts)


def redacted(span: ReadableSpan, texts: Texts) -> ReadableSpan:
    """A copy of a span that has ended."""
    return ReadableSpan(
        name=texts.clean(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=clean(span.attributes or {}, texts),
        events=[Event(texts.clean(e.name), clean(e.attributes or {}, texts), e.timestamp) for e in span.events],
        links=[Link(link.context, clean(link.attributes or {}, texts)) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, texts.clean(span.status.description or "") or None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class RedactingSpans:
    """A span exporter around another."""

    def __init__(self, exporter: Any, texts: Texts) -> None:
        self._exporter = exporter
        self._texts = texts

    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        """Export redacted copies."""
        return self._exporter.export([redacted(span, self._texts) for span in spans])

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the other."""
        return bool(self._exporter.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """As the other."""
        self._exporter.shutdown()
