"""Spans are handed over where they end: one frame with one write, so that nothing is left in the process to be lost."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from shipper.handoff.frame import ERROR, Kind
from shipper.sdk.faults import Faults
from shipper.sdk.seam import Declared, Handoff, ResourceOf, forget_in_children
from shipper.sdk.span_encode import SpanEncoder, encode_span, members_of

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["ShipperSpanProcessor", "SpanEncoder", "encode_span"]

_LOW = (1 << 64) - 1
_MOST_OPEN = 8192
_SPAN = int(Kind.SPAN)
_SERVER = SpanKind.SERVER
_ERROR = StatusCode.ERROR
_NUMBERS = {kind: kind.value + 1 for kind in SpanKind}


class ShipperSpanProcessor(SpanProcessor):
    """Puts a started span into the table of open spans, and appends an ended one to the series ``traces``.

    As with OpenTelemetry's own processors only sampled spans are taken. ``resource_of`` gives what a resource declares
    (`shipper.handoff.frame.pack_resource`). Nothing it does raises into the service; faults are counted in ``faults``.
    """

    def __init__(
        self,
        spooler: Handoff,
        resource_of: ResourceOf,
        encoder: SpanEncoder | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._spooler = spooler
        self._series = spooler.series("traces")
        self._declared = Declared(self._series, resource_of)
        self._encoder = encoder or SpanEncoder()
        self._encode = self._encoder.encode
        self.faults = faults or self._encoder.texts.faults
        self._slots: dict[int, int] = {}
        forget_in_children(self, ShipperSpanProcessor._forget)

    def _forget(self) -> None:
        self._slots = {}  # they are of the parent's table

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            context = span.get_span_context()
            if not context.trace_flags.sampled or len(self._slots) >= _MOST_OPEN or context.span_id in self._slots:
                return
            parent = span.parent
            slot = self._spooler.open_spans.begin(
                context.trace_id,
                context.span_id,
                parent.span_id if parent is not None else 0,
                span.start_time or 0,
                _NUMBERS[span.kind],
                self._encoder.texts.clean(span.name),
                self._declared.resource(span.resource),
                self._declared.scope(span.instrumentation_scope),
            )
            if slot >= 0:
                self._slots[context.span_id] = slot
        except Exception as error:
            self.faults.count("the start of a span could not be noted", error)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            context: Any = span.get_span_context()
            if context is None or not context.trace_flags.sampled:
                return
            attributes = members_of(span._attributes)[0]
            kind = span.kind
            flags = _NUMBERS[kind]
            if span.status.status_code is _ERROR or (kind is _SERVER and _failed(attributes)):
                flags |= ERROR
            route = attributes.get("http.route")
            started, ended = span.start_time or 0, span.end_time or 0
            self._series.append(
                _SPAN,
                self._encode(span),
                time_ns(),
                flags=flags,
                resource=self._declared.resource(span.resource),
                scope=self._declared.scope(span.instrumentation_scope),
                route=self._series.route(route) if type(route) is str else 0,
                duration_ns=max(0, ended - started),
                trace=context.trace_id & _LOW,
                slot=self._slots.pop(context.span_id, -1),
            )
        except Exception as error:
            self.faults.count("a span could not be handed over", error)
            self._series.drop("unencodable")

    def shutdown(self) -> None:
        """Nothing is held back, so there is nothing to do."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """True: what ended is handed over."""
        return True


def _failed(attributes: Any) -> bool:
    status = attributes.get("http.response.status_code")
    if status is None:
        status = attributes.get("http.status_code")
    return isinstance(status, int) and status >= 500
