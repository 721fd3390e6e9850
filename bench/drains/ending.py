"""A host that a platform ends: its processes, what is seen of its end, and what a platform has to do for it.

A platform's own part is `Platform.end`; everything it learns goes into `Ending`. Deadlines that are long in life are short
here, as far as the platform (or its operator) states them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

SHIPPER = (sys.executable, "-m", "shipper")
A_MACHINE = {"container": "lxc"}  # also where the bench itself runs in a container


@dataclass
class Ending:
    """What was seen of an end; moments in monotonic seconds."""

    answered: float = 0.0  # the word was given: in an answer, by a signal, by a hook's start
    stopped: float = 0.0  # the stop signal of the sidecar; 0.0: there was none
    services_ended: float = 0.0
    acted: float | None = None  # our first request to the platform after its word
    released: float | None = None  # our request that lets the platform go on
    ended: float = 0.0
    status: int = 0
    killed: bool = False
    note: str = ""


def bare_environment() -> dict[str, str]:
    """This process's environment without settings of Shipper's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SHIPPER_", "OTEL_"))}


class Host:
    """The processes of a cell."""

    def __init__(self, service: Sequence[str], sidecar: Sequence[str], env: Mapping[str, str], output: Path) -> None:
        """``env`` lies over this process's own, ``output`` is for what the sidecar prints."""
        self.service_command = service
        self.sidecar_command = sidecar
        self.env = bare_environment() | dict(env)
        self.output = output
        self.word: Callable[[], None] = lambda: None
        """To be called at the moment of the word."""
        self._service: Process | None = None
        self._sidecar: Process | None = None

    async def start_sidecar(self) -> None:
        with open(self.output, "ab") as out:
            self._sidecar = await asyncio.create_subprocess_exec(
                *self.sidecar_command, stdin=DEVNULL, stdout=out, stderr=out, env=self.env
            )

    async def start_service(self) -> None:
        self._service = await asyncio.create_subprocess_exec(*self.service_command, stdin=DEVNULL)

    async def stop_service(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Stop it and wait; when it had ended."""
        assert self._service is not None
        self._service.send_signal(number)
        await self._service.wait()
        return time.monotonic()

    def stop_sidecar(self, ending: Ending, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it its stop signal, if it still runs."""
        assert self._sidecar is not None
        ending.stopped = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self._sidecar.send_signal(number)

    async def ended(self, ending: Ending, killed_at: Callable[[], float]) -> None:
        """Wait for the sidecar's end; SIGKILL at a moment that may move."""
        assert self._sidecar is not None
        waiting = asyncio.ensure_future(self._sidecar.wait())
        while not waiting.done():
            left = killed_at() - time.monotonic()
            if left <= 0:
                ending.killed = True
                self._sidecar.kill()
                await waiting
                break
            await asyncio.wait({waiting}, timeout=min(left, 0.1))
        ending.ended = time.monotonic()
        ending.status = waiting.result()

    async def aclose(self) -> None:
        for process in (self._service, self._sidecar):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()


class Platform(ABC):
    """``budget`` seconds are what a sidecar gets at the least from the word to the end, for the table."""

    name: ClassVar[str]
    budget: ClassVar[float]
    says: ClassVar[bool] = True  # gives a word before the stop signal

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """The fakes are up meanwhile."""
        yield

    def env(self) -> Mapping[str, str]:
        """The sidecar's environment here."""
        return {}

    def notices(self) -> Mapping[str, object]:
        """Section ``notices`` of its configuration."""
        return {}

    async def start(self, host: Host) -> None:
        """Start the sidecar, then the service."""
        await host.start_sidecar()
        await host.start_service()

    @abstractmethod
    async def end(self, host: Host) -> Ending:
        """Give the word and carry the end out; returns when the sidecar has ended."""

    @classmethod
    def why_not(cls) -> str:
        """Why it cannot be had here; empty when it can."""
        return ""
