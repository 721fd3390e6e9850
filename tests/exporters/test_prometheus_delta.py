"""Counts since the last point become counts since a start: none twice, none missing, whatever happens on the way."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import Rejected, Retryable
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Answer, Received, Sink, cut_off, raw, refuse
from shipper_exporters._prometheus.convert import MALFORMED, Converter
from shipper_exporters._prometheus.delta import Sums
from shipper_exporters._prometheus.emit import NO_VALUE
from shipper_exporters._prometheus.native import Native
from shipper_exporters._prometheus.samples import NO_POINT, Labels, Sample, number_of, pairs_of
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.metrickit import LIFE, counter, exponential, gauge, payload, request
from tests.exporters.remote_write_two import SeriesTwo, read, wrote

NOW = 1_700_000_000_000


def delta(count: int, at: int, *, of: int = 15_000, name: str = "hits") -> Metric:
    """What was counted in the ``of`` ms before ``at``."""
    metric = counter(name, count, at, temporality=1)
    metric.sum.data_points[0].start_time_unix_nano = (at - of) * 1_000_000
    return metric


def samples(*metrics: Metric) -> list[Sample]:
    return Converter({}).convert([payload(*metrics)]).samples


def told(found: list[Sample]) -> list[tuple[int, float]]:
    return [(time_ms - NOW, number_of(value)) for time_ms, _, value, *_ in found]


def increase(points: list[tuple[int, float]]) -> float:
    """What Prometheus takes for counted: all growth, where a fall is a counter that began again from zero."""
    total, before = 0.0, points[0][1]
    for _, value in points[1:]:
        total += value - before if value >= before else value
        before = value
    return total


def test_a_sum_begins_with_a_zero() -> None:
    """The first point is preceded by a zero right after its start, which is no data point; the next ones add to it."""
    sums = Sums(10)
    first = sums.begin(samples(delta(3, NOW)))
    assert told(first.samples) == [(-14_999, 0.0), (0, 3.0)]
    assert [sample[3] for sample in first.samples] == [NO_POINT, 0]
    sums.taken(first.samples)
    assert told(sums.begin(samples(delta(4, NOW + 15_000))).samples) == [(15_000, 7.0)]


def test_several_points_of_one_request() -> None:
    """Points of one request add to each other, in whatever order series come."""
    found = Sums(10).begin(samples(delta(1, NOW), delta(5, NOW, name="other"), delta(2, NOW + 15_000)))
    by_value = sorted(value for _, value in told(found.samples))
    assert by_value == [0.0, 0.0, 1.0, 3.0, 5.0]


def test_what_was_not_taken_is_not_added() -> None:
    """As long as nobody took it, the same points come to the same sums."""
    sums = Sums(10)
    assert told(sums.begin(samples(delta(3, NOW))).samples) == told(sums.begin(samples(delta(3, NOW))).samples)


def test_in_doubt_it_begins_anew() -> None:
    """Where it is not certain that a sample is there, the next sum begins with a zero again."""
    sums = Sums(10)
    found = sums.begin(samples(delta(3, NOW)))
    sums.taken(found.samples)
    sums.doubtful([found.samples[0][1]])
    assert told(sums.begin(samples(delta(4, NOW + 15_000))).samples) == [(1, 0.0), (15_000, 4.0)]


def test_the_end_of_a_series_ends_its_sum() -> None:
    """What comes after a series was ended begins anew, also within a request."""
    sums = Sums(10)
    sums.taken(sums.begin(samples(delta(3, NOW))).samples)
    over = gauge("hits_total", None, NOW + 1, flags=1)
    found = sums.begin(samples(over, delta(4, NOW + 15_000)))
    assert [value for _, value in told(found.samples)][1:] == [0.0, 4.0]
    sums.taken(found.samples[:1])
    assert len(sums) == 0


def test_points_of_before() -> None:
    """A point that is not newer than what was counted is late; one that is known to be there is only left out."""
    sums = Sums(10)
    found = sums.begin(samples(delta(3, NOW)))
    sums.taken(found.samples)
    again = sums.begin(samples(delta(3, NOW)))
    assert (again.samples, len(again.late)) == ([], 1)
    assert sums.begin(samples(delta(3, NOW)), {found.samples[1][:2]}).late == []


def test_a_bounded_number_of_sums() -> None:
    """The sum longest not heard of makes room, and begins anew when it comes again."""
    sums = Sums(2)
    for name in ("a", "b", "a", "c"):
        sums.taken(sums.begin(samples(delta(1, NOW + 1000 * len(sums) + ord(name), name=name))).samples)
    assert len(sums) == 2


@pytest.mark.parametrize("width", [math.nan, math.inf, -math.inf, -1.0])
def test_a_zero_bucket_without_a_width(width: float) -> None:
    """A histogram whose bucket around zero has no width is malformed, and keeps nobody else from being added up."""
    metric = exponential("e", NOW, [1, 2], temporality=1)
    metric.exponential_histogram.data_points[0].zero_threshold = width
    found = Converter({}).convert([payload(metric, delta(3, NOW))])
    assert (found.points, found.rejected) == (2, {MALFORMED: 1})
    assert told(Sums(10).begin(found.samples).samples)[-1] == (0, 3.0)


def test_zero_buckets_as_wide_as_numbers_go() -> None:
    """Histograms that have all there is around zero are added up, too."""
    found: list[Sample] = []
    for at, width in ((NOW, 1e308), (NOW + 1000, 1e-300)):
        metric = exponential("e", at, [1, 2], scale=8, offset=262_140, temporality=1)
        metric.exponential_histogram.data_points[0].zero_threshold = width
        found += samples(metric)
    *_, last = Sums(10).begin(found).samples
    assert last[4] is not None
    assert isinstance(last[4].carried, Native)
    assert last[4].carried.count == 6


@pytest.mark.parametrize("time_ns", [0, 1, 999_999])
def test_points_from_before_the_first_millisecond(time_ns: int) -> None:
    """There is no time before them for the zero of a sum, and none of theirs: they are counted as without one."""
    metric = delta(3, NOW)
    metric.sum.data_points[0].time_unix_nano = time_ns
    found = Converter({}).convert([payload(metric)])
    assert (found.samples, found.points, found.rejected) == ([], 1, {NO_VALUE: 1})


def test_histograms_are_added_up() -> None:
    """Each bucket, the sum and the count of a histogram are added up; of native ones whole histograms."""
    metric = Metric(name="took")
    metric.histogram.aggregation_temporality = 1  # type: ignore[assignment]
    for at in (NOW, NOW + 1000):
        metric.histogram.data_points.add(
            time_unix_nano=at * 1_000_000, count=3, sum=1.5, bucket_counts=[1, 2], explicit_bounds=[0.5]
        )
    found = Sums(10).begin(samples(metric)).samples
    newest = {}
    for _, labels, value, *_ in found:
        assert isinstance(labels, Labels)
        newest[dict(pairs_of(labels)).get("le", "")] = number_of(value)
    assert newest["0.5"] == 2.0
    assert newest["+Inf"] == 6.0
    native = [exponential("e", NOW + at, [1, 2], temporality=1, start_ms=NOW + at - 500, total=1.0) for at in (0, 1000)]
    (*_, last) = Sums(10).begin(samples(*native)).samples
    carried = last[4].carried if last[4] is not None else None
    assert getattr(carried, "count", 0) == 6


class Receiver:
    """Stores what it gets as a Prometheus does, and loses answers, breaks off or refuses as it is told."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.script: list[str] = []

    def judge(self, got: Received) -> Answer:
        what = self.script.pop(0) if self.script else "answer"
        if what == "503":
            return refuse(503)
        found = read(got.wire)
        refused = sum(not self._store(one, at, value) for one in found for at, value in one.samples)
        if what == "lost":
            return cut_off()
        headers = wrote(found, less=refused)
        if refused:
            return Answer(400, b"out of order sample", "text/plain", headers=headers)
        return Answer(204, b"", headers=headers)

    def _store(self, one: SeriesTwo, at: int, value: float) -> bool:
        points = self.points[one.labels["__name__"]]
        if points and (at, value) == points[-1]:
            return True
        if points and at <= points[-1][0]:
            return False
        points.append((at, value))
        return True


