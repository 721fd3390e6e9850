"""The sink keeps what comes as it came, and misbehaves as told, over a real socket and with a client that is not ours."""

from __future__ import annotations

import asyncio
import gzip
import http.client
from collections.abc import Awaitable, Callable

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from shipper.contracts import Signal
from shipper.intervals import IntervalSet
from shipper.testing.clock import FakeClock
from shipper.testing.sink import (
    Sink,
    accept,
    cut_off,
    hang_up,
    held,
    html,
    lie,
    never,
    not_http,
    partial,
    redirect,
    refuse,
)
from shipper.testing.streams import log_payload

Answered = tuple[int, http.client.HTTPMessage, bytes]


def post(sink: Sink, body: bytes, path: str = "/v1/logs", **headers: str) -> Awaitable[Answered]:
    """POST with the standard library's client, in a thread."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.to_thread(exchange, sink.port, "POST", path, body, named)


def get(sink: Sink, path: str) -> Awaitable[Answered]:
    return asyncio.to_thread(exchange, sink.port, "GET", path, None, {})


def exchange(port: int, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answered:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def with_sink(scenario: Callable[[Sink], Awaitable[None]], **options: str) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), Sink(**options) as sink:  # type: ignore[arg-type]
            await scenario(sink)

    asyncio.run(run())


def test_keeps_what_came() -> None:
    """Requests are kept as they came, and read as lines, keys and duplicates."""

    async def scenario(sink: Sink) -> None:
        first, second = log_payload(["a", "b"]), log_payload(["c"])
        listed = f"s:0-4:{len(first)}:2,t:8-10:{len(second)}:1"
        for _ in range(2):
            status, _, body = await post(
                sink, first + second, Shipper_Life="L", Shipper_Batches=listed, Idempotency_Key="k"
            )
            assert (status, body) == (200, b"")
        await post(sink, second)
        assert sink.lines() == ["a", "b", "c", "a", "b", "c", "c"]
        assert sink.keys() == ["L/s/0-4", "L/t/8-10"] * 2
        assert sink.duplicates() == {"L/s/0-4": 2, "L/t/8-10": 2}
        assert [request.key for request in sink.received] == ["k", "k", ""]

    with_sink(scenario)


def test_reads_gzip_with_several_members() -> None:
    """A compressed body is kept as it came and read decompressed, all members of it."""

    async def scenario(sink: Sink) -> None:
        wire = gzip.compress(log_payload(["a"])) + gzip.compress(log_payload(["b"]))
        await post(sink, wire, Content_Encoding="gzip")
        assert sink.received[0].wire == wire
        assert sink.lines() == ["a", "b"]

    with_sink(scenario)


def test_script_then_the_standing_answer() -> None:
    """Scripted answers are given in turn, one to a request; then it is the standing answer again."""

    async def scenario(sink: Sink) -> None:
        sink.script(refuse(503, "busy", retry_after="5"), redirect("/x"), html(), refuse(400, "no", json=True))
        sink.answer = lie()
        status, headers, body = await post(sink, b"")
        assert (status, headers["Retry-After"], b"busy" in body) == (503, "5", True)
        status, headers, _ = await post(sink, b"")
        assert (status, headers["Location"]) == (302, "/x")
        status, headers, body = await post(sink, b"")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert (await post(sink, b""))[2] == b'{"message": "no"}'
        assert (await post(sink, log_payload(["a"])))[0] == 200
        assert len(sink.received) == 5
        assert not sink.kept()

    with_sink(scenario)


def test_partial_success() -> None:
    """A partial success says how many and why, in OTLP."""

    async def scenario(sink: Sink) -> None:
        sink.script(partial(3, "too old"))
        message = ExportLogsServiceResponse.FromString((await post(sink, b""))[2])
        assert message.partial_success.rejected_log_records == 3
        assert message.partial_success.error_message == "too old"

    with_sink(scenario)


@pytest.mark.parametrize(
    ("answer", "error", "kept"),
    [
        (hang_up(), http.client.RemoteDisconnected, 0),
        (hang_up(keep=True), http.client.RemoteDisconnected, 1),
        (cut_off(), http.client.IncompleteRead, 1),
        (not_http(), http.client.BadStatusLine, 0),
    ],
)
def test_broken_answers(answer: object, error: type[Exception], kept: int) -> None:
    """A connection is closed before or in the middle of the answer, or something else than HTTP comes."""

    async def scenario(sink: Sink) -> None:
        sink.answer = answer  # type: ignore[assignment]
        with pytest.raises(error):
            await post(sink, log_payload(["a"]))
        assert len(sink.kept()) == kept

    with_sink(scenario)


def test_held_until_released() -> None:
    """A held answer comes when it is released, and the request is known to be there before."""

    async def scenario(sink: Sink) -> None:
        sink.answer = held()
        waiting = asyncio.ensure_future(post(sink, b""))
        await sink.until_received(1)
        assert not waiting.done()
        sink.release()
        assert (await waiting)[0] == 200

    with_sink(scenario)


def test_never_answers_until_it_goes_down() -> None:
    """A request that is never answered does not keep the sink from going down."""

    async def scenario(sink: Sink) -> None:
        sink.answer = never()
        waiting = asyncio.ensure_future(post(sink, b""))
        await sink.until_received(1)
        await sink.go_down()
        with pytest.raises(OSError, match=r"closed|reset|without"):
            await waiting

    with_sink(scenario)


def test_delay_and_slowness_are_of_its_clock() -> None:
    """Delay and slow reading take their time from the clock that was given."""

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), Sink(clock=clock, bytes_per_second=1000) as sink:
            sink.answer = accept(delay=5)
            began = clock.monotonic()
            waiting = asyncio.ensure_future(post(sink, b"\n\x00" * 1000))
            while not waiting.done():
                await clock.run(0.1)
            assert (await waiting)[0] == 200
            assert sink.received[0].at - began >= 2
            assert clock.monotonic() - began >= 7

    asyncio.run(run())


def test_down_and_up_on_the_same_port() -> None:
    """While down it refuses connections; up again it has its port and what it kept."""

    async def scenario(sink: Sink) -> None:
        await post(sink, log_payload(["before"]))
        url = sink.url
        await sink.go_down()
        await sink.go_down()
        with pytest.raises(ConnectionRefusedError):
            await post(sink, b"")
        await sink.come_up()
        await sink.come_up()
        await post(sink, log_payload(["after"]))
        assert sink.url == url
        assert sink.lines() == ["before", "after"]

    with_sink(scenario)


def test_gateway() -> None:
    """As a gateway it says so with every answer and tells what it has; otherwise it knows no such path."""

    async def scenario(sink: Sink) -> None:
        assert (await get(sink, "/shipper/v1/hello"))[0] == 404
        sink.gateway = "G"
        sink.intervals["L"] = {"s": IntervalSet([(0, 5)])}
        status, headers, body = await get(sink, "/shipper/v1/hello")
        assert (status, headers["Shipper-Gateway"]) == (200, "G")
        assert b'"role": "gateway"' in body
        assert (await get(sink, "/shipper/v1/lives/L/intervals"))[2] == b'{"streams": {"s": [[0, 5]]}}'
        assert (await get(sink, "/other"))[0] == 404
        assert (await post(sink, b""))[1]["Shipper-Gateway"] == "G"
        assert (await post(sink, b"", path="/v2/logs"))[0] == 404
        assert sink.asked[0] == "/shipper/v1/hello"

    with_sink(scenario)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_stock_exporter_is_served(compression: Compression) -> None:
    """OpenTelemetry's own exporter finds in the sink the server it expects, for success and for failure."""

    async def scenario(sink: Sink) -> None:
        def export(status: int) -> SpanExportResult:
            sink.answer = refuse(status) if status != 200 else accept()
            exporter = OTLPSpanExporter(f"{sink.url}/v1/traces", compression=compression, timeout=5)
            provider = TracerProvider(shutdown_on_exit=False)
            with provider.get_tracer("test").start_as_current_span("work") as span:
                pass
            assert isinstance(span, ReadableSpan)
            result = exporter.export([span])
            exporter.shutdown()  # type: ignore[no-untyped-call]
            return result

        assert await asyncio.to_thread(export, 200) is SpanExportResult.SUCCESS
        assert await asyncio.to_thread(export, 400) is SpanExportResult.FAILURE
        (request,) = sink.kept()
        assert request.signal is Signal.TRACES
        assert b"work" in request.body

    with_sink(scenario)
