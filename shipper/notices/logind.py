"""systemd-logind: word that the system goes down, and a delay lock that keeps it up while there is something to save.

logind tells everybody on the bus (``PrepareForShutdown``) and waits for those who hold a *delay* lock, at most
``InhibitDelayMaxSec`` (5 s unless a drop-in says more: packaging/systemd). The lock is a descriptor, and counts until its last
duplicate is closed. It has to be held before the shutdown begins, so it is taken at the start.
Protocol: org.freedesktop.login1(5); tried against systemd-logind 252.

What is told is the end of the delay. A unit of systemd lives longer: only then are units stopped, and this one is asked last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from shipper.clock import Clock
from shipper.events import Problem, Reporter, Said
from shipper.notice import Hold, Need, Notice, NoticeBoard, NoticeKind, NoticeWatcher
from shipper.notices.logind_bus import REFUSED, SHUTTING_DOWN, Logind, NoLogind

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 1.0, 60.0
LOOK_SECONDS = 1.0
KEY = "shutdown"
SAME_LIFE = frozenset({"soft-reboot"})  # user space only: the kernel's boot id stays, and so does the life


class LogindWatcher(NoticeWatcher):
    """Listens to ``PrepareForShutdown``, from now on and over reconnections.

    ``stop_seconds``: how long this process is left once the delay is over; 0 where it is no unit of systemd. ``in_pod``: the
    delay is the kubelet's, which ends its pods within it by times of its own; so the budget ``kubernetes-node`` counts.
    """

    name = "logind"

    def __init__(self, *, clock: Clock, logind: Logind, stop_seconds: float = 0.0, in_pod: bool = False) -> None:
        self._clock = clock
        self._logind = logind
        self._stop_seconds = stop_seconds
        self._budget = "kubernetes-node" if in_pod else "logind"
        self._delay: float | None = None
        self._type = ""
        self._said = False

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        wait = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._logind.connect(lambda member, body: self._on_signal(member, body, board))
                board.unknown(self.name, await self._listen(board))
                wait = FIRST_RETRY_SECONDS
            except NoLogind as problem:
                board.unknown(self.name, str(problem))
            self._logind.disconnect()
            await self._clock.sleep(wait)
            wait = min(wait * 2, LAST_RETRY_SECONDS)

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        self._logind.disconnect()

    async def _listen(self, board: NoticeBoard) -> str:
        """Until the connection is lost; why it was. Raises `NoLogind`."""
        lost = asyncio.ensure_future(self._logind.until_lost())
        try:
            while not lost.done():
                self._logind.renewed.clear()
                await self._look(board)
                await _first(lost, self._logind.renewed.wait())
            return lost.result()
        finally:
            lost.cancel()

    async def _look(self, board: NoticeBoard) -> None:
        """What was said while we did not listen."""
        self._delay = await self._logind.longest_delay()
        if await self._logind.preparing():
            if not self._said:
                self._going_down(board, "logind is preparing for shutdown already", None)
        else:
            board.seen(self.name)
            self._staying_up(board)

    def _on_signal(self, member: str, body: list[Any], board: NoticeBoard) -> None:
        if member == "PrepareForShutdownWithMetadata" and len(body) > 1:
            self._type = _type_of(body[1])
        elif member != "PrepareForShutdown" or not body:
            return
        if body[0] is True:
            self._told(board)
        elif body[0] is False:
            self._staying_up(board)

    def _told(self, board: NoticeBoard) -> None:
        if self._said:
            return  # the same, said in the older and in the newer way
        delay = None if self._budget == "kubernetes-node" else self._delay
        deadline = None if delay is None else self._clock.monotonic() + delay + self._stop_seconds
        self._going_down(board, f"PrepareForShutdown{f' ({self._type})' if self._type else ''}", deadline)

    def _going_down(self, board: NoticeBoard, evidence: str, deadline: float | None) -> None:
        self._said = True
        self._logind.shutting_down = True
        self._logind.changed.set()
        ends_life = self._type not in SAME_LIFE
        board.notice(Notice(self.name, NoticeKind.IMMINENT, evidence, deadline, self._budget, KEY, ends_life=ends_life))

    def _staying_up(self, board: NoticeBoard) -> None:
        self._type = ""
        self._logind.shutting_down = False
        self._logind.changed.set()
        if self._said:
            self._said = False
            board.withdrawn(self.name, KEY, "PrepareForShutdown(false): the shutdown was called off")


class LogindHold(Hold):
    """The delay lock: taken at the start, let go when nothing is left to send, taken again when the shutdown is called off."""

    name = "logind"
    release_when = "empty"

    def __init__(self, *, clock: Clock, report: Reporter, logind: Logind) -> None:
        self._clock = clock
        self._report = report
        self._logind = logind
        self._released = False
        self._refused = False
        self._epoch = 0  # of our lock, or of the last answer that there is none for us

    @property
    def holding(self) -> bool:
        """See `Hold.holding`: the lock delays something only while the machine is going down."""
        return self._logind.shutting_down and not self._released and bool(self._epoch)

    async def run(self, need: Callable[[], Need]) -> None:
        """See `Hold.run`: has the lock whenever it can be had, until it is released; anew when the drain was taken back."""
        logind = self._logind
        while True:
            logind.changed.clear()
            if not logind.shutting_down and not need().draining:
                self._released = False
            up = logind.connected.is_set() and not logind.shutting_down
            if up and not self._released and self._epoch != logind.epoch:
                await self._take()
            await _first(logind.changed.wait(), self._clock.sleep(LOOK_SECONDS))  # a drain may be taken back unseen

    async def release(self, *, drained: bool) -> None:
        """See `Hold.release`."""
        self._released = True
        self._epoch = 0
        self._logind.let_go()

    async def aclose(self) -> None:
        """See `Hold.aclose`."""
        self._logind.let_go()

    async def _take(self) -> None:
        """A new lock also in the place of one we hold: after a reconnection logind may have forgotten the old one."""
        self._epoch = self._logind.epoch
        try:
            await self._logind.take_lock()
        except NoLogind as problem:
            self._say_why_not(problem)
            return
        if self._released:  # meanwhile
            self._logind.let_go()
        if self._refused:
            self._refused = False
            self._report(Said("logind waits for us now when the system is shut down"))

    def _say_why_not(self, problem: NoLogind) -> None:
        if problem.name in REFUSED:  # asking again would change nothing
            if not self._refused:
                self._refused = True
                said = "logind does not let us delay a shutdown, it will not wait for what is not sent yet; allow the polkit action"
                self._report(
                    Problem("hold", f"{said} org.freedesktop.login1.inhibit-delay-shutdown ({problem})", self.name)
                )
            return
        self._epoch = 0
        if problem.name != SHUTTING_DOWN:  # that the watcher says: a notice
            self._report(Problem("hold", f"logind gives no delay lock: {problem}", self.name))


def _type_of(metadata: Any) -> str:
    """``type`` of the metadata (poweroff, reboot, ...), as a word for a person; empty when it is none."""
    stated = getattr(metadata.get("type"), "value", "") if isinstance(metadata, dict) else ""
    return stated[:40] if isinstance(stated, str) and stated.isprintable() else ""


async def _first(*waits: Awaitable[Any]) -> None:
    """Wait for one of them; those that were given as coroutines end with it."""
    doing = {asyncio.ensure_future(wait): wait for wait in waits}
    try:
        await asyncio.wait(doing, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future, wait in doing.items():
            if future is not wait:
                future.cancel()
