"""The metrics encoder against the protobuf library: what it writes means what was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from shipper.contracts import Signal
from shipper.otlp import encode, metrics
from shipper.otlp.scan import scan
from shipper.otlp.splice import take, units

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
times = st.integers(0, 2**64 - 1)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
labels = st.dictionaries(texts, texts, max_size=3)
counts = st.lists(st.integers(0, 2**40), min_size=1, max_size=6)


def pairs(attributes: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()]


@st.composite
def units_of_every_kind(draw: st.DrawFn) -> tuple[bytes, pb.Metric]:
    """A metric as we encode it, and as the library's message says it."""
    name, unit, said = draw(texts), draw(texts), draw(texts)
    about = {"unit": unit, "description": said}
    start, now, attributes = draw(times), draw(times), draw(labels)
    expected = pb.Metric(name=name, unit=unit, description=said)
    common = {"time_unix_nano": now, "start_time_unix_nano": start, "attributes": pairs(attributes)}
    kind = draw(st.sampled_from(["gauge", "counter", "histogram", "summary"]))
    if kind in ("gauge", "counter"):
        value = draw(numbers)
        field = "as_double" if isinstance(value, float) else "as_int"
        point: Any = pb.NumberDataPoint(**common, **{field: value})
        encoded = metrics.number(value, now, start, attributes)
        if kind == "gauge":
            expected.gauge.data_points.append(point)
            return metrics.gauge(name, [encoded], **about), expected
        expected.sum.data_points.append(point)
        expected.sum.aggregation_temporality = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
        expected.sum.is_monotonic = True
        return metrics.counter(name, [encoded], **about), expected
    if kind == "histogram":
        buckets = draw(counts)
        bounds = sorted(draw(st.sets(st.integers(0, 99), min_size=len(buckets) - 1, max_size=len(buckets) - 1)))
        total = draw(st.none() | st.floats(allow_nan=False))
        point = pb.HistogramDataPoint(
            **common, count=sum(buckets), bucket_counts=buckets, explicit_bounds=bounds, sum=total
        )
        expected.histogram.data_points.append(point)
        expected.histogram.aggregation_temporality = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
        return metrics.histogram(
            name, [metrics.distribution(buckets, bounds, total, now, start, attributes)], **about
        ), expected
    count, total = draw(st.integers(0, 2**63)), draw(st.floats(allow_nan=False))
    values = draw(st.dictionaries(st.floats(0, 1), st.floats(allow_nan=False), max_size=3))
    point = pb.SummaryDataPoint(**common, count=count, sum=total)
    for quantile, value in values.items():
        point.quantile_values.add(quantile=quantile, value=value)
    expected.summary.data_points.append(point)
    return metrics.summary(name, [metrics.quantiles(count, total, values, now, start, attributes)], **about), expected


@settings(max_examples=200, deadline=None)
@given(st.lists(units_of_every_kind(), max_size=4), labels)
def test_a_request_decodes_to_what_was_said(made: list[tuple[bytes, pb.Metric]], about: dict[str, str]) -> None:
    """The library reads every kind of metric back as it was meant, and finds no field it does not know."""
    request = metrics.export_metrics(
        encode.resource(about), encode.scope("scope", "1"), [encoded for encoded, _ in made]
    )
    expected = ExportMetricsServiceRequest()
    envelope = expected.resource_metrics.add(resource=Resource(attributes=pairs(about)))
    envelope.scope_metrics.add(
        scope=InstrumentationScope(name="scope", version="1"), metrics=[message for _, message in made]
    )
    decoded = ExportMetricsServiceRequest.FromString(request)
    assert decoded == expected
    assert len(decoded.SerializeToString()) <= len(request)


@settings(max_examples=50, deadline=None)
@given(st.lists(units_of_every_kind(), min_size=1, max_size=4))
def test_requests_can_be_scanned_split_and_joined(made: list[tuple[bytes, pb.Metric]]) -> None:
    """What is encoded here goes through the rest of the wire room: points are counted, metrics are the units."""
    request = metrics.export_metrics(b"", b"", [encoded for encoded, _ in made])
    assert scan(Signal.METRICS, request).records == len(made)
    assert units(Signal.METRICS, request) == len(made)
    parts = [take(Signal.METRICS, request, at, at + 1) for at in range(len(made))]
    joined = ExportMetricsServiceRequest.FromString(b"".join(parts))
    found = [metric for envelope in joined.resource_metrics for metric in envelope.scope_metrics[0].metrics]
    assert found == [message for _, message in made]


@pytest.mark.parametrize(
    ("value", "expected"), [(2**63, float(2**63)), (-(2**64), -float(2**64)), (10**400, float("inf"))]
)
def test_a_number_too_large_for_its_field_becomes_a_double(value: int, expected: float) -> None:
    """A count that grew beyond 64 bits is not cut off."""
    assert pb.NumberDataPoint.FromString(metrics.number(value, 1)).as_double == expected


def test_a_zero_is_said_and_not_left_out() -> None:
    """The first sample of a counter is a zero that a reader can tell from no value."""
    point = pb.NumberDataPoint.FromString(metrics.number(0, 1, 1))
    assert point.WhichOneof("value") == "as_int"
    assert pb.HistogramDataPoint.FromString(metrics.distribution([0], [], 0.0, 1)).HasField("sum")


@pytest.mark.parametrize(("buckets", "bounds"), [([1], [1.0]), ([1, 2, 3], [2.0, 1.0]), ([1, 2, 3], [1.0, 1.0])])
def test_buckets_that_do_not_fit_their_bounds_are_refused(buckets: list[int], bounds: list[float]) -> None:
    """A histogram that no reader could understand is not written."""
    with pytest.raises(ValueError, match=r"bounds"):
        metrics.distribution(buckets, bounds, None, 1)
