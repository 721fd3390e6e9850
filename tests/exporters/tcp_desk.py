"""Two servers and connections to them, for tests of what is done with several servers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from shipper.clock import Deadline
from shipper.contracts import ExporterContext
from shipper.errors import Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE
from shipper_exporters._tcp.link import Link
from shipper_exporters._tcp.session import Tcp
from shipper_exporters._tcp.settings import Server, TcpSettings
from tests.exporters.tcp_kit import Serve, serving

ASK, ANSWER = b"ask\n", b"answer\n"


class Host:
    """A server that answers; ``serve`` is what it does with a connection."""

    def __init__(self) -> None:
        self.connections = 0
        self.asked = 0
        self.serve: Serve = self.answering
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self.serve(reader, writer)

    async def answering(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            self.asked += 1
            writer.write(ANSWER)

    async def closing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        self.asked += 1

    async def refusing(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """End it before anything was read, as a server does that is told to."""
        writer.transport.abort()

    async def silent(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()


class Desk:
    """A clock, two servers, and connections to them."""

    def __init__(self, clock: FakeClock, tcp: Tcp, first: Host, second: Host) -> None:
        self.clock = clock
        self.tcp = tcp
        self.first = first
        self.second = second

    async def ask(self, deadline: Deadline | None = None) -> None:
        await self.tcp.run(ask, deadline or Deadline(self.clock))

    def asked(self) -> tuple[int, int]:
        return self.first.asked, self.second.asked


async def ask(link: Link, server: Server) -> None:
    """An exchange."""
    await link.send(ASK)
    answer = await link.read()
    if answer != ANSWER:
        raise Unusable(f"{server}: a stranger")


def context(clock: FakeClock, *own: tuple[str, int]) -> ExporterContext:
    return ExporterContext(clock, LIFE, 1, "test", frozenset(own))


@asynccontextmanager
async def desk(first_up: bool = True) -> AsyncIterator[Desk]:
    first, second = Host(), Host()
    clock = FakeClock()
    async with asyncio.timeout(60), serving(first) as one, serving(second) as other:
        first.port, second.port = one if first_up else unused(), other
        endpoints = [f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"]
        tcp = Tcp("t", TcpSettings(endpoints=endpoints), context(clock), port=1)
        tcp.open()
        try:
            yield Desk(clock, tcp, first, second)
        finally:
            await tcp.aclose()


def unused() -> int:
    """A port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def story(tell: Callable[[Desk], Awaitable[None]], **options: bool) -> None:
    async def run() -> None:
        async with desk(**options) as found:
            await tell(found)

    asyncio.run(run())
