"""Requests as the exporters send them, for sinks that must not be what is measured: HTTP/1.1 with Content-Length, one by one."""

from __future__ import annotations

import asyncio
from abc import abstractmethod


class Requests(asyncio.Protocol):
    """Calls `take` for each request of a connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._line = b""
        self._head: dict[bytes, bytes] = {}
        self._need = 0

    @abstractmethod
    def take(self, method: bytes, path: bytes, head: dict[bytes, bytes], body: bytes) -> None:
        """A request is whole; names in ``head`` are in lower case, and ``path`` is without its query."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._take_one():
            pass

    def _take_one(self) -> bool:
        if not self._line:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._line, *lines = bytes(self._buffer[:end]).split(b"\r\n")
            self._head = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines)}
            self._need = int(self._head.get(b"content-length", b"0"))
            del self._buffer[: end + 4]
        if len(self._buffer) < self._need:
            return False
        body = bytes(self._buffer[: self._need])
        del self._buffer[: self._need]
        method, target, _ = self._line.split(b" ", 2)
        self._line = b""
        self.take(method, target.partition(b"?")[0], self._head, body)
        return True
