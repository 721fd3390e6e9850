"""What both ends of a TCP connection need of asyncio: to wait until something came, and until there is room to write."""

from __future__ import annotations

import asyncio


class Flow(asyncio.Protocol):
    """The waiting. At most one task reads at a time, and one writes."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._reader: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._let_write()
        self._writable = None

    async def _news(self) -> None:
        """Return once `_wake` was called."""
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _let_write(self) -> None:
        """Who waits for room waits no longer, whether there is any or not."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
