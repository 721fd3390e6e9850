"""Real receivers take every kind of metric: native histograms, sums of deltas, and by 2.0 what stands beside samples.

Prometheus and VictoriaMetrics are Debian's. Debian's Prometheus knows remote write 1.0 only; a newer one is named by
``PROMETHEUS_BINARY``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import Unusable
from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus, labels
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.metrickit import HOST, IDENTITY, LIFE, counter, exponential, gauge, payload, request

CLOCK = SystemClock()
NEWER = os.environ.get("PROMETHEUS_BINARY", "")
FEATURES = "--enable-feature=native-histograms,exemplar-storage"
VICTORIA = shutil.which("victoria-metrics") or ""

needs_prometheus = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)
needs_newer = pytest.mark.skipif(not NEWER, reason="PROMETHEUS_BINARY names no Prometheus that takes remote write 2.0")
needs_victoria = pytest.mark.skipif(
    not VICTORIA, reason="there is no victoria-metrics here; on Debian: apt-get install victoria-metrics"
)

Story = Callable[[PrometheusExporter], Awaitable[None]]


def tell(story: Story, url: str, **settings: Any) -> PrometheusExporter:
    """One run of an exporter."""

    async def run() -> PrometheusExporter:
        exporter = PrometheusExporter(
            "prom", PrometheusSettings(endpoint=url, **settings), ExporterContext(CLOCK, LIFE, 1, "Shipper/test")
        )
        await exporter.start()
        try:
            await story(exporter)
        finally:
            await exporter.aclose()
        return exporter

    return asyncio.run(run())


def saying(*payloads: bytes) -> Story:
    """All of these in one request, and nothing of them is refused."""

    async def story(exporter: PrometheusExporter) -> None:
        assert await exporter.send(exporter.prepare(request(*payloads)), Deadline(CLOCK)) == Accepted()

    return story


def began() -> int:
    return time.time_ns() // 1_000_000 - 120_000


def native_story(at: int) -> bytes:
    """Values between 1 and 2 and one that is 0, in fine buckets that are made coarser; twice as many 15 s later."""
    fine = {"scale": 10, "unit": "s", "zero": 1}
    return payload(
        exponential("took", at, [10] * 1024, total=15_000.0, **fine),  # type: ignore[arg-type]
        exponential("took", at + 15_000, [20] * 1024, total=30_000.0, **fine),  # type: ignore[arg-type]
        exponential("took", at + 15_001, [], flags=1, unit="s", kind="ended"),
    )


def check_native(server: Prometheus, at: int) -> None:
    """What is in it can be asked for as any native histogram."""
    asked = (at + 16_000) / 1000
    assert server.value("histogram_count(took_seconds)", asked) == 20 * 1024 + 1
    assert server.value("histogram_sum(took_seconds)", asked) == 30_000
    assert 1.4 < server.value("histogram_quantile(0.5, took_seconds)", asked) < 1.6
    assert server.value("histogram_fraction(1, 2, took_seconds)", asked) == pytest.approx(1, abs=0.001)


def delta(count: int, at: int) -> bytes:
    metric = counter("hits", count, at, temporality=1)
    metric.sum.data_points[0].start_time_unix_nano = (at - 15_000) * 1_000_000
    return payload(metric)


@needs_prometheus
def test_native_histograms_by_one(tmp_path: Path) -> None:
    """Debian's Prometheus has native histograms when both sides were told, and says so itself when it takes none."""
    at = began()
    with Prometheus(tmp_path / "on", flags=[FEATURES]) as server:
        tell(saying(native_story(at)), server.write_url, native_histograms="always")
        check_native(server, at)
    with Prometheus(tmp_path / "off") as server:
        with pytest.raises(Unusable, match="native histograms are disabled"):
            tell(saying(native_story(at)), server.write_url, native_histograms="always")


@needs_prometheus
def test_deltas(tmp_path: Path) -> None:
    """What counts since the last point is counted exactly by a real Prometheus, over a new run of the exporter too."""
    at = began()
    with Prometheus(tmp_path) as server:
        tell(saying(delta(3, at), delta(4, at + 15_000)), server.write_url)
        tell(saying(delta(5, at + 30_000), delta(0, at + 45_000), delta(6, at + 60_000)), server.write_url)
        points = next(iter(server.samples("hits_total", at / 1000 + 61).values()))
        assert [value for _, value in points] == [0, 3, 7, 0, 5, 5, 11]
        assert server.value("resets(hits_total[5m])", at / 1000 + 61) == 1
        # increase() extrapolates to the borders of the window, so the samples themselves are asked
        grown = sum(max(0.0, b - a) if b >= a else b for (_, a), (_, b) in pairwise(points))
        assert grown == 18


