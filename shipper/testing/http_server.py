"""What fakes of HTTP services have in common: a real socket on loopback, which goes down and comes up again on the same port."""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self

from aiohttp import web


class HttpServer(ABC):
    """An async context manager that listens while it is open. `serve` answers all requests, of any method and path.

    A request that has come is served to its end, whether anybody still waits for the answer or not, as by most services.
    """

    unpacks: ClassVar[bool] = False
    """Whether bodies come to `serve` decompressed, and not as they were on the wire."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0  # any that is free, and from then on that one
        self._tls = tls
        self._released = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def up(self) -> bool:
        """Whether it listens."""
        return self._runner is not None

    async def __aenter__(self) -> Self:
        await self.come_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_down()

    async def come_up(self) -> None:
        """Listen (again, on the same port); nothing changes when it listens already."""
        if self._runner is not None:
            return
        handler = web.Server(self.serve, access_log=None, auto_decompress=self.unpacks)
        self._runner = web.ServerRunner(handler, shutdown_timeout=0.01)
        await self._runner.setup()
        listener = self.listener()
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener, ssl_context=self._tls).start()

    async def go_down(self) -> None:
        """Close every connection and listen no more: connecting is refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def release(self) -> None:
        """Let go of all answers that are held, now and from now on."""
        self._released.set()

    async def held(self) -> None:
        """Return once `release` was called."""
        await self._released.wait()

    def listener(self) -> socket.socket:
        """The socket to listen on."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return socket.create_server((self.host, self.port), family=family)

    @abstractmethod
    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request."""


def break_off(request: web.BaseRequest, said: bytes = b"") -> web.Response:
    """Write these bytes, close the connection, and answer no more."""
    if request.transport is not None:
        if said:
            request.transport.write(said)
        request.transport.close()
    return web.Response()