OUTCOMES = st.lists(st.sampled_from(["answer", "lost", "503"]), max_size=3)
STEPS = st.lists(
    st.tuples(st.lists(st.integers(0, 5), min_size=1, max_size=3), OUTCOMES, st.booleans()), min_size=1, max_size=6
)
"""What is counted, what becomes of the requests that carry it, and whether a new run begins after it."""


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_every_count_arrives_once(steps: list[tuple[list[int], list[str], bool]]) -> None:
    """Through lost answers, outages and new runs, what Prometheus takes for counted is what the service counted."""

    async def scenario() -> None:
        receiver = Receiver()
        counted = at = 0
        async with Sink() as sink:
            sink.judge = receiver.judge
            exporter = await run(sink)
            for counts, script, restarts in steps:
                metrics = []
                for count in counts:
                    at += 15_000
                    counted += count
                    metrics.append(payload(delta(count, NOW + at)))
                receiver.script = list(script)
                assert await deliver(exporter, *metrics) == Accepted()
                if restarts:
                    await exporter.aclose()
                    exporter = await run(sink)
            await exporter.aclose()
        assert increase(receiver.points["hits_total"]) == counted

    asyncio.run(scenario())


def test_a_run_that_died_before_the_answer() -> None:
    """What the run before sent without hearing the answer is sent again, is there once, and the next counts are added to it."""

    async def scenario() -> None:
        receiver = Receiver()
        async with Sink() as sink:
            sink.judge = receiver.judge
            first = await run(sink)
            await deliver(first, payload(delta(3, NOW)))
            same = request(payload(delta(4, NOW + 15_000)), wall_ms=1)
            await first.send(first.prepare(same), Deadline(FakeClock()))
            await first.aclose()
            second = await run(sink)
            assert await second.send(second.prepare(same), Deadline(FakeClock())) == Accepted()
            assert await deliver(second, payload(delta(5, NOW + 30_000))) == Accepted()
            await second.aclose()
        assert increase(receiver.points["hits_total"]) == 12

    asyncio.run(scenario())


