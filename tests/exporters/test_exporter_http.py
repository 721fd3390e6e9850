"""The parts that exporters over HTTP share: patience, and where an address leads."""

from __future__ import annotations

import asyncio
import socket

import pytest
from yarl import URL

from shipper.clock import Deadline
from shipper.contracts import ExporterContext
from shipper.errors import Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink, accept, hang_up
from shipper.testing.streams import LIFE
from shipper_exporters._http.client import Client
from shipper_exporters._http.exchange import Addresses, Patience, WatchingResolver, excerpt
from shipper_exporters._http.settings import HttpSettings
from shipper_exporters._way.resolve import Names


def cut_after(
    patience: Patience, clock: FakeClock, moves: list[float], deadline_moves: list[tuple[float, Deadline, float]]
) -> float:
    """When, in seconds from now, the patience ends; progress at ``moves``; deadlines moved as told."""

    async def run() -> float:
        began = clock.monotonic()

        async def act() -> None:
            for at in moves:
                await clock.sleep(at - (clock.monotonic() - began))
                patience.progress()

        async def move() -> None:
            for at, deadline, to in deadline_moves:
                await clock.sleep(at)
                deadline.move(began + to)

        async with clock.autojump():
            tasks = [asyncio.create_task(act()), asyncio.create_task(move())]
            with pytest.raises(TimeoutError):
                async with patience:
                    await asyncio.Event().wait()
            await asyncio.gather(*tasks)
        return clock.monotonic() - began

    return asyncio.run(run())


def test_patience_ends_after_silence() -> None:
    """Without any progress it ends after its seconds."""
    clock = FakeClock()
    assert cut_after(Patience(clock, 10, Deadline(clock)), clock, [], []) == pytest.approx(10)


def test_patience_starts_anew_with_progress() -> None:
    """Each progress gives it its full time again."""
    clock = FakeClock()
    assert cut_after(Patience(clock, 10, Deadline(clock)), clock, [9, 18, 20], []) == pytest.approx(30)


def test_patience_ends_at_the_deadline() -> None:
    """Progress does not carry it over the deadline."""
    clock = FakeClock()
    patience = Patience(clock, 10, Deadline.after(clock, 12))
    assert cut_after(patience, clock, [4, 8], []) == pytest.approx(12)


def test_patience_follows_a_deadline_that_moves() -> None:
    """A deadline that comes nearer while it waits is kept within a moment."""
    clock = FakeClock()
    deadline = Deadline(clock)
    ended = cut_after(Patience(clock, 10, deadline), clock, [], [(1.0, deadline, 2.0)])
    assert 2.0 <= ended <= 2.3


def test_patience_leaves_other_ends_alone() -> None:
    """What ends by itself, by an error or by being cancelled ends so."""

    async def run() -> None:
        clock = FakeClock()
        async with Patience(clock, 10, Deadline(clock)):
            await asyncio.sleep(0)
        with pytest.raises(KeyError):
            async with Patience(clock, 10, Deadline(clock)):
                raise KeyError("x")

        async def wait() -> None:
            async with Patience(clock, 10, Deadline(clock)):
                await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await clock.settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await clock.settle()
        assert clock.sleeping() == 0

    asyncio.run(run())


def test_addresses_of_this_host_are_local() -> None:
    """The host's own addresses are local beside loopback; one local address among several makes the destination local."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            pytest.skip("this machine has no network interface")
        own = probe.getsockname()[0]
    addresses = Addresses([])
    assert not addresses.known
    addresses.check("gw", ["203.0.113.1"], 4318)
    assert addresses.known
    assert not addresses.local
    addresses.check("relay", ["203.0.113.1", own], 4318)
    assert addresses.local
    addresses.check("relay", ["203.0.113.2"], 4318)
    assert not addresses.local


def test_a_name_that_leads_to_our_own_listener_is_refused() -> None:
    """Names are checked whenever they are resolved."""

    async def run() -> None:
        resolver = WatchingResolver(Addresses([("0.0.0.0", 4318)]), Names(FakeClock()))
        assert await resolver.resolve("localhost", 4319)
        with pytest.raises(Unusable, match="localhost port 4318 is our own listener"):
            await resolver.resolve("localhost", 4318)
        await resolver.close()

    asyncio.run(run())


def test_excerpts_are_short_and_printable() -> None:
    """What a stranger said is cut, put on one line and rid of what a terminal would act on."""
    assert excerpt(b"a\r\n\x1b[2J\xff  b\x00") == "a [2J\ufffd b"
    assert excerpt("x" * 500) == "x" * 197 + "..."
    assert excerpt("") == ""


def test_who_hangs_up_without_ever_answering_may_want_tls() -> None:
    """A server on a TLS port just hangs up on plain HTTP; one that answered before is restarted, and is not suspected."""

    async def run() -> None:
        said: list[str] = []
        async with Sink() as sink:
            client = Client.of(HttpSettings(), ExporterContext(FakeClock(), LIFE, 1, "test"))
            client.open()
            try:
                for answer in (hang_up(), accept(), hang_up()):
                    sink.answer = answer
                    try:
                        await client.call("POST", URL(f"{sink.url}/v1/logs"), Deadline(FakeClock()), 1000, {})
                    except Retryable as error:
                        said.append(str(error))
            finally:
                await client.aclose()
        assert ["https://" in text for text in said] == [True, False]

    asyncio.run(run())
