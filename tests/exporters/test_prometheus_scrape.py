"""Who may scrape, what a scrape acknowledges, and what is said when nobody comes."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import ConfigError, Rejected, Retryable, Unusable
from shipper.pump.load import make_exporter
from shipper.testing.clock import FakeClock
from shipper_exporters._prometheus import scrape_server
from shipper_exporters.prometheus_scrape import PrometheusScrapeExporter, PrometheusScrapeSettings
from tests.exporters.metrickit import LIFE, counter, exponential, gauge, payload, request

NOW = 1_700_000_000_000
CERTIFICATE = Path(__file__).with_name("self_signed.pem")


def context() -> ExporterContext:
    return ExporterContext(FakeClock(), LIFE, 1, "Shipper/1.2")


@asynccontextmanager
async def showing(**settings: Any) -> AsyncIterator[PrometheusScrapeExporter]:
    exporter = PrometheusScrapeExporter(
        "scraped", PrometheusScrapeSettings(**{"listen": "127.0.0.1:0", **settings}), context()
    )
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


def sending(exporter: PrometheusScrapeExporter, *payloads: bytes, seconds: float = 60) -> asyncio.Task[Accepted]:
    prepared = exporter.prepare(request(*(payloads or (payload(gauge("g", 1.0, NOW)),))))
    return asyncio.create_task(exporter.send(prepared, Deadline.after(exporter._clock, seconds)))


async def scrape(
    exporter: PrometheusScrapeExporter, headers: Mapping[str, str] = {}, *, path: str = "/metrics", **more: Any
) -> tuple[int, str, Mapping[str, str]]:
    """Status, text and headers of one look."""
    assert exporter.address is not None
    host, port = exporter.address
    scheme = "https" if more else "http"
    async with aiohttp.ClientSession(headers=headers, auto_decompress=False) as session:
        async with session.get(f"{scheme}://{host}:{port}{path}", **more) as answer:
            body = await answer.read()
            text = gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body
            return answer.status, text.decode(), answer.headers


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_scrape_acknowledges() -> None:
    """What was shown to a scraper is acknowledged then, all of it that was there before the scrape, and not earlier."""

    async def scenario() -> None:
        async with showing() as exporter:
            sends = [sending(exporter, payload(gauge("g", float(n), NOW + n))) for n in range(3)]
            await settle()
            assert not any(send.done() for send in sends)
            status, text, headers = await scrape(exporter)
            assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
            assert text.splitlines()[-1].endswith(" 2.0")
            assert await asyncio.gather(*sends) == [Accepted()] * 3

    asyncio.run(scenario())


def test_what_is_no_scrape() -> None:
    """A look at another path, a HEAD, or a connection that breaks off in the middle acknowledges nothing."""

    async def scenario() -> None:
        async with showing() as exporter:
            flood = [gauge("g", 1.0, NOW, n=n, pad="x" * 8000) for n in range(2000)]  # more than sockets hold
            send = sending(exporter, payload(*flood))
            assert (await scrape(exporter, path="/"))[0] == 404
            assert exporter.address is not None
            async with aiohttp.ClientSession() as session:
                async with session.head("http://{}:{}/metrics".format(*exporter.address)) as answer:
                    assert answer.status == 405
            reader, writer = await asyncio.open_connection(*exporter.address)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.transport.abort()
            assert (await scrape(exporter, path="/"))[0] == 404
            assert not send.done()
            await scrape(exporter)
            assert await send == Accepted()

    asyncio.run(scenario())


def test_nobody_comes() -> None:
    """Without a scrape a request fails in the end, is not lost, and is acknowledged by the scrape that comes later."""

    async def scenario() -> None:
        async with showing(timeout=30.0) as exporter:
            clock = exporter._clock
            assert isinstance(clock, FakeClock)
            prepared = exporter.prepare(request(payload(counter("hits", 3, NOW, temporality=1))))
            for _ in range(2):
                send = asyncio.create_task(exporter.send(prepared, Deadline(clock)))
                await settle()
                await clock.run(31)
                with pytest.raises(Retryable, match=r"nobody scraped .* for 30 s"):
                    await send
            send = asyncio.create_task(exporter.send(prepared, Deadline(clock)))
            await settle()
            _, text, _ = await scrape(exporter)
            assert text.splitlines()[-1].endswith(" 3.0"), "what counts since the last point was added once"
            assert await send == Accepted()

    asyncio.run(scenario())


def test_openmetrics_and_compression() -> None:
    """Who asks for OpenMetrics or gzip gets it."""

    async def scenario() -> None:
        async with showing() as exporter:
            send = sending(exporter, payload(*(gauge("g", 1.0, NOW, n=n) for n in range(50))))
            await settle()
            asked = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip, deflate"}
            _, text, headers = await scrape(exporter, asked)
            assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert headers["Content-Encoding"] == "gzip"
            assert text.endswith("# EOF\n")
            await send

    asyncio.run(scenario())


def test_what_cannot_be_shown_is_counted() -> None:
    """What has no place in a text is counted as rejected; a request of nothing else waits for no scrape; bytes are refused."""

    async def scenario() -> None:
        async with showing() as exporter:
            nothing = await sending(exporter, payload(counter("f", 1, NOW, temporality=0)))
            assert (nothing.rejected, "since when" in nothing.message) == (1, True)
            send = sending(exporter, payload(exponential("e", NOW, [1]), gauge("g", 1.0, NOW)))
            await settle()
            await scrape(exporter)
            answer = await send
            assert (answer.rejected, "exponential" in answer.message) == (1, True)
            (batch,) = (whole := request(payload(gauge("g", 1.0, NOW)))).batches
            with pytest.raises(Rejected):
                exporter.prepare(replace(whole, batches=(replace(batch, payload=batch.payload[:-3]),)))

    asyncio.run(scenario())


def test_a_token(tmp_path: Path) -> None:
    """With a token only who sends it sees anything, as the file says it now; without the file nobody does."""
    file = tmp_path / "token"
    file.write_text("one\n")

    async def scenario() -> None:
        async with showing(token_file=str(file)) as exporter:
            send = sending(exporter)
            await settle()
            for headers in ({}, {"Authorization": "Bearer two"}, {"Authorization": "Basic one"}):
                status, text, _ = await scrape(exporter, headers)
                assert (status, "g{" in text) == (401, False)
            file.unlink()
            assert (await scrape(exporter, {"Authorization": "Bearer one"}))[0] == 503
            file.write_text("another\n")
            assert not send.done()
            assert (await scrape(exporter, {"Authorization": "Bearer another"}))[0] == 200
            await send

    asyncio.run(scenario())


def test_tls(tmp_path: Path) -> None:
    """With a certificate it is served by TLS; one that cannot be used is said, and everything is held."""
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE

    async def scenario() -> None:
        async with showing(cert_file=str(CERTIFICATE), key_file=str(CERTIFICATE)) as exporter:
            send = sending(exporter)
            await settle()
            assert (await scrape(exporter, ssl=tls))[0] == 200
            await send
        async with showing(cert_file=str(CERTIFICATE), key_file=str(tmp_path / "none")) as exporter:
            with pytest.raises(Unusable, match="certificate"):
                await sending(exporter)

    asyncio.run(scenario())


def test_a_port_that_is_taken() -> None:
    """Where it cannot listen everything is held, and it goes on once the port is free."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            exporter = PrometheusScrapeExporter("s", PrometheusScrapeSettings(listen=f"127.0.0.1:{port}"), context())
            await exporter.start()
            assert exporter.address is None
            with pytest.raises(Unusable, match=f"cannot listen on 127.0.0.1:{port}"):
                await sending(exporter)
        send = sending(exporter)
        while exporter.address is None:  # noqa: ASYNC110 - it listens as soon as the task runs
            await asyncio.sleep(0)
        await scrape(exporter)
        await send
        await exporter.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize(("peer", "trusted"), [("192.0.2.7", True), ("127.0.0.1", False)])
