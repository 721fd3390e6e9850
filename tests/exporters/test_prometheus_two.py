"""Remote write 2.0: what is in a request beside samples, how the version is found out, and what its answers prove."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import ANY

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Answer, Received, Sink, cut_off, html, raw, refuse
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.metrickit import IDENTITY, LIFE, counter, exponential, gauge, payload, request
from tests.exporters.remote_write import values_of
from tests.exporters.remote_write_two import CONTENT_TYPE, SeriesTwo, read, receive, receive_one, wrote

NOW = 1_700_000_000_000
START = NOW - 60_000
DISABLED = Answer(500, b"native histograms are disabled", "text/plain", headers=wrote([]), keep=False)


@asynccontextmanager
async def exporting(sink: Sink, **settings: Any) -> AsyncIterator[PrometheusExporter]:
    context = ExporterContext(FakeClock(), LIFE, 1, "Shipper/1.2")
    exporter = PrometheusExporter("prom", PrometheusSettings(endpoint=f"{sink.url}/v1/metrics", **settings), context)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: PrometheusExporter, *metrics: Metric) -> Accepted:
    prepared = exporter.prepare(request(payload(*(metrics or (gauge("g", 1.0, NOW),)))))
    return await exporter.send(prepared, Deadline.after(exporter._context.clock, 60))


def written(*metrics: Metric) -> dict[str, SeriesTwo]:
    """The series that a receiver of 2.0 gets, by name."""

    async def scenario() -> dict[str, SeriesTwo]:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.judge = receive
            assert await send(exporter, *metrics) == Accepted()
            (got,) = sink.received
            assert got.headers["User-Agent"] == "Shipper/1.2"
            return {one.labels["__name__"]: one for one in read(got.wire)}

    return asyncio.run(scenario())


def since(metric: Metric, start_ms: int = START) -> Metric:
    """The same with a start."""
    for points in (metric.sum, metric.histogram, metric.exponential_histogram, metric.summary):
        for point in points.data_points:
            point.start_time_unix_nano = start_ms * 1_000_000
    return metric


def test_what_a_metric_says_of_itself() -> None:
    """Each series has its type, its unit where its name ends in it, and what the service says of it."""
    took = Metric(name="took", unit="s", description="How long it took.")
    took.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    took.histogram.data_points.add(time_unix_nano=NOW * 1_000_000, count=1, bucket_counts=[1, 0], explicit_bounds=[1])
    found = written(counter("io", 1, NOW, unit="By"), gauge("share", 0.5, NOW, unit="1"), gauge("g", 1.0, NOW), took)
    assert {name: (one.type, one.unit, one.help) for name, one in found.items()} == {
        "io_bytes_total": (1, "bytes", ""),
        "share_ratio": (2, "ratio", ""),
        "g": (2, "", ""),
        "took_seconds_bucket": (3, "seconds", "How long it took."),
        "took_seconds_count": (3, "seconds", "How long it took."),
    }
    assert found["g"].labels == {"__name__": "g", **IDENTITY}
    assert found["g"].samples == [(NOW, 1.0)]


def test_when_a_counter_began() -> None:
    """A counter says since when it counts, in the series and in its samples; a gauge has no such thing."""
    found = written(since(counter("hits", 3, NOW)), gauge("g", 1.0, NOW))
    assert found["hits_total"].starts == [START, START]
    assert found["g"].starts == [0, 0]


def test_a_counter_that_began_again() -> None:
    """Samples of one series with two starts are there with their own each."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.judge = receive
            await send(exporter, since(counter("hits", 3, NOW)), since(counter("hits", 1, NOW + 5), NOW + 1))
            found = [(one.starts, one.samples) for one in read(sink.received[0].wire)]
            assert found == [([START, START], [(NOW, 3.0)]), ([NOW + 1, NOW + 1], [(NOW + 5, 1.0)])]

    asyncio.run(scenario())


def test_exemplars() -> None:
    """An exemplar leads to its trace, stands with the bucket its value falls into, and is never too long to be taken."""
    took = Metric(name="took")
    took.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    point = took.histogram.data_points.add(
        time_unix_nano=NOW * 1_000_000, count=3, bucket_counts=[1, 2], explicit_bounds=[1]
    )
    one = point.exemplars.add(time_unix_nano=NOW * 1_000_000, as_double=0.5, trace_id=b"\xab" * 16, span_id=b"\x01" * 8)
    one.filtered_attributes.add(key="user").value.string_value = "u1"
    one.filtered_attributes.add(key="long").value.string_value = "x" * 200
    point.exemplars.add(time_unix_nano=(NOW + 1) * 1_000_000, as_int=7)
    point.exemplars.add(as_int=7)

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.judge = receive
            assert await send(exporter, took) == Accepted()
            by_bucket = {one.labels.get("le"): one.exemplars for one in read(sink.received[0].wire)}
            ids = {"trace_id": "ab" * 16, "span_id": "01" * 8, "user": "u1"}
            assert by_bucket == {"1": [(ids, 0.5, NOW)], "+Inf": [({}, 7.0, NOW + 1)], None: []}

    asyncio.run(scenario())


