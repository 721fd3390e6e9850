"""What systemd's descriptor store is to a unit: a notify socket that keeps what is sent to it, and hands it over again."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FIRST = 300  # in a process that has descriptors from 3 on already


class Keeper:
    """Takes FDSTORE, FDSTOREREMOVE and BARRIER as sd_notify(3) says, in a thread of its own."""

    def __init__(self, place: Path, room: int = 512) -> None:
        self.kept: dict[str, list[int]] = {}
        self.said: list[dict[str, str]] = []
        self.room = room
        self._place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(place))
        self._ended, self._end = os.pipe2(os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def env(self) -> dict[str, str]:
        """The environment of a start that is given nothing."""
        return {"NOTIFY_SOCKET": str(self._place), "FDSTORE": str(self.room)}

    @contextmanager
    def handed_over(self, first: int = FIRST) -> Iterator[dict[str, str]]:
        """What is kept, at the numbers from ``first`` on, and the environment that tells of it."""
        with self._lock:
            names = [(name, fd) for name, fds in self.kept.items() for fd in fds]
            for number, (_, fd) in enumerate(names):
                os.dup2(fd, first + number, inheritable=True)
        told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names))}
        try:
            yield {**self.env(), **told, "LISTEN_FDNAMES": ":".join(name for name, _ in names)}
        finally:
            for number in range(len(names)):
                with contextlib.suppress(OSError):
                    os.close(first + number)

    def keep(self, name: str, fd: int) -> None:
        """Have something in the store already."""
        with self._lock:
            self.kept.setdefault(name, []).append(os.dup(fd))

    def close(self) -> None:
        """The unit was stopped: nothing is kept any more."""
        os.close(self._end)
        self._thread.join()
        os.close(self._ended)
        self._socket.close()
        for fds in self.kept.values():
            for fd in fds:
                os.close(fd)
        self.kept.clear()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket, self._ended], [], [])
            if self._socket in ready:
                message, fds, _, _ = socket.recv_fds(self._socket, 65_536, 16)
                with self._lock:
                    self._take(dict(line.split("=", 1) for line in message.decode().splitlines()), fds)
            elif ready:
                return

    def _take(self, fields: dict[str, str], fds: list[int]) -> None:
        self.said.append(fields)
        name = fields.get("FDNAME", "stored")
        if fields.get("FDSTORE") == "1":
            for fd in fds:
                if sum(map(len, self.kept.values())) < self.room:
                    self.kept.setdefault(name, []).append(fd)
                else:
                    os.close(fd)
            return
        for fd in fds:  # of a barrier, or not wanted
            os.close(fd)
        if fields.get("FDSTOREREMOVE") == "1":
            for fd in self.kept.pop(name, []):
                os.close(fd)
