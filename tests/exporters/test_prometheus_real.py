"""A real Prometheus, with or without a relay in between that loses answers, has what the exporter says it has."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext, Request
from shipper.errors import Retryable, Unusable
from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.metrickit import HOST, LIFE, counter, gauge, payload, request
from tests.exporters.relay import Relay, until_answered

pytestmark = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@asynccontextmanager
async def exporting(url: str, **settings: Any) -> AsyncIterator[PrometheusExporter]:
    context = ExporterContext(CLOCK, LIFE, 1, "Shipper/test")
    exporter = PrometheusExporter("prom", PrometheusSettings(endpoint=url, **settings), context)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: PrometheusExporter, one: Request) -> Accepted:
    return await until_answered(exporter, one, CLOCK)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def host(name: str) -> dict[str, Any]:
    return {**HOST, "service.instance.id": name}


def push(name: str, at: int, ok: int, error: int) -> bytes:
    """What a host says of its requests at one moment."""
    return payload(
        counter("shipper.requests", ok, at, outcome="ok"),
        counter("shipper.requests", error, at, outcome="error"),
        gauge("shipper.host.info", 1.0, at, image="img"),
        resource=host(name),
    )


def end(name: str, at: int) -> bytes:
    """What ends the series of a host."""
    return payload(
        gauge("shipper.requests_total", None, at, flags=1, outcome="ok"),
        gauge("shipper.requests_total", None, at, flags=1, outcome="error"),
        gauge("shipper.host.info", None, at, flags=1, image="img"),
        resource=host(name),
    )


def test_a_host_of_forty_seconds(server: Prometheus) -> None:
    """A host that lived 40 s is counted to its last request, and one second after its end it is gone."""
    died = now_ms() - 60_000
    story = [(-40_000, 0, 0), (-25_000, 52, 8), (-10_000, 101, 17), (0, 140, 25)]

    async def scenario() -> None:
        async with exporting(server.write_url) as exporter:
            for offset, ok, error in story:
                assert await send(exporter, request(push("h40", died + offset, ok, error))) == Accepted()
            assert await send(exporter, request(end("h40", died + 1))) == Accepted()

    asyncio.run(scenario())
    at = died / 1000
    assert server.value('max_over_time(shipper_requests_total{instance="h40",outcome="ok"}[10m])', at + 60) == 140
    assert server.value('max_over_time(shipper_requests_total{instance="h40",outcome="error"}[10m])', at + 60) == 25
    ratio = (
        'sum(increase(shipper_requests_total{instance="h40",outcome="error"}[2m])) '
        '/ sum(increase(shipper_requests_total{instance="h40"}[2m]))'
    )
    assert server.value(ratio, at + 15) == pytest.approx(25 / 165)
    assert server.value('count(shipper_host_info{instance="h40"})', at) == 1
    assert server.query('{instance="h40"}', at + 1) == {}
    (series,) = server.series('shipper_host_info{instance="h40"}')
    assert series == {
        "__name__": "shipper_host_info", "service": "api", "env": "prod", "generation": "g1", "release": "r1",
        "instance": "h40", "image": "img",
    }  # fmt: skip


@pytest.mark.parametrize("trouble", ["lose", "drop", "503", "429", "500"])
def test_trouble_on_the_way(server: Prometheus, trouble: str) -> None:
    """Whatever happens to single answers, all samples are there once, and none is counted as refused."""
    began = now_ms() - 300_000
    name = f"trouble-{trouble}"
    requests = [
        request(*(push(name, began + 15_000 * (4 * block + n), 4 * block + n, 0) for n in range(4)))
        for block in range(4)
    ]

    async def scenario() -> None:
        async with Relay(server.url) as relay:
            async with exporting(f"{relay.url}/api/v1/write", max_samples_per_send=6) as exporter:
                for one in requests:
                    relay.script.extend([trouble, trouble, "pass", trouble])
                    assert await send(exporter, one) == Accepted()

    asyncio.run(scenario())
    got = server.samples(f'shipper_requests_total{{instance="{name}",outcome="ok"}}', now_ms() / 1000)
    assert [[value for _, value in samples] for samples in got.values()] == [[float(n) for n in range(16)]]


@pytest.mark.parametrize("trouble", ["lose", "drop"])
def test_trouble_on_a_kept_connection(server: Prometheus, trouble: str) -> None:
    """What is sent again at once because a kept connection broke is there once, and not counted as refused."""
    began = now_ms() - 300_000
    name = f"kept-{trouble}"

    async def scenario() -> None:
        async with Relay(server.url) as relay, exporting(f"{relay.url}/api/v1/write") as exporter:
            await send(exporter, request(push(name, began, 1, 0)))
            relay.script.append(trouble)
            both = request(push(name, began + 15_000, 2, 0), push(name, began + 30_000, 3, 0))
            assert await send(exporter, both) == Accepted()

    asyncio.run(scenario())
    got = server.samples(f'shipper_requests_total{{instance="{name}",outcome="ok"}}', now_ms() / 1000)
    assert [[value for _, value in samples] for samples in got.values()] == [[1.0, 2.0, 3.0]]


def test_a_run_that_died_before_the_answer(server: Prometheus) -> None:
    """What a run sent without hearing the answer is sent again by the next one, and not counted as refused."""
    began = now_ms() - 300_000
    same = request(*(push("killed", began + 15_000 * n, n, 0) for n in range(8)), wall_ms=began)

    async def scenario() -> None:
        for _ in range(2):
            async with exporting(server.write_url) as exporter:
                assert await send(exporter, same) == Accepted()

    asyncio.run(scenario())
    got = server.samples('shipper_requests_total{instance="killed",outcome="ok"}', now_ms() / 1000)
    assert [len(samples) for samples in got.values()] == [8]


def test_late_samples_of_one_host(server: Prometheus) -> None:
    """One host's late samples are counted, those of the others in the same request arrive."""
    began = now_ms() - 300_000

    async def scenario() -> Accepted:
        async with exporting(server.write_url) as exporter:
            await send(exporter, request(push("late", began + 60_000, 5, 0)))
            others = [push(f"beside-{n}", began + 30_000 + n, 1, 0) for n in range(20)]
            return await send(exporter, request(*others[:10], push("late", began + 30_000, 4, 0), *others[10:]))

    answer = asyncio.run(scenario())
    assert answer.rejected == 3  # points of the late push
    assert "out of order" in answer.message
    assert server.value('count(shipper_host_info{instance=~"beside-.*"})', (began + 60_000) / 1000) == 20


