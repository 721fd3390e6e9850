"""What OpenTelemetry's own SDK makes of a service's numbers, in each temporality and kind, is what a real Prometheus says of them."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext
from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.metrickit import HOST, LIFE, request

PROGRAMS = [prometheus.PROGRAM, os.environ.get("PROMETHEUS_BINARY", "")]
ROUNDS = 5
REQUESTS = 1000  # in a round, which so takes some milliseconds, as rounds have to be told apart by their times


def service(temporality: AggregationTemporality) -> list[bytes]:
    """What a service exports in some rounds; it served `REQUESTS` requests in each."""
    reader = InMemoryMetricReader(preferred_temporality={Counter: temporality, Histogram: temporality})
    views = [View(instrument_name="fine", aggregation=ExponentialBucketHistogramAggregation())]
    provider = MeterProvider([reader], Resource(HOST), views=views, shutdown_on_exit=False)
    meter = provider.get_meter("test")
    served = meter.create_counter("served", unit="{request}", description="Requests served.")
    took = meter.create_histogram("took", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1.0, 2.0])
    fine = meter.create_histogram("fine", unit="s")
    luck = random.Random(7)
    found = []
    for _ in range(ROUNDS):
        for _ in range(REQUESTS):
            seconds = luck.random() * 2
            served.add(1, {"route": "/"})
            took.record(seconds)
            fine.record(seconds)
        data: Any = reader.get_metrics_data()
        found.append(encode_metrics(data).SerializeToString())
    provider.shutdown()
    return found


async def ship(server: Prometheus, payloads: list[bytes], *, restarts: bool) -> None:
    """Each round by itself, by one run or by one for each."""
    exporter = None
    for one in payloads:
        if exporter is None or restarts:
            context = ExporterContext(SystemClock(), LIFE, 1, "Shipper/test")
            exporter = PrometheusExporter(
                "prom", PrometheusSettings(endpoint=server.write_url, native_histograms="always"), context
            )
            await exporter.start()
        assert await exporter.send(exporter.prepare(request(one)), Deadline(SystemClock())) == Accepted()
        if restarts:
            await exporter.aclose()
    if exporter is not None:
        await exporter.aclose()


def counted(points: list[tuple[float, float]]) -> float:
    """What is counted by these samples: all growth, and a fall is a counter that began again."""
    total = before = 0.0
    for _, value in points:
        total += value - before if value >= before else value
        before = value
    return total


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
def test_what_the_sdk_counts(tmp_path: Path, temporality: AggregationTemporality, restarts: bool, program: str) -> None:
    """Counters, histograms and exponential histograms say the same, to the last request."""
    if not program:
        pytest.skip("PROMETHEUS_BINARY names no newer Prometheus")
    if program == prometheus.PROGRAM and not prometheus.available():
        pytest.skip(prometheus.MISSING)
    with Prometheus(tmp_path, program=program, flags=["--enable-feature=native-histograms"]) as server:
        asyncio.run(ship(server, service(temporality), restarts=restarts))
        now = time.time() + 1
        (served,) = server.samples("served_total", now).values()
        assert counted(served) == ROUNDS * REQUESTS
        buckets = {
            dict(labels)["le"]: counted(points) for labels, points in server.samples("took_seconds_bucket", now).items()
        }
        assert buckets["+Inf"] == ROUNDS * REQUESTS
        assert buckets["0.5"] < buckets["1"] < buckets["2"] == ROUNDS * REQUESTS
        (total,) = server.samples("took_seconds_sum", now).values()
        assert counted(total) == pytest.approx(sum(random_seconds()))
        if not restarts or temporality is AggregationTemporality.CUMULATIVE:
            assert server.value("histogram_count(fine_seconds)", now) == ROUNDS * REQUESTS
            assert server.value("histogram_sum(fine_seconds)", now) == pytest.approx(sum(random_seconds()))
            median = sorted(random_seconds())[ROUNDS * REQUESTS // 2]
            assert server.value("histogram_quantile(0.5, fine_seconds)", now) == pytest.approx(median, rel=0.05)


def random_seconds() -> list[float]:
    """How long the service's requests took."""
    luck = random.Random(7)
    return [luck.random() * 2 for _ in range(ROUNDS * REQUESTS)]