def test_native_histograms() -> None:
    """An exponential histogram is one native histogram, with its bounds, its zero bucket and its start."""
    (one,) = written(since(exponential("took", NOW, [1, 0, 2], unit="s", scale=3, offset=4, zero=5))).values()
    assert (one.type, one.unit, one.samples, one.starts) == (3, "seconds", [], [START, START])
    (native,) = one.histograms
    assert (native.schema, native.count_int, native.zero_count_int, native.timestamp) == (3, 8, 5, NOW)
    assert [(span.offset, span.length) for span in native.positive_spans] == [(5, 3)]
    assert list(native.positive_deltas) == [1, -1, 2]


@pytest.mark.parametrize(
    "unknown",
    [
        raw(415, b"no", "text/plain"),
        raw(400, b"bad", "text/plain"),
        raw(500, b"empty request", "text/plain"),
        Answer(204, b""),
        Answer(204, b"", headers={"X-Prometheus-Remote-Write-Samples-Written": "all of them"}),
    ],
)
def test_a_receiver_of_one_is_found_out(unknown: Answer) -> None:
    """Who does not know 2.0, or takes it without saying what was written, gets 1.0, the same samples and from then on."""

    def old(got: Received) -> Answer:
        return unknown if got.headers["Content-Type"] == CONTENT_TYPE else receive_one(got)

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.judge = old
            assert await send(exporter) == Accepted()
            assert await send(exporter, gauge("g", 2.0, NOW + 1)) == Accepted()
            versions = [got.headers["X-Prometheus-Remote-Write-Version"] for got in sink.received]
            assert versions == ["2.0.0", "0.1.0", "0.1.0"]
            values = [value for got in sink.received[1:] for value in values_of(got.wire).values()]
            assert values == [[(NOW, 1.0)], [(NOW + 1, 2.0)]]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "error"),
    [(refuse(503), Retryable), (refuse(401), Unusable), (html(), Unusable), (refuse(404), Unusable)],
)
def test_what_says_nothing_about_the_version(answer: Answer, error: type[Exception]) -> None:
    """An outage, a login page or a wrong path is no word on the version: 2.0 is tried again afterwards."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.answer = answer
            with pytest.raises(error):
                await send(exporter)
            sink.judge = receive
            assert await send(exporter) == Accepted()
            assert {got.headers["Content-Type"] for got in sink.received} == {CONTENT_TYPE}

    asyncio.run(scenario())


def test_two_alone() -> None:
    """Where 2.0 is asked for nothing else is sent, and a success that proves nothing acknowledges nothing."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink, protocol="2.0") as exporter:
            sink.answer = Answer(204, b"")
            with pytest.raises(Unusable, match="protocol"):
                await send(exporter)
            assert len(sink.received) == 1

    asyncio.run(scenario())


def test_a_receiver_that_was_replaced_by_an_older_one() -> None:
    """Also who spoke 2.0 before may know only 1.0 one day."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.judge = receive
            await send(exporter)
            sink.judge = receive_one
            assert await send(exporter, gauge("g", 2.0, NOW + 1)) == Accepted()

    asyncio.run(scenario())


@pytest.mark.parametrize(("less", "rejected"), [(0, 0), (1, 1), (2, 2)])
def test_the_receivers_own_count(less: int, rejected: int) -> None:
    """Of what is refused in part nothing is sent again, and as much is counted as the receiver did not write."""

    def some(got: Received) -> Answer:
        headers = wrote(read(got.wire), less=less)
        return Answer(400, b"out of order sample, out of order exemplar", "text/plain", headers=headers)

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.judge = some
            answer = await send(exporter, gauge("a", 1.0, NOW), gauge("b", 1.0, NOW), gauge("c", 1.0, NOW))
            assert answer.rejected == rejected
            assert len(sink.received) == 1

    asyncio.run(scenario())


def test_a_mimirs_count_is_of_what_it_was_sent() -> None:
    """Mimir says that it wrote all, also of what it names as refused: one is counted; of an exemplar nothing is."""
    names = {
        "err-mimir-sample-out-of-order": 1,
        "err-mimir-max-series-per-user": 1,
        "err-mimir-exemplar-labels-missing": 0,
    }

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            for at, (name, rejected) in enumerate(names.items()):
                said = f"failed pushing to ingester: because ({name})".encode()
                sink.judge = lambda got, said=said: Answer(400, said, "text/plain", headers=wrote(read(got.wire)))
                answer = await send(exporter, gauge("a", 1.0, NOW + at), gauge("b", 1.0, NOW + at))
                assert answer.rejected == rejected
            assert len(sink.received) == 3

    asyncio.run(scenario())


def test_more_than_a_mimir_takes_at_once() -> None:
    """What is above a tenant's burst would be refused for ever, and is cut; what is below it waits."""
    said = "the tenant exceeded the ingestion burst size limit, set to 20, with {} items"

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            for items, error in ((51, TooLarge), (11, Retryable)):
                sink.answer = Answer(429, said.format(items).encode(), "text/plain", keep=False)
                with pytest.raises(error, match="burst size"):
                    await send(exporter, gauge("a", 1.0, NOW), gauge("b", 1.0, NOW))

    asyncio.run(scenario())


