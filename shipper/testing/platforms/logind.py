"""The real systemd-logind on a bus of its own: it sends the true signals and hands out true locks, and nothing goes down.

    async with PrivateLogind(directory, longest_delay=5) as logind:
        ... point the client at logind.address, and at logind.root for /run/systemd/shutdown/scheduled ...
        await logind.power_off()
        assert await logind.job_started(patience=10) == "poweroff.target"

logind is the Debian (or other) binary; what would carry a shutdown out, systemd itself, is a stub that only notes the wish.
It runs in a mount namespace of its own, in which /run is in the directory. Needs Linux, root, dbus-daemon,
unshare and the dbus extra: `why_not` says what is missing, for a test to skip with.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from asyncio.subprocess import Process
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BINARIES = ("/usr/lib/systemd/systemd-logind", "/lib/systemd/systemd-logind")
MANAGER = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
SYSTEMD = "org.freedesktop.systemd1"
SYSTEMD_PATH = "/org/freedesktop/systemd1"
STATE_DIRECTORIES = ("sessions", "seats", "users", "inhibit", "shutdown")
PATIENCE = 20.0  # seconds of real time for a process to come up

_BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


def binary() -> str:
    """Where systemd-logind is; empty where it is not."""
    return next((path for path in BINARIES if os.access(path, os.X_OK)), "")


def why_not() -> str:
    """What is missing to run it here, as a reason for skipping; empty when nothing is."""
    if os.geteuid() != 0:
        return "only root can give systemd-logind a mount namespace of its own"
    if not binary():
        return "there is no systemd-logind here"
    for tool in ("dbus-daemon", "unshare", "mount"):
        if shutil.which(tool) is None:
            return f"there is no {tool} here"
    try:
        import dbus_fast  # noqa: F401 - only whether it is there
    except ModuleNotFoundError:
        return "the dbus extra is not installed"
    return ""


class PrivateLogind:
    """One logind with its bus below ``directory`` (a short path: a socket's may have 107 bytes).

    ``longest_delay``: InhibitDelayMaxSec, in whole seconds. Times are real: logind has its own clock.
    """

    def __init__(self, directory: Path, *, longest_delay: int = 5) -> None:
        self.root = directory / "root"
        """The file tree in which ``run/systemd`` is this logind's."""
        self.refuse_jobs = False
        """Have systemd refuse what logind asks for at the end of the delay: then logind calls the shutdown off."""
        self._directory = directory
        self._longest_delay = longest_delay
        self.config = directory / "logind.conf"
        """What it reads as /etc/systemd/logind.conf, at its start and at `reload`."""
        self._socket = directory / "bus"
        self._processes: dict[str, Process] = {}
        self._bus: Any = None
        self._jobs: asyncio.Queue[str] = asyncio.Queue()

    @property
    def address(self) -> str:
        """The address of the bus, as in DBUS_SYSTEM_BUS_ADDRESS."""
        return f"unix:path={self._socket}"

    async def __aenter__(self) -> Self:
        for name in STATE_DIRECTORIES:
            (self.root / "run/systemd" / name).mkdir(parents=True, exist_ok=True)
        self.write_config(self._longest_delay)
        try:
            await self.start_bus()
            await self.start_logind()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    # -- what an operator does -----------------------------------------------------------------------------------

    async def power_off(self) -> None:
        """``systemctl poweroff``: logind announces it, waits for delay locks, and has the target started."""
        await self.call("PowerOff", "b", False)

    async def reboot(self) -> None:
        """``systemctl reboot``."""
        await self.call("Reboot", "b", False)

    async def schedule(self, seconds: float, mode: str = "poweroff") -> None:
        """``shutdown +N``: at that time from now; ``mode`` also reboot, halt, kexec, or with ``dry-`` before it."""
        usec = round((time.time() + seconds) * 1e6)
        await self.call("ScheduleShutdown", "st", mode, usec)

    async def cancel(self) -> bool:
        """``shutdown -c``; whether there was anything to call off."""
        return bool((await self.call("CancelScheduledShutdown"))[0])

    async def inhibitors(self) -> list[tuple[str, str, str]]:
        """(what, who, mode) of every lock that is held."""
        return [(what, who, mode) for what, who, _, mode, _, _ in (await self.call("ListInhibitors"))[0]]

    async def longest_delay(self) -> float:
        """InhibitDelayMaxSec as logind has it now, in seconds."""
        name, path, interface = MANAGER
        answer = await self._call(
            name, path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, "InhibitDelayMaxUSec"
        )
        return float(answer[0].value) / 1e6

    async def job_started(self, patience: float) -> str:
        """The target that logind has had started, waiting for it; empty when none was within ``patience`` s of real time."""
        try:
            async with asyncio.timeout(patience):
                return await self._jobs.get()
        except TimeoutError:
            return ""

    def write_config(self, longest_delay: int) -> None:
        """Another InhibitDelayMaxSec; logind takes it at its next start, or at `reload`."""
        self.config.write_text(f"[Login]\nInhibitDelayMaxSec={longest_delay}\n")

    def reload(self) -> None:
        """SIGHUP: read the configuration again."""
        self._processes["logind"].send_signal(signal.SIGHUP)

    # -- faults --------------------------------------------------------------------------------------------------

    async def start_bus(self) -> None:
        """The bus with the stub of systemd on it, after `kill_bus` too."""
        config = self._directory / "bus.conf"
        config.write_text(_BUS_CONFIG.format(socket=self._socket))
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()
        await self._start("bus", "dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--nosyslog")
        await _until(self._become_systemd, "the bus is up")

    async def start_logind(self) -> None:
        """logind itself, after `kill_logind` too; back when it answers."""
        script = 'mount --bind "$1" /run && mount --bind "$2" /etc/systemd/logind.conf && exec "$3"'
        state = str(self.root / "run")
        await self._start(
            "logind",
            "unshare",
            "--mount",
            "--propagation=private",
            "sh",
            "-ec",
            script,
            "sh",
            state,
            str(self.config),
            binary(),
        )
        await _until(self._answers, "systemd-logind answers")

    async def kill_bus(self) -> None:
        """SIGKILL of the bus; logind ends with it."""
        await self._stop("bus")
        await self._stop("logind")
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None

    async def kill_logind(self) -> None:
        """SIGKILL of logind alone; the bus stays."""
        await self._stop("logind")

    # -- machinery -----------------------------------------------------------------------------------------------

    async def call(self, member: str, signature: str = "", *body: Any) -> list[Any]:
        """Call a method of logind's manager; the values it returns. Raises RuntimeError with its error."""
        return await self._call(*MANAGER, member, signature, *body)

    async def _call(self, name: str, path: str, interface: str, member: str, signature: str, *body: Any) -> list[Any]:
        from dbus_fast import Message, MessageType

        message = Message(
            destination=name, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        reply = await self._bus.call(message)
        if reply.message_type is MessageType.ERROR:
            raise RuntimeError(f"{member}: {reply.error_name} {reply.body}")
        return list(reply.body)

    async def _become_systemd(self) -> bool:
        from dbus_fast.aio import MessageBus
        from dbus_fast.constants import BusType

        bus = MessageBus(self.address, BusType.SYSTEM)
        try:
            await bus.connect()
        except OSError:
            bus.disconnect()
            return False
        bus.add_message_handler(self._as_systemd)
        await bus.request_name(SYSTEMD)
        self._bus = bus
        return True

    def _as_systemd(self, message: Any) -> Any:
        """What systemd would answer, as far as logind asks."""
        from dbus_fast import Message, MessageType
        from dbus_fast.signature import Variant

        if message.message_type is not MessageType.METHOD_CALL or not str(message.path).startswith(SYSTEMD_PATH):
            return None
        if message.member == "StartUnit" and self.refuse_jobs:
            return Message.new_error(message, f"{SYSTEMD}.TransactionIsDestructive", "refused by the test")
        if message.member == "StartUnit":
            self._jobs.put_nowait(str(message.body[0]))
            return Message.new_method_return(message, "o", [f"{SYSTEMD_PATH}/job/1"])
        if message.member == "Get":
            return Message.new_method_return(message, "v", [Variant("s", self._property(message.body[1]))])
        if message.member == "GetAll":
            known = {name: Variant("s", self._property(name)) for name in ("LoadState", "ActiveState", "SystemState")}
            return Message.new_method_return(message, "a{sv}", [known])
        if message.member in ("Subscribe", "Unsubscribe", "Reload"):
            return Message.new_method_return(message, "", [])
        return None

    def _property(self, name: str) -> str:
        return {"LoadState": "loaded", "ActiveState": "inactive", "SystemState": "running"}.get(name, "")

    async def _answers(self) -> bool:
        try:
            await self.call("ListInhibitors")
        except RuntimeError:
            return False
        return True

    async def _start(self, name: str, *command: str) -> None:
        env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address, "SYSTEMD_LOG_TARGET": "console"}
        env.pop("NOTIFY_SOCKET", None)
        with open(self._directory / f"{name}.log", "ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *command, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def _stop(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _end(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None
        for name in list(self._processes):
            await self._stop(name)


async def _until(condition: Any, what: str) -> None:
    """Wait in real time for a condition of another process. Raises RuntimeError."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (await value if asyncio.iscoroutine(value := condition()) else value):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise RuntimeError(f"this did not happen within {PATIENCE:g} s: {what}") from None
