"""What the OTLP exporter makes of every answer, and of every way in which there is none."""

from __future__ import annotations

import asyncio
import email.utils

import pytest

from shipper.contracts import Accepted, ExporterContext
from shipper.errors import DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.testing import sink as say
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.sink import Answer, Sink
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters.otlp_kit import failure, send, with_sink


def date_in(seconds: float) -> str:
    return email.utils.formatdate(START_WALL_NS / 1e9 + seconds, usegmt=True)


TEMPO = "exceeds ingestion limit (local: 5 bytes/s, global: 0 bytes/s, burst: 8 bytes) while adding 9 bytes for user a"
RELAYED = (  # as a Collector says that its own destination refused; the interesting part is not at the beginning
    f"Permanent error: rpc error: code = Unknown desc = error exporting items, "
    f"request to http://{'x' * 200}.example/v1/logs responded with HTTP Status Code"
)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (say.redirect("https://elsewhere.example/v1/logs"), Unusable, "302 Found, which leads to https://elsewhere"),
        (say.redirect("/login", 301), Unusable, "leads to /login"),
        (say.redirect("/v1/logs", 307), Unusable, "307"),
        (say.redirect("", 304), Unusable, "304 Not Modified"),
        (say.html(), Unusable, "not OTLP (an answer of type 'text/html'): <!DOCTYPE html>"),
        (say.raw(200, b"OK", "text/plain"), Unusable, "not OTLP"),
        (say.raw(200, b'{"partialSuccess": "no"}', "application/json"), Unusable, "partialSuccess is no JSON object"),
        (say.raw(200, b"\xff\xff", say.PROTOBUF), Unusable, "not OTLP"),
        (say.raw(200, b"\n" * 100_000, say.PROTOBUF), Unusable, "more than 65536 bytes"),
        (say.refuse(400, "bad\x1b[31m data\nhere"), Rejected, "400 Bad Request: bad [31m data here"),
        (say.refuse(400, "body: http: request body too large"), TooLarge, "too large"),
        (say.raw(400, b"Request Too Large", "text/plain"), TooLarge, "Too Large"),
        (say.refuse(400, "no such field", json=True), Rejected, "400 Bad Request: no such field"),
        (say.raw(400, b'{"error": "why"}', "application/json"), Rejected, '{"error": "why"}'),
        (say.html(400), Unusable, "a web page"),
        (say.raw(400, b"<html>400 Request Header Or Cookie Too Large</html>", "text/html"), TooLarge, "Too Large"),
        (say.raw(400, b"Client sent an HTTP request to an HTTPS server.\n", ""), Unusable, "begins with https://"),
        (
            say.raw(400, b"<center>The plain HTTP request was sent to HTTPS port</center>", "text/html"),
            Unusable,
            "https://",
        ),
        (say.refuse(401), Unusable, "401 Unauthorized"),
        (say.refuse(403), Unusable, "403 Forbidden"),
        (say.refuse(404), Unusable, "404 Not Found"),
        (say.refuse(405), Unusable, "405"),
        (say.refuse(407), Unusable, "407"),
        (say.refuse(408), Retryable, "408"),
        (say.refuse(402, "your trial is over"), Unusable, "402 Payment Required: your trial is over"),
        (say.refuse(409), Unusable, "409"),
        (say.refuse(410), Unusable, "410"),
        (say.refuse(421), Unusable, "421"),
        (say.refuse(451), Unusable, "451"),
        (say.refuse(413), TooLarge, "413"),
        (say.refuse(406), Unusable, "406"),
        (say.refuse(415), Unusable, "415"),
        (say.refuse(422), Rejected, "422"),
        (say.refuse(425), Retryable, "425"),
        (say.refuse(429, "slow down"), Retryable, "429 Too Many Requests: slow down"),
        (say.refuse(431), TooLarge, "431"),
        (say.refuse(500), Retryable, "500"),
        (say.refuse(500, f"{RELAYED} 413, Message=no"), TooLarge, "500 Internal Server Error: Permanent error"),
        (say.refuse(500, f"{RELAYED} 422, Message=no"), Rejected, "500 Internal Server Error: Permanent error"),
        (say.refuse(500, f"{RELAYED} 415, Message=no"), Retryable, "500"),
        (say.refuse(500, f"{RELAYED} 500, Message=413"), Retryable, "500"),
        (say.refuse(503, f"{RELAYED} 413"), Retryable, "503"),
        (say.refuse(429, "grpc: received message larger than max (5 vs. 4)"), TooLarge, "429"),
        (say.refuse(429, "grpc: received message after decompression larger than max 4"), TooLarge, "429"),
        (say.refuse(429, f"RATE_LIMITED: batch size (9 bytes) {TEMPO}"), TooLarge, "429"),
        (say.refuse(429, "RATE_LIMITED: ingestion rate limit (local: 5 bytes/s) exceeded"), Retryable, "429"),
        (say.html(502), Retryable, "502"),
        (say.refuse(503, "spool is full"), Retryable, "503 Service Unavailable: spool is full"),
        (say.refuse(504), Retryable, "504"),
        (say.refuse(599), Retryable, "answered 599"),
        (say.cut_off(), Retryable, "in the middle of its answer"),
        (say.hang_up(), Retryable, "without an answer"),
        (say.not_http(), Unusable, "does not speak HTTP"),
    ],
)
def test_answers(answer: Answer, error: type[DeliveryError], words: str) -> None:
    """Every answer that is no acknowledgement is raised as what it means, saying what was answered and by whom."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        sink.answer = answer
        raised = await failure(exporter, clock)
        assert isinstance(raised, error)
        assert words in str(raised)
        assert str(raised).startswith(f"{sink.url}/v1/logs")
        assert str(raised).isprintable()
        assert len(str(raised)) < 600

    with_sink(scenario)


@pytest.mark.parametrize("status", [400, 422])
def test_bad_content_is_isolated(status: int) -> None:
    """Halving to find an offender is asked for by statuses that speak of the content."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        sink.answer = say.refuse(status)
        raised = await failure(exporter, clock)
        assert isinstance(raised, Rejected)
        assert raised.isolate

    with_sink(scenario)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("1", 1.0),
        ("3600", 3600.0),
        ("0", 0.0),
        (date_in(90), 90.0),
        (date_in(-90), 0.0),
        ("9" * 300, 86_400.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("١", None),
    ],
)
def test_retry_after(status: int, header: str, wait: float | None) -> None:
    """Retry-After is taken in seconds or as a date; nonsense is as if it were not there, and a day is the most."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        sink.answer = say.refuse(status, retry_after=header)
        raised = await failure(exporter, clock)
        assert isinstance(raised, Retryable)
        assert raised.wait == (None if wait is None else pytest.approx(wait, abs=1))

    with_sink(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        Answer(status=202),
        Answer(body=b"{}", content_type="application/json"),
        Answer(body=b"", content_type="text/html"),
        Answer(status=204, body=b"", content_type="text/plain"),
    ],
)
def test_acknowledgements(answer: Answer) -> None:
    """An OTLP response, or an empty one, with any status of success acknowledges everything."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        sink.answer = answer
        assert await send(exporter, clock) == Accepted()

    with_sink(scenario)


