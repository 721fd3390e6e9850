"""What the OTLP exporter sends over gRPC, and what it makes of every status and of every way in which a call can fail."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as Detail
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.errors import ConfigError, DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.intervals import IntervalSet
from shipper.otlp.answer import encode_response
from shipper.sources.listen import ListenSettings
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._otlp.answers import Busy
from shipper_exporters._otlp.grpc_answers import retry_info
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters.grpc_sink import EXPORTS, PAGE, Answer, GrpcSink, fault, says
from tests.exporters.otlp_kit import exporting, failure, send
from tests.sources.receiver_kit import gateway

Scenario = Callable[[OtlpExporter, GrpcSink, FakeClock], Awaitable[None]]


def with_sink(scenario: Scenario, *, window: int = 1 << 20, life: str = "", **options: Any) -> None:
    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), GrpcSink(window=window, gateway=life) as sink:
            async with exporting(clock, **{"endpoint": sink.url, "protocol": "grpc", **options}) as exporter:
                await scenario(exporter, sink, clock)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (says(1), Busy, "CANCELLED"),
        (says(2, "who knows"), Busy, "UNKNOWN: who knows"),
        (says(3, "bad%20data%0A\x1b"), Rejected, "INVALID_ARGUMENT: bad data"),
        (says(4), Busy, "DEADLINE_EXCEEDED"),
        (says(5), Unusable, "NOT_FOUND"),
        (says(6), Rejected, "ALREADY_EXISTS"),
        (says(7), Unusable, "PERMISSION_DENIED"),
        (says(8, "quota exceeded"), Busy, "RESOURCE_EXHAUSTED: quota exceeded"),
        (says(8, "grpc: received message larger than max (5000000 vs. 4194304)"), TooLarge, "larger than max"),
        (says(8, "grpc: received message after decompression larger than max 4194304"), TooLarge, "larger than max"),
        (says(8, "SERVER: Received message larger than max (5 vs. 4)"), TooLarge, "larger than max"),
        (says(8, "gRPC message exceeds maximum size 4194304: 5000000"), TooLarge, "exceeds maximum"),
        (says(8, "Received message exceeds the maximum configured message size."), TooLarge, "exceeds the maximum"),
        (says(8, "the message is larger than the limit of 20 bytes"), TooLarge, "larger than the limit"),
        (says(11, "Error, decoded message length too large: found 5 bytes, the limit is: 4"), TooLarge, "too large"),
        (says(11), Busy, "OUT_OF_RANGE"),
        (says(9), Rejected, "FAILED_PRECONDITION"),
        (says(10), Busy, "ABORTED"),
        (says(12, "unknown service"), Unusable, "UNIMPLEMENTED: unknown service"),
        (says(12, 'grpc: Decompressor is not installed for grpc-encoding "zstd"'), Unusable, "this compression"),
        (says(13, "Error parsing 'grpc-encoding' metadata"), Unusable, "this compression"),
        (says(13, "boom"), Busy, "INTERNAL: boom"),
        (says(13, "grpc: error unmarshalling request: proto: cannot parse"), Rejected, "unmarshalling"),
        (says(14, "no connection"), Retryable, "UNAVAILABLE: no connection"),
        (says(15), Busy, "DATA_LOSS"),
        (says(16, "token expired"), Unusable, "UNAUTHENTICATED: token expired"),
        (says(99), Busy, "status 99"),
        (says(2, "Permanent error: responded with HTTP Status Code 413, Message=no"), TooLarge, "413"),
        (says(2, "Permanent error: responded with HTTP Status Code 422, Message=no"), Rejected, "422"),
        (PAGE, Unusable, "not gRPC (text/html): <html>Sign in"),
        (Answer(None, status=404, content_type="text/plain", keep=False), Unusable, "404 Not Found"),
        (Answer(None, status=302, content_type="text/plain", keep=False), Unusable, "302"),
        (Answer(None, status=413, content_type="text/plain", keep=False), TooLarge, "413"),
        (Answer(None, status=502, body=b"bad gateway", content_type="text/plain", keep=False), Retryable, "502"),
        (Answer(0, body=b"\xff\xff", keep=False), Unusable, "not OTLP"),
        (Answer(0, body=b"\n" * 100_000, keep=False), Unusable, "answered with more than 65541 bytes"),
        (Answer(0, body=b"", fault="no message", keep=False), Unusable, "no message"),
        (fault("cut off"), Retryable, "closed the connection without an answer"),
        (fault("reset"), Retryable, "gave the call up: HTTP/2 error INTERNAL_ERROR"),
    ],
)
def test_statuses(answer: Answer, error: type[DeliveryError], words: str) -> None:
    """Every status that is no acknowledgement is raised as what it means, saying what was answered and by whom."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        sink.answer = answer
        raised = await failure(exporter, clock)
        assert isinstance(raised, error)
        assert words in str(raised)
        assert str(raised).startswith(sink.url)
        assert str(raised).isprintable()

    with_sink(scenario)


