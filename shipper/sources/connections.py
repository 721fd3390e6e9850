"""The connections of a receiver that reads streams: how many there may be, and how all of them end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from shipper.events import ConnectionEnded, Reporter
from shipper.sources.listen import Closed, ListenSettings, listen
from shipper.sources.wire import Wire

Serve = Callable[[Wire], Awaitable[None]]
"""Serves one connection until it ends; it is closed then."""


class Connections:
    """Listens, and runs ``serve`` for each connection."""

    def __init__(self, name: str, path: str, most: int, serve: Serve, report: Reporter) -> None:
        """``path``: where the settings stand, for errors; ``most``: connections at once."""
        self._name = name
        self._path = path
        self._most = most
        self._serve = serve
        self._report = report
        self._servers: list[asyncio.Server] = []
        self._open: dict[Wire, asyncio.Task[None]] = {}
        self.addresses: list[tuple[str, int]] = []  # where it listens; a unix socket's is its path and 0

    def __len__(self) -> int:
        return len(self._open)

    async def start(self, where: Sequence[ListenSettings]) -> None:
        """Listen. Raises `ConfigError` when an address cannot be had."""
        for settings in where:
            server, addresses = await listen(settings, self._path, self._protocol)
            self._servers.append(server)
            self.addresses += addresses

    def stop(self) -> None:
        """Listen no more; what has come on the connections is still read, then they end."""
        for server in self._servers:
            server.close()
        for wire in self._open:
            wire.stop()

    async def settled(self) -> None:
        """Return when all connections have ended."""
        while self._open:
            await asyncio.wait(self._open.values())

    async def aclose(self) -> None:
        """End all connections now."""
        self.stop()
        for wire, task in self._open.items():
            wire.abort()
            task.cancel()
        await self.settled()

    def _protocol(self) -> asyncio.Protocol:
        if len(self._open) >= self._most:
            self._report(ConnectionEnded(self._name, "connections", f"there are {self._most} of them already"))
            return Closed()
        return Wire(self._connected)

    def _connected(self, wire: Wire) -> None:
        self._open[wire] = asyncio.get_running_loop().create_task(self._run(wire))

    async def _run(self, wire: Wire) -> None:
        try:
            await self._serve(wire)
        finally:
            wire.close()
            del self._open[wire]
