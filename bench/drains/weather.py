"""What lies between a host and its sink: a relay of bytes that is fine, slow, gone, or comes and goes.

It also sees when requests with a word of the host's life (birth, notice, farewell) pass, since these name the stream ``life`` in
plain text in their heads.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

CHUNK = 16 << 10
FLAP_SECONDS = 0.8  # up, then as long down
LIFE = b"life:"


class Weather:
    """The relay, on loopback. ``upstream``: the port of the sink."""

    def __init__(self, upstream: int, *, slow: float) -> None:
        """``slow``: bytes a second over the wire in slow weather."""
        self.port = 0
        self.upstream = upstream
        self.passed = 0
        """Bytes that went to the sink."""
        self.life_at: list[float] = []
        """When requests with a word of the life passed (monotonic seconds)."""
        self.refused_at: list[float] = []
        """When connections were refused."""
        self._slow = slow
        self._rate = 0.0
        self._free_at = 0.0
        self._up = True
        self._flapping: asyncio.Task[None] | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Weather:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * CHUNK)  # else the kernel takes megabytes at once
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=CHUNK)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.set("down")
        assert self._server is not None
        self._server.close()

    def set(self, weather: str) -> None:
        """``healthy``, ``slow``, ``down`` or ``flapping``; from now on."""
        if self._flapping is not None:
            self._flapping.cancel()
            self._flapping = None
        self._rate = self._slow if weather == "slow" else 0.0
        if weather == "flapping":
            self._flapping = asyncio.ensure_future(self._flap())
        elif weather == "down":
            self._go_down()
        else:
            self._up = True

    async def _flap(self) -> None:
        while True:
            self._up = True
            await asyncio.sleep(FLAP_SECONDS)
            self._go_down()
            await asyncio.sleep(FLAP_SECONDS)

    def _go_down(self) -> None:
        self._up = False
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            # Reset rather than not listening, so that it is seen when somebody tried.
            self.refused_at.append(time.monotonic())
            writer.transport.abort()
            return
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self.upstream, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, forth)
        self._open.update(pair)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._relay(reader, forth, counted=True))
                group.create_task(self._relay(back, writer, counted=False))
        except* OSError:
            pass
        finally:
            self._open.difference_update(pair)
            for one in pair:
                one.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        while chunk := await reader.read(CHUNK):
            if counted:
                if LIFE in chunk:
                    self.life_at.append(time.monotonic())
                await self._brake(len(chunk))
                self.passed += len(chunk)
            writer.write(chunk)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _brake(self, size: int) -> None:
        """All connections share one narrow way."""
        if not self._rate:
            return
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + size / self._rate
        await asyncio.sleep(self._free_at - now)
