"""Who is on the other side: a Shipper gateway, a stranger, a relay on this host, or ourselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import ConfigError, Retryable, Unusable
from shipper.intervals import IntervalSet
from shipper.testing import sink as say
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.otlp import ACCOUNTS_KNOWN_AFTER, OtlpExporter, OtlpSettings

GATEWAY = "0190f0f0-0000-7000-8000-000000000001"
Scenario = Callable[[Sink, FakeClock], Awaitable[None]]


def with_sink(scenario: Scenario, gateway: str = "") -> None:
    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), Sink(clock=clock, gateway=gateway) as sink:
            await scenario(sink, clock)

    asyncio.run(run())


async def started(sink: Sink, clock: FakeClock, **options: object) -> OtlpExporter:
    settings = OtlpSettings(**{"endpoint": sink.url, **options})  # type: ignore[arg-type]
    exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
    await exporter.start()
    return exporter


async def send(exporter: OtlpExporter, clock: FakeClock) -> Accepted:
    return await exporter.send(exporter.prepare(log_request(log_batch(["line"]))), Deadline(clock))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for comes by a socket and has no event of its own
        await asyncio.sleep(0)


def test_gateway_says_so() -> None:
    """A gateway that answers the greeting gets accounts and is trusted, though it is on this host."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock)
        assert not exporter.accounts_known
        await until(lambda: exporter.accounts_known)
        assert exporter.keeps_accounts
        assert exporter.trusted()
        assert sink.asked == ["/shipper/v1/hello"]
        await exporter.aclose()

    with_sink(scenario, GATEWAY)


def test_stranger_is_told_by_its_404() -> None:
    """A destination that does not know the greeting gets no accounts, and on this host is a local relay."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock)
        await until(lambda: exporter.accounts_known)
        assert not exporter.keeps_accounts
        assert not exporter.trusted()
        await exporter.aclose()

    with_sink(scenario)


def test_local_relay_is_trusted_when_told_to() -> None:
    """`trust_local` makes a relay on this host count as off the host."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock, trust_local=True)
        assert exporter.trusted()
        await exporter.aclose()

    with_sink(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_local_relay_by_address_and_by_name(host: str) -> None:
    """An endpoint on this host is seen to be one whether an address or a name stands for it."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock, endpoint=f"http://{host}:{sink.port}")
        await send(exporter, clock)
        assert not exporter.trusted()
        await exporter.aclose()

    with_sink(scenario)


def test_foreign_address_is_trusted() -> None:
    """An address of another host is trusted; a name is not before it was resolved."""
    context = ExporterContext(FakeClock(), LIFE, 1, "test")
    assert OtlpExporter("a", OtlpSettings(endpoint="http://203.0.113.7:4318"), context).trusted()
    assert OtlpExporter("a", OtlpSettings(endpoint="http://[2001:db8::7]:4318"), context).trusted()
    assert not OtlpExporter("a", OtlpSettings(endpoint="http://gw.example:4318"), context).trusted()


def test_silence_ends_after_a_while() -> None:
    """A destination that is down keeps accounts waiting for ten seconds only; asking goes on until it answers."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        await sink.go_down()
        exporter = await started(sink, clock)
        await clock.until_sleeping(2)
        clock.advance(ACCOUNTS_KNOWN_AFTER - 0.1)
        await clock.settle()
        assert not exporter.accounts_known
        clock.advance(0.1)
        await until(lambda: exporter.accounts_known)
        assert not exporter.keeps_accounts
        await sink.come_up()
        while not exporter.keeps_accounts:
            await clock.run(1)
        await exporter.aclose()

    with_sink(scenario, GATEWAY)


def test_gateway_is_recognised_by_any_answer() -> None:
    """An acknowledgement says whether it came from a gateway, and the latest one counts."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock)
        await until(lambda: exporter.accounts_known)
        for gateway in (GATEWAY, "", GATEWAY):
            sink.gateway = gateway
            await send(exporter, clock)
            assert exporter.keeps_accounts is bool(gateway)
        await exporter.aclose()

    with_sink(scenario)


def test_gateway_tells_what_it_has() -> None:
    """A gateway is asked for the intervals it has of a life; one that knows nothing of it says so."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        sink.intervals[LIFE] = {"file-1": IntervalSet([(0, 10), (20, 30)]), "life": IntervalSet()}
        exporter = await started(sink, clock)
        assert await exporter.known(LIFE) == sink.intervals[LIFE]
        assert await exporter.known("another") == {}
        await exporter.aclose()

    with_sink(scenario, GATEWAY)


def test_stranger_cannot_tell_what_it_has() -> None:
    """A destination that is no gateway, or a URL that does not lead to one, cannot tell."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock)
        assert await exporter.known(LIFE) is None
        await exporter.aclose()
        other = await started(sink, clock, endpoint="", logs_endpoint=sink.url + "/custom")
        assert other.accounts_known
        assert await other.known(LIFE) is None
        await other.aclose()

    with_sink(scenario)


def with_answers(
    answers: Callable[[str], bytes | None], scenario: Callable[[OtlpExporter, FakeClock], Awaitable[None]]
) -> None:
    """Run a scenario against a server that answers a path with the given head and body; None: never."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        answer = answers(head.split()[1])
        if answer is None:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 " + answer)
            await writer.drain()
        writer.close()

    async def run() -> None:
        clock = FakeClock()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with asyncio.timeout(60), server:
            settings = OtlpSettings(endpoint=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            try:
                await scenario(exporter, clock)
            finally:
                await exporter.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 405, 418])
