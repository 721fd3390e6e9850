"""An HTTP/2 connection with a server that does anything at all: each call ends, as one of the ways a call can end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper_exporters._http.http2 import Call, Gone, Http2, NotHttp2, NotTaken, Reset

HEAD = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")]
Ended = (NotHttp2, Gone, NotTaken, Reset)


class Wire(asyncio.Transport):
    """What a connection writes to, kept."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class Server:
    """The other end, by h2: ``says`` is what it has to say in answer to what it got."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.calls: list[int] = []

    def gets(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.calls.append(event.stream_id or 0)

    def says(self) -> bytes:
        return self.h2.data_to_send()


async def begun(data: bytes = b"", limit: int = 1 << 20) -> tuple[Http2, Wire, Server, Call, asyncio.Task[None]]:
    """A call under way."""
    connection, wire, server, call = Http2(), Wire(), Server(), Call(limit=limit)
    connection.connection_made(wire)
    connection.data_received(server.says())
    await connection.opened()
    task = asyncio.create_task(connection.call(call, HEAD, data, lambda: None))
    await asyncio.sleep(0)
    server.gets(bytes(wire.written))
    wire.written.clear()
    return connection, wire, server, call, task


def story(what: Callable[[], object]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await what()  # type: ignore[misc]

    asyncio.run(run())


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_a_server_says_a_call_ends(data: st.DataObject) -> None:
    """Answers cut, repeated, changed in any byte and mixed with anything else never raise but as what they are."""

    async def run() -> None:
        connection, _, server, call, task = await begun(b"x" * data.draw(st.sampled_from([0, 10, 100_000])))
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # Hypothesis may stop in between
        number = server.calls[0]
        server.h2.send_headers(number, [(":status", "200"), ("a", "b")])
        server.h2.send_data(number, b"y" * data.draw(st.integers(0, 5000)))
        server.h2.send_headers(number, [("grpc-status", "0")], end_stream=True)
        if data.draw(st.booleans()):
            server.h2.close_connection(data.draw(st.sampled_from([0, 1, 11])))
        said = bytearray(server.says())
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(0, len(said) - 1))
            match data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"])):
                case "flip":
                    said[at] = data.draw(st.integers(0, 255))
                case "cut":
                    del said[at : at + data.draw(st.integers(1, 20))]
                case "insert":
                    said[at:at] = data.draw(st.binary(max_size=20))
                case "repeat":
                    said += said[at : at + 40]
            if not said:
                break
        at = 0
        while at < len(said):
            size = data.draw(st.integers(1, len(said)))
            connection.data_received(bytes(said[at : at + size]))
            at += size
            await asyncio.sleep(0)
        connection.connection_lost(None)
        try:
            await task
        except Ended:
            return
        assert call.ended.is_set()

    story(run)


def test_a_goodbye_ends_only_what_was_not_begun() -> None:
    """Of two calls the one that the server has begun with is answered, the other was certainly not looked at."""

    async def run() -> None:
        connection, wire, server, call, first = await begun()
        second_call = Call()
        second = asyncio.create_task(connection.call(second_call, HEAD, b"", lambda: None))
        await asyncio.sleep(0)
        goodbye = bytes([0, 0, 8, 7, 0, 0, 0, 0, 0, *server.calls[0].to_bytes(4, "big"), 0, 0, 0, 0])
        connection.data_received(goodbye)
        with pytest.raises(NotTaken):
            await second
        assert not connection.takes_more()
        assert not wire.closed
        server.h2.send_headers(server.calls[0], [(":status", "200")], end_stream=True)
        connection.data_received(server.says())
        await first
        assert call.headers == {":status": "200"}
        assert wire.closed

    story(run)


def test_a_goodbye_with_an_error_ends_all() -> None:
    """A server that breaks off for a fault of its own answers nothing more."""

    async def run() -> None:
        connection, _, server, _, task = await begun()
        server.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, last_stream_id=server.calls[0])
        connection.data_received(server.says())
        with pytest.raises(Reset, match="ENHANCE_YOUR_CALM"):
            await task

    story(run)


def test_what_the_other_side_does_not_take_is_not_written() -> None:
    """Without room for more nothing is written, and a call whose answer came early is not finished."""

    async def run() -> None:
        connection, wire, server, call, task = await begun(b"x" * 1_000_000)
        await asyncio.sleep(0)
        assert len(wire.written) < 100
        assert not call.whole
        server.h2.send_headers(server.calls[0], [(":status", "413")], end_stream=True)
        connection.data_received(server.says())
        await task
        assert not call.whole
        server.gets(bytes(wire.written))
        assert connection.calls == 0

    story(run)


def test_a_cancelled_call_is_taken_back() -> None:
    """The server is told, and the connection stays good for others."""

    async def run() -> None:
        connection, wire, server, _, task = await begun(b"x")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert b"\x03" in wire.written[3:4]  # RST_STREAM
        assert connection.takes_more()
        again = asyncio.create_task(connection.call(Call(limit=10), HEAD, b"", lambda: None))
        await asyncio.sleep(0)
        server.gets(bytes(wire.written))
        server.h2.send_headers(server.calls[1], [(":status", "200")], end_stream=True)
        connection.data_received(server.says())
        await again

    story(run)


def test_a_long_answer_is_progress_and_an_endless_one_ends() -> None:
    """Of a long answer each 16 KiB is a sign of life, and no more is read than was asked for."""

    async def run() -> None:
        moved: list[int] = []
        connection, wire, server = Http2(), Wire(), Server()
        connection.connection_made(wire)
        connection.data_received(server.says())
        call = Call(limit=50_000)
        task = asyncio.create_task(connection.call(call, HEAD, b"", lambda: moved.append(1)))
        await asyncio.sleep(0)
        server.gets(bytes(wire.written))
        wire.written.clear()
        server.h2.send_headers(server.calls[0], [(":status", "200")])
        while not call.ended.is_set():
            server.h2.send_data(server.calls[0], b"y" * 10_000)
            connection.data_received(server.says())
            server.gets(bytes(wire.written))
            wire.written.clear()
        await task
        assert len(call.body) == 60_000
        assert len(moved) == 3

    story(run)
