"""Metrics as deltas, and traces, on their way to Datadog's OTLP intake."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.errors import Rejected, Retryable
from shipper.ids import uuid7
from shipper.otlp.metrics import counter, distribution, export_metrics, gauge, histogram, number
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.streams import LIFE
from shipper_exporters._datadog.delta import FIRST, LATE, SHAPE, Deltas
from shipper_exporters.datadog import DatadogExporter, DatadogSettings
from tests.exporters.datadog_intake import KEY, Intake, errors, points

SECOND = 1_000_000_000
BORN = 5 * SECOND
_ids = itertools.count()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", KEY)


def sums(*values: tuple[int, float], start: int = BORN, name: str = "hits") -> bytes:
    """A request with a counter that has these values at these seconds."""
    found = [number(value, at * SECOND, start) for at, value in values]
    return export_metrics(b"", b"", [counter(name, found)])


def deltas(data: bytes) -> list[float]:
    return [point.as_int or point.as_double for _, point in points(ExportMetricsServiceRequest.FromString(data))]


def test_counts_since_the_last_point() -> None:
    """Each point is what was added since the one before, in the order of time, and begins where that ended."""
    series = Deltas(0)
    converted = series.convert(sums((10, 4)) + sums((30, 9), (20, 7)))
    found = points(ExportMetricsServiceRequest.FromString(converted.data))
    assert [point.as_int for _, point in found] == [4, 3, 2]
    assert [point.start_time_unix_nano for _, point in found] == [BORN, 10 * SECOND, 20 * SECOND]
    assert (converted.points, dict(converted.left_out)) == (3, {})
    assert deltas(series.convert(sums((40, 9.5))).data) == [0.5]


def test_a_series_that_began_before() -> None:
    """The first point of a series that somebody may have sent before counts nothing; counting goes on from it."""
    series = Deltas(BORN + 1)
    first = series.convert(sums((10, 100)))
    assert (first.data, dict(first.left_out)) == (b"", {FIRST: 1})
    assert deltas(series.convert(sums((20, 103))).data) == [3]


def test_a_series_that_began_anew() -> None:
    """After a restart, said by its start or seen by a lower value, all of it is new."""
    series = Deltas(0)
    series.convert(sums((10, 100)))
    assert deltas(series.convert(sums((20, 7), start=15 * SECOND)).data) == [7]
    assert deltas(series.convert(sums((30, 2), start=15 * SECOND)).data) == [2]


def test_points_that_come_late() -> None:
    """A point that is not newer than what was counted is left out, and counted as that."""
    series = Deltas(0)
    series.convert(sums((20, 5)))
    assert dict(series.convert(sums((10, 3), (20, 5))).left_out) == {LATE: 2}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=6), st.data())
def test_all_deltas_add_up(requests: list[list[int]], data: st.DataObject) -> None:
    """Whatever is undone and comes again in other requests: the deltas that were taken add up to the last value."""
    series = Deltas(0)
    at = total = 0
    taken = 0.0
    for added in requests:
        values = []
        for more in added:
            at, total = at + 1, total + more
            values.append((at, float(total)))
        converted = series.convert(sums(*values))
        if data.draw(st.booleans()):
            series.undo(converted)
            for value in values:
                taken += sum(deltas(series.convert(sums(value)).data))
        else:
            taken += sum(deltas(converted.data))
    assert taken == total


def test_series_are_told_apart() -> None:
    """Attributes, in whatever order, name and resource make a series."""
    series = Deltas(0)

    def request(value: int, at: int, **attributes: str) -> bytes:
        return export_metrics(b"", b"", [counter("hits", [number(value, at * SECOND, BORN, attributes)])])

    assert deltas(series.convert(request(5, 10, a="1", b="2") + request(7, 10, a="2", b="1")).data) == [5, 7]
    assert deltas(series.convert(request(6, 20, b="2", a="1")).data) == [1]


def test_distributions() -> None:
    """A histogram's count, sum and buckets are deltas; where its buckets changed nothing can be said."""
    series = Deltas(0)

    def request(counts: list[int], bounds: list[float], total: float, at: int) -> bytes:
        return export_metrics(b"", b"", [histogram("took", [distribution(counts, bounds, total, at * SECOND, BORN)])])

    series.convert(request([1, 2], [0.5], 3.0, 10))
    converted = series.convert(request([2, 5], [0.5], 7.5, 20))
    ((_, point),) = points(ExportMetricsServiceRequest.FromString(converted.data))
    assert (point.count, point.sum, list(point.bucket_counts)) == (4, 4.5, [1, 3])
    assert dict(series.convert(request([2, 5, 1], [0.5, 1.0], 9.0, 30)).left_out) == {SHAPE: 1}