def test_a_refused_request_is_not_counted_on() -> None:
    """What was refused for good is counted as rejected, and later counts do not carry it along unseen."""

    async def scenario() -> None:
        receiver = Receiver()
        async with Sink() as sink:
            sink.judge = receiver.judge
            exporter = await run(sink)
            await deliver(exporter, payload(delta(3, NOW)))
            sink.script(
                raw(400, b"label value too long", "text/plain"), raw(400, b"label value too long", "text/plain")
            )
            with pytest.raises(Rejected, match="too long"):
                await deliver(exporter, payload(delta(100, NOW + 15_000)))
            await deliver(exporter, payload(delta(5, NOW + 30_000)))
            await exporter.aclose()
        assert increase(receiver.points["hits_total"]) == 8

    asyncio.run(scenario())


async def run(sink: Sink) -> PrometheusExporter:
    settings_ = PrometheusSettings(endpoint=f"{sink.url}/v1/metrics", protocol="2.0", max_samples_per_send=3)
    exporter = PrometheusExporter("prom", settings_, ExporterContext(FakeClock(), LIFE, 1, "test"))
    await exporter.start()
    return exporter


async def deliver(exporter: PrometheusExporter, *payloads: bytes) -> Accepted:
    """Send it as a pump does: the same again until there is an answer about it."""
    prepared = exporter.prepare(request(*payloads))
    while True:
        try:
            return await exporter.send(prepared, Deadline(exporter._context.clock))
        except Retryable:
            continue