def test_what_a_stranger_says_to_an_unknown_path_is_nothing(status: int) -> None:
    """Whatever final answer comes without a gateway's name: it cannot tell, and shipping is not held up."""

    async def scenario(exporter: OtlpExporter, clock: FakeClock) -> None:
        assert await exporter.known(LIFE) is None

    with_answers(lambda _: f"{status} x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno".encode(), scenario)


def test_a_passing_fault_is_waited_out_until_it_is_a_stranger() -> None:
    """503 without a name may be a proxy before a gateway: asked again, but not longer than for the greeting."""

    async def scenario(exporter: OtlpExporter, clock: FakeClock) -> None:
        with pytest.raises(Retryable):
            await exporter.known(LIFE)
        await clock.run(ACCOUNTS_KNOWN_AFTER)
        assert await exporter.known(LIFE) is None

    with_answers(lambda _: b"503 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", scenario)


def test_a_stranger_that_does_not_answer_is_not_waited_for() -> None:
    """A destination that leaves unknown paths without an answer holds nothing up for longer than two time-outs."""

    async def scenario(exporter: OtlpExporter, clock: FakeClock) -> None:
        answers: list[object] = []
        for _ in range(2):
            asking = asyncio.gather(exporter.known(LIFE), return_exceptions=True)
            while not asking.done():
                await clock.run(0.1)
            answers += await asking
        assert answers[-1] is None

    with_answers(lambda _: None, scenario)


def test_a_gateway_that_refuses_is_not_taken_for_nothing() -> None:
    """A gateway that wants another token is not one that has nothing."""
    head = f"401 x\r\nShipper-Gateway: {GATEWAY}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def scenario(exporter: OtlpExporter, clock: FakeClock) -> None:
        with pytest.raises(Unusable):
            await exporter.known(LIFE)

    with_answers(lambda _: head.encode(), scenario)


