"""Reads a datagram socket as fast as the event loop lets it. Its senders cannot be made to wait: what has no room is counted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from shipper.events import MessagesDropped, Reporter
from shipper.sources.syslog.sockets import Datagram, buffer, read

_AT_ONCE = 256  # datagrams between two turns of the event loop
_LAST = 256  # such rounds at most in the last look
_KERNEL = "the kernel dropped datagrams before they could be read; raise net.core.rmem_max, or send by TCP"
_WRAPS = 1 << 32


class Datagrams:
    """``take`` is given what was read, and stores it."""

    def __init__(
        self, name: str, sock: socket.socket, take: Callable[[Sequence[Datagram]], None], report: Reporter
    ) -> None:
        self._name = name
        self._sock = sock
        self._take = take
        self._report = report
        self._buffer = buffer()
        self._dropped = 0

    def start(self) -> None:
        """Begin to read."""
        asyncio.get_running_loop().add_reader(self._sock, self._read)

    def close(self) -> None:
        """Read what is there, and no more."""
        if self._sock.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._sock)
        for _ in range(_LAST):
            if not self._read():
                break
        self._sock.close()

    def _read(self) -> int:
        found = list(read(self._sock, _AT_ONCE, self._buffer))
        if found:
            lost = (found[-1].dropped - self._dropped) % _WRAPS
            self._dropped = found[-1].dropped
            if lost:
                self._report(MessagesDropped(self._name, "kernel", lost, _KERNEL))
            self._take(found)
        return len(found)
