"""Requests and errors, end to end: what services served is what the destination and /metrics say, whoever is killed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, start_http_server

from shipper.contracts import Signal
from shipper.otlp.messages import parse
from shipper.testing.sink import Sink, hang_up, refuse
from tests.e2e.kit import audit, free_port, gateway, listening, sidecar, until
from tests.e2e.kit import host as host_of

SERVICE = """
import os, signal, sys
import shipper
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
shipper.init(service="shop")
tracer = trace.get_tracer("test")
for number in range(int(sys.argv[1])):
    with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER) as span:
        with tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT) as inner:
            inner.set_status(Status(StatusCode.ERROR))
        if number % 4 == 0:
            span.set_status(Status(StatusCode.ERROR))
with tracer.start_as_current_span("GET /fatal", kind=SpanKind.SERVER):
    if "fatal" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""

WORKER = """
import os, signal
from prometheus_client import Counter
Counter("jobs", "Jobs.").inc(7)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def serve(spool: Path, requests: int, how: str = "") -> None:
    """A service that serves so many requests, a quarter of them in vain, and one more, in or after which it is killed."""
    await until(spool.is_dir, "the sidecar has made the root of the hand-off")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPPER_", "OTEL_"))}
    env["SHIPPER_SPOOL_DIR"] = str(spool)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVICE, str(requests), how, env=env)
    assert await process.wait() == -9


def series(sink: Sink) -> dict[tuple[str, ...], list[tuple[int, int, float]]]:
    """Every series that came: name and outcome -> (time, start, value) in order of time."""
    found: dict[tuple[str, ...], list[tuple[int, int, float]]] = {}
    for request in sink.kept():
        if request.signal is not Signal.METRICS:
            continue
        for envelope in parse(request.signal, request.body).resource_metrics:
            who = {pair.key: pair.value.string_value for pair in envelope.resource.attributes}
            for metric in envelope.scope_metrics[0].metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    labels = {pair.key: pair.value.string_value for pair in point.attributes}
                    if point.flags & 1:  # the end of it
                        continue
                    value = point.count if hasattr(point, "count") else getattr(point, point.WhichOneof("value"))
                    key = (who["service.name"], who["shipper.generation"], metric.name, labels.get("outcome", ""))
                    found.setdefault(key, []).append((point.time_unix_nano, point.start_time_unix_nano, float(value)))
    return {key: sorted(set(points)) for key, points in found.items()}


def exposed(port: int) -> dict[str, float]:
    """The request counters on /metrics, by outcome."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    lines = re.findall(r'shipper_requests_total\{.*outcome="(\w+)".*service="shop"\} (\S+)', page)
    return {outcome: float(value) for outcome, value in lines}


def test_every_request_is_counted_once_whoever_is_killed(tmp_path: Path) -> None:
    """Services and the sidecar are killed in turn; the counts arrive exact, never fall, and keep one start time."""

    async def main() -> None:
        async with Sink() as sink:
            port = free_port()
            env = {"SHIPPER_ADMIN_LISTEN": f"127.0.0.1:{port}", "SHIPPER_METRICS_INTERVAL": "1"}
            host = sidecar(tmp_path / "host", sink.url, **env)
            spool = tmp_path / "host" / "state" / "spool"
            served = good = 0
            for kill_at, requests in enumerate((40, 80, 120)):
                await host.start()
                await host.up()
                await listening(port)
                await serve(spool, requests)
                served += requests + 1
                good += requests * 3 // 4 + 1
                if kill_at == 1:
                    sink.script(refuse(503), hang_up(keep=True))
                if kill_at == 0:  # before the first look
                    await host.kill()
                if kill_at == 1:  # somewhere between a look, its commit and its sample
                    await until(lambda: exposed(port), "something is counted")
                    await host.kill()
            await until(lambda: sum(exposed(port).values()) == served, "all is counted")
            assert exposed(port) == {"ok": good, "error": served - good}
            assert await host.terminate() == 0
            found = series(sink)
            for outcome, count in (("ok", good), ("error", served - good)):
                points = found["shop", "g1", "shipper.requests", outcome]
                values = [value for _, _, value in points]
                assert values[0] == 0
                assert values == sorted(values)
                assert values[-1] == count
                assert len({start for _, start, value in points if value}) == 1
            assert found["shop", "g1", "shipper.request.duration", ""][-1][2] == served

    asyncio.run(main())


