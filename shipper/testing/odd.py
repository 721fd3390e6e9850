"""Records that are allowed and that hardly anybody sends: at the ends of what a field can hold, empty, contradictory.

Services send what their libraries make of what they were given, so each of these comes some day; an exporter that stumbles
over one holds up everything behind it. `malformed` are payloads that are no OTLP at all, as a damaged disk may give them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from shipper.contracts import Signal
from shipper.testing.clock import START_WALL_NS

TIMES = (0, 1, 999_999, 1_000_000, START_WALL_NS, 1 << 63, (1 << 64) - 1)
"""In ns since the epoch: none, the first, the last without a millisecond, and the ends of what fields and others can hold."""

_ENUMS = (-(1 << 31), -1, 25, 300, (1 << 31) - 1)
_INTEGERS = (-(1 << 63), -1, 0, 2**53 + 1, (1 << 63) - 1)
_DOUBLES = (0.0, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan)
_TEXTS = (
    "",
    " ",
    "\x00",
    "a\r\nb: c",
    'quote" \\ back',
    "\x1b[31m",
    "\x7f\x85\u2028\ufdd0",
    "\U0001f680",
    "x" * 3000,
)
_NAMES = (
    "",
    " ",
    ".",
    "a..b",
    "a.b",
    "a_b",
    "7",
    "_",
    "__name__",
    "le",
    "message",
    "@timestamp",
    "time",
    "é",
    "\U0001f680",
)


def odd_payloads(signal: Signal) -> Iterator[bytes]:
    """One request each, with one odd thing or several of a kind."""
    yield from {Signal.LOGS: _logs, Signal.TRACES: _spans, Signal.METRICS: _metrics}[signal]()


def malformed(signal: Signal) -> Iterator[bytes]:
    """Payloads that are no request of the signal."""
    (good, *_) = odd_payloads(signal)
    yield b"\xff"
    yield b"\x0a\x7f"
    yield b"\x0b\x0c"  # a group, which OTLP never had
    yield good[:-1]
    yield good + b"\x00"


def _values() -> Iterator[AnyValue]:
    yield AnyValue()
    yield from (AnyValue(string_value=text) for text in _TEXTS)
    yield from (AnyValue(int_value=number) for number in _INTEGERS)
    yield from (AnyValue(double_value=number) for number in _DOUBLES)
    yield AnyValue(bool_value=True)
    yield AnyValue(bytes_value=bytes(range(256)))
    nested = AnyValue()
    inner = nested
    for depth in range(12):  # receivers refuse what is nested much deeper
        inner = inner.kvlist_value.values.add(key=_NAMES[depth % len(_NAMES)]).value
    inner.double_value = math.nan
    yield nested
    mixed = AnyValue()
    for value in (
        AnyValue(),
        AnyValue(string_value="a"),
        AnyValue(int_value=1),
        AnyValue(double_value=math.inf),
        nested,
    ):
        mixed.array_value.values.add().CopyFrom(value)
    yield mixed
    empty = AnyValue()
    empty.array_value.SetInParent()
    yield empty


def _fill(pairs: Any) -> None:
    """Attributes with every name, and every value; some names twice."""
    for name in (*_NAMES, "a.b"):
        pairs.add(key=name).value.string_value = name or "nameless"
    for number, value in enumerate(_values()):
        pairs.add(key=f"value.{number}").value.CopyFrom(value)


def _envelope(outer: Any, member: str) -> Any:
    """The first scope of a resource that has odd attributes, too."""
    _fill(outer.resource.attributes)
    scope = getattr(outer, f"scope_{member}").add()
    scope.scope.name, scope.scope.version = "a\nb", '"'
    _fill(scope.scope.attributes)
    return scope


def _logs() -> Iterator[bytes]:
    def made(change: Callable[[Any], Any], *, bare: bool = True) -> bytes:
        message = ExportLogsServiceRequest()
        outer = message.resource_logs.add()
        scope = outer.scope_logs.add() if bare else _envelope(outer, "logs")
        change(scope.log_records)
        return message.SerializeToString()

    yield made(lambda logs: _fill(logs.add(body=AnyValue(string_value="x")).attributes), bare=False)
    yield made(lambda logs: [logs.add(body=AnyValue(string_value="x" * 300_000))])
    yield made(lambda logs: None)
    yield made(lambda logs: [logs.add()])
    yield made(lambda logs: [logs.add(body=value) for value in _values()])
    yield made(lambda logs: [logs.add(time_unix_nano=a, observed_time_unix_nano=b) for a in TIMES for b in TIMES])
    yield made(lambda logs: [logs.add(observed_time_unix_nano=(1 << 64) - 1) for _ in range(3)])
    yield made(lambda logs: [logs.add(severity_number=number) for number in _ENUMS])
    yield made(lambda logs: [logs.add(severity_text=text, event_name=text) for text in _TEXTS])
    yield made(lambda logs: [logs.add(trace_id=b"\x01" * 16, span_id=bytes(8), flags=(1 << 32) - 1)])
    yield made(lambda logs: [logs.add() for _ in range(20)], bare=False)


def _spans() -> Iterator[bytes]:
    def made(change: Callable[[Any], Any], *, bare: bool = True) -> bytes:
        message = ExportTraceServiceRequest()
        outer = message.resource_spans.add()
        scope = outer.scope_spans.add() if bare else _envelope(outer, "spans")
        change(scope.spans)
        return message.SerializeToString()

    def full(spans: Any) -> None:
        span = spans.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, parent_span_id=bytes(8), trace_state="a=b,c=\n")
        _fill(span.attributes)
        for at in TIMES:
            _fill(span.events.add(time_unix_nano=at, name="\x00").attributes)
            _fill(span.links.add(trace_id=b"\x03" * 16, span_id=b"\x04" * 8).attributes)

    def coded(spans: Any) -> None:
        for number in _ENUMS:
            spans.add(kind=number).status.code = number

    yield made(full, bare=False)
    yield made(lambda spans: None)
    yield made(lambda spans: [spans.add()])
    yield made(lambda spans: [spans.add(start_time_unix_nano=a, end_time_unix_nano=b) for a in TIMES for b in TIMES])
    yield made(coded)
    yield made(lambda spans: [spans.add(name=text) for text in _TEXTS])


def _metrics() -> Iterator[bytes]:
    for temporality, at in ((0, START_WALL_NS), (99, START_WALL_NS), (2, START_WALL_NS), *((1, at) for at in TIMES)):
        yield _request(*_points(temporality, at))
    yield _request(Metric(), *(Metric(name=name, unit=name) for name in _NAMES))
    named = [Metric(name=name, unit=name, description="\n\\") for name in (*_NAMES, *_TEXTS)]
    for metric in named:
        _fill(metric.gauge.data_points.add(time_unix_nano=START_WALL_NS, as_int=1).attributes)
    yield _request(*named, bare=False)


def _request(*metrics: Metric, bare: bool = True) -> bytes:
    message = ExportMetricsServiceRequest()
    outer = message.resource_metrics.add()
    scope = outer.scope_metrics.add() if bare else _envelope(outer, "metrics")
    scope.metrics.extend(metrics)
    return message.SerializeToString()


def _points(temporality: int, at: int) -> Iterator[Metric]:
    """Metrics of each kind, whose points are of one moment, and of the next, so that what is added up is."""
    for kind in ("gauge", "sum", "histogram", "exponential_histogram", "summary"):
        metric = Metric(name=kind)
        data = getattr(metric, kind)
        if kind not in ("gauge", "summary"):
            data.aggregation_temporality = temporality
        for moment in (at, min(at + 1_000_000_000, (1 << 64) - 1)):
            for number, fields in enumerate(_FIELDS[kind]):
                for start in (0, (1 << 64) - 1):
                    point = data.data_points.add(time_unix_nano=moment, start_time_unix_nano=start, **fields)
                    point.attributes.add(key="which").value.string_value = f"{number} {start}"
        yield metric
        if kind == "sum":
            rising = Metric(name="rising")
            rising.CopyFrom(metric)
            rising.sum.is_monotonic = True
            yield rising


_MOST = (1 << 64) - 1
_NUMBERS: list[dict[str, Any]] = [
    {},
    {"flags": 1},
    *({"as_int": number} for number in _INTEGERS),
    *({"as_double": number} for number in _DOUBLES),
]
_FIELDS: dict[str, list[dict[str, Any]]] = {
    "gauge": _NUMBERS,
    "sum": _NUMBERS,
    "histogram": [
        {},
        {"flags": 1},
        {"count": 3, "bucket_counts": [3]},
        {"count": _MOST, "sum": math.nan, "bucket_counts": [_MOST, _MOST], "explicit_bounds": [0.0]},
        {"count": 3, "sum": -1.0, "bucket_counts": [1, 1], "explicit_bounds": [1.0, 2.0]},
        {"count": 1, "explicit_bounds": [1.0]},
        {"count": 2, "bucket_counts": [1, 0, 1], "explicit_bounds": [2.0, 1.0]},
        {"count": 2, "bucket_counts": [1, 1, 0, 0], "explicit_bounds": [-math.inf, math.nan, math.inf]},
        {"count": 2, "bucket_counts": [1, 1, 0], "explicit_bounds": [1.0, 1.0]},
    ],
    "exponential_histogram": [
        {},
        {"flags": 1},
        *({"count": 1, "scale": scale, "positive": {"bucket_counts": [1]}} for scale in (*_ENUMS, -4, -5, 8, 20)),
        *({"count": 1, "positive": {"offset": offset, "bucket_counts": [1, 1]}} for offset in _ENUMS),
        *({"count": 2, "negative": {"offset": offset, "bucket_counts": [0, 1]}} for offset in _ENUMS),
        *({"zero_threshold": width, "zero_count": 1, "positive": {"bucket_counts": [1]}} for width in _DOUBLES),
        {"count": _MOST, "zero_count": _MOST, "sum": math.inf, "positive": {"bucket_counts": [_MOST, 0, _MOST]}},
        {"count": 400, "positive": {"bucket_counts": [1] * 400}},
    ],
    "summary": [
        {},
        {"flags": 1},
        {"count": _MOST, "sum": math.nan, "quantile_values": [{"quantile": 0.5, "value": math.inf}]},
        {"quantile_values": [{"quantile": one} for one in (*_DOUBLES, 0.5, 0.5)]},
    ],
}
