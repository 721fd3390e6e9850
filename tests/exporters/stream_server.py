"""What stand-ins for servers of other protocols than HTTP have in common: a TCP socket that goes down and comes up again on its port.

They are strict: an assertion that fails while one talks to a client is a violation of the protocol, and fails the test.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress
from types import TracebackType
from typing import Self

from shipper.testing.contract import Fault

_BUFFER = 1 << 26  # bytes that are read before they are asked for


class StreamServer(ABC):
    """An async context manager that listens on loopback while it is open."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0  # any that is free, and from then on that one
        self.connections = 0
        self.violations: list[str] = []
        self.tls = tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._released = asyncio.Event()

    @property
    def endpoint(self) -> str:
        """Where it is, with ``tls://`` before it where that is spoken."""
        return f"{'tls://' if self.tls is not None else ''}127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.come_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_down()
        assert not self.violations or error is not None, self.violations

    async def come_up(self) -> None:
        """Listen, at the same port as before; nothing changes when it listens already."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls, limit=_BUFFER)
            self.port = self._server.sockets[0].getsockname()[1]

    async def go_down(self) -> None:
        """Listen no more, break off what is connected, and let go of what is held."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.hang_up()
        self.release()
        while self._writers:  # noqa: ASYNC110 - they end within the event loop
            await asyncio.sleep(0)

    def hang_up(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def release(self) -> None:
        """Let go of all that is held, now and from now on."""
        self._released.set()

    @abstractmethod
    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """With one client, until its connection is to end. Fails for what a real server would not take."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self.talk(reader, writer)
        except AssertionError as error:
            self.violations.append(str(error) or repr(error))
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
            self._writers.discard(writer)


class FaultyStreamServer(StreamServer):
    """One that has the faults of the contract suite; which of them means what is its own affair."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.fault: Fault | None = None

    async def healthy(self) -> None:
        """See `Destination.healthy`."""
        await self.come_up()
        self.fault = None
        self.release()

    async def failing(self, fault: Fault) -> None:
        """See `Destination.failing`."""
        self.fault = fault
        self._released.clear()
        if fault is Fault.DOWN:
            await self.go_down()


async def finish(writer: asyncio.StreamWriter) -> None:
    """Close once all is said: what was written arrives."""
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a web server does whom somebody talks to in another protocol."""
    await reader.read(6)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()
    await reader.read()
