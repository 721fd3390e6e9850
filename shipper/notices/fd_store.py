"""systemd keeps descriptors for a service while that is not running: what was deleted unread outlives a kill and an upgrade.

``FDSTORE=1`` and a name go to the notify socket together with the descriptor (sd_notify(3), SCM_RIGHTS); the next process of
the unit finds all of them from number 3 on, by ``LISTEN_PID``, ``LISTEN_FDS`` and ``LISTEN_FDNAMES`` (sd_listen_fds(3)). How many
there may be is the unit's ``FileDescriptorStoreMax=``; from version 254 on systemd tells it (``FDSTORE``).
"""

from __future__ import annotations

import os
import select
import socket
from array import array
from collections.abc import Mapping, Sequence

from shipper.events import Problem, Reporter
from shipper.notices.sd_notify import SOCKET, address_of

FIRST = 3  # SD_LISTEN_FDS_START
MOST = 512  # as in our unit, where systemd does not say
MOST_HANDED_OVER = 65_536


class FdStore:
    """The descriptor store of our unit. No call raises, and none blocks that is not told how long it may wait."""

    def __init__(self, *, env: Mapping[str, str], report: Reporter, pid: int | None = None, first: int = FIRST) -> None:
        """``pid``: ours (default: this process's); ``first``: the number from which on descriptors were handed over."""
        self._report = report
        self._address = address_of(env.get(SOCKET, ""))
        self._room = _number(env.get("FDSTORE", ""), MOST)
        self._kept: set[str] = set()
        self._unsettled = False
        meant = env.get("LISTEN_PID", "") == str(os.getpid() if pid is None else pid)
        count = min(_number(env.get("LISTEN_FDS", ""), 0), MOST_HANDED_OVER) if meant else 0
        names = env.get("LISTEN_FDNAMES", "").split(":")
        self._given = [(names[n] if n < len(names) else "", first + n) for n in range(count)]

    @property
    def listens(self) -> bool:
        """Whether there is anybody who may keep something for us."""
        return self._address is not None

    def inherited(self) -> list[tuple[str, int]]:
        """Names and descriptors that were kept for us: they are the caller's from now on, so a second call has none."""
        given, self._given = self._given, []
        found = []
        for name, fd in given:
            try:
                os.set_inheritable(fd, False)
            except OSError as problem:
                said = f"systemd announced descriptor {fd} ({name}), which is not there: {problem.strerror}"
                self._report(Problem("fd-store", said, "inherited"))
                continue
            found.append((name, fd))
            self._kept.add(name)
        return found

    def put(self, name: str, fd: int, seconds: float = 0.0) -> bool:
        """Have a descriptor kept under a name of ours; False where that cannot be done now.

        ``seconds``: how long to wait while systemd has too much to read already (net.unix.max_dgram_qlen).
        """
        if name in self._kept:
            return True
        if len(self._kept) >= self._room:
            said = (
                f"systemd keeps {self._room} descriptors of deleted files for us, and no more (FileDescriptorStoreMax=)"
            )
            self._report(Problem("fd-store", said, "room"))
            return False
        if not self._send(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", [fd], seconds):
            return False
        self._kept.add(name)
        self._unsettled = True
        return True

    def drop(self, name: str) -> bool:
        """What is kept under this name is not needed any more; False where that cannot be told now."""
        if name in self._kept and not self._send(f"FDSTOREREMOVE=1\nFDNAME={name}"):
            return False
        self._kept.discard(name)
        return True

    def settle(self, seconds: float) -> None:
        """Wait until systemd has everything that was sent, at most so long: what a process that is gone sent is not believed."""
        if not self._unsettled:
            return
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            sent = self._send("BARRIER=1", [theirs], seconds)
        finally:
            os.close(theirs)
        try:
            if sent:
                waiting = select.poll()
                waiting.register(ours, 0)  # it hangs up when systemd has closed its end
                self._unsettled = not waiting.poll(seconds * 1000)
        finally:
            os.close(ours)

    def _send(self, message: str, descriptors: Sequence[int] = (), seconds: float = 0.0) -> bool:
        if self._address is None:
            return False
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(seconds)
                out.sendmsg([message.encode()], rights, 0, self._address)
        except (BlockingIOError, TimeoutError):
            return False  # it has much to read; this is for later
        except OSError as problem:
            self._report(Problem("fd-store", f"systemd could not be told: {problem.strerror or problem}", "send"))
            return False
        return True


def _number(stated: str, default: int) -> int:
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 10 else default
