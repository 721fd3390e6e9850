"""On a tracer provider of ours the only processor is called without detours; everything else is as OpenTelemetry has it."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from shipper.sdk.ways.direct import DirectSpans


class Heard(SpanProcessor):
    """Keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.calls.append(f"start {span.name} {parent_context is not None}")

    def _on_ending(self, span: Span) -> None:
        self.calls.append(f"ending {span.name}")

    def on_end(self, span: ReadableSpan) -> None:
        self.calls.append(f"end {span.name}")

    def shutdown(self) -> None:
        self.calls.append("shutdown")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        self.calls.append("flush")
        return True


def test_one_processor_gets_all_calls_and_so_does_every_one_that_is_added() -> None:
    """Spans of a tracer made before count too; a span that began before an addition ends at both, as with OpenTelemetry's."""
    first, second, third = Heard(), Heard(), Heard()
    provider = TracerProvider(active_span_processor=DirectSpans(), shutdown_on_exit=False)
    tracer = provider.get_tracer("a")
    with tracer.start_as_current_span("none"):
        pass
    provider.add_span_processor(first)
    with tracer.start_span("one", context=Context()):
        pass
    assert first.calls == ["start one True", "ending one", "end one"]
    with tracer.start_span("two"):
        provider.add_span_processor(second)
        provider.add_span_processor(third)
    assert second.calls == third.calls == ["ending two", "end two"]
    with tracer.start_span("three"):
        pass
    provider.force_flush()
    provider.shutdown()
    assert first.calls[3:] == ["start two False", *second.calls]
    assert second.calls[2:] == ["start three False", "ending three", "end three", "flush", "shutdown"]
    assert third.calls == second.calls