def test_exponential_histograms() -> None:
    """Buckets of exponential histograms are deltas too, also when they grew outwards meanwhile."""

    def request(offset: int, counts: list[int], at: int) -> bytes:
        message = ExportMetricsServiceRequest()
        metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name="took")
        metric.exponential_histogram.aggregation_temporality = 2
        point = metric.exponential_histogram.data_points.add(
            start_time_unix_nano=BORN, time_unix_nano=at * SECOND, count=sum(counts), scale=3
        )
        point.positive.offset = offset
        point.positive.bucket_counts.extend(counts)
        return message.SerializeToString()

    series = Deltas(0)
    series.convert(request(2, [1, 2], 10))
    converted = series.convert(request(1, [4, 1, 5, 6], 20))
    ((_, point),) = points(ExportMetricsServiceRequest.FromString(converted.data))
    assert (point.count, list(point.positive.bucket_counts)) == (13, [4, 0, 3, 6])


def test_what_needs_no_delta() -> None:
    """Gauges, sums that go both ways and what is a delta already stay as they are."""
    message = ExportMetricsServiceRequest()
    metrics = message.resource_metrics.add().scope_metrics.add().metrics
    both = metrics.add(name="both").sum
    both.aggregation_temporality = 2
    delta = metrics.add(name="delta").sum
    delta.aggregation_temporality, delta.is_monotonic = 1, True
    for data in (metrics.add(name="gauge").gauge, both, delta):
        data.data_points.add(time_unix_nano=SECOND, as_int=7)
    payload = message.SerializeToString()
    series = Deltas(0)
    for _ in range(2):
        assert series.convert(payload).data == payload


def test_the_end_of_a_series() -> None:
    """A point that only says that its series ends is neither sent nor counted."""
    message = ExportMetricsServiceRequest()
    metrics = message.resource_metrics.add().scope_metrics.add().metrics
    hits = metrics.add(name="hits").sum
    hits.aggregation_temporality, hits.is_monotonic = 2, True
    for data in (metrics.add(name="gauge").gauge, hits):
        data.data_points.add(time_unix_nano=SECOND, flags=1)
    converted = Deltas(0).convert(message.SerializeToString())
    assert (converted.data, converted.points, dict(converted.left_out)) == (b"", 2, {})


def test_a_bound_on_series() -> None:
    """The series longest not heard of makes room; when it comes back nobody knows what of it was sent, also after a restart."""
    series = Deltas(0, most=2)
    kept = series.convert(b"".join(sums((10, 5), name=name) for name in ("a", "b", "c"))).keep()
    assert deltas(series.convert(sums((20, 6), name="c")).data) == [1]
    again = Deltas(0, most=2)
    again.resume({key: value for key, value in kept.items() if value is not None})
    for one in (series, again):
        assert dict(one.convert(sums((20, 6), name="a")).left_out) == {FIRST: 1}
        assert deltas(one.convert(sums((30, 7), name="a")).data) == [1]


def with_intake(scenario: Callable[[Intake, DatadogExporter], Any], run: int = 1, life: str = LIFE) -> None:
    async def go() -> None:
        async with Intake() as intake:
            options = DatadogSettings(
                metrics_endpoint=f"{intake.url}/otlp/v1/metrics",
                traces_endpoint=f"{intake.url}/otlp/v1/traces",
                traces_source="org",
            )
            exporter = DatadogExporter("datadog", options, ExporterContext(FakeClock(), life, run, "test"))
            await exporter.start()
            try:
                await scenario(intake, exporter)
            finally:
                await exporter.aclose()

    asyncio.run(go())


