"""Names are asked for anew when a connection is made, and the last good answer is kept for when nobody answers."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink, held
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._otlp.settings import Protocol
from shipper_exporters._way import resolve
from shipper_exporters._way.network import RENEW
from shipper_exporters._way.resolve import FRESH, LONGEST, Names
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters.grpc_sink import GrpcSink, fault

both = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])


class Resolver:
    """A resolver under the test's control. ``answer``: addresses, or what is raised; while ``hangs`` it says nothing."""

    def __init__(self, *addresses: str) -> None:
        self.answer: list[str] | OSError = list(addresses)
        self.asked = 0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def __call__(self, host: str, port: int) -> resolve.Found:
        self.asked += 1
        self.goes_on.wait(30)
        if isinstance(self.answer, OSError):
            raise self.answer
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(families[":" in text], socket.SOCK_STREAM, 6, "", (text, port)) for text in self.answer]


DEAD = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def resolving(resolver: Resolver, story: Callable[[Names, FakeClock], Any]) -> None:
    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(30):
            await story(Names(clock, resolver), clock)

    asyncio.run(run())


async def address(names: Names) -> str:
    return str((await names.resolve("gw", 1))[0][4][0])


def test_an_answer_is_shared_for_a_moment_and_then_asked_for_anew() -> None:
    """Connections opened together ask once; a later one asks again, and goes where the name leads then."""
    resolver = Resolver("192.0.2.1")

    async def story(names: Names, clock: FakeClock) -> None:
        assert await asyncio.gather(*(address(names) for _ in range(4))) == ["192.0.2.1"] * 4
        assert resolver.asked == 1
        resolver.answer = ["192.0.2.2"]
        clock.advance(FRESH - 0.1)
        assert await address(names) == "192.0.2.1"
        clock.advance(0.2)
        assert await address(names) == "192.0.2.2"
        assert resolver.asked == 2

    resolving(resolver, story)


@pytest.mark.parametrize(
    "failure", [DEAD, socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OSError("x")]
)
def test_the_last_good_address_outlives_the_resolver(failure: OSError) -> None:
    """Whatever a dying resolver says, what it said while it was well still holds; one that never answered has no such."""
    resolver = Resolver("192.0.2.1")

    async def story(names: Names, clock: FakeClock) -> None:
        assert await address(names) == "192.0.2.1"
        resolver.answer = failure
        for _ in range(3):
            clock.advance(3600)
            assert await address(names) == "192.0.2.1"
        assert resolver.asked == 4
        with pytest.raises(OSError, match=re.escape(str(failure))):
            await names.resolve("other", 1)
        resolver.answer = ["192.0.2.9"]
        clock.advance(FRESH)
        assert await address(names) == "192.0.2.9"

    resolving(resolver, story)


def test_a_resolver_that_hangs_holds_nobody_up_for_long() -> None:
    """With an earlier answer at hand it gets two seconds; it is asked once at a time, and its answer is used when it comes."""
    resolver = Resolver("192.0.2.1")

    async def story(names: Names, clock: FakeClock) -> None:
        assert await address(names) == "192.0.2.1"
        resolver.goes_on.clear()
        resolver.answer = ["192.0.2.2"]
        for _ in range(2):
            clock.advance(FRESH)
            task = asyncio.create_task(address(names))
            await clock.until_sleeping()
            await clock.run(LONGEST - 0.1)
            assert not task.done()
            await clock.run(0.2)
            assert await task == "192.0.2.1"
        assert resolver.asked == 2
        resolver.goes_on.set()
        while (found := await address(names)) == "192.0.2.1":  # noqa: ASYNC110 - it comes from a thread
            await asyncio.sleep(0)
        assert found == "192.0.2.2"
        assert clock.sleeping() == 0

    resolving(resolver, story)


def test_a_failed_connection_makes_what_is_known_doubtful() -> None:
    """After a failure the name is asked for anew at once."""
    resolver = Resolver("192.0.2.1")

    async def story(names: Names, clock: FakeClock) -> None:
        await address(names)
        resolver.answer = ["192.0.2.2"]
        names.doubt()
        assert await address(names) == "192.0.2.2"

    resolving(resolver, story)


def test_an_answer_of_nothing_is_no_answer() -> None:
    """No addresses at all are a failure, and no host name is one without asking anybody."""
    resolver = Resolver()

    async def story(names: Names, clock: FakeClock) -> None:
        with pytest.raises(OSError, match="no addresses"):
            await names.resolve("gw", 1)

    resolving(resolver, story)
    with pytest.raises(socket.gaierror, match="not a host name"):
        resolve.look_up("x" * 70 + ".example", 1)