def test_old_and_bad_after_a_lost_answer() -> None:
    """After an answer got lost, what is there already is told from what is never taken, though both are refused at once."""
    held: set[str] = set()

    def judge(got: Received) -> Answer:
        found = read(got.wire)
        bad = [one for one in found if one.labels["__name__"] == "bad"]
        old = [one for one in found if one.labels["__name__"] in held]
        held.update(one.labels["__name__"] for one in found if one not in bad)
        if not bad and not old:
            return Answer(204, b"", headers=wrote(found))
        said = "\n".join(["out of order sample"] * len(old) + ["invalid labels"] * len(bad))
        return Answer(400, said.encode(), "text/plain", headers=wrote(found, less=len(old) + len(bad)))

    def lost(got: Received) -> Answer:
        judge(got)
        sink_judges.pop()
        return cut_off()

    sink_judges = [judge, lost]

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink, protocol="2.0") as exporter:
            sink.judge = lambda got: sink_judges[-1](got)
            names = [f"g{n}" for n in range(6)] + ["bad"]
            one = exporter.prepare(request(payload(*(gauge(name, 1.0, NOW) for name in names))))
            deadline = Deadline.after(exporter._context.clock, 60)
            with pytest.raises(Retryable):
                await exporter.send(one, deadline)
            assert await exporter.send(one, deadline) == Accepted(1, ANY)
            assert held == {f"g{n}" for n in range(6)}

    asyncio.run(scenario())


def test_nothing_was_written() -> None:
    """Content of which nothing at all is written is refused as a whole, in one request."""
    nothing = {"X-Prometheus-Remote-Write-Samples-Written": "0"}

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.answer = Answer(400, b"invalid metric name or labels", "text/plain", headers=nothing, keep=False)
            with pytest.raises(Rejected, match="invalid metric name"):
                await send(exporter, gauge("a", 1.0, NOW), gauge("b", 1.0, NOW))
            assert len(sink.received) == 1

    asyncio.run(scenario())


def test_a_success_that_wrote_less() -> None:
    """A receiver that says yes and wrote less is believed its count."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.judge = lambda got: Answer(204, b"", headers=wrote(read(got.wire), less=1))
            answer = await send(exporter, gauge("a", 1.0, NOW), gauge("b", 1.0, NOW))
            assert (answer.rejected, "wrote 1 of 2" in answer.message) == (1, True)

    asyncio.run(scenario())


def test_native_histograms_that_are_off() -> None:
    """Where a receiver takes none, the rest gets there and they are counted; with `always` everything waits for them."""

    def off(got: Received) -> Answer:
        return DISABLED if any(one.histograms for one in read(got.wire)) else receive(got)

    async def scenario() -> None:
        async with Sink() as sink:
            sink.judge = off
            both = (gauge("g", 1.0, NOW), exponential("took", NOW, [1]))
            async with exporting(sink) as exporter:
                answer = await send(exporter, *both)
                assert (answer.rejected, "disabled" in answer.message) == (1, True)
                assert [one.labels["__name__"] for one in read(sink.kept()[-1].wire)] == ["g"]
            async with exporting(sink, native_histograms="always") as exporter:
                with pytest.raises(Unusable, match="--enable-feature=native-histograms"):
                    await send(exporter, *both)

    asyncio.run(scenario())


@pytest.mark.parametrize(("wanted", "rejected"), [("auto", 1), ("never", 1), ("always", 0)])
def test_native_histograms_by_one(wanted: str, rejected: int) -> None:
    """By 1.0, which proves nothing of them, native histograms are sent only if that is said."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink, protocol="1.0", native_histograms=wanted) as exporter:
            sink.answer = Answer(204, b"")
            answer = await send(exporter, gauge("g", 1.0, NOW), exponential("took", NOW, [1]))
            assert answer.rejected == rejected
            assert len(sink.received) == 1

    asyncio.run(scenario())
