"""What systemd is to a service that notifies it: a datagram socket, here one whose messages can be looked at.

async with NotifySocket(directory / "notify") as systemd:
    ... start the service with systemd.env() ...
    await systemd.until(lambda: "READY" in systemd.said)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from shipper.clock import Clock, SystemClock

MAX_MESSAGE = 65_536


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came: when (the clock's monotonic seconds), and its fields (sd_notify(3))."""

    at: float
    fields: dict[str, str]


class NotifySocket:
    """Receives what a service sends by sd_notify(3).

    ``place``: a path, or ``@name`` for a socket in the abstract namespace.
    """

    def __init__(self, place: Path | str, *, clock: Clock | None = None) -> None:
        self.messages: list[Message] = []
        self.said: dict[str, str] = {}
        """The last value of each field."""
        self._place = str(place)
        self._clock: Clock = clock or SystemClock()
        self._socket: socket.socket | None = None
        self._news = asyncio.Event()

    def env(self, *, watchdog: float | None = None, pid: int | None = None) -> dict[str, str]:
        """What systemd puts into the environment of the service. ``watchdog``: WatchdogSec in seconds, ``pid``: whom it means."""
        env = {"NOTIFY_SOCKET": self._place}
        if watchdog is not None:
            env["WATCHDOG_USEC"] = str(round(watchdog * 1e6))
        if pid is not None:
            env["WATCHDOG_PID"] = str(pid)
        return env

    async def __aenter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._socket.bind("\0" + self._place[1:] if self._place.startswith("@") else self._place)
        asyncio.get_running_loop().add_reader(self._socket, self._receive)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        with contextlib.suppress(OSError):
            if self._place.startswith("/"):
                os.unlink(self._place)

    def values(self, field: str) -> list[str]:
        """Every value of one field, in order."""
        return [message.fields[field] for message in self.messages if field in message.fields]

    async def until(self, condition: Callable[[], object], patience: float = 30.0) -> None:
        """Wait, in real time, until the condition holds; looks at it after each message. Raises TimeoutError."""
        async with asyncio.timeout(patience):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def _receive(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self._socket.recv(MAX_MESSAGE).decode()
                fields = dict(line.split("=", 1) for line in text.splitlines())
                self.messages.append(Message(self._clock.monotonic(), fields))
                self.said.update(fields)
                self._news.set()