def test_known_while_down() -> None:
    """That the gateway cannot be asked now is not the same as that it has nothing."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock)
        await sink.go_down()
        with pytest.raises(Retryable):
            await exporter.known(LIFE)
        await exporter.aclose()

    with_sink(scenario, GATEWAY)


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"streams": {"a": [[5]]}}', '{"streams": {"a": [[9, 5]]}}', "<html>"]
)
def test_nonsense_about_what_is_known(body: str) -> None:
    """An answer that cannot be understood is not taken for "nothing"."""
    head = f"200 OK\r\nShipper-Gateway: {GATEWAY}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"

    async def scenario(exporter: OtlpExporter, clock: FakeClock) -> None:
        with pytest.raises(Retryable, match="makes no sense"):
            await exporter.known(LIFE)

    with_answers(lambda _: (head + body).encode(), scenario)


@pytest.mark.parametrize(
    ("endpoint", "own"),
    [
        ("http://127.0.0.1:4318", ("127.0.0.1", 4318)),
        ("http://127.0.0.1:4318", ("0.0.0.0", 4318)),
        ("http://127.0.0.1:4318", ("::", 4318)),
        ("http://[::1]:4318", ("::", 4318)),
        ("http://[::ffff:127.0.0.1]:4318", ("127.0.0.1", 4318)),
        ("http://0.0.0.0:4318", ("0.0.0.0", 4318)),
        ("http://localhost:4318/base", ("127.0.0.1", 4318)),
        ("http://192.0.2.1", ("192.0.2.1", 80)),
    ],
)
def test_own_listener_is_refused(endpoint: str, own: tuple[str, int]) -> None:
    """An endpoint that is one of our own listeners is a mistake in the settings, found before anything is sent."""
    context = ExporterContext(FakeClock(), LIFE, 1, "test", frozenset({own}))
    with pytest.raises(ConfigError, match=r"destinations\.primary\.endpoint: .* is our own listener"):
        OtlpExporter("primary", OtlpSettings(endpoint=endpoint), context)


@pytest.mark.parametrize("own", [("127.0.0.1", 4319), ("192.0.2.1", 4318), ("unix", 4318)])
def test_other_listeners_are_not_ours(own: tuple[str, int]) -> None:
    """Another port or another address is not our own listener."""
    context = ExporterContext(FakeClock(), LIFE, 1, "test", frozenset({own}))
    OtlpExporter("primary", OtlpSettings(endpoint="http://127.0.0.1:4318"), context)


def test_ourselves_behind_another_name() -> None:
    """When the greeting comes back with our own life id nothing is sent."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock)
        await until(lambda: exporter.accounts_known)
        with pytest.raises(Unusable, match="this Shipper itself"):
            await send(exporter, clock)
        assert not sink.received
        assert not exporter.keeps_accounts
        assert not exporter.trusted()
        await exporter.aclose()

    with_sink(scenario, LIFE)


def test_ourselves_noticed_by_an_answer() -> None:
    """When an acknowledgement comes from ourselves it is none."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock)
        await until(lambda: exporter.accounts_known)
        sink.gateway = LIFE
        with pytest.raises(Unusable, match="this Shipper itself"):
            await send(exporter, clock)
        await exporter.aclose()

    with_sink(scenario)


def test_greeting_does_not_need_an_answer() -> None:
    """A destination that never answers the greeting is sent to all the same."""
    accepted = b"200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def scenario(exporter: OtlpExporter, clock: FakeClock) -> None:
        assert await send(exporter, clock) == Accepted()
        assert exporter.accounts_known

    with_answers(lambda path: accepted if path == "/v1/logs" else None, scenario)


def test_busy_destination_is_asked_again() -> None:
    """A greeting answered by 503 is repeated, and what it then says counts."""
    answers = [b"503 Service Unavailable", b"200 OK\r\nShipper-Gateway: " + GATEWAY.encode()]

    async def scenario(exporter: OtlpExporter, clock: FakeClock) -> None:
        while not exporter.keeps_accounts:
            await clock.run(0.1)
        assert not answers

    with_answers(lambda _: answers.pop(0) + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", scenario)


def test_other_answers_do_not_unmake_a_gateway() -> None:
    """An error answer, which may come from something in between, says nothing about who is behind it."""

    async def scenario(sink: Sink, clock: FakeClock) -> None:
        exporter = await started(sink, clock)
        await until(lambda: exporter.keeps_accounts)
        sink.gateway = ""
        sink.script(say.html(502))
        with pytest.raises(Retryable):
            await send(exporter, clock)
        assert exporter.keeps_accounts
        await exporter.aclose()

    with_sink(scenario, GATEWAY)
