"""Decoding OTLP, for those who must look into records: exporters of other protocols, ``shipper cat``, the audit, JSON.

The only module that uses the protobuf library, and only once something is decoded: a sidecar that passes bytes on never
loads it (it would cost 10 MB).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.encode import AttributeValue
from shipper.otlp.scan import scan


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
    value: AttributeValue = None  # of a data point: a number, or a map of count, sum and so on
    unit: str = ""
    scope_version: str = ""
    scope_attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@cache
def _request(signal: Signal) -> Any:
    """The message class of a signal's export request."""
    if signal is Signal.LOGS:
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        return ExportLogsServiceRequest
    if signal is Signal.TRACES:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return ExportTraceServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    return ExportMetricsServiceRequest


def parse(signal: Signal, data: bytes) -> Any:
    """The request as a message of opentelemetry-proto. Raises `MalformedOtlp`."""
    from google.protobuf.message import DecodeError

    try:
        return _request(signal).FromString(data)
    except DecodeError as error:
        scan(signal, data)  # the library does not say where; when the envelopes are broken, this does
        raise MalformedOtlp(str(error)) from None


def from_json(signal: Signal, data: bytes) -> bytes:
    """An OTLP JSON request as protobuf. Raises `MalformedOtlp`."""
    raise NotImplementedError


def to_json(signal: Signal, data: bytes) -> bytes:
    """A request as OTLP JSON on one line. Raises `MalformedOtlp`."""
    raise NotImplementedError


def records(signal: Signal, data: bytes) -> Iterator[Record]:
    """The records of a request, in order. Raises `MalformedOtlp` before the first."""
    message = parse(signal, data)
    return _RECORDS[signal](message)


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
    return {pair.key: value_of(pair.value) for pair in pairs}


def _logs(message: Any) -> Iterator[Record]:
    for outer in message.resource_logs:
        resource = attributes_of(outer.resource.attributes)
        for inner in outer.scope_logs:
            scope = inner.scope
            scope_attributes = attributes_of(scope.attributes)
            for log in inner.log_records:
                yield Record(
                    signal=Signal.LOGS,
                    resource=resource,
                    scope=scope.name,
                    scope_version=scope.version,
                    scope_attributes=scope_attributes,
                    attributes=attributes_of(log.attributes),
                    time_ns=log.time_unix_nano,
                    observed_ns=log.observed_time_unix_nano,
                    severity=log.severity_number,
                    severity_text=log.severity_text,
                    body=value_of(log.body),
                    event_name=log.event_name,
                    trace_id=log.trace_id.hex(),
                    span_id=log.span_id.hex(),
                )


def _spans(message: Any) -> Iterator[Record]:
    for outer in message.resource_spans:
        resource = attributes_of(outer.resource.attributes)
        for inner in outer.scope_spans:
            scope = inner.scope
            scope_attributes = attributes_of(scope.attributes)
            for span in inner.spans:
                yield Record(
                    signal=Signal.TRACES,
                    resource=resource,
                    scope=scope.name,
                    scope_version=scope.version,
                    scope_attributes=scope_attributes,
                    attributes=attributes_of(span.attributes),
                    time_ns=span.start_time_unix_nano,
                    end_ns=span.end_time_unix_nano,
                    name=span.name,
                    status=span.status.code,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_span_id=span.parent_span_id.hex(),
                )


def _points(message: Any) -> Iterator[Record]:
    for outer in message.resource_metrics:
        resource = attributes_of(outer.resource.attributes)
        for inner in outer.scope_metrics:
            scope = inner.scope
            scope_attributes = attributes_of(scope.attributes)
            for metric in inner.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points if kind else ():
                    yield Record(
                        signal=Signal.METRICS,
                        resource=resource,
                        scope=scope.name,
                        scope_version=scope.version,
                        scope_attributes=scope_attributes,
                        attributes=attributes_of(point.attributes),
                        time_ns=point.time_unix_nano,
                        name=metric.name,
                        unit=metric.unit,
                        value=_number(point) if kind in ("gauge", "sum") else {"count": point.count, "sum": point.sum},
                    )


def _number(point: Any) -> AttributeValue:
    kind = point.WhichOneof("value")
    result: AttributeValue = getattr(point, kind) if kind else None
    return result


_RECORDS = {Signal.LOGS: _logs, Signal.TRACES: _spans, Signal.METRICS: _points}
