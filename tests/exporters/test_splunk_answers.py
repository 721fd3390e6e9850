"""What each answer of a HTTP Event Collector means, and what is done about events that it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Prepared
from shipper.errors import ConfigError, DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.pump.load import make_exporter
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._splunk.answers import CLOUD_LIMIT
from shipper_exporters._splunk.journey import HOPELESS
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.exporters.splunk_hec import TOKEN, HecServer, Say, code


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_HEC_TOKEN", TOKEN)


@asynccontextmanager
async def exporting(
    server: HecServer, clock: FakeClock | None = None, **settings: Any
) -> AsyncIterator[SplunkExporter]:
    options = {"endpoint": server.url, "acknowledgement": server.use_ack, **settings}
    context = ExporterContext(clock or FakeClock(), LIFE, 1, "Shipper/1.2")
    exporter = SplunkExporter("splunk", SplunkSettings(**options), context)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


def prepared(exporter: SplunkExporter, lines: Sequence[str]) -> Prepared:
    return exporter.prepare(log_request(log_batch(lines)))


async def send(exporter: SplunkExporter, *lines: str) -> Accepted:
    deadline = Deadline.after(exporter._context.clock, 60)
    return await exporter.send(prepared(exporter, lines or ("line",)), deadline)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for comes by a socket and has no event of its own
        await asyncio.sleep(0)


def texts(server: HecServer) -> list[str]:
    return [event["event"] for event in server.indexed]


PAGE = b"<!doctype html><html><body>Sign in</body></html>"


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (code(1), Unusable, "Token disabled"),
        (Say(400, b'{"text": [], "code": [6]}', "application/json"), Rejected, "400"),
        (Say(503, b'{"text": {}, "code": {}}', "application/json"), Retryable, "503"),
        (code(2), Unusable, "proxy"),
        (code(3), Unusable, "Invalid authorization"),
        (code(4), Unusable, "Invalid token"),
        (code(5), Unusable, "take the body away"),
        (code(6, invalid=0), Rejected, "Invalid data format"),
        (code(6), Rejected, "Invalid data format"),
        (code(7, invalid=1), Unusable, "index"),
        (code(8), Retryable, "Internal server error"),
        (code(9, headers={"Retry-After": "7"}), Retryable, "Server is busy"),
        (code(10), Unusable, "X-Splunk-Request-Channel"),
        (code(11), Retryable, "Invalid data channel"),
        (code(12, invalid=0), Rejected, "Event field is required"),
        (code(13, invalid=0), Rejected, "cannot be blank"),
        (code(14), Unusable, "acknowledgement: false"),
        (code(15, invalid=0), Rejected, "indexed fields"),
        (code(16), Unusable, "query"),
        (code(17), Unusable, "health"),
        (code(18), Retryable, "queues are full"),
        (code(19), Retryable, "ack service"),
        (code(20), Retryable, "queues are full"),
        (code(21), Unusable, "Invalid token"),
        (code(22), Unusable, "Token disabled"),
        (code(23), Retryable, "shutting down"),
        (code(26, headers={"Retry-After": "7"}), Retryable, "at capacity"),
        (code(27), Retryable, "ACK channel is at capacity"),
        (code(28), Unusable, "sticky"),
        (Say(413, b"Content-Length of 9 too large (maximum is 5)", "text/plain"), TooLarge, "maximum is 5"),
        (Say(503, PAGE, "text/html"), Retryable, "503"),
        (Say(429, b"slow down", "text/plain"), Retryable, "429"),
        (Say(200, PAGE, "text/html"), Unusable, "HTTP Event Collector"),
        (Say(200, b"OK", "text/plain"), Unusable, "HTTP Event Collector"),
        (Say(200, b'{"text":"fine"}'), Unusable, "HTTP Event Collector"),
        (Say(302, b"", headers={"Location": "https://elsewhere/login"}), Unusable, "https://elsewhere/login"),
        (Say(404, b'{"text":"The requested URL was not found on this server.","code":404}'), Unusable, "not found"),
        (Say(405, b"", "text/plain"), Unusable, "405"),
        (Say(415, PAGE, "text/html"), Unusable, "415"),
        (Say(400, b'"Unsupported log event"'), Rejected, "Unsupported log event"),
        (Say(400, b"[" * 100_000), Rejected, "400"),
    ],
    ids=lambda value: value.body.decode()[:60] if isinstance(value, Say) else None,
)
def test_answers(answer: Say, error: type[DeliveryError], words: str) -> None:
    """What passes is tried again, what a person can mend holds everything, what is about an event is told from both."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server) as exporter:
            server.answer = answer
            with pytest.raises(error) as caught:
                await send(exporter)
            assert words in str(caught.value)
            assert TOKEN not in str(caught.value)
            if isinstance(caught.value, Retryable) and answer.headers:
                assert caught.value.wait == 7

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [24, 25])
def test_nearly_full_is_taken(number: int) -> None:
    """A collector whose queues are nearly full has taken the events all the same."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server) as exporter:
            server.script(code(number))
            assert await send(exporter) == Accepted()

    asyncio.run(scenario())


@pytest.mark.parametrize("use_ack", [False, True])
def test_refused_events_are_left_out(use_ack: bool) -> None:
    """Of a batch the events that are refused are counted by their reason, and each of the others is there once."""

    async def scenario() -> None:
        async with HecServer(use_ack=use_ack) as server, exporting(server, clock := FakeClock()) as exporter:
            server.refuses = lambda event: {"bad": 6, "worse": 15}.get(event["event"], 0)
            sending = asyncio.create_task(send(exporter, "a", "bad", "b", "c", "worse", "bad", "d"))
            while not sending.done():
                await clock.run(0.25 if server.unasked else 0)
                await asyncio.sleep(0)
            answer = await sending
            assert answer.rejected == 3
            assert "2 x " in answer.message
            assert "indexed fields" in answer.message
            assert texts(server) == ["a", "b", "c", "d"]

    asyncio.run(scenario())


def test_nothing_but_refused_events() -> None:
    """A request of which each event was refused by itself is rejected, and halving it would tell nothing."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server) as exporter:
            server.refuses = lambda event: 6
            with pytest.raises(Rejected) as caught:
                await send(exporter, *map(str, range(HOPELESS - 1)))
            assert not caught.value.isolate
            with pytest.raises(Rejected) as caught:
                await send(exporter, *map(str, range(10 * HOPELESS)))
            assert caught.value.isolate
            assert len(server.posts) == HOPELESS - 1 + HOPELESS

    asyncio.run(scenario())


