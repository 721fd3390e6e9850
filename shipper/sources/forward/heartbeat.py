"""The UDP heartbeat: older clients send a byte to the port they send records to, and want one back.

Forward protocol v1, "Heartbeat Message". What comes is never read as records.
"""

from __future__ import annotations

import asyncio
from typing import cast

from shipper.errors import ConfigError

_ANSWER = b"\x00"


class Heartbeat(asyncio.DatagramProtocol):
    """Answers. One byte for one datagram, so nobody gains by a forged sender."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.DatagramProtocol`."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # until Python 3.12 it is none by type

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """See `asyncio.DatagramProtocol`."""
        if self._transport is not None:
            self._transport.sendto(_ANSWER, addr)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.DatagramProtocol`."""
        self._closed.set_result(None)

    async def aclose(self) -> None:
        """Answer no more."""
        if self._transport is not None:
            self._transport.close()
            await self._closed


async def heartbeat(host: str, port: int, path: str) -> Heartbeat:
    """Answer heartbeats there. Raises `ConfigError`, which names ``path``."""
    loop = asyncio.get_running_loop()
    try:
        _, protocol = await loop.create_datagram_endpoint(Heartbeat, local_addr=(host.strip("[]"), port))
    except OSError as error:
        raise ConfigError(path, f"cannot answer heartbeats on {host}:{port}/udp: {error}") from error
    return protocol
