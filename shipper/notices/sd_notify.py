"""Tells systemd how the sidecar is: up, stopping, alive, or in need of more time. The protocol of sd_notify(3), spoken directly.

It is one datagram with a few lines, so nothing is needed for it but a socket: no libsystemd, no extra. Without ``NOTIFY_SOCKET``
nothing is sent and nothing is said, because then nobody asked.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from shipper.clock import Clock
from shipper.events import Problem, Reporter

SOCKET = "NOTIFY_SOCKET"
WATCHDOG_TIME = "WATCHDOG_USEC"
WATCHDOG_PID = "WATCHDOG_PID"
MAX_STATUS = 400  # characters; a longer one is cut, systemctl shows one line


class ServiceManager:
    """The service manager that started us, as far as it listens. No call blocks or raises: a report of how we are is never worth more
    than what we do.
    """

    def __init__(self, *, env: Mapping[str, str], report: Reporter, pid: int | None = None) -> None:
        """``pid``: ours, to tell whether the watchdog means us (default: this process's)."""
        self._report = report
        self._address = address_of(env.get(SOCKET, ""))
        if env.get(SOCKET) and self._address is None:
            report(
                Problem("sd-notify", f"{SOCKET} is {env[SOCKET]!r}, which is no path and no abstract socket: not told")
            )
        self._watchdog = _watchdog_seconds(env, os.getpid() if pid is None else pid)

    @property
    def listens(self) -> bool:
        """Whether there is anybody to tell (Type=notify)."""
        return self._address is not None

    @property
    def watchdog_seconds(self) -> float | None:
        """Within what time systemd wants a sign of life; None: it does not watch us."""
        return self._watchdog if self.listens else None

    def ready(self, status: str = "") -> None:
        """The sidecar is up: units ordered after it may start."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(_status(text))

    def stopping(self, status: str = "") -> None:
        """The drain that ends in our exit has begun."""
        self._send("STOPPING=1", _status(status))

    def extend(self, seconds: float) -> None:
        """Kill us no earlier than ``seconds`` from now. It never shortens what was granted; has no effect but while being stopped."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def alive(self) -> None:
        """One sign of life for the watchdog."""
        self._send("WATCHDOG=1")

    async def keep_alive(self, clock: Clock) -> None:
        """Give signs of life until cancelled, two in each interval; returns at once where nobody watches.

        It is a task of the event loop on purpose: a loop that hangs gives no sign, and systemd starts us anew.
        """
        while (interval := self.watchdog_seconds) is not None:
            self.alive()
            await clock.sleep(interval / 2)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        message = "\n".join(filter(None, lines)).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
                out.sendto(message, self._address)
        except OSError as problem:
            self._report(Problem("sd-notify", f"systemd could not be told: {problem.strerror or problem}", "send"))


def address_of(stated: str) -> str | None:
    """What to give to the kernel for a ``NOTIFY_SOCKET``; None for none, and for kinds we do not speak (vsock, a relative path)."""
    if stated.startswith("@") and len(stated) > 1:
        return "\0" + stated[1:]
    return stated if stated.startswith("/") else None


def _status(text: str) -> str:
    line = "".join(char if char.isprintable() else " " for char in text)[:MAX_STATUS].strip()
    return f"STATUS={line}" if line else ""


def _watchdog_seconds(env: Mapping[str, str], pid: int) -> float | None:
    whose = env.get(WATCHDOG_PID, "").strip()
    if whose and whose != str(pid):
        return None  # meant for the process that started us; it has to answer for itself
    stated = env.get(WATCHDOG_TIME, "").strip()
    return int(stated) / 1e6 if stated.isascii() and stated.isdigit() and 0 < int(stated) < 1 << 63 else None
