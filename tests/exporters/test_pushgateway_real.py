"""A real Prometheus that scrapes, and a real Pushgateway in front of it, have what a host says of itself."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, Exporter, ExporterContext
from shipper.errors import Rejected
from shipper.testing import prometheus
from shipper.testing.clock import FakeClock
from shipper.testing.prometheus import Prometheus
from shipper_exporters.prometheus_scrape import PrometheusScrapeExporter, PrometheusScrapeSettings
from shipper_exporters.pushgateway import PushgatewayExporter, PushgatewaySettings
from tests.exporters.metrickit import LIFE, counter, gauge, payload, request

CLOCK = SystemClock()
CONTEXT = ExporterContext(CLOCK, LIFE, 1, "Shipper/test")
PROGRAM = shutil.which("prometheus-pushgateway") or ""

needs_pushgateway = pytest.mark.skipif(
    not PROGRAM, reason="there is no prometheus-pushgateway here; on Debian: apt-get install prometheus-pushgateway"
)
needs_prometheus = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)


def now() -> int:
    return time.time_ns() // 1_000_000


def scraping(port: int) -> str:
    """A section that scrapes all the time."""
    return (
        "scrape_configs: [{job_name: t, honor_labels: true, scrape_interval: 100ms, scrape_timeout: 100ms, "
        f"static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a real program does in its own time."""
    deadline = time.monotonic() + 30
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def send(exporter: Exporter, *payloads: bytes) -> Accepted:
    return await exporter.send(exporter.prepare(request(*payloads)), Deadline(CLOCK))  # far away, by any clock


class Pushgateway:
    """One on a free port; its URL."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "pushgateway.log"
        self.port = prometheus._free_port()

    def __enter__(self) -> Pushgateway:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not self._ready():
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def lines(self) -> list[str]:
        """What it shows of this life."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is not behind a proxy
        with opener.open(f"{self.url}/metrics", timeout=30) as answer:
            return [line for line in answer.read().decode().splitlines() if LIFE in line]

    def _ready(self) -> bool:
        try:
            self.lines()
        except OSError:
            return False
        return True


@needs_prometheus
def test_a_real_scrape(tmp_path: Path) -> None:
    """A Prometheus that scrapes acknowledges what it got; what ended is gone there with the next look."""

    async def scenario() -> None:
        port = prometheus._free_port()
        exporter = PrometheusScrapeExporter("s", PrometheusScrapeSettings(listen=f"127.0.0.1:{port}"), CONTEXT)
        await exporter.start()
        with Prometheus(tmp_path, config=scraping(port)) as server:
            took = counter("hits", 5, now())
            assert await send(exporter, payload(took, gauge("g", 1.5, now(), path='a"b\\c\nd'))) == Accepted()
            await until(lambda: len(server.query("hits_total")) == 1)
            (series,) = server.query("g")
            assert dict(series)["path"] == 'a"b\\c\nd'
            assert dict(series)["generation"] == "g1"
            assert (
                await send(exporter, payload(gauge("g", 2.5, now()), gauge("g", None, now() + 1, flags=1)))
                == Accepted()
            )
            await until(lambda: server.query('g{path=""}') == {})
        await exporter.aclose()

    asyncio.run(scenario())


@needs_pushgateway
def test_a_real_pushgateway(tmp_path: Path) -> None:
    """A push is there as a whole; what contradicts is refused alone; the host's end leaves nothing behind."""

    async def scenario() -> None:
        with Pushgateway(tmp_path) as server:
            exporter = PushgatewayExporter(
                "p", PushgatewaySettings(endpoint=server.url, linger=0.0, job="a/b"), CONTEXT
            )
            await exporter.start()
            own = [counter("process_cpu_seconds_total", 3, now()), gauge("process_resident_memory_bytes", 5.0, now())]
            host = gauge("shipper.host.info", 1.0, now(), image="img")
            assert await send(exporter, payload(counter("hits", 5, now()), host, *own)) == Accepted()
            shown = {
                line.partition("{")[0]: line.rsplit(" ", 1)[1]
                for line in server.lines()
                if not line.startswith("push_")
            }
            assert shown == {
                "hits_total": "5", "shipper_host_info": "1", "process_cpu_seconds_total": "3",
                "process_resident_memory_bytes": "5",
            }  # fmt: skip
            with pytest.raises(Rejected, match="has type GAUGE but should have SUMMARY"):
                await send(exporter, payload(gauge("go_gc_duration_seconds", 1.0, now())))
            assert await send(exporter, payload(counter("hits", 6, now()))) == Accepted()
            over = gauge("shipper.host.info", None, now() + 1, flags=1, image="img")
            assert await send(exporter, payload(over)) == Accepted()
            await until(lambda: not server.lines())
            await exporter.aclose()

    asyncio.run(scenario())


@needs_pushgateway
@needs_prometheus
def test_a_host_behind_a_pushgateway(tmp_path: Path) -> None:
    """A Prometheus that scrapes the Pushgateway sees the host's last values with its labels, and then that it is gone."""

    async def scenario() -> None:
        with Pushgateway(tmp_path) as gateway, Prometheus(tmp_path / "p", config=scraping(gateway.port)) as server:
            clock = FakeClock()
            context = ExporterContext(clock, LIFE, 1, "Shipper/test")
            exporter = PushgatewayExporter("p", PushgatewaySettings(endpoint=gateway.url, linger=15.0), context)
            await exporter.start()
            await send(exporter, payload(gauge("shipper.host.info", 1.0, now(), image="img")))
            await until(lambda: len(server.query("shipper_host_info")) == 1)
            over = gauge("shipper.host.info", None, now() + 1, flags=1, image="img")
            last = asyncio.create_task(send(exporter, payload(counter("hits", 9, now()), over)))
            await until(lambda: list(server.query('hits_total{instance="h1"}').values()) == [9.0])
            assert not last.done()
            await clock.run(15)
            assert await last == Accepted()
            await until(lambda: server.query("shipper_host_info") == {})
            (series,) = server.series("hits_total")
            assert (series["job"], series["life"], series["instance"]) == ("shipper", LIFE, "h1")
            await exporter.aclose()

    asyncio.run(scenario())