@needs_victoria
def test_victoria_metrics(tmp_path: Path) -> None:
    """VictoriaMetrics takes 2.0 without a word and has nothing of it; found out, it gets all by 1.0."""
    at = began()
    with Victoria(tmp_path) as url:
        exporter = tell(
            saying(
                payload(gauge("g", 1.5, at)), payload(counter("hits", 3, at)), payload(gauge("h", None, at, flags=1))
            ),
            f"{url}/api/v1/write",
        )
        assert exporter._dialect.version == "1.0"
        get(f"{url}/internal/force_flush")
        lines = get(f"{url}/api/v1/export?match%5B%5D=%7Bservice%3D%22api%22%7D").splitlines()
        found = {one["metric"]["__name__"]: one for one in map(json.loads, lines)}
        told = {name: one["values"] for name, one in found.items() if name != "h"}
        assert told == {"g": [1.5], "hits_total": [3]}
        assert str(found["h"]["values"][0]) in ("None", "nan"), "no number ends a series"
        assert found["g"]["timestamps"] == [at]
        assert found["g"]["metric"] == {"__name__": "g", **IDENTITY}


class Victoria:
    """A VictoriaMetrics on a free port; its URL."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        port = prometheus._free_port()
        flags = [f"-storageDataPath={self._directory / 'data'}", f"-httpListenAddr=127.0.0.1:{port}"]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen([VICTORIA, *flags], stdout=log, stderr=log)
        wait_for(f"http://127.0.0.1:{port}/health")
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    features = f"{FEATURES},metadata-wal-records,created-timestamp-zero-ingestion"
    with Prometheus(tmp_path_factory.mktemp("newer"), program=NEWER, flags=[features]) as running:
        yield running


@needs_newer
def test_two_by_a_real_receiver(newer: Prometheus) -> None:
    """A Prometheus of today speaks 2.0, and has values, native histograms, starts and exemplars with their traces."""
    at = began()
    hits = counter("hits", 5, at)
    point = hits.sum.data_points[0]
    point.start_time_unix_nano = (at - 5_000) * 1_000_000
    point.exemplars.add(time_unix_nano=at * 1_000_000, as_double=1.0, trace_id=b"\xab" * 16, span_id=b"\x01" * 8)
    exporter = tell(saying(payload(hits, gauge("g", 1.5, at)), native_story(at)), newer.write_url)
    assert exporter._dialect.version == "2.0"
    check_native(newer, at)
    assert newer.query("g", at / 1000 + 1) == {labels({"__name__": "g", **IDENTITY}): 1.5}
    (points,) = newer.samples("hits_total", at / 1000 + 1).values()
    assert points == [(at / 1000 - 5, 0.0), (at / 1000, 5.0)]
    asked = f"query_exemplars?query=hits_total&start={at / 1000 - 60}&end={at / 1000 + 60}"
    (found,) = newer.get(asked)
    (exemplar,) = found["exemplars"]
    assert exemplar["labels"] == {"trace_id": "ab" * 16, "span_id": "01" * 8}


@needs_newer
def test_the_rest_arrives(newer: Prometheus) -> None:
    """Of a request with late samples a real receiver writes the others, and as many are counted as it refused."""
    at = began()
    one = {**HOST, "service.instance.id": "late"}

    async def story(exporter: PrometheusExporter) -> None:
        async def send(*payloads: bytes) -> Accepted:
            return await exporter.send(exporter.prepare(request(*payloads)), Deadline(CLOCK))

        await send(payload(gauge("a", 1.0, at + 20_000), gauge("b", 1.0, at), resource=one))
        late = [gauge("a", 2.0, at + 10_000 + n) for n in range(3)]
        answer = await send(payload(*late, gauge("b", 3.0, at + 30_000), gauge("c", 4.0, at + 30_000), resource=one))
        assert (answer.rejected, "out of order" in answer.message) == (3, True)

    tell(story, newer.write_url)
    got = newer.query('{instance="late"}', at / 1000 + 31)
    assert {dict(one)["__name__"]: value for one, value in got.items()} == {"a": 1.0, "b": 3.0, "c": 4.0}


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            get(url)
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.02)
        else:
            return


def get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is not behind a proxy
    with opener.open(url, timeout=30) as answer:
        return str(answer.read().decode())
