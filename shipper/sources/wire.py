"""One stream connection as a receiver wants it: bytes as they come, back-pressure both ways, and a last look before the end.

asyncio's own streams cannot be told to hand over what is there and no more, which is what a receiver has to do when it stops:
a sender without acknowledgements believes that whatever the kernel took has arrived.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from shipper.sources.flow import Flow

_BUFFERED = 512 << 10  # bytes that wait to be read, then the sender has to wait
_TURNS = 256  # of the event loop at most, in which a connection that is stopped may still bring bytes


class Wire(Flow):
    """Bytes of one connection. ``connected`` is called once, when it is there."""

    def __init__(self, connected: Callable[[Wire], None]) -> None:
        super().__init__()
        self._connected = connected
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._lost = False
        self._turns = -1  # how many are left once it is stopped
        self.peer = ""  # address of the other side, without its port; empty for a unix socket

    async def read(self) -> bytes:
        """All that came since the last call; waits until something does. Empty at the end."""
        while not self._pieces and not self._ended:
            if self._turns >= 0:
                await self._last_look()
                break
            await self._news()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if not self._ended:
            self._transport.resume_reading()
        return data

    def write(self, data: bytes) -> None:
        """Send; into nothing where the other side is gone."""
        if not self._lost:
            self._transport.write(data)

    async def drain(self) -> None:
        """Return when what was written is on its way, or can never be, or nobody waits for that any more."""
        if self._writable is not None and self._turns < 0:
            await self._writable

    def stop(self) -> None:
        """Read what is there already, and no more; a client that does not take its answers is not waited for."""
        if self._turns < 0:
            self._turns = _TURNS
            self._wake()
            self._let_write()

    def close(self) -> None:
        """Send what was written, and end the connection."""
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        _keep_alive(self._transport)
        self._connected(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _BUFFERED:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: a client may close its half and still wait for acknowledgements; TLS knows no halves."""
        self._ended = True
        self._wake()
        return self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._ended = self._lost = True
        self._wake()
        self.resume_writing()

    async def _last_look(self) -> None:
        """Let the event loop ask the kernel once or twice more."""
        for _ in range(3):
            await asyncio.sleep(0)
        self._turns -= 1
        if not self._turns or not self._pieces:
            self._ended = True


def _keep_alive(transport: asyncio.Transport) -> None:
    """Have the kernel find out when the other side is gone without a word: idle connections are not closed otherwise."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
