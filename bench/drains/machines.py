"""How clouds, logind and systemd end a machine: their word, the order in which services and sidecar are stopped, when they kill."""

from __future__ import annotations

import asyncio
import math
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar

from bench.drains.ending import A_MACHINE, Ending, Host, Platform
from shipper.testing.platforms import imds as ec2
from shipper.testing.platforms.autoscaling import FakeAutoScaling, FakeHook
from shipper.testing.platforms.azure import FakeAzure
from shipper.testing.platforms.gce import FakeGce
from shipper.testing.platforms.logind import PrivateLogind
from shipper.testing.platforms.logind import why_not as why_no_logind
from shipper.testing.platforms.systemd import NotifySocket

SERVICES_LAST = 1.5  # seconds from a notice to the end of the services, where the platform does not stop them itself


class Told(Platform):
    """A platform that gives a word to the machine, whose services then end; its own end comes at the deadline."""

    @abstractmethod
    def tell(self) -> Callable[[], float]:
        """Give the word; the function tells when it was answered (0.0: not yet)."""

    def look(self, ending: Ending) -> None:
        """Fill in what the fake saw."""

    async def end(self, host: Host) -> Ending:
        ending = Ending()
        answered = self.tell()
        while not answered():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.001)
        ending.answered = answered()
        host.word()
        await asyncio.sleep(SERVICES_LAST)
        ending.services_ended = await host.stop_service()
        await self.wait(host, ending)
        self.look(ending)
        return ending

    async def wait(self, host: Host, ending: Ending) -> None:
        """Until the sidecar has ended."""
        await host.ended(ending, lambda: ending.answered + self.budget + 1.0)


class Ec2Spot(Told):
    name = "ec2-spot"
    budget = 15.0  # two minutes in life

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with ec2.FakeImds() as self._imds:
            yield

    def env(self) -> Mapping[str, str]:
        return A_MACHINE | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self._imds.url}

    def tell(self) -> Callable[[], float]:
        before = time.monotonic()
        # Stated counts from the answer, which comes within a poll; the fake would state its time counted from now.
        self._imds.interrupt("terminate", self.budget, slides=False)
        return lambda: next(
            (one.at for one in self._imds.asked if one.path == ec2.SPOT_ACTION and one.at >= before), 0.0
        )


class Asg(Told):
    """Once no hook keeps the machine any more, it is shut down: SIGTERM, and what a unit gets, here ten seconds."""

    name = "asg"
    budget = 20.0  # half a minute to two days in life: the hook's longest time

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with ec2.FakeImds(role="web") as self._imds, FakeAutoScaling() as self._api:
            self._imds.set_target_state("InService")
            self._api.hooks["shipper"] = ShortHook("shipper", heartbeat=10.0)
            ShortHook.total = self.budget
            yield

    def env(self) -> Mapping[str, str]:
        # Credentials come from the fake's instance profile, as on a real machine.
        return A_MACHINE | {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self._imds.url,
            "INVOCATION_ID": "b2f8ad0b2ac54e9a8b8a3e7c5e1cb4c5",
            "SHIPPER_TERMINATION_GRACE": "10s",
        }

    def notices(self) -> Mapping[str, object]:
        return {"endpoints": {"autoscaling": self._api.url}}

    async def wait(self, host: Host, ending: Ending) -> None:
        shutting_down = asyncio.ensure_future(self._shut_down(host, ending))
        await host.ended(ending, lambda: ending.stopped + 10.0 if ending.stopped else math.inf)
        shutting_down.cancel()

    async def _shut_down(self, host: Host, ending: Ending) -> None:
        while self._api.waiting():  # noqa: ASYNC110 - its time-outs are looked at, not told
            await asyncio.sleep(0.05)
        if not self._api.hooks["shipper"].completed:  # EC2 takes its time with one that was let go
            host.stop_sidecar(ending)

    def tell(self) -> Callable[[], float]:
        before = time.monotonic()
        self._api.terminate()
        self._imds.set_target_state("Terminated")
        return lambda: next(
            (one.at for one in self._imds.asked if one.path == ec2.TARGET_STATE and one.at >= before), 0.0
        )

    def look(self, ending: Ending) -> None:
        calls = [call for call in self._api.calls if call.at >= ending.answered]
        ending.acted = calls[0].at if calls else None
        ending.released = next((call.at for call in calls if call.action == "CompleteLifecycleAction"), None)
        beats = sum(call.action == "RecordLifecycleActionHeartbeat" for call in calls)
        ending.note = f"{beats} heartbeats, {self._api.hooks['shipper'].completed or 'not completed'}"


