"""Spans are handed over where they end: one frame with one write, so that nothing is left in the process to be lost."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from shipper.handoff.frame import ERROR, Kind
from shipper.sdk.emit.seam import Declared, Handoff, ResourceOf, forget_in_children
from shipper.sdk.emit.span_encode import SpanEncoder, encode_span, view_of
from shipper.sdk.faults import Faults

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["ShipperSpanProcessor", "SpanEncoder", "encode_span"]

_LOW = (1 << 64) - 1
_MOST_OPEN = 8192
_MOST_ROUTES = 1024
_SPAN = int(Kind.SPAN)
_SERVER = SpanKind.SERVER.value
_ERROR = StatusCode.ERROR


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
        self._open_spans = spooler.open_spans
        self._series = spooler.series("traces")
        self._declared = Declared(self._series, resource_of)
        self._encoder = encoder or SpanEncoder()
        self.faults = faults or self._encoder.texts.faults
        self._overflows = 0  # records lost at the end of the stack, where there is no room to count them
        self._forget()
        forget_in_children(self, ShipperSpanProcessor._forget)

    def _forget(self) -> None:
        self._slots: dict[int, int] = {}  # those there were are of the parent's table
        self._routes: dict[str, int] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            context = span.get_span_context()
            span_id = context.span_id
            if not context.trace_flags & 1 or len(self._slots) >= _MOST_OPEN or span_id in self._slots:
                return
            parent = span.parent
            slot = self._open_spans.begin(
                context.trace_id,
                span_id,
                0 if parent is None else parent.span_id,
                span.start_time or 0,
                span.kind._value_ + 1,
                self._encoder.texts.clean(span.name),
                self._declared.resource(span.resource),
                self._declared.scope(span.instrumentation_scope),
            )
            if slot >= 0:
                self._slots[span_id] = slot
        except RecursionError:
            return  # it is not lost, only not in the table
        except Exception as error:
            self.faults.count("the start of a span could not be noted", error)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            if self._overflows:
                lost, self._overflows = self._overflows, 0
                self.faults.settle(lost, self._series.drop)
            self._hand_over(view_of(span))
        except RecursionError:
            self._overflows += 1
        except Exception as error:
            self._failed(span, error)

    def _failed(self, span: ReadableSpan, error: Exception) -> None:
        """Count a span as lost; it is over all the same, and not to be taken for one that was open when the process died."""
        self.faults.count("a span could not be handed over", error)
        self._series.drop("unencodable")
        context = getattr(span, "_context", None)
        slot = self._slots.pop(getattr(context, "span_id", 0), -1)
        if slot >= 0:
            self._open_spans.clear(slot)

    def _hand_over(self, span: Any) -> None:
        context = span._context
        if not context[3] & 1:
            return
        body = self._encoder.encode(span)
        members = span._attributes._dict
        kind = span._kind._value_
        flags = kind + 1
        if span._status._status_code is _ERROR or (kind == _SERVER and _failed(members)):
            flags |= ERROR
        route = members.get("http.route")
        self._series.append(
            _SPAN,
            body,
            time_ns(),
            flags,
            self._declared.resource(span._resource),
            self._declared.scope(span._instrumentation_scope),
            self._route(route) if type(route) is str else 0,
            0,
            1,
            max(0, (span._end_time or 0) - (span._start_time or 0)),
            context[0] & _LOW,
            self._slots.pop(context[1], -1),
        )

    def _route(self, route: str) -> int:
        number = self._routes.get(route)
        if number is None:
            number = self._series.route(self._encoder.texts.clean(route))
            if len(self._routes) < _MOST_ROUTES:
                self._routes[route] = number
        return number

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
