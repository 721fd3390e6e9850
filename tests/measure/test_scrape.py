"""Reading endpoints over real sockets: what answers, what hangs, what lies, and how often that is said."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, start_http_server

from shipper.events import Reporter
from shipper.measure.health import PATIENCE
from shipper.measure.scrape import Endpoint, ScrapeLimits
from shipper.testing.clock import START_WALL_NS, FakeClock
from tests.measure.measurekit import points

BIRTH = START_WALL_NS - 10**12
LIMITS = ScrapeLimits(timeout=5, max_body=100_000, max_samples=100)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def server() -> Iterator[tuple[str, Counter]]:
    """A service as it is written: prometheus_client's own server with one counter."""
    registry = CollectorRegistry()
    counter = Counter("jobs", "Jobs.", registry=registry)
    httpd, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield f"http://127.0.0.1:{httpd.server_port}/metrics", counter
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/metrics", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def endpoint(url: str, limits: ScrapeLimits = LIMITS) -> AsyncIterator[Endpoint]:
    clock = FakeClock()
    made = Endpoint(
        url,
        {"service.name": "shop"},
        interval=15,
        limits=limits,
        birth_ns=BIRTH,
        clock=clock,
        report=Reporter(clock),
    )
    try:
        yield made
    finally:
        await made.aclose()


async def values(target: Endpoint) -> dict[str, float]:
    return {point.name: point.value for point in points((await target.read()).payload)}


def refused(handler: Handler, limits: ScrapeLimits = LIMITS) -> dict[str, float]:
    async def main() -> dict[str, float]:
        async with serving(handler) as url, endpoint(url, limits) as target:
            return await values(target)

    return asyncio.run(main())


def test_a_service_is_read_as_it_counts(server: tuple[str, Counter]) -> None:
    """Its numbers come with the identity given, one look after the other, over the real client's server."""
    url, counter = server

    async def main() -> None:
        async with endpoint(url) as target:
            counter.inc(3)
            first = await target.read()
            counter.inc(4)
            assert await values(target) == {"jobs_total": 7, "shipper.scrape.up": 1}
        assert (first.points, first.metrics) == (2, 2)
        assert {point.resource["service.name"] for point in points(first.payload)} == {"shop"}

    asyncio.run(main())


def test_a_target_that_is_down_is_said_once_and_once_when_it_is_back(
    server: tuple[str, Counter], caplog: pytest.LogCaptureFixture
) -> None:
    """A service that is away for long does not fill the log; its health is a number, too."""
    url, _ = server
    caplog.set_level(logging.INFO, "shipper")

    async def main() -> None:
        async with endpoint(url) as target:
            assert (await values(target))["shipper.scrape.up"] == 1
            good, target._url = target._url, "http://127.0.0.1:1/metrics"
            for _ in range(5):
                assert await values(target) == {"shipper.scrape.up": 0}
            target._url = good
            assert (await values(target))["shipper.scrape.up"] == 1

    asyncio.run(main())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "cannot be read: " in said[0]
    assert "can be read again" in said[1]


def test_a_service_that_was_never_there_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """A sidecar starts first: only when nobody has come up for minutes is something wrong; in a drain, never."""

    async def main() -> None:
        async with endpoint("http://127.0.0.1:1/metrics") as target:
            assert (await target.read(last=True)).points == 0
            assert await values(target) == {"shipper.scrape.up": 0}
            assert not caplog.records
            assert isinstance(target._clock, FakeClock)
            target._clock.advance(PATIENCE)
            await values(target)
            await values(target)

    asyncio.run(main())
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_formats_are_asked_for_by_preference() -> None:
    """OpenMetrics first, because it tells when counters were created; no redirect is followed anywhere."""
    asked = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers["Accept"])
        return web.Response(
            body=b"# TYPE a gauge\na 1\n# EOF\n", headers={"Content-Type": "application/openmetrics-text"}
        )

    assert refused(handler)["a"] == 1
    assert asked[0].startswith("application/openmetrics-text;version=1.0.0")


def test_a_redirect_is_not_followed() -> None:
    """A service on this host cannot send us to the cloud's metadata address."""
    hits = []

    async def handler(request: web.Request) -> web.StreamResponse:
        hits.append(request.path_qs)
        raise web.HTTPFound("/metrics?again")

    assert refused(handler) == {"shipper.scrape.up": 0}
    assert hits == ["/metrics"]


@pytest.mark.parametrize("status", [404, 500, 204])
def test_an_error_status_is_no_exposition(status: int) -> None:
    """Only a 200 has numbers."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="" if status == 204 else "a 1\n")

    assert refused(handler) == {"shipper.scrape.up": 0}


def test_a_page_that_is_too_large_is_given_up_early() -> None:
    """An endless answer costs no more memory than the limit."""

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"# " + b"x" * 60_000 + b"\n")

    assert refused(handler) == {"shipper.scrape.up": 0}


def test_a_compressed_page_is_bounded_by_what_it_becomes() -> None:
    """A small body that decompresses to a large one is given up as well; an honest one is read."""

    def answer(text: bytes) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            headers = {"Content-Encoding": "gzip", "Content-Type": "text/plain"}
            return web.Response(body=gzip.compress(text), headers=headers)

        return handler

    assert refused(answer(b"a 1\n"))["a"] == 1
    assert refused(answer(b"# " + b"x" * 50_000_000 + b"\na 1\n")) == {"shipper.scrape.up": 0}


def test_a_page_that_never_ends_is_given_up_in_time() -> None:
    """A service that hangs holds up its own numbers only."""
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="a 1\n")

    async def main() -> None:
        async with serving(handler) as url, endpoint(url, ScrapeLimits(0.05, 1000, 10)) as target:
            assert await values(target) == {"shipper.scrape.up": 0}
            release.set()

    asyncio.run(main())


def test_a_broken_point_is_told_and_the_rest_is_read(caplog: pytest.LogCaptureFixture) -> None:
    """A page with one bad histogram is not thrown away, and not passed over in silence."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(text='# TYPE h histogram\nh_bucket{le="1"} 5\nh_bucket{le="+Inf"} 3\n# TYPE g gauge\ng 1\n')

    assert refused(handler) == {"g": 1, "shipper.scrape.up": 1}
    assert "1 points contradict themselves" in caplog.text