@pytest.mark.parametrize(("code", "isolate"), [(3, True), (6, False), (9, False)])
def test_only_bad_content_is_isolated_over_grpc(code: int, isolate: bool) -> None:
    """Halving to find an offender is asked for only by the status that speaks of the content."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        sink.answer = says(code)
        raised = await failure(exporter, clock)
        assert isinstance(raised, Rejected)
        assert raised.isolate is isolate

    with_sink(scenario)


def details(*found: Any) -> bytes:
    status = Status(code=8, message="later")
    for message in found:
        detail = Detail()
        detail.Pack(message)
        status.details.append(detail)
    return status.SerializeToString()


@pytest.mark.parametrize(
    ("given", "wait"),
    [
        (details(RetryInfo(retry_delay={"seconds": 7, "nanos": 500_000_000})), 7.5),
        (details(DebugInfo(detail="x"), RetryInfo(retry_delay={"seconds": 3})), 3.0),
        (details(RetryInfo()), 0.0),
        (details(RetryInfo(retry_delay={"seconds": 10**9})), 86_400.0),
        (details(RetryInfo(retry_delay={"seconds": -5})), None),
        (details(DebugInfo(detail="x")), None),
        (b"", None),
        (b"\xff\xff\xff", None),
        (b"\x1a\x02\x0a\x05", None),
    ],
)
def test_retry_info(given: bytes, wait: float | None) -> None:
    """When to come again is read from the details of a status; nonsense is as if it were not there."""
    assert retry_info(given) == wait


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 100), st.integers(0, 255))
def test_details_of_any_bytes_are_read(noise: bytes, at: int, byte: int) -> None:
    """Whatever stands in the details, the status counts: nothing is raised, and no wait is beyond a day."""
    changed = bytearray(details(RetryInfo(retry_delay={"seconds": 7})))
    changed[at % len(changed)] = byte
    for given_details in (noise, bytes(changed), bytes(changed) + noise):
        wait = retry_info(given_details)
        assert wait is None or 0 <= wait <= 86_400


def test_a_server_that_says_when_is_asked_then() -> None:
    """RetryInfo makes RESOURCE_EXHAUSTED a matter of time, and so does gRPC's own push-back."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        text = base64.b64encode(details(RetryInfo(retry_delay={"seconds": 2}))).decode()
        size = "message larger than max"  # with word of coming again it speaks of a buffer, not of the request
        sink.script(says(8, size, grpc_status_details_bin=text), says(14, grpc_retry_pushback_ms="1500"))
        for expected in (2.0, 1.5):
            raised = await failure(exporter, clock)
            assert isinstance(raised, Retryable)
            assert raised.wait == expected
        # Tempo says when to come again also with what it would never take at once.
        above = "RATE_LIMITED: batch size (9 bytes) exceeds ingestion limit (local: 5 bytes/s, burst: 8 bytes)"
        sink.script(says(8, above, grpc_status_details_bin=text))
        assert isinstance(await failure(exporter, clock), TooLarge)

    with_sink(scenario)


