"""The message classes of opentelemetry-proto, loaded when first asked for.

Only here and in `shipper.otlp.jsonform` is the protobuf library imported: a sidecar that passes bytes on never loads it
(it takes some 10 MB).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.scan import Scan, scan

_LEVELS = {
    Signal.LOGS: ("resource_logs", "scope_logs", "log_records"),
    Signal.TRACES: ("resource_spans", "scope_spans", "spans"),
    Signal.METRICS: ("resource_metrics", "scope_metrics", "metrics"),
}
_TIMES = {
    Signal.LOGS: ("time_unix_nano", "observed_time_unix_nano"),
    Signal.TRACES: ("start_time_unix_nano", "start_time_unix_nano"),
    Signal.METRICS: ("time_unix_nano", "time_unix_nano"),
}


@cache
def request_class(signal: Signal) -> Any:
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
        return request_class(signal).FromString(data)
    except DecodeError as error:
        scan(signal, data)  # the library does not say where; when an envelope is broken, this does
        raise MalformedOtlp(str(error)) from None


@cache
def _part_class(name: str) -> Any:
    from opentelemetry.proto.common.v1 import common_pb2
    from opentelemetry.proto.logs.v1 import logs_pb2

    return getattr(logs_pb2 if name == "LogRecord" else common_pb2, name)


def parse_part(name: str, data: bytes) -> Any:
    """A part of a log request by itself: a LogRecord, KeyValue or AnyValue. Raises `MalformedOtlp`."""
    from google.protobuf.message import DecodeError

    try:
        return _part_class(name).FromString(data)
    except DecodeError as error:
        raise MalformedOtlp(str(error)) from None


def check(signal: Signal, data: bytes) -> Scan:
    """As `shipper.otlp.scan.scan`, but every byte of every record is checked too, by the library and so at its speed.

    This is what a listener wants that passes on what strangers send. Raises `MalformedOtlp`.
    """
    first, second = _TIMES[signal]
    count = oldest = 0
    for _, _, units in envelopes(signal, parse(signal, data)):
        for unit in units:
            for record in points(unit) if signal is Signal.METRICS else (unit,):
                count += 1
                time = getattr(record, first) or getattr(record, second)
                if time and (not oldest or time < oldest):
                    oldest = time
    return Scan(count, oldest)


def count(signal: Signal, data: bytes) -> int:
    """How many log records, spans or data points a request holds. Raises `MalformedOtlp`."""
    found = (units for _, _, units in envelopes(signal, parse(signal, data)))
    if signal is not Signal.METRICS:
        return sum(map(len, found))
    return sum(len(points(metric)) for metrics in found for metric in metrics)


def envelopes(signal: Signal, message: Any) -> Iterator[tuple[Any, Any, Sequence[Any]]]:
    """Resource, scope and units (log records, spans, metrics) of each scope envelope of a parsed request."""
    outer, inner, units = _LEVELS[signal]
    for resource_envelope in getattr(message, outer):
        for scope_envelope in getattr(resource_envelope, inner):
            yield resource_envelope.resource, scope_envelope.scope, getattr(scope_envelope, units)


def points(metric: Any) -> Sequence[Any]:
    """The data points of a Metric message, of whatever kind."""
    kind = metric.WhichOneof("data")
    found: Sequence[Any] = getattr(metric, kind).data_points if kind else ()
    return found