def test_the_last_requests_of_a_host_are_in_its_last_sample(tmp_path: Path) -> None:
    """A host that is told to die a moment after failed requests ships the failures: also of the request that killed its process."""

    async def main() -> None:
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, SHIPPER_DRAIN_EPHEMERAL="true") as host:
                await host.up()
                await serve(tmp_path / "host" / "state" / "spool", 8, "fatal")
                assert await host.terminate() == 0
            found = series(sink)
            assert found["shop", "g1", "shipper.requests", "error"][-1][2] == 3
            assert found["shop", "g1", "shipper.requests", "ok"][-1][2] == 6

    asyncio.run(main())


def test_a_services_own_metrics_arrive_with_the_hosts_identity(tmp_path: Path) -> None:
    """prometheus_client's endpoint is read, once more in the drain, and its numbers say which generation they are of."""
    registry = CollectorRegistry()
    jobs = Counter("jobs", "Jobs.", registry=registry)
    httpd, thread = start_http_server(0, addr="127.0.0.1", registry=registry)

    async def main() -> None:
        async with Sink() as sink:
            url = f"http://127.0.0.1:{httpd.server_port}/metrics"
            async with sidecar(tmp_path / "host", sink.url, SHIPPER_METRICS_SCRAPE=url) as host:
                await host.up()
                key = ("checkout", "g1", "jobs_total", "")
                await until(lambda: key in series(sink), "the first look arrives")
                jobs.inc(5)
                assert await host.terminate() == 0
            assert [value for _, _, value in series(sink)[key]] == [0, 5]
            assert series(sink)["checkout", "g1", "shipper.scrape.up", ""][-1][2] == 1

    try:
        asyncio.run(main())
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def test_what_killed_workers_counted_arrives_though_the_sidecar_shares_their_environment(tmp_path: Path) -> None:
    """A multiprocess directory is read, and not written: PROMETHEUS_MULTIPROC_DIR is meant for services only."""
    directory = tmp_path / "prometheus"
    directory.mkdir()
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    for _ in range(2):
        worker = subprocess.run([sys.executable, "-c", WORKER], env={**os.environ, **shared}, check=False)
        assert worker.returncode == -9
    files = sorted(directory.iterdir())
    assert len(files) == 2

    async def main() -> None:
        async with Sink() as sink:
            env = {**shared, "SHIPPER_METRICS_MULTIPROCESS_DIRS": str(directory)}
            async with sidecar(tmp_path / "host", sink.url, **env) as host:
                await host.up()
                assert await host.terminate() == 0
            assert series(sink)["checkout", "g1", "jobs_total", ""][-1][2] == 14

    asyncio.run(main())
    assert sorted(directory.iterdir()) == files


def test_numbers_are_proved_like_everything_else(tmp_path: Path) -> None:
    """The stream of samples is in the account and in the archive, and the audit finds nothing missing of it."""

    async def main() -> None:
        port = free_port()
        async with gateway(tmp_path / "gateway", port) as tower:
            await listening(port)
            async with sidecar(tmp_path / "host", f"http://127.0.0.1:{port}") as host:
                await host.up()
                await serve(tmp_path / "host" / "state" / "spool", 8)
                assert await host.terminate() == 0
            assert await tower.terminate() == 0

    asyncio.run(main())
    life = host_of(audit(tmp_path / "gateway" / "archive"), "host")
    (numbers,) = (stream for stream in life["streams"] if stream["id"] == "metrics")
    assert numbers["signal"] == "metrics"
    assert (life["counts"]["missing"], life["counts"]["duplicates"]) == (0, 0)
    assert life["counts"]["read"] == life["counts"]["archived"] > 17  # spans, and the points of at least two samples
