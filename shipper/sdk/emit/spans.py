"""Spans are handed over where they end: one frame with one write, so that nothing is left in the process to be lost."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from shipper.handoff.frame import ERROR, NOT_A_REQUEST, Kind
from shipper.sdk.emit.seam import Declared, Handoff, Look, ResourceOf, forget_in_children
from shipper.sdk.emit.span_encode import OTHER_MAKE, SpanEncoder, View, encode_span
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
_WEBSOCKET = frozenset({"ws", "wss"})


class ShipperSpanProcessor(SpanProcessor):
    """Puts a started span into the table of open spans, and appends an ended one to the series ``traces``.

    As with OpenTelemetry's own processors only sampled spans are taken. ``resource_of`` gives what a resource declares
    (`shipper.handoff.frame.pack_resource`). ``look`` sees spans begin: here, because each further processor costs every span
    three calls. Nothing it does raises into the service; faults are counted in ``faults``.
    """

    def __init__(
        self,
        spooler: Handoff,
        resource_of: ResourceOf,
        encoder: SpanEncoder | None = None,
        faults: Faults | None = None,
        look: Look | None = None,
    ) -> None:
        self._look = look
        self._open_spans = spooler.open_spans
        self._series = spooler.series("traces")
        self._declared = Declared(self._series, resource_of)
        self._encoder = encoder or SpanEncoder()
        self._texts = self._encoder.texts
        self.faults = faults or self._encoder.texts.faults
        self._overflows = 0  # records lost at the end of the stack, where there is no room to count them
        self._forget()
        forget_in_children(self, ShipperSpanProcessor._forget)

    def _forget(self) -> None:
        self._slots: dict[int, int] = {}  # those there were are of the parent's table
        self._routes: dict[str, int] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            if self._look is not None and self._look(span.kind):
                self._look = None
            try:
                self._begin(span)
            except OTHER_MAKE:
                self._begin(View(span))
        except RecursionError:
            return  # it is not lost, only not in the table
        except Exception as error:
            self.faults.count("the start of a span could not be noted", error)

    def _begin(self, span: Any) -> None:
        context, parent, slots, name = span._context, span._parent, self._slots, span._name
        span_id = context[1]
        if not context[3] & 1 or len(slots) >= _MOST_OPEN or span_id in slots:
            return
        kind = span._kind._value_
        flags = kind + 1
        if kind == _SERVER and _is_websocket(span._attributes._dict):
            flags |= NOT_A_REQUEST
        resource, scope = self._declared.pair(span._resource, span._instrumentation_scope)
        slot = self._open_spans.begin(
            context[0],
            span_id,
            0 if parent is None else parent[1],
            span._start_time or 0,
            flags,
            name if self._texts.redact is None else self._texts.clean(name),
            resource,
            scope,
        )
        if slot >= 0:
            slots[span_id] = slot

    def on_end(self, span: ReadableSpan) -> None:
        try:
            if self._overflows:
                lost, self._overflows = self._overflows, 0
                self.faults.settle(lost, self._series.drop)
            try:
                self._hand_over(span)
            except OTHER_MAKE:  # before anything was handed over: `append` does not raise
                self._hand_over(View(span))
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
        members = span._attributes._dict
        kind = span._kind._value_
        flags = kind + 1
        if kind == _SERVER:
            status = members.get("http.response.status_code") or members.get("http.status_code")
            if isinstance(status, int) and status >= 500:
                flags |= ERROR
            if _is_websocket(members):
                flags |= NOT_A_REQUEST
        if span._status._status_code is _ERROR:
            flags |= ERROR
        route = members.get("http.route")
        number = self._routes.get(route) if type(route) is str else 0
        if number is None:
            number = self._route(route)
        resource, scope = self._declared.pair(span._resource, span._instrumentation_scope)
        duration = (span._end_time or 0) - (span._start_time or 0)
        body = self._encoder.encode(span)
        self._series.append(
            _SPAN,
            body,
            time_ns(),
            flags,
            resource,
            scope,
            number,
            0,
            1,
            duration if duration > 0 else 0,
            context[0] & _LOW,
            self._slots.pop(context[1], -1),
        )

    def _route(self, route: str) -> int:
        number = self._series.route(self._texts.clean(route))
        if len(self._routes) < _MOST_ROUTES:
            self._routes[route] = number
        return number

    def shutdown(self) -> None:
        """Nothing is held back, so there is nothing to do."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """True: what ended is handed over."""
        return True


def _is_websocket(attributes: Any) -> bool:
    """As all instrumentations that make spans of websockets say it, in new conventions or old."""
    return (attributes.get("url.scheme") or attributes.get("http.scheme")) in _WEBSOCKET
