"""The connection to systemd-logind, and the one lock on it; what is made of it is in `shipper.notices.logind`.

Whoever may talk on the bus may send us a signal that looks like logind's, so a signal counts only when the name
``org.freedesktop.login1`` belongs to its sender: that the bus itself tells, in words nobody else can use.
Protocol: org.freedesktop.login1(5), the D-Bus specification.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shipper.errors import MissingExtra

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus
    from dbus_fast.message import Message

SERVICE = "org.freedesktop.login1"
PATH = "/org/freedesktop/login1"
MANAGER = f"{SERVICE}.Manager"
DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
ANSWER_SECONDS = 10.0  # logind answers in milliseconds; where it has to be started first, within a second or two
SHUTTING_DOWN = f"{SERVICE}.OperationInProgress"
REFUSED = frozenset({f"{DBUS}.Error.AccessDenied", f"{DBUS}.Error.InteractiveAuthorizationRequired"})
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
        self._owner = ""  # who is logind on the bus
        self._lock: int | None = None
        self.connected = asyncio.Event()
        """Set while there is a connection."""
        self.shutting_down = False
        """Whether logind said that it is preparing for shutdown: then no lock is given."""
        self.epoch = 0
        """Counts the times that logind may have forgotten a lock and what it had begun: a new connection, a new logind."""
        self.renewed = asyncio.Event()
        """Set when a new epoch begins; who waits for it clears it."""
        self.changed = asyncio.Event()
        """Set whenever one of the above changed; who waits for it clears it."""

    @property
    def locked(self) -> bool:
        """Whether we hold the lock."""
        return self._lock is not None

    async def connect(self, on_signal: Callable[[str, list[Any]], None]) -> None:
        """Connect, and have the manager's signals given to ``on_signal``: name and values. Raises `NoLogind`."""
        bus = self._aio.MessageBus(self._address, self._fast.BusType.SYSTEM, negotiate_unix_fd=True)
        self._owner = ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await bus.connect()
        except TimeoutError:
            bus.disconnect()
            raise NoLogind(f"the system bus gave no answer within {ANSWER_SECONDS:g} s") from None
        except Exception as problem:  # dbus-fast raises many kinds for a bus that is not there or talks nonsense
            bus.disconnect()
            raise NoLogind(f"no system bus ({_words(problem)})") from problem
        self._bus = bus
        bus.add_message_handler(lambda message: self._on_message(message, on_signal))
        for rule in (
            f"type='signal',sender='{SERVICE}',path='{PATH}',interface='{MANAGER}'",
            f"type='signal',sender='{DBUS}',member='NameOwnerChanged',arg0='{SERVICE}'",
        ):
            await self.call(DBUS, DBUS_PATH, DBUS, "AddMatch", "s", rule)
        await self._property("PreparingForShutdown")  # whoever is not running yet is started by that
        owner = (await self.call(DBUS, DBUS_PATH, DBUS, "GetNameOwner", "s", SERVICE)).body
        self._owner = str(owner[0]) if owner else ""
        self.connected.set()
        self._begin_epoch()

    def _on_message(self, message: Message, on_signal: Callable[[str, list[Any]], None]) -> None:
        if message.message_type is not self._fast.MessageType.SIGNAL:
            return
        if message.sender == DBUS and message.member == "NameOwnerChanged" and message.body[:1] == [SERVICE]:
            self._owner = str(message.body[2])
            if self._owner and self.connected.is_set():
                self._begin_epoch()
        elif message.interface == MANAGER and self._owner and message.sender == self._owner:
            on_signal(str(message.member), list(message.body))

    def _begin_epoch(self) -> None:
        self.epoch += 1
        self.renewed.set()
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
        return usec / 1e6 if type(usec) is int and 0 <= usec <= _LONGEST_DELAY_USEC else None

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


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _words(problem: BaseException) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem) or type(problem).__name__