def shipping(
    protocol: Protocol,
    resolver: Resolver,
    story: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    timeout: float = 10.0,
) -> None:
    """A story with an exporter that knows its sink by a name which only ``resolver`` knows."""
    monkeypatch.setattr("shipper_exporters._way.network.Names", lambda clock: Names(clock, resolver))
    monkeypatch.setenv("NO_PROXY", "*")

    async def run() -> None:
        clock = FakeClock()
        server = GrpcSink() if protocol == "grpc" else Sink(clock=clock)
        async with asyncio.timeout(30), server as sink:
            settings = OtlpSettings(endpoint=f"http://gw.example:{sink.port}", protocol=protocol, timeout=timeout)
            own = frozenset({("127.0.0.9", sink.port)})
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test", own))
            await exporter.start()
            try:
                await story(exporter, sink, clock)
            finally:
                await exporter.aclose()

    asyncio.run(run())


async def send(exporter: OtlpExporter, clock: FakeClock) -> Accepted:
    return await exporter.send(exporter.prepare(log_request(log_batch(["x"]))), Deadline(clock))


@both
def test_a_drain_outlives_the_resolver(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the resolver gone and every connection closed, the destination is still reached where it was."""
    resolver = Resolver("127.0.0.1")

    async def story(exporter: OtlpExporter, sink: Any, clock: FakeClock) -> None:
        await send(exporter, clock)
        resolver.answer = DEAD
        await sink.go_down()
        with pytest.raises(Retryable, match="cannot connect"):
            await send(exporter, clock)
        await sink.come_up()
        assert await send(exporter, clock) == Accepted()

    shipping(protocol, resolver, story, monkeypatch)


@both
def test_dead_addresses_do_not_hide_living_ones(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with an IPv6 and an IPv4 address that nobody answers at, and one that is well, leads to that."""
    resolver = Resolver("::1", "127.0.0.2", "127.0.0.1")

    async def story(exporter: OtlpExporter, sink: Any, clock: FakeClock) -> None:
        assert await send(exporter, clock) == Accepted()
        assert not exporter.trusted()

    shipping(protocol, resolver, story, monkeypatch)


@both
def test_a_busy_host_follows_a_name(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that are never idle get no new requests after a while, so that a name which leads elsewhere is followed."""
    resolver = Resolver("127.0.0.1")

    async def story(exporter: OtlpExporter, sink: Any, clock: FakeClock) -> None:
        for _ in range(int(RENEW / 30)):
            await send(exporter, clock)
            clock.advance(30)
        asked = resolver.asked
        await send(exporter, clock)
        assert resolver.asked == asked + 1

    shipping(protocol, resolver, story, monkeypatch)


@both
def test_what_is_under_way_when_connections_are_renewed_is_finished(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that takes long keeps its connection, while others go by a new one."""

    async def story(exporter: OtlpExporter, sink: Any, clock: FakeClock) -> None:
        sink.script(held() if isinstance(sink, Sink) else fault("held", keep=True))
        slow = asyncio.create_task(exporter.send(exporter.prepare(log_request(log_batch(["slow"]))), Deadline(clock)))
        await sink.until_received(1)
        clock.advance(RENEW)
        assert await send(exporter, clock) == Accepted()
        assert not slow.done()
        sink.release()
        assert await slow == Accepted()
        assert len(sink.kept()) == 2

    shipping(protocol, Resolver("127.0.0.1"), story, monkeypatch, timeout=10 * RENEW)


@both
def test_a_name_that_leads_back_to_us_is_refused(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a name leads is looked at each time; when that is our own listener nothing is sent."""
    resolver = Resolver("127.0.0.1")

    async def story(exporter: OtlpExporter, sink: Any, clock: FakeClock) -> None:
        await send(exporter, clock)
        resolver.answer = ["127.0.0.9"]
        clock.advance(RENEW)
        with pytest.raises(Unusable, match="is our own listener"):
            await send(exporter, clock)

    shipping(protocol, resolver, story, monkeypatch)


@both
def test_ipv6_literals_are_addresses(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv6 address in a URL is connected to without asking anybody."""
    resolver = Resolver()
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")

    async def run() -> None:
        clock = FakeClock()
        connected: list[object] = []

        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.append(writer)
            writer.close()

        server = await asyncio.start_server(hang_up, sock=listener)
        async with asyncio.timeout(30), server:
            settings = OtlpSettings(endpoint=f"http://[::1]:{listener.getsockname()[1]}", protocol=protocol)
            exporter = OtlpExporter("primary", settings, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            with pytest.raises(Retryable):
                await send(exporter, clock)
            assert connected
            assert not resolver.asked
            await exporter.aclose()

    asyncio.run(run())