def test_a_receiver_that_names_no_event() -> None:
    """Where the refused event is not named, a request of which nothing is there is left to the caller to halve."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server) as exporter:
            server.answer = Say(400, b'{"text":"Invalid data format","code":6}')
            with pytest.raises(Rejected) as caught:
                await send(exporter, "a", "b")
            assert caught.value.isolate
            assert len(server.posts) == 1

    asyncio.run(scenario())


def test_bodies_are_no_larger_than_taken() -> None:
    """A request is cut between events into bodies that the collector takes, and each event is there once, in order."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server, max_content_length=2000) as exporter:
            server.max_content_length = 2000
            lines = [f"{number} {'x' * 300}" for number in range(30)]
            assert await send(exporter, *lines) == Accepted()
            assert texts(server) == lines
            assert 5 < len(server.posts) < 12

    asyncio.run(scenario())


def test_too_large_after_some_of_it_is_there() -> None:
    """When a later body is too large, it alone is halved, and a single event that still is, is counted."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server, max_content_length=1500) as exporter:
            server.max_content_length = 1500
            small = ["a" * 500, "b" * 500]
            lines = [*small, *small, "x" * 1900, "last"]
            answer = await send(exporter, *lines)
            assert (answer.rejected, "too large" in answer.message) == (1, True)
            assert texts(server) == [*small, *small, "last"]

    asyncio.run(scenario())


def test_splunk_cloud_says_too_large_in_its_own_way() -> None:
    """Splunk Cloud calls a large body's first event invalid; that is taken for what it is, and no event is given up."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server, max_content_length=16 << 20) as exporter:
            server.answer = code(6, invalid=0)
            with pytest.raises(TooLarge):
                await send(exporter, *("x" * 500_000 for _ in range(1 + CLOUD_LIMIT // 500_000)))

    asyncio.run(scenario())


def test_what_was_taken_is_not_sent_again() -> None:
    """After a fault in the middle of a request only what is not there yet is sent."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server, max_content_length=1024) as exporter:
            lines = ["a" * 700, "b" * 700, "c" * 700]
            request = prepared(exporter, lines)
            deadline = Deadline.after(exporter._context.clock, 60)
            assert len(request.body.parts) == 3
            for fault in (code(9), code(4)):
                taken = len(server.kept)
                _after_one(server, fault)
                with pytest.raises((Retryable, Unusable)) as caught:
                    await exporter.send(request, deadline)
                assert len(server.kept) == taken + 1
                assert not getattr(caught.value, "unsent", False)
            assert await exporter.send(request, deadline) == Accepted()
            assert texts(server) == lines

    asyncio.run(scenario())


def _after_one(server: HecServer, fault: Say) -> None:
    """The next request is taken, the one behind it is answered so."""

    def once(event: dict[str, Any]) -> int:
        server.refuses = lambda event: 0
        server.script(fault)
        return 0

    server.refuses = once


def test_not_sent_to_while_its_queues_are_full() -> None:
    """A collector that says at start that it is unwell gets nothing until it says that it is well."""

    async def scenario() -> None:
        clock = FakeClock()
        async with HecServer() as server:
            server.health = code(18)
            async with exporting(server, clock) as exporter:
                await until(lambda: exporter._unwell is not None)
                with pytest.raises(Retryable, match="queues are full"):
                    await send(exporter)
                assert not server.posts
                server.health = code(17)
                clock.advance(1)
                await until(lambda: exporter._unwell is None)
                assert await send(exporter) == Accepted()

    asyncio.run(scenario())


def test_token_is_read_again(tmp_path: Path) -> None:
    """A token stands in a file and counts as it is now; a revoked one holds everything, and nothing is lost."""
    secret = tmp_path / "token"
    secret.write_text("wrong\n")

    async def scenario() -> None:
        async with HecServer() as server, exporting(server, token_file=str(secret)) as exporter:
            request = prepared(exporter, ["a"])
            with pytest.raises(Unusable, match="Invalid token"):
                await exporter.send(request, Deadline.after(exporter._context.clock, 60))
            secret.write_text(f"{TOKEN}\n")
            assert await exporter.send(request, Deadline.after(exporter._context.clock, 60)) == Accepted()
            assert texts(server) == ["a"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "endpoint"),
        ({"endpoint": "splunk.example"}, "endpoint"),
        ({"endpoint": "https://u:p@splunk.example:8088"}, "endpoint"),
        ({"endpoint": "https://splunk.example:8088/?token=secret"}, "endpoint"),
        ({"endpoint": "https://splunk.example:8088/services/collector/event"}, "endpoint"),
        (
            {"endpoint": "https://splunk.example:8088", "headers": {"authorization": "Splunk x"}},
            "headers.authorization",
        ),
        ({"endpoint": "https://splunk.example:8088", "ack_interval": 0}, "ack_interval"),
        ({"endpoint": "https://splunk.example:8088", "api": "raw", "metrics_index": "m"}, "api"),
        ({"endpoint": "https://splunk.example:8088", "indx": "m"}, "indx"),
    ],
)
def test_wrong_settings(options: dict[str, Any], path: str) -> None:
    """What cannot work is said with the option's path before anything is sent."""
    context = ExporterContext(FakeClock(), LIFE, 1, "test")
    with pytest.raises(ConfigError) as caught:
        make_exporter("splunk", "splunk", options, context, where="destinations.splunk")
    assert path in str(caught.value)
    assert "secret" not in str(caught.value)


def test_no_token_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token there is nothing that HEC would take."""
    monkeypatch.delenv("SPLUNK_HEC_TOKEN")
    context = ExporterContext(FakeClock(), LIFE, 1, "test")
    with pytest.raises(ConfigError, match="SPLUNK_HEC_TOKEN"):
        SplunkExporter("splunk", SplunkSettings(endpoint="https://splunk.example:8088"), context)


@pytest.mark.parametrize("path", ["", "/", "/services/collector", "/services/collector/"])
def test_endpoint_with_and_without_its_path(path: str) -> None:
    """The collector's path may be part of the endpoint or not, also behind a proxy's prefix."""
    context = ExporterContext(FakeClock(), LIFE, 1, "test")
    for prefix in ("", "/splunk", "/of%2Fteam"):
        settings = SplunkSettings(endpoint=f"https://splunk.example:8088{prefix}{path}")
        exporter = SplunkExporter("splunk", settings, context)
        assert str(exporter._hec.base) == f"https://splunk.example:8088{prefix}/services/collector"


@pytest.mark.parametrize("use_ack", [False, True])
def test_raw_endpoint(use_ack: bool) -> None:
    """Texts go to the raw endpoint with where they belong, and are halved there, too, when they are too much."""

    async def scenario() -> None:
        clock = FakeClock()
        async with HecServer(use_ack=use_ack) as server, exporting(server, clock, api="raw", index="main") as exporter:
            sending = asyncio.create_task(send(exporter, "a", "b\tc"))
            while not sending.done():
                await clock.run(0.25 if server.unasked else 0)
                await asyncio.sleep(0)
            assert await sending == Accepted()
            assert [line for _, line in server.raw] == ["a", "b\tc"]
            query = server.raw[0][0]
            assert query["index"] == "main"
            assert query["source"] == "test"
            server.max_content_length = 10
            with pytest.raises(TooLarge):
                await send(exporter, "x" * 20)

    asyncio.run(scenario())


def test_a_later_raw_body_is_halved() -> None:
    """Of raw texts, too, only what is too large by itself is counted, once some of the request is there."""

    async def scenario() -> None:
        async with HecServer() as server, exporting(server, api="raw", max_content_length=1024) as exporter:
            server.max_content_length = 900
            small, large = "s" * 800, "x" * 950
            answer = await send(exporter, small, "a" * 500, "b" * 500, large, "last")
            assert answer.rejected == 1
            assert [line for _, line in server.raw] == [small, "a" * 500, "b" * 500, "last"]

    asyncio.run(scenario())
