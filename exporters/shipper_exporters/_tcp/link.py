"""One TCP connection as a client of a protocol with acknowledgements wants it.

asyncio's own streams forget what came when a connection breaks; here that is often the reason why it broke, so it can still
be read. And they do not tell how far a message got, which decides whether the other side may have it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from shipper.sources.flow import Flow

_SLICE = 1 << 17  # bytes between two signs of progress
_BUFFERED = 1 << 18  # bytes that wait to be read; whoever sends more, unasked, has to wait


class Broken(ConnectionError):
    """The connection ended. ``cause`` is what the system said, None where the other side closed it."""

    def __init__(self, cause: Exception | None) -> None:
        super().__init__("closed by the other side" if cause is None else str(cause))
        self.cause = cause


class Link(Flow):
    """Bytes both ways. ``progress`` is called whenever some move."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: Callable[[], None] = _nobody
        self.heard = False
        """Whether anything ever came."""
        self.whole = False
        """Whether the other side may have all of any message that was sent since this was last set to False."""
        self._held = bytearray()
        self._ended = False
        self._cause: Exception | None = None

    @property
    def usable(self) -> bool:
        """Whether it can be used once more: nobody closed it, and nothing came that nobody asked for."""
        return not self._ended and not self._held

    async def send(self, data: bytes) -> None:
        """Return when all is with the kernel, or nearly. Raises `Broken`."""
        view = memoryview(data)
        for at in range(0, len(data), _SLICE):
            if self._ended:
                raise Broken(self._cause)
            self.whole = self.whole or at + _SLICE >= len(data)
            self._transport.write(view[at : at + _SLICE])
            if self._writable is not None:
                await self._writable
            self.progress()

    async def read(self) -> bytes:
        """What came since the last call; waits until something does. Raises `Broken` once all that came was given."""
        while not self._held:
            if self._ended:
                raise Broken(self._cause)
            await self._news()
        data = bytes(self._held)
        self._held.clear()
        if not self._ended:
            self._transport.resume_reading()
        self.progress()
        return data

    def left(self) -> bytes:
        """What came and was not read, without waiting."""
        return bytes(self._held)

    def close(self) -> None:
        """End it at once; what was not sent is not."""
        self._ended = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # so that the kernel finds out about dead peers

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.heard = True
        self._held += data
        if len(self._held) > _BUFFERED:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: a server that closes its half acknowledges nothing more."""
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._ended = True
        self._cause = self._cause or exc
        self._wake()
        self.resume_writing()


def _nobody() -> None:
    pass