def test_whom_it_trusts(peer: str, trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scraper on this host is a local relay; one on another machine is not."""

    async def scenario() -> None:
        async with showing() as exporter:
            assert not exporter.trusted()
            send = sending(exporter)
            await settle()
            note = scrape_server.ScrapeServer._note
            monkeypatch.setattr(scrape_server.ScrapeServer, "_note", lambda self, _: note(self, peer))
            await scrape(exporter)
            await send
            assert exporter.trusted() is trusted
        said = PrometheusScrapeExporter("s", PrometheusScrapeSettings(trust_local=True), context())
        assert said.trusted()
        assert said.describe() == "shown to scrapers at http://127.0.0.1:9479/metrics"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"listen": "9479"}, "listen"),
        ({"listen": "127.0.0.1:99999"}, "listen"),
        ({"listen": "0.0.0.0:9479"}, "listen"),
        ({"listen": "0.0.0.0:9479", "token_file": "t"}, "listen"),
        ({"listen": "127.0.0.1:9479", "cert_file": "c"}, "listen"),
        ({"path": "metrics"}, "path"),
        ({"path": "/"}, "path"),
        ({"timeout": "0s"}, "timeout"),
        ({"expire_after": "0s"}, "expire_after"),
        ({"external_labels": {"a-b": "x"}}, "external_labels.a-b"),
        ({"max_serie": 5}, "max_serie"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, Any], path: str) -> None:
    """A setting that cannot work, or would show a host's numbers to the world, is said with its path."""
    with pytest.raises(ConfigError) as caught:
        make_exporter("prometheus-scrape", "s", options, context(), where="destinations.s")
    assert caught.value.path.startswith("destinations.s")
    assert path in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"listen": "0.0.0.0:9479", "insecure": True}, {"listen": "[::1]:9479"}, {"listen": "localhost:9479"}],
)
def test_settings_that_work(options: dict[str, Any]) -> None:
    """Loopback needs nothing, any other address TLS and a token or a word that it is meant so."""
    make_exporter("prometheus-scrape", "s", options, context(), where="destinations.s")
