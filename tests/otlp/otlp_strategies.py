"""Random OTLP requests, built with the protobuf library, for the tests of this room."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from shipper.contracts import Signal
from shipper.otlp.encode import log_record
from shipper.otlp.wire import field

LEVELS = {
    Signal.LOGS: ("resource_logs", "scope_logs", "log_records"),
    Signal.TRACES: ("resource_spans", "scope_spans", "spans"),
    Signal.METRICS: ("resource_metrics", "scope_metrics", "metrics"),
}
signals = st.sampled_from(list(Signal))

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_u64 = st.integers(0, 2**64 - 1)
_i64 = st.integers(-(2**63), 2**63 - 1)
_u32 = st.integers(0, 2**32 - 1)
_float = st.floats(allow_nan=False)
times = st.sampled_from([0, 1, 17 * 10**17, 17 * 10**17 + 5, 2**64 - 1])
_trace_id = st.sampled_from([b"", bytes(range(16))])
_span_id = st.sampled_from([b"", b"\xfbspan\xff\0\1"])


def some(strategy: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[list[Any]]:
    """A short list."""
    return st.lists(strategy, max_size=most)


def _lists_and_maps(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pair = st.builds(common.KeyValue, key=_text, value=inner)
    return st.builds(common.AnyValue, array_value=st.builds(common.ArrayValue, values=some(inner))) | st.builds(
        common.AnyValue, kvlist_value=st.builds(common.KeyValueList, values=some(pair))
    )


any_values = st.recursive(
    st.builds(common.AnyValue)
    | st.builds(common.AnyValue, string_value=_text)
    | st.builds(common.AnyValue, bool_value=st.booleans())
    | st.builds(common.AnyValue, int_value=_i64)
    | st.builds(common.AnyValue, double_value=_float)
    | st.builds(common.AnyValue, bytes_value=st.binary(max_size=5)),
    _lists_and_maps,
    max_leaves=4,
)
pairs = some(st.builds(common.KeyValue, key=st.sampled_from(["release", "host", "", "ключ"]), value=any_values), 3)

_log = st.builds(
    logs.LogRecord,
    time_unix_nano=times,
    observed_time_unix_nano=times,
    severity_number=st.sampled_from([0, 9, 17]),
    severity_text=_text,
    body=any_values,
    attributes=pairs,
    dropped_attributes_count=_u32,
    flags=_u32,
    trace_id=_trace_id,
    span_id=_span_id,
    event_name=_text,
)
_span = st.builds(
    trace.Span,
    trace_id=_trace_id,
    span_id=_span_id,
    parent_span_id=_span_id,
    name=_text,
    kind=st.sampled_from([0, 1, 5]),
    start_time_unix_nano=times,
    end_time_unix_nano=times,
    attributes=pairs,
    events=some(st.builds(trace.Span.Event, time_unix_nano=times, name=_text, attributes=pairs)),
    links=some(st.builds(trace.Span.Link, trace_id=_trace_id, span_id=_span_id, flags=_u32)),
    status=st.builds(trace.Status, message=_text, code=st.sampled_from([0, 1, 2])),
)
_exemplar = st.builds(metrics.Exemplar, as_int=_i64, trace_id=_trace_id, span_id=_span_id, time_unix_nano=times)
_point = st.builds(
    metrics.NumberDataPoint, attributes=pairs, time_unix_nano=times, as_double=_float, exemplars=some(_exemplar)
) | st.builds(metrics.NumberDataPoint, time_unix_nano=times, as_int=_i64)
_histogram = st.builds(
    metrics.HistogramDataPoint,
    time_unix_nano=times,
    count=_u64,
    sum=_float,
    bucket_counts=some(_u64),
    explicit_bounds=some(_float),
)
_exponential = st.builds(
    metrics.ExponentialHistogramDataPoint,
    time_unix_nano=times,
    scale=st.integers(-(2**31), 2**31 - 1),
    positive=st.builds(
        metrics.ExponentialHistogramDataPoint.Buckets, offset=st.integers(-5, 5), bucket_counts=some(_u64)
    ),
)
_summary = st.builds(
    metrics.SummaryDataPoint,
    time_unix_nano=times,
    count=_u64,
    quantile_values=some(st.builds(metrics.SummaryDataPoint.ValueAtQuantile, quantile=_float, value=_float)),
)
_metric = (
    st.builds(metrics.Metric, name=_text, gauge=st.builds(metrics.Gauge, data_points=some(_point)))
    | st.builds(
        metrics.Metric,
        name=_text,
        unit=_text,
        sum=st.builds(metrics.Sum, data_points=some(_point), is_monotonic=st.booleans()),
    )
    | st.builds(metrics.Metric, histogram=st.builds(metrics.Histogram, data_points=some(_histogram)))
    | st.builds(
        metrics.Metric,
        exponential_histogram=st.builds(metrics.ExponentialHistogram, data_points=some(_exponential)),
    )
    | st.builds(metrics.Metric, summary=st.builds(metrics.Summary, data_points=some(_summary)))
    | st.builds(metrics.Metric, name=_text)
)

_resource = st.builds(
    Resource,
    attributes=pairs,
    dropped_attributes_count=_u32,
    entity_refs=some(st.builds(common.EntityRef, type=_text, id_keys=some(_text))),
)
_scope = st.builds(common.InstrumentationScope, name=_text, version=_text, attributes=pairs)
_maybe_scope: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries({"scope": _scope})
_maybe_resource: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries({"resource": _resource})


@st.composite
def requests(draw: st.DrawFn, signal: Signal, unknown: bool = True) -> Any:
    """A request of ``signal``; with ``unknown``, also with fields on its envelopes that no version knows yet."""

    def maybe_unknown(message: Message) -> Message:
        if unknown and draw(st.booleans()):
            message.MergeFromString(field(900, draw(st.binary(max_size=3))))
        return message

    request, outer, inner, unit, units = {
        Signal.LOGS: (ExportLogsServiceRequest, logs.ResourceLogs, logs.ScopeLogs, _log, "log_records"),
        Signal.TRACES: (ExportTraceServiceRequest, trace.ResourceSpans, trace.ScopeSpans, _span, "spans"),
        Signal.METRICS: (
            ExportMetricsServiceRequest,
            metrics.ResourceMetrics,
            metrics.ScopeMetrics,
            _metric,
            "metrics",
        ),
    }[signal]
    outers = []
    for _ in range(draw(st.integers(0, 2))):
        inners = [
            maybe_unknown(inner(**draw(_maybe_scope), **{units: draw(some(unit, 3))}, schema_url=draw(_text)))
            for _ in range(draw(st.integers(0, 2)))
        ]
        outers.append(
            maybe_unknown(outer(**draw(_maybe_resource), **{LEVELS[signal][1]: inners}, schema_url=draw(_text)))
        )
    return maybe_unknown(request(**{LEVELS[signal][0]: outers}))


@st.composite
def damaged(draw: st.DrawFn, signal: Signal) -> bytes:
    """A request of which some bytes were changed, cut out, or cut off."""
    data = bytearray(draw(requests(signal)).SerializeToString())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(["change", "remove", "insert", "end"]))
        if how == "change" and data:
            data[at] = draw(st.integers(0, 255))
        elif how == "remove":
            del data[at : at + draw(st.integers(1, 4))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif how == "end":
            del data[at:]
    return bytes(data)


_LENGTHS = (0, 1, 5, 100, 110, 115, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 200, 16_370, 16_384, 20_000)
_TEXTS = st.sampled_from(["x" * n for n in _LENGTHS] + ["GET", "größe 漢", "a\0b"]) | st.text(max_size=5)
_INTEGERS = st.sampled_from([0, 1, 127, 128, 200, 16_383, 16_384, 2**21, -1, 2**63 - 1, -(2**63)])
_KINDS: dict[str, st.SearchStrategy[Any]] = {
    "text": _TEXTS,
    "same": st.just("eu-west-1"),
    "integer": _INTEGERS,
    "float": st.floats(),
    "truth": st.booleans(),
    "list": st.lists(_INTEGERS | _TEXTS, max_size=2),
    "none": st.none(),
    "any": st.one_of(_TEXTS, _INTEGERS, st.none(), st.binary(max_size=3)),
}
_KEYS = st.sampled_from(["a", "b", "http.path", "größe", "k" * 90, "k" * 130, ""])
_FORMS = st.dictionaries(_KEYS, st.sampled_from(sorted(_KINDS)), max_size=4)


@st.composite
def records_alike(draw: st.DrawFn, most: int = 3) -> list[bytes]:
    """Many records of a few forms, mixed."""
    every = []
    for form in draw(st.lists(_FORMS, min_size=1, max_size=most)):
        has = draw(st.fixed_dictionaries({name: st.booleans() for name in ("time", "level", "ids", "event", "body")}))
        record = st.builds(
            log_record,
            time_ns=st.integers(1, 2**63) if has["time"] else st.just(0),
            observed_ns=st.sampled_from([7, 8]),
            body=_TEXTS if has["body"] else st.none(),
            severity=st.sampled_from([9, 17]) if has["level"] else st.just(0),
            severity_text=st.sampled_from(["INFO", "größer"]) if has["level"] else st.just(""),
            attributes=st.fixed_dictionaries({key: _KINDS[kind] for key, kind in form.items()}),
            event_name=st.sampled_from(["deploy", "end"]) if has["event"] else st.just(""),
            trace_id=st.sampled_from([b"\x01" * 16, b"\xfe" * 16]) if has["ids"] else st.just(b""),
            span_id=st.sampled_from([b"\x02" * 8]) if has["ids"] else st.just(b""),
            flags=st.sampled_from([1, 257]) if has["ids"] else st.just(0),
        )
        some = draw(st.lists(record, min_size=1, max_size=6))
        every += some * draw(st.sampled_from([1, 2, 10, 40]))
    random.Random(draw(st.integers(0, 9))).shuffle(every)
    return every