def test_partial_success() -> None:
    """Records rejected in a partial success are counted, never more than were sent; a warning rejects none."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        request = log_request(log_batch(["a", "b", "c"]))
        sink.script(say.partial(2, "too old"), say.partial(10**9), say.partial(0, "use\nthe new path"))
        assert await send(exporter, clock, request) == Accepted(2, "too old")
        assert await send(exporter, clock, request) == Accepted(3, "")
        assert await send(exporter, clock, request) == Accepted(0, "use the new path")

    with_sink(scenario)


def test_redirects_are_not_followed() -> None:
    """Nothing is sent to where a redirect leads, and nothing counts as delivered."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        async with Sink() as other:
            sink.answer = say.redirect(other.url + "/v1/logs", 308)
            assert isinstance(await failure(exporter, clock), Unusable)
            assert not other.received
            assert not other.asked

    with_sink(scenario)


def test_refused_connection() -> None:
    """A destination that is down is tried again."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        await sink.go_down()
        raised = await failure(exporter, clock)
        assert isinstance(raised, Retryable)
        assert "cannot connect" in str(raised)
        await sink.come_up()
        assert await send(exporter, clock) == Accepted()

    with_sink(scenario)


def test_unknown_host() -> None:
    """A name that does not resolve is tried again, and said."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        raised = await failure(exporter, clock)
        assert isinstance(raised, Retryable)
        assert "cannot be resolved" in str(raised)
        assert not exporter.trusted()

    with_sink(scenario, endpoint="http://no-such-host.invalid:4318")


def test_no_answer() -> None:
    """A request that stands still for the time-out is given up as retryable."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        sink.answer = say.never()
        task = asyncio.create_task(failure(exporter, clock))
        await sink.until_received(1)
        await clock.run(2.9)
        assert not task.done()
        await clock.run(0.2)
        raised = await task
        assert isinstance(raised, Retryable)
        assert "no answer for 3 s" in str(raised)

    with_sink(scenario, timeout=3.0)


def test_slow_link_is_not_cut() -> None:
    """A large request over a slow link takes longer than the time-out, and arrives, because it keeps moving."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        await sink.go_down()
        sink.bytes_per_second = 1_000_000
        await sink.come_up()
        task = asyncio.create_task(send(exporter, clock, log_request(log_batch(["x" * 12_000_000]))))
        began = clock.monotonic()
        while not task.done():
            await clock.run(0.01)
        assert await task == Accepted()
        assert clock.monotonic() - began > 11

    with_sink(scenario, timeout=3.0, compression="none")


def test_closed_kept_connection_is_not_a_failure() -> None:
    """A kept connection that is closed just as it is used again costs nothing but a new connection."""

    async def scenario(exporter: OtlpExporter, sink: Sink, clock: FakeClock) -> None:
        await send(exporter, clock)
        sink.script(say.hang_up())
        assert await send(exporter, clock) == Accepted()
        assert len(sink.received) == 3
        assert sink.received[1].wire == sink.received[2].wire
        sink.script(say.hang_up(), say.hang_up())
        assert isinstance(await failure(exporter, clock), Retryable)

    with_sink(scenario)


def test_early_refusal_of_a_large_body() -> None:
    """A server that answers 413 without reading the body, and closes, is understood."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> None:
        clock = FakeClock()
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/logs"
            settings = OtlpSettings(logs_endpoint=url, compression="none")
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            with pytest.raises(TooLarge):
                await send(exporter, clock, log_request(log_batch(["x" * 200_000])))
            await exporter.aclose()

    asyncio.run(run())