def test_with_a_window_for_late_samples(tmp_path: Path) -> None:
    """Where the server takes late samples for a while, as several gateways need it, none is lost."""
    window = "storage: {tsdb: {out_of_order_time_window: 30m}}\n"
    began = now_ms() - 300_000

    async def scenario(server: Prometheus) -> None:
        async with exporting(server.write_url) as exporter:
            for offset in (60_000, 0, 30_000):
                assert await send(exporter, request(push("late", began + offset, offset // 30_000, 0))) == Accepted()

    with Prometheus(tmp_path, config=window) as server:
        asyncio.run(scenario(server))
        got = server.samples('shipper_requests_total{outcome="ok"}', now_ms() / 1000)
        assert [[value for _, value in samples] for samples in got.values()] == [[0.0, 1.0, 2.0]]


def test_older_than_it_takes(server: Prometheus) -> None:
    """Samples older than the server's head are counted with what it says, and newer ones of the request arrive."""

    async def scenario() -> Accepted:
        async with exporting(server.write_url) as exporter:
            await send(exporter, request(push("head", now_ms(), 1, 0)))
            old = push("ancient", now_ms() - 5 * 3_600_000, 1, 0)
            return await send(exporter, request(old, push("head", now_ms(), 2, 0)))

    answer = asyncio.run(scenario())
    assert answer.rejected == 3
    assert "out of bounds" in answer.message
    assert server.value('shipper_requests_total{instance="head",outcome="ok"}', time.time()) == 2


def test_labels_arrive_as_they_are(server: Prometheus) -> None:
    """Quotes, slashes, line feeds, other scripts and 300 characters arrive unchanged."""
    generation = "\"'`\\/\n漢字🚀" + "x" * 300

    async def scenario() -> None:
        async with exporting(server.write_url) as exporter:
            one = payload(gauge("odd", 1.0, now_ms()), resource={**host("odd"), "shipper.generation": generation})
            assert await send(exporter, request(one)) == Accepted()

    asyncio.run(scenario())
    (series,) = server.series("odd")
    assert series["generation"] == generation


def test_values_arrive_as_they_are(server: Prometheus) -> None:
    """Infinities, NaN and numbers at the end of what a double holds are the same there."""
    values = [math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308, -0.0]

    async def scenario() -> None:
        async with exporting(server.write_url) as exporter:
            metrics = [gauge("exact", value, now_ms(), n=n) for n, value in enumerate(values)]
            assert await send(exporter, request(payload(*metrics))) == Accepted()

    asyncio.run(scenario())
    got = {int(dict(labels)["n"]): value for labels, value in server.query("exact").items()}
    assert [repr(got[n]) for n in range(len(values))] == [repr(value) for value in values]


def test_without_the_receiver(tmp_path: Path) -> None:
    """A Prometheus that takes no remote writes is unusable, and the sentence says which flag it needs."""

    async def scenario() -> None:
        with Prometheus(tmp_path, receiver=False) as closed:
            async with exporting(closed.write_url) as exporter:
                with pytest.raises(Unusable, match=r"answered 404.*--web\.enable-remote-write-receiver"):
                    await exporter.send(exporter.prepare(request(push("x", now_ms(), 1, 0))), Deadline(CLOCK))

    asyncio.run(scenario())


def test_the_path_of_another_api(server: Prometheus) -> None:
    """Where a Prometheus is asked, and not written to, everything is held and nothing given up."""

    async def scenario() -> None:
        for path in ("query", "labels", "nowhere"):
            async with exporting(f"{server.url}/api/v1/{path}") as exporter:
                with pytest.raises(Unusable, match=r"path|remote writes"):
                    await exporter.send(exporter.prepare(request(push("x", now_ms(), 1, 0))), Deadline(CLOCK))

    asyncio.run(scenario())


def test_down_and_up_again(tmp_path: Path) -> None:
    """While it is down sending is to be tried again; what was taken before it was killed is still there."""

    async def scenario() -> None:
        began = now_ms() - 120_000
        with Prometheus(tmp_path) as server:
            async with exporting(server.write_url) as exporter:
                await send(exporter, request(push("x", began, 1, 0)))
                server.stop(how=9)
                one = exporter.prepare(request(push("x", began + 15_000, 2, 0)))
                with pytest.raises(Retryable, match="connect"):
                    await exporter.send(one, Deadline(CLOCK))
                server.start()
                assert await exporter.send(one, Deadline(CLOCK)) == Accepted()
            got = server.samples('shipper_requests_total{instance="x",outcome="ok"}', time.time())
            assert [[value for _, value in samples] for samples in got.values()] == [[1.0, 2.0]]

    asyncio.run(scenario())