def test_partial_success_over_grpc() -> None:
    """Records rejected in a partial success are counted, never more than were sent."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        request = log_request(log_batch(["a", "b", "c"]))
        sink.script(*(Answer(body=encode_response(Signal.LOGS, n, "too old")) for n in (2, 10**9)))
        assert await send(exporter, clock, request) == Accepted(2, "too old")
        assert await send(exporter, clock, request) == Accepted(3, "too old")

    with_sink(scenario)


def test_what_is_sent_over_grpc(tmp_path: Path) -> None:
    """The message is the joined batches, the metadata that of HTTP: names of the batches, token, headers."""
    first, second = log_batch(["a", "b"], stream="file-1", start=10), log_batch(["c"], stream="file-2")
    token = tmp_path / "token"
    token.write_text("s3cret\n")

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        await send(exporter, clock, log_request(first, second))
        for signal in Signal:
            await send(exporter, clock, Request("r", signal, (Batch(LIFE, "s", signal, Cut(0, 1, 0, 1, 1, 1), b""),)))
        call, *others = sink.received
        assert call.message == first.payload + second.payload
        expected = {
            "grpc-encoding": "gzip",
            "user-agent": "Shipper/9 test",
            "authorization": "Bearer s3cret",
            "x-tenant": "blue",
            "shipper-life": LIFE,
            "shipper-batches": f"file-1:10-14:{len(first.payload)}:2,file-2:0-2:{len(second.payload)}:1",
        }
        assert {name: call.headers[name] for name in expected} == expected
        assert {other.path for other in others} == EXPORTS

    with_sink(scenario, headers={"X-Tenant": "blue"}, token_file=str(token))


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("window", [1, 70_000, 1 << 20])
def test_large_messages_pass_any_window(compression: str, window: int) -> None:
    """Bodies of megabytes arrive whole however little room the other side makes at a time."""
    lines = [f"{n} {'x' * 20}" for n in range(2 if window == 1 else 40_000)]

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        await send(exporter, clock, log_request(log_batch(lines)))
        assert sink.received[0].lines() == lines

    with_sink(scenario, window=window, compression=compression)


def test_calls_share_a_connection() -> None:
    """Calls at the same time and one after another need one connection."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        for _ in range(3):
            await asyncio.gather(*(send(exporter, clock) for _ in range(4)))
        assert len(sink.kept()) == 12
        assert sink.connections == 1

    with_sink(scenario)


def test_idle_and_old_connections_are_left() -> None:
    """A connection that was idle for 45 s or is five minutes old gets no new calls."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        while not exporter.accounts_known:  # noqa: ASYNC110 - as below; the greeting is a call too
            await asyncio.sleep(0)
        await send(exporter, clock)
        clock.advance(46)
        await send(exporter, clock)
        assert sink.connections == 2
        for _ in range(10):
            clock.advance(31)
            await send(exporter, clock)
        assert sink.connections == 3

    with_sink(scenario)


@pytest.mark.parametrize("name", ["hang up", "refuse stream"])
def test_what_a_kept_connection_did_not_do_is_done_by_another(name: str) -> None:
    """A kept connection that is closed as it is used, or a call that was not looked at, costs nothing but another."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        await send(exporter, clock)
        sink.script(fault(name))
        assert await send(exporter, clock) == Accepted()
        sink.script(fault(name), fault(name))
        assert isinstance(await failure(exporter, clock), Retryable)

    with_sink(scenario)