def request(payload: bytes, signal: Signal = Signal.METRICS) -> Request:
    batch = Batch(LIFE, "m", signal, Cut(0, 10, 0, 10, 1, START_WALL_NS), payload)
    return Request(f"request-{next(_ids)}", signal, (batch,))


def test_what_failed_is_sent_again_as_it_was() -> None:
    """A request that failed on its way has the same deltas when it is sent again, whatever was sent meanwhile."""

    async def scenario(intake: Intake, exporter: DatadogExporter) -> None:
        deadline = Deadline(exporter._context.clock)
        start = START_WALL_NS
        first, second = (
            exporter.prepare(request(export_metrics(b"", b"", [counter("hits", [number(value, start + at, start)])])))
            for at, value in ((1, 4), (2, 9))
        )
        intake.faults[0] = errors(503, "later")
        with pytest.raises(Retryable):
            await exporter.send(first, deadline)
        assert await exporter.send(second, deadline) == Accepted()
        assert await exporter.send(first, deadline) == Accepted()
        assert [point.as_int for message in intake.metrics for _, point in points(message)] == [5, 4]

    with_intake(scenario)


def test_what_was_refused_counts_from_where_it_was() -> None:
    """A request that is refused for good leaves nothing behind: its halves have the same counts."""

    async def scenario(intake: Intake, exporter: DatadogExporter) -> None:
        deadline = Deadline(exporter._context.clock)
        payload = export_metrics(b"", b"", [counter("hits", [number(4, START_WALL_NS + 1, START_WALL_NS)])])
        intake.faults[0] = errors(400, "no")
        with pytest.raises(Rejected):
            await exporter.send(exporter.prepare(request(payload)), deadline)
        assert await exporter.send(exporter.prepare(request(payload)), deadline) == Accepted()
        assert [point.as_int for message in intake.metrics for _, point in points(message)] == [4]

    with_intake(scenario)


@pytest.mark.parametrize(("run", "sent"), [(1, 1), (2, 1), (0, 0)])
def test_what_began_with_the_host_was_sent_by_nobody(run: int, sent: int) -> None:
    """It is counted from its beginning, where nothing is kept of it; outside of runs nobody knows what is kept."""

    async def scenario(intake: Intake, exporter: DatadogExporter) -> None:
        began = START_WALL_NS - 60 * SECOND
        payload = export_metrics(b"", b"", [counter("hits", [number(4, START_WALL_NS, began)])])
        answer = await exporter.send(exporter.prepare(request(payload)), Deadline(exporter._context.clock))
        assert len(intake.metrics) == sent
        assert answer.rejected == 1 - sent

    with_intake(scenario, run, uuid7(START_WALL_NS))


def test_headers_of_metrics() -> None:
    """Metrics carry the resource's attributes as tags, unless the user wants it otherwise."""

    async def scenario(intake: Intake, exporter: DatadogExporter) -> None:
        payload = export_metrics(b"", b"", [gauge("g", [number(1, START_WALL_NS)])])
        await exporter.send(exporter.prepare(request(payload)), Deadline(exporter._context.clock))
        (post,) = intake.kept
        assert post.headers["dd-otel-metric-config"] == '{"resource_attributes_as_tags": true}'
        assert post.headers["Content-Type"] == "application/x-protobuf"
        assert post.headers["Content-Encoding"] == "gzip"

    with_intake(scenario)


def test_traces() -> None:
    """Spans go as the OTLP that they are, with the header that Datadog asks for."""
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.add(name="GET /", trace_id=b"t" * 16, span_id=b"s" * 8)

    async def scenario(intake: Intake, exporter: DatadogExporter) -> None:
        prepared = exporter.prepare(request(message.SerializeToString(), Signal.TRACES))
        assert await exporter.send(prepared, Deadline(exporter._context.clock)) == Accepted()
        assert intake.traces == [message]
        assert intake.kept[0].headers["dd-otlp-source"] == "org"

    with_intake(scenario)
