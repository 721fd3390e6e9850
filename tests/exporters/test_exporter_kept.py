"""Over kept connections an answer belongs to the request that it was given to, and what comes besides is an answer to nothing."""

from __future__ import annotations

import asyncio

import pytest
from yarl import URL

from shipper.clock import Deadline
from shipper.contracts import ExporterContext
from shipper.errors import Retryable
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE
from shipper_exporters._http.client import Answer, Client, Content
from shipper_exporters._http.settings import HttpSettings
from tests.e2e.kit import until
from tests.exporters.tcp_kit import serving

RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
WRONG = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
GOODBYE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def call(client: Client, port: int, size: int = 10) -> Answer:
    content = Content(b"x" * size, "text/plain")
    url = URL(f"http://127.0.0.1:{port}/")
    return await client.call("POST", url, Deadline(FakeClock()), 1000, {}, content)


def client() -> Client:
    found = Client.of(HttpSettings(), ExporterContext(FakeClock(), LIFE, 1, "Shipper/test"))
    found.open()
    return found


@pytest.mark.parametrize("rest", [WRONG, WRONG[:20], GOODBYE, b"\r\n", b"\x00"])
def test_what_comes_behind_an_answer_is_none(rest: bytes) -> None:
    """An answer too many, late, whole or in part, is not taken for the answer to the next request."""
    connections = 0

    async def scenario() -> None:
        later = asyncio.Event()
        said = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(RIGHT)
            if connections == 1:
                await later.wait()
                writer.write(rest)
                await writer.drain()
                said.set()
            await reader.read()

        async with asyncio.timeout(60), serving(serve) as port:
            sender = client()
            assert (await call(sender, port)).body == b"right"
            later.set()
            await said.wait()
            connector = sender._session.connector if sender._session is not None else None
            assert connector is not None
            kept = [one for held in connector._conns.values() for one, _ in held]
            await until(lambda: not any(one.is_connected() for one in kept), "the connection is given up")
            assert (await call(sender, port)).body == b"right"
            await sender.aclose()

    asyncio.run(scenario())
    assert connections == 2


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3])
def test_an_answer_in_pieces_keeps_its_connection(interim: bytes) -> None:
    """What comes before an answer, and an answer that comes byte by byte, is no reason to give a connection up."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"x" * 10)
            for byte in interim + RIGHT:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)

    async def scenario() -> None:
        async with asyncio.timeout(60), serving(serve) as port:
            sender = client()
            for _ in range(3):
                assert (await call(sender, port)).body == b"right"
            await sender.aclose()

    asyncio.run(scenario())
    assert connections == 1


def test_who_did_not_hear_all_of_it_cannot_have_it() -> None:
    """A kind answer to a request of which the most was not sent yet acknowledges nothing."""

    async def scenario() -> None:
        done = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(RIGHT)
            await done.wait()

        async with asyncio.timeout(60), serving(serve) as port:
            sender = client()
            with pytest.raises(Retryable, match="before it had all of the request") as caught:
                await call(sender, port, 64 << 20)
            assert caught.value.unsent
            done.set()
            await sender.aclose()

    asyncio.run(scenario())


def test_a_bomb_is_read_no_further_than_asked() -> None:
    """Of an answer that is a thousand times as large as it looks no more is unpacked than was asked for."""
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        writer.write(head.encode() + bomb)
        await reader.read()

    async def scenario() -> None:
        async with asyncio.timeout(60), serving(serve) as port:
            sender = client()
            assert (await call(sender, port)).body == bytes(1001)
            await sender.aclose()

    asyncio.run(scenario())
