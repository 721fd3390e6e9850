"""systemd-logind: word that the system goes down, and a delay lock that keeps it up while there is something to save.

logind tells everybody on the bus (``PrepareForShutdown``) and waits for those who hold a *delay* lock, at most
``InhibitDelayMaxSec`` (5 s unless a drop-in says more: packaging/systemd). The lock is a descriptor, and counts until its last
duplicate is closed. It has to be held before the shutdown begins, so it is taken at the start.
Protocol: org.freedesktop.login1(5); tried against systemd-logind 252.

What is told is the end of the delay. A unit of systemd lives longer: only then are units stopped, and this one is asked last.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shipper.clock import Clock
from shipper.errors import MissingExtra
from shipper.events import Problem, Reporter, Said
from shipper.notice import Hold, Need, Notice, NoticeBoard, NoticeKind, NoticeWatcher

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus
    from dbus_fast.message import Message

SERVICE = "org.freedesktop.login1"
PATH = "/org/freedesktop/login1"
MANAGER = f"{SERVICE}.Manager"
DBUS = "org.freedesktop.DBus"
ANSWER_SECONDS = 10.0  # logind answers in milliseconds; where it has to be started first, within a second or two
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 1.0, 60.0
LOOK_SECONDS = 1.0
KEY = "shutdown"
SHUTTING_DOWN = f"{SERVICE}.OperationInProgress"
REFUSED = frozenset({f"{DBUS}.Error.AccessDenied", f"{DBUS}.Error.InteractiveAuthorizationRequired"})
SAME_LIFE = frozenset({"soft-reboot"})  # user space only: the kernel's boot id stays, and so does the life
_LONGEST_DELAY_USEC = 3600 * 10**6  # a larger InhibitDelayMaxSec would be no clock to go by


class NoLogind(Exception):
    """logind gave no usable answer; ``name`` is the D-Bus error, empty for none."""

    def __init__(self, why: str, name: str = "") -> None:
        super().__init__(why)
        self.name = name


class Logind:
    """The connection to logind, and the one lock on it. Watcher and hold share one.

    ``address``: the bus (default: the system bus as DBUS_SYSTEM_BUS_ADDRESS or the system says). Raises `MissingExtra`.
    """

    def __init__(self, *, address: str = "") -> None:
        try:
            import dbus_fast.aio
        except ModuleNotFoundError as missing:
            raise MissingExtra("listening to systemd-logind", "dbus") from missing
        self._fast = dbus_fast
        self._aio = dbus_fast.aio
        self._address = address or None
        self._bus: MessageBus | None = None
        self._lock: int | None = None
        self.connected = asyncio.Event()
        """Set while there is a connection."""
        self.shutting_down = False
        """Whether logind said that it is preparing for shutdown: then no lock is given."""
        self.epoch = 0
        """Counts the times that logind may have forgotten a lock: a new connection, a new logind."""
        self.changed = asyncio.Event()
        """Set whenever one of the above changed; who waits for it clears it."""

    @property
    def locked(self) -> bool:
        """Whether we hold the lock."""
        return self._lock is not None

    async def connect(self, on_signal: Callable[[Message], None]) -> None:
        """Connect, and have the manager's signals given to ``on_signal``. Raises `NoLogind`."""
        bus = self._aio.MessageBus(self._address, self._fast.BusType.SYSTEM, negotiate_unix_fd=True)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await bus.connect()
            self._bus = bus
            for rule in (
                f"type='signal',sender='{SERVICE}',path='{PATH}',interface='{MANAGER}'",
                f"type='signal',sender='{DBUS}',member='NameOwnerChanged',arg0='{SERVICE}'",
            ):
                await self.call(DBUS, "/org/freedesktop/DBus", DBUS, "AddMatch", "s", rule)
            bus.add_message_handler(on_signal)
        except NoLogind:
            self.disconnect()
            raise
        except TimeoutError:
            bus.disconnect()
            raise NoLogind(f"the system bus gave no answer within {ANSWER_SECONDS:g} s") from None
        except Exception as problem:  # dbus-fast raises many kinds for a bus that is not there or talks nonsense
            bus.disconnect()
            raise NoLogind(f"no system bus ({_words(problem)})") from problem
        self.connected.set()
        self.new_epoch()

    def new_epoch(self) -> None:
        """Locks have to be taken anew."""
        self.epoch += 1
        self.changed.set()

    async def until_lost(self) -> str:
        """Wait until the connection ends; why it did."""
        bus: Any = self._bus
        try:
            await bus.wait_for_disconnect()
        except Exception as problem:  # as above; whatever it is, the connection is gone
            return f"the system bus hung up ({_words(problem)})"
        return "the system bus hung up"

    def disconnect(self) -> None:
        """End the connection. The lock stays: it is a descriptor of its own."""
        bus, self._bus = self._bus, None
        self.connected.clear()
        self.changed.set()
        if bus is not None:
            bus.disconnect()

    async def preparing(self) -> bool:
        """Whether the system is on its way down already. Raises `NoLogind`."""
        return bool(await self._property("PreparingForShutdown"))

    async def longest_delay(self) -> float | None:
        """Seconds that a lock delays a shutdown at most; None when it makes no sense. Raises `NoLogind`."""
        usec = await self._property("InhibitDelayMaxUSec")
        return usec / 1e6 if isinstance(usec, int) and 0 <= usec <= _LONGEST_DELAY_USEC else None

    async def take_lock(self) -> None:
        """Take the delay lock, in the place of the one held before. Raises `NoLogind`."""
        why = "logs, traces and metrics are being sent"
        reply = await self.call(SERVICE, PATH, MANAGER, "Inhibit", "ssss", "shutdown", "shipper", why, "delay")
        if len(reply.unix_fds) != 1:
            _close(reply.unix_fds)
            raise NoLogind("logind gave no lock")
        # A child would otherwise keep the system up after we let go.
        os.set_inheritable(reply.unix_fds[0], False)
        self.let_go()
        self._lock = reply.unix_fds[0]

    def let_go(self) -> None:
        """Close the lock, so that the shutdown goes on; nothing happens without one."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def call(
        self, destination: str, path: str, interface: str, member: str, signature: str, *body: Any
    ) -> Message:
        """One call and its answer. Raises `NoLogind`."""
        bus = self._bus
        if bus is None:
            raise NoLogind("not connected to the system bus")
        message = self._fast.Message(
            destination=destination, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reply = await bus.call(message)
        except TimeoutError:
            raise NoLogind(f"no answer to {member} within {ANSWER_SECONDS:g} s") from None
        except Exception as problem:  # the connection broke meanwhile
            raise NoLogind(f"no answer to {member} ({_words(problem)})") from problem
        if reply is None or reply.message_type is self._fast.MessageType.ERROR:
            name = "" if reply is None else str(reply.error_name)
            text = str(reply.body[0]) if reply is not None and reply.body else ""
            raise NoLogind(f"{member}: {name} {text}".strip(), name)
        return reply

    async def _property(self, name: str) -> Any:
        reply = await self.call(SERVICE, PATH, f"{DBUS}.Properties", "Get", "ss", MANAGER, name)
        return getattr(reply.body[0] if reply.body else None, "value", None)


class LogindWatcher(NoticeWatcher):
    """Listens to ``PrepareForShutdown``, from now on and over reconnections.

    ``stop_seconds``: how long this process is left once the delay is over; 0 where it is no unit of systemd.
    """

    name = "logind"

    def __init__(self, *, clock: Clock, logind: Logind, stop_seconds: float = 0.0) -> None:
        self._clock = clock
        self._logind = logind
        self._stop_seconds = stop_seconds
        self._delay: float | None = None
        self._type = ""
        self._said = False

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        wait = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._logind.connect(lambda message: self._on_message(message, board))
                await self._look(board)
                wait = FIRST_RETRY_SECONDS
                board.unknown(self.name, await self._logind.until_lost())
            except NoLogind as problem:
                board.unknown(self.name, str(problem))
            self._logind.disconnect()
            await self._clock.sleep(wait)
            wait = min(wait * 2, LAST_RETRY_SECONDS)

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        self._logind.disconnect()

    async def _look(self, board: NoticeBoard) -> None:
        """What was said while we did not listen."""
        self._delay = await self._logind.longest_delay()
        if await self._logind.preparing():
            if not self._said:
                self._going_down(board, "logind is preparing for shutdown already", None)
        else:
            board.seen(self.name)
            self._staying_up(board)

    def _on_message(self, message: Message, board: NoticeBoard) -> None:
        if message.interface == MANAGER and message.path == PATH and message.body:
            if message.member == "PrepareForShutdownWithMetadata" and len(message.body) > 1:
                self._type = _type_of(message.body[1])
            elif message.member != "PrepareForShutdown":
                return
            if message.body[0] is True:
                self._told(board)
            elif message.body[0] is False:
                self._staying_up(board)
        elif message.member == "NameOwnerChanged" and message.body[2:] and message.body[2]:
            self._logind.new_epoch()

    def _told(self, board: NoticeBoard) -> None:
        if self._said:
            return  # the same, said in the older and in the newer way
        deadline = None if self._delay is None else self._clock.monotonic() + self._delay + self._stop_seconds
        self._going_down(board, f"PrepareForShutdown{f' ({self._type})' if self._type else ''}", deadline)

    def _going_down(self, board: NoticeBoard, evidence: str, deadline: float | None) -> None:
        self._said = True
        self._logind.shutting_down = True
        self._logind.changed.set()
        ends_life = self._type not in SAME_LIFE
        board.notice(Notice(self.name, NoticeKind.IMMINENT, evidence, deadline, "logind", KEY, ends_life=ends_life))

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
            await self._something()

    async def _something(self) -> None:
        """Until logind changed, or it is time to look whether a drain was taken back."""
        waits = {
            asyncio.ensure_future(self._logind.changed.wait()),
            asyncio.ensure_future(self._clock.sleep(LOOK_SECONDS)),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

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


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _words(problem: BaseException) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem) or type(problem).__name__
