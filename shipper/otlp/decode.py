"""Decoding OTLP, for those who must look into records: exporters of other protocols, ``shipper cat``, the audit, JSON.

Importing this is cheap; the protobuf library is loaded when something is decoded (see `shipper.otlp.messages`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shipper.contracts import Signal
from shipper.otlp.encode import AttributeValue
from shipper.otlp.jsonform import from_json, to_json
from shipper.otlp.messages import check, envelopes, parse, points

__all__ = ["Record", "attributes_of", "check", "from_json", "parse", "records", "to_json", "value_of"]


@dataclass(frozen=True, slots=True)
class Record:
    """One log record, span or data point, flat. Times in ns since the epoch, 0 for unknown; ids in hex, "" for none."""

    signal: Signal
    resource: Mapping[str, AttributeValue]
    scope: str
    attributes: Mapping[str, AttributeValue]
    time_ns: int  # a span's start
    observed_ns: int = 0
    severity: int = 0  # SeverityNumber
    severity_text: str = ""
    body: AttributeValue = None
    event_name: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""  # of the span or metric
    end_ns: int = 0
    status: int = 0  # of a span: 0 unset, 1 ok, 2 error
    value: AttributeValue = None  # of a data point: its number; of a distribution: a map with its count and sum
    unit: str = ""
    scope_version: str = ""
    scope_attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


def records(signal: Signal, data: bytes) -> Iterator[Record]:
    """The records of a request, in order. Raises `MalformedOtlp` before the first."""
    message = parse(signal, data)
    return _records(signal, message)


def _records(signal: Signal, message: Any) -> Iterator[Record]:
    for resource, scope, units in envelopes(signal, message):
        common = {
            "signal": signal,
            "resource": attributes_of(resource.attributes),
            "scope": scope.name,
            "scope_version": scope.version,
            "scope_attributes": attributes_of(scope.attributes),
        }
        for unit in units:
            for own in _OWN[signal](unit):
                yield Record(**common, **own)


def value_of(value: Any) -> AttributeValue:
    """What an AnyValue message holds."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    result: AttributeValue = getattr(value, kind) if kind else None
    return result


def attributes_of(pairs: Sequence[Any]) -> dict[str, AttributeValue]:
    """A list of KeyValue messages as a dict."""
    # Most values are text, and to look whether there is one is twice as fast as to ask which kind it is.
    return {pair.key: (value := pair.value).string_value or value_of(value) for pair in pairs}


def _log(log: Any) -> Iterator[dict[str, Any]]:
    yield {
        "attributes": attributes_of(log.attributes),
        "time_ns": log.time_unix_nano,
        "observed_ns": log.observed_time_unix_nano,
        "severity": log.severity_number,
        "severity_text": log.severity_text,
        "body": value_of(log.body),
        "event_name": log.event_name,
        "trace_id": log.trace_id.hex(),
        "span_id": log.span_id.hex(),
    }


def _span(span: Any) -> Iterator[dict[str, Any]]:
    yield {
        "attributes": attributes_of(span.attributes),
        "time_ns": span.start_time_unix_nano,
        "end_ns": span.end_time_unix_nano,
        "name": span.name,
        "status": span.status.code,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
    }


def _metric(metric: Any) -> Iterator[dict[str, Any]]:
    for point in points(metric):
        yield {
            "attributes": attributes_of(point.attributes),
            "time_ns": point.time_unix_nano,
            "name": metric.name,
            "unit": metric.unit,
            "value": _point_value(point),
        }


def _point_value(point: Any) -> AttributeValue:
    if hasattr(point, "count"):  # a histogram or summary
        return {"count": point.count, "sum": point.sum}
    kind = point.WhichOneof("value")
    result: AttributeValue = getattr(point, kind) if kind else None
    return result


_OWN: dict[Signal, Callable[[Any], Iterator[dict[str, Any]]]] = {
    Signal.LOGS: _log,
    Signal.TRACES: _span,
    Signal.METRICS: _metric,
}
