"""Spans as HEC events, in the shape that the OpenTelemetry Collector's ``splunk_hec`` exporter gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from shipper.contracts import Signal
from shipper.otlp.decode import attributes_of, parse
from shipper.otlp.encode import AttributeValue
from shipper.otlp.messages import envelopes
from shipper_exporters._splunk.fields import Head, Placement

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS = ("UNSET", "OK", "ERROR")
_encode = msgspec.json.encode


def span_events(payloads: Iterable[bytes], placement: Placement) -> bytes:
    """The events of Export requests, each with a line feed behind it. Raises `MalformedOtlp`."""
    out = []
    for payload in payloads:
        for resource, scope, spans in envelopes(Signal.TRACES, parse(Signal.TRACES, payload)):
            named = {"otel.scope.name": scope.name, "otel.scope.version": scope.version}
            extra = {key: value for key, value in named.items() if value}
            head = Head.of(attributes_of(resource.attributes), {**attributes_of(scope.attributes), **extra}, placement)
            out += [head.event(span.start_time_unix_nano, {}, _encode(_span(span))) for span in spans]
    return b"".join(out)


def _span(span: Any) -> dict[str, AttributeValue]:
    """A span as an object; times in nanoseconds since the epoch, ids in hex."""
    shown: dict[str, AttributeValue] = {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "name": span.name,
        "attributes": attributes_of(span.attributes),
        "end_time": span.end_time_unix_nano,
        "kind": f"SPAN_KIND_{_named(_KINDS, span.kind)}",
        "status": {"message": span.status.message, "code": f"STATUS_CODE_{_named(_STATUS, span.status.code)}"},
        "start_time": span.start_time_unix_nano,
    }
    if span.trace_state:
        shown["trace_state"] = span.trace_state
    if span.events:
        shown["events"] = [
            {"attributes": attributes_of(one.attributes), "name": one.name, "timestamp": one.time_unix_nano}
            for one in span.events
        ]
    if span.links:
        shown["links"] = [
            {
                "attributes": attributes_of(one.attributes),
                "trace_id": one.trace_id.hex(),
                "span_id": one.span_id.hex(),
                "trace_state": one.trace_state,
            }
            for one in span.links
        ]
    return shown


def _named(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)
