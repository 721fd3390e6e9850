"""Several servers of one destination: which of them is used, when another takes over, and when the first is used again."""

from __future__ import annotations

import asyncio

import pytest

from shipper.clock import Deadline
from shipper.errors import Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper_exporters._http.exchange import NoAnswer
from shipper_exporters._tcp.link import Link
from shipper_exporters._tcp.session import CONNECT, KEPT, PASSED_OVER, Tcp
from shipper_exporters._tcp.settings import Server, TcpSettings
from tests.exporters.tcp_desk import ANSWER, Desk, Host, ask, context, story
from tests.exporters.tcp_kit import serving


def test_the_first_is_used_as_long_as_it_is_well() -> None:
    """The others are there for when it is not; its connection is kept."""

    async def tell(desk: Desk) -> None:
        for _ in range(3):
            await desk.ask()
        assert desk.asked() == (3, 0)
        assert desk.first.connections == 1
        assert desk.tcp.describe().endswith(f"(in use: 127.0.0.1:{desk.first.port})")

    story(tell)


def test_another_takes_over_at_once_where_the_first_is_down() -> None:
    """Nothing was sent, so nothing is in doubt, and the same attempt goes to the next one."""

    async def tell(desk: Desk) -> None:
        await desk.ask()
        assert desk.asked() == (0, 1)
        assert desk.tcp.describe().endswith(f"(in use: 127.0.0.1:{desk.second.port})")

    story(tell, first_up=False)


def test_after_a_while_the_first_is_used_again() -> None:
    """It is passed over for a while, then asked before the others; theirs connections are not kept beside it."""

    async def tell(desk: Desk) -> None:
        desk.first.serve = desk.first.closing
        with pytest.raises(Retryable):
            await desk.ask()
        desk.first.serve = desk.first.answering
        await desk.ask()
        await desk.clock.run(PASSED_OVER - 1)
        await desk.ask()
        assert desk.asked() == (1, 2)
        assert desk.second.connections == 1
        await desk.clock.run(2)
        await desk.ask()
        await desk.ask()
        assert desk.asked() == (3, 2)

    story(tell)


def test_what_may_have_arrived_is_not_sent_elsewhere_in_the_same_attempt() -> None:
    """A connection that breaks after the message was sent is a failed attempt; the next one goes to another server."""

    async def tell(desk: Desk) -> None:
        desk.first.serve = desk.first.closing
        with pytest.raises(Retryable) as caught:
            await desk.ask()
        assert not caught.value.unsent
        assert desk.asked() == (1, 0)
        await desk.ask()
        assert desk.asked() == (1, 1)

    story(tell)


def test_a_server_that_is_set_up_wrongly_is_passed_over_too() -> None:
    """Where another one works, records go on; only when none does it is said."""

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"hello\n")
        await reader.read()

    async def tell(desk: Desk) -> None:
        desk.first.serve = stranger
        await desk.ask()
        assert desk.asked() == (0, 1)
        desk.second.serve = stranger
        await desk.clock.run(PASSED_OVER + 1)
        await desk.tcp.aclose()
        desk.tcp.open()
        with pytest.raises(Unusable, match=r"a stranger; .*a stranger"):
            await desk.ask()

    story(tell)


def test_with_one_down_and_one_set_up_wrongly_it_is_tried_again_soon() -> None:
    """One of them may be well by itself, so that is waited for."""

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"hello\n")
        await reader.read()

    async def tell(desk: Desk) -> None:
        desk.second.serve = stranger
        with pytest.raises(Retryable, match=r"cannot connect: .*; .*a stranger"):
            await desk.ask()

    story(tell, first_up=False)