def test_a_goodbye_is_not_a_failure() -> None:
    """A server that says goodbye still answers what it has begun; what comes later goes by another connection."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        sink.script(Answer(fault="goodbye"))
        assert await send(exporter, clock) == Accepted()
        assert await send(exporter, clock) == Accepted()
        assert (len(sink.kept()), sink.connections) == (2, 2)

    with_sink(scenario)


def test_silence_is_given_up_and_the_connection_with_it() -> None:
    """A call without an answer ends after the time-out; the next does not trust the connection."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        sink.script(fault("never"))
        task = asyncio.create_task(failure(exporter, clock))
        await sink.until_received(1)
        await clock.run(2.9)
        assert not task.done()
        await clock.run(0.4)
        assert "no answer for 3 s" in str(await task)
        assert await send(exporter, clock) == Accepted()
        assert sink.connections == 2

    with_sink(scenario, timeout=3.0)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Unusable, "is it another port, such as the one for HTTP?"),
        (b"", Retryable, "closed the connection without an answer"),
    ],
)
def test_a_port_for_http_is_said_to_be_one(answer: bytes, error: type[DeliveryError], words: str) -> None:
    """gRPC spoken to a server of HTTP/1 is a mistake that a person has to mend, and said to be one."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"SM\r\n\r\n")
        writer.write(answer)
        writer.write_eof()
        await reader.read()
        writer.close()

    async def run() -> None:
        clock = FakeClock()
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with asyncio.timeout(60), server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            settings = OtlpSettings(endpoint=url, protocol="grpc")
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            raised = await failure(exporter, clock)
            assert isinstance(raised, error)
            assert words in str(raised)
            await exporter.aclose()

    asyncio.run(run())


def test_a_call_is_unsent_only_when_its_end_was_not_written() -> None:
    """What a server that is not there got is certain, what one that hangs up got is not."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        sink.script(fault("hang up"))
        raised = await failure(exporter, clock)
        assert isinstance(raised, Retryable)
        assert not raised.unsent
        await sink.go_down()
        raised = await failure(exporter, clock)
        assert isinstance(raised, Retryable)
        assert raised.unsent

    with_sink(scenario)


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"endpoint": "gw:4317"}, "endpoint", "is no URL such as http://gateway.example:4317"),
        ({"endpoint": "http://gw:4317/v1/logs"}, "endpoint", "has a path"),
        ({"endpoint": "http://gw:4317/otlp"}, "endpoint", "has a path"),
        ({"logs_endpoint": "http://gw:4317/?key=x"}, "logs_endpoint", "has a path"),
        ({"headers": {"grpc-timeout": "1S"}}, "headers.grpc-timeout", "no header that gRPC lets"),
        ({"headers": {"trace-bin": "x"}}, "headers.trace-bin", "no header that gRPC lets"),
        ({"headers": {"te": "x"}}, "headers.te", "set by Shipper itself"),
    ],
)
def test_mistakes_in_settings_of_grpc(options: dict[str, Any], path: str, words: str) -> None:
    """What gRPC does not allow is refused before anything is sent."""
    settings = OtlpSettings(**{"endpoint": "http://gw:4317", "protocol": "grpc", **options})
    with pytest.raises(ConfigError, match=words) as caught:
        OtlpExporter("primary", settings, ExporterContext(FakeClock(), LIFE, 1, "test"))
    assert caught.value.path == f"destinations.primary.{path}"


def test_a_gateway_recognises_a_shipper_by_grpc(tmp_path: Path) -> None:
    """A real gateway is told by the greeting, takes a range once however often it comes, and says what it has."""

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), gateway(tmp_path, grpc=ListenSettings(port=0)) as gw:
            host, port = gw.receiver.addresses[-1]
            settings = OtlpSettings(endpoint=f"http://{host}:{port}", protocol="grpc")
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            while not exporter.accounts_known:  # noqa: ASYNC110 - it comes by a socket and has no event of its own
                await asyncio.sleep(0)
            assert exporter.keeps_accounts
            assert exporter.trusted()
            assert await exporter.known(LIFE) == {}
            request = log_request(log_batch(["a", "b"]))
            for _ in range(3):
                assert await send(exporter, clock, request) == Accepted()
            assert gw.lines() == ["a", "b"]
            assert await exporter.known(LIFE) == {"file-1": IntervalSet([(0, 4)])}
            await exporter.aclose()

    asyncio.run(run())


def test_a_stranger_is_told_by_grpc() -> None:
    """Who does not know the greeting is a stranger, and a relay on this host; what it has cannot be told."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        while not exporter.accounts_known:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        assert not exporter.keeps_accounts
        assert not exporter.trusted()
        assert await exporter.known(LIFE) is None

    with_sink(scenario)


def test_ourselves_by_grpc() -> None:
    """When our own life id comes back nothing is sent."""

    async def scenario(exporter: OtlpExporter, sink: GrpcSink, clock: FakeClock) -> None:
        assert "this Shipper itself" in str(await failure(exporter, clock))

    with_sink(scenario, life=LIFE)