class ShortHook(FakeHook):
    """A hook with a global time-out that a bench can wait for."""

    total: ClassVar[float] = 20.0

    @property
    def longest(self) -> float:
        return self.total


class Gce(Told):
    name = "gce"
    budget = 22.0  # what is assumed of the 30 s there are

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with FakeGce() as self._gce:
            yield

    def env(self) -> Mapping[str, str]:
        return A_MACHINE | {"GCE_METADATA_HOST": self._gce.metadata_host}

    def tell(self) -> Callable[[], float]:
        now = time.monotonic()
        self._gce.preempt()
        return lambda: now  # the long poll returns at once

    async def wait(self, host: Host, ending: Ending) -> None:
        # The machine is being shut down meanwhile: the unit's stop follows that of the services.
        stopping = asyncio.get_running_loop().call_later(1.0, host.stop_sidecar, ending)
        await super().wait(host, ending)
        stopping.cancel()


class Azure(Told):
    name = "azure"
    budget = 15.0  # five to fifteen minutes in life

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with FakeAzure() as self._azure:
            yield

    def env(self) -> Mapping[str, str]:
        return A_MACHINE

    def notices(self) -> Mapping[str, object]:
        return {"endpoints": {"azure": self._azure.url}, "watch": ["azure"]}

    def tell(self) -> Callable[[], float]:
        before = time.monotonic()
        self._azure.schedule("Terminate", within=self.budget)
        return lambda: next((one.at for one in self._azure.asked if one.at >= before and "events" in one.path), 0.0)

    def look(self, ending: Ending) -> None:
        posts = [one.at for one in self._azure.asked if one.method == "POST"]
        ending.released = posts[0] if posts else None
        ending.note = "approved" if self._azure.approved else "not approved"


class Logind(Platform):
    """``systemctl poweroff``: the delay lock first, then the units are stopped, the services before us."""

    name = "logind"
    budget = 9.0

    @classmethod
    def why_not(cls) -> str:
        return why_no_logind()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with PrivateLogind(self.directory, longest_delay=5) as self._logind:
            yield

    def env(self) -> Mapping[str, str]:
        return A_MACHINE | {
            "DBUS_SYSTEM_BUS_ADDRESS": self._logind.address,
            "INVOCATION_ID": "b2f8ad0b2ac54e9a8b8a3e7c5e1cb4c5",
            "SHIPPER_TERMINATION_GRACE": "10s",
        }

    def notices(self) -> Mapping[str, object]:
        return {"watch": ["logind"]}

    async def end(self, host: Host) -> Ending:
        host.word()
        ending = Ending(answered=time.monotonic())
        await self._logind.power_off()
        job = await self._logind.job_started(patience=20)
        ending.released = time.monotonic()
        ending.note = f"{job or 'no job'} {ending.released - ending.answered:.2f} s after the word"
        ending.services_ended = await host.stop_service()
        host.stop_sidecar(ending)
        await host.ended(ending, lambda: ending.stopped + 10.0)
        return ending


class Systemd(Platform):
    """The stop of a unit of a machine that goes down: SIGTERM after the services' end; more time when asked for."""

    name = "systemd"
    budget = 9.0
    timeout: ClassVar[float] = 10.0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with NotifySocket(self.directory / "notify") as self._notify:
            yield

    def env(self) -> Mapping[str, str]:
        return A_MACHINE | {
            **self._notify.env(),
            "SHIPPER_DRAIN_EPHEMERAL": "true",
            "SHIPPER_TERMINATION_GRACE": f"{self.timeout:g}s",
        }

    async def end(self, host: Host) -> Ending:
        ending = Ending()
        ending.services_ended = await host.stop_service()
        host.word()
        ending.answered = time.monotonic()
        host.stop_sidecar(ending)
        await host.ended(ending, lambda: self._killed_at(ending.stopped))
        said = [one.at for one in self._notify.messages if one.at >= ending.stopped]
        ending.acted = said[0] if said else None
        ending.note = f"{len(self._notify.values('EXTEND_TIMEOUT_USEC'))} extensions"
        return ending

    def _killed_at(self, stopped: float) -> float:
        asked = [
            one.at + int(one.fields["EXTEND_TIMEOUT_USEC"]) / 1e6
            for one in self._notify.messages
            if "EXTEND_TIMEOUT_USEC" in one.fields
        ]
        return max([stopped + self.timeout, *asked])
