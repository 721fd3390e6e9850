"""The context of the current span, as fast as it can be had: every log record asks for it."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import get_current
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, get_current_span, propagation

_KEY: Any = getattr(propagation, "_SPAN_KEY", None)
"""None in an OpenTelemetry that keeps it elsewhere; there `get_current_span` is asked, which takes three times as long."""


def current_span_context() -> SpanContext | None:
    """The context of the span that is current here; None outside of any."""
    if _KEY is None:
        context = get_current_span().get_span_context()
        return None if context is INVALID_SPAN_CONTEXT else context
    span: Any = get_current().get(_KEY)
    return None if span is None else span.get_span_context()
