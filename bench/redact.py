"""What masking secrets costs: of a file and of spans, where there are none and where every record holds one."""

from __future__ import annotations

import time
from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bench.row import Row
from shipper.contracts import Signal
from shipper.shape.redact import Redaction

KINDS = ("tokens", "keys", "passwords", "cards", "email")
SETTING = ",".join(KINDS)
SPANS = 512  # of a batch
ROUNDS = 40


def spans(name: str) -> list[Row]:
    """A request of the spans of a web service, masked again and again; CPU a span."""
    redaction = Redaction(KINDS)
    rows = []
    for what, url in (
        ("no secret", lambda number: f"/api/v1/items/{number}?region=eu-west-1"),
        ("a secret in each", lambda number: f"/api/v1/items/{number}?token=t{number:08x}"),
    ):
        payload = _request(url)
        begun = time.process_time()
        for _ in range(ROUNDS):
            masked = redaction.request(Signal.TRACES, payload)
        took = time.process_time() - begun
        rows += [
            Row(name, f"CPU, {what}", "us/span", took / ROUNDS / SPANS * 1e6),
            Row(name, f"masked, {what}", "of spans", sum(masked.counts.values()) / SPANS),
            Row(name, f"throughput, {what}", "MB/s", len(payload) * ROUNDS / took / 1e6),
        ]
    return rows


def _request(url: Callable[[int], str]) -> bytes:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("bench")
    for number in range(SPANS):
        with tracer.start_as_current_span("GET /api/v1/items/{id}") as span:
            span.set_attribute("http.request.method", "GET")
            span.set_attribute("http.route", "/api/v1/items/{id}")
            span.set_attribute("url.full", f"https://shop.example{url(number)}")
            span.set_attribute("http.response.status_code", 200)
            span.set_attribute("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0")
    finished: tuple[ReadableSpan, ...] = kept.get_finished_spans()
    return bytes(encode_spans(finished).SerializeToString())
