"""Logs and traces are linked by what a log says of its trace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shipper.shape.settings import ShapeSettings
from tests.shape.shapekit import attributes, record, records

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ALL = ShapeSettings("json", fields=None)


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": TRACE, "span_id": SPAN},
        {"traceId": TRACE, "spanId": SPAN},
        {"TraceId": TRACE, "SpanId": SPAN},
        {"trace.id": TRACE, "span.id": SPAN},
        {"trace": {"id": TRACE}, "span": {"id": SPAN}},
        {"otelTraceID": TRACE.upper(), "otelSpanID": SPAN},
        {"context": {"trace_id": TRACE, "span_id": SPAN}},
        {"logging.googleapis.com/trace": f"projects/shop/traces/{TRACE}", "logging.googleapis.com/spanId": SPAN},
        {"traceparent": f"00-{TRACE}-{SPAN}-00"},
    ],
)
def test_ids_are_found_under_the_names_that_libraries_give_them(fields: dict[str, Any]) -> None:
    """They become the ids of the record, and are no attributes any more."""
    found = record(ALL, line(**fields, a=1))
    assert (found.trace_id.hex(), found.span_id.hex()) == (TRACE, SPAN)
    assert attributes(found) == {"a": 1}


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({"trace_id": TRACE, "trace_flags": "01"}, 1),
        ({"trace_id": TRACE, "traceFlags": 1}, 1),
        ({"trace_id": TRACE, "otelTraceSampled": True}, 1),
        ({"trace_id": TRACE, "otelTraceSampled": "False"}, 0),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, 1),
        ({"traceparent": f"42-{TRACE}-{SPAN}-03-more"}, 3),
    ],
)
def test_flags_go_with_the_trace(fields: dict[str, Any], flags: int) -> None:
    """As hexadecimal text, as a number, or as whether it is sampled."""
    found = record(ALL, line(**fields))
    assert (found.trace_id.hex(), found.flags) == (TRACE, flags)
    assert attributes(found) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": "0"},
        {"trace_id": "0" * 32, "span_id": "0" * 16},
        {"trace_id": TRACE[:-1]},
        {"trace_id": " " + TRACE[1:]},
        {"trace_id": TRACE[:16]},
        {"dd.trace_id": "1234567890123456789"},
        {"trace_id": 1},
        {"trace_id": [TRACE]},
        {"span_id": SPAN},
        {"trace_flags": "01"},
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
    ],
)
def test_what_is_no_id_stays_a_field(fields: dict[str, Any]) -> None:
    """All zeros, half an id, the ids of other systems, and a span without a trace link to nothing."""
    found, other = records(ALL, [line(**fields), line(trace_id=TRACE)])
    assert (found.trace_id, found.span_id, found.flags) == (b"", b"", 0)
    assert attributes(found) == fields
    assert other.trace_id.hex() == TRACE


@pytest.mark.parametrize(
    "text",
    [
        f"2026-11-23 INFO [trace_id={TRACE} span_id={SPAN} resource.service.name=shop] - done",
        f"INFO done traceId: {TRACE}, spanId: {SPAN}",
        f'INFO done "traceID":"{TRACE}" "spanID":"{SPAN}"',
        f"INFO done traceparent=00-{TRACE}-{SPAN}-01",
    ],
)
def test_a_plain_line_names_its_trace(text: str) -> None:
    """As OpenTelemetry's logging formats and others put it into a line."""
    found, other = records(ShapeSettings("auto"), [text.encode(), f"trace_id={TRACE}a race".encode()])
    assert (found.trace_id.hex(), found.span_id.hex()) == (TRACE, SPAN)
    assert other.trace_id == b""