def test_a_connection_that_is_not_made_in_time_leaves_time_for_another() -> None:
    """A server that takes connections and does not shake hands costs ten seconds, not the patience for an answer."""

    async def greet(link: Link, server: Server) -> None:
        if server.port == first.port:
            await link.read()

    first, second = Host(), Host()

    async def run() -> None:
        clock = FakeClock()
        first.serve = first.silent
        async with asyncio.timeout(60), serving(first) as first.port, serving(second) as second.port:
            endpoints = [f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"]
            tcp = Tcp("t", TcpSettings(endpoints=endpoints), context(clock), port=1, greet=greet)
            tcp.open()
            asking = asyncio.create_task(tcp.run(ask, Deadline(clock)))
            while not first.connections:  # noqa: ASYNC110 - it comes by a socket
                await asyncio.sleep(0)
            await clock.run(CONNECT - 0.5)
            assert not second.connections
            await clock.run(1)
            await asking
            assert second.asked == 1
            await tcp.aclose()

    asyncio.run(run())


def test_silence_is_an_attempt_and_then_another_server_is_used() -> None:
    """A server that took the message and does not answer is given up after the patience; the next attempt goes elsewhere."""

    async def tell(desk: Desk) -> None:
        desk.first.serve = desk.first.silent
        asking = asyncio.create_task(desk.ask())
        while not desk.first.connections:  # noqa: ASYNC110 - it comes by a socket
            await asyncio.sleep(0)
        await desk.clock.run(29)
        assert not asking.done()
        await desk.clock.run(2)
        with pytest.raises(NoAnswer, match="no acknowledgement for 30 s"):
            await asking
        await desk.ask()
        assert desk.asked() == (0, 1)

    story(tell)


def test_idle_connections_are_not_kept_for_ever() -> None:
    """One that was idle for longer than servers keep theirs is closed, though nothing else happens."""

    async def tell(desk: Desk) -> None:
        await desk.ask()
        await desk.clock.run(KEPT - 1)
        await desk.ask()
        assert desk.first.connections == 1
        ((link, _, _),) = desk.tcp._kept
        await desk.clock.run(KEPT + 1)
        assert not link.usable
        await desk.ask()
        assert desk.first.connections == 2

    story(tell)


def test_each_exchange_under_way_has_a_connection_to_itself() -> None:
    """Three at once use three connections, which serve those that follow."""

    async def tell(desk: Desk) -> None:
        for _ in range(2):
            await asyncio.gather(*(desk.ask() for _ in range(3)))
        assert desk.asked() == (6, 0)
        assert desk.first.connections == 3

    story(tell)


def test_a_kept_connection_on_which_something_came_is_not_used() -> None:
    """What comes unasked fits nothing that is sent later."""

    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(ANSWER)
        await more.wait()
        writer.write(ANSWER)
        await reader.read()

    more = asyncio.Event()

    async def tell(desk: Desk) -> None:
        desk.first.serve = chatty
        await desk.ask()
        ((link, _, _),) = desk.tcp._kept
        more.set()
        while link.usable:  # noqa: ASYNC110 - it comes by a socket
            await asyncio.sleep(0)
        await desk.ask()
        assert desk.first.connections == 2

    story(tell)


def test_after_the_deadline_nothing_is_sent() -> None:
    """An attempt that begins too late is none."""

    async def tell(desk: Desk) -> None:
        with pytest.raises(Retryable, match="the deadline came before it could be sent") as caught:
            await desk.ask(Deadline.after(desk.clock, 0))
        assert caught.value.unsent
        assert not desk.first.connections

    story(tell)


def test_a_slow_server_is_left_to_finish_as_long_as_something_moves() -> None:
    """A large message over a slow network takes longer than the patience for silence, and arrives."""
    part, parts = 4 << 20, 16  # the kernel holds a few megabytes itself
    may_read, here = asyncio.Semaphore(0), asyncio.Event()
    read = 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal read
        here.set()
        while read < part * parts:
            await may_read.acquire()
            read += len(await reader.readexactly(part))
        writer.write(ANSWER)
        await reader.read()

    async def large(link: Link, _server: Server) -> None:
        await link.send(bytes(part * parts))
        await link.read()

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), serving(slow) as port:
            tcp = Tcp("t", TcpSettings(endpoint=f"127.0.0.1:{port}"), context(clock), port=1)
            tcp.open()
            sending = asyncio.create_task(tcp.run(large, Deadline(clock)))
            await here.wait()
            for number in range(1, parts + 1):
                await clock.run(10)
                assert not sending.done()
                may_read.release()
                while read < part * number:  # noqa: ASYNC110 - it comes by a socket
                    await asyncio.sleep(0)
                await clock.settle()
            await sending
            await tcp.aclose()

    asyncio.run(run())


def test_what_never_got_there_whole_is_known_not_to_be_there() -> None:
    """A server that stops reading in the middle has nothing; one that read all may have it."""

    async def tell(desk: Desk) -> None:
        async def large(link: Link, _server: Server) -> None:
            await link.send(bytes(64 << 20))

        desk.first.serve = desk.second.serve = stuck
        sending = asyncio.create_task(desk.tcp.run(large, Deadline.after(desk.clock, 5)))
        await desk.clock.until_sleeping()
        while not desk.first.connections:  # noqa: ASYNC110 - it comes by a socket
            await asyncio.sleep(0)
        await desk.clock.settle()
        await desk.clock.run(6)
        with pytest.raises(NoAnswer, match="no acknowledgement before the deadline") as caught:
            await sending
        assert caught.value.unsent

    async def stuck(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    story(tell)
