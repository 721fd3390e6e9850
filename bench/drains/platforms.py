"""How each platform ends a host: its word, the order in which it stops services and sidecar, when it kills, what it saw of us.

A platform's own part is `Platform.end`; everything it learns goes into `Ending`. Deadlines that are long in life are short
here, as far as the platform (or its operator) states them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from shipper.testing.platforms import imds as ec2
from shipper.testing.platforms.autoscaling import FakeAutoScaling, FakeHook
from shipper.testing.platforms.azure import FakeAzure
from shipper.testing.platforms.ecs import FakeEcs
from shipper.testing.platforms.gce import FakeGce
from shipper.testing.platforms.kubelet import Container, Pod
from shipper.testing.platforms.lambda_api import FakeLambda
from shipper.testing.platforms.logind import PrivateLogind
from shipper.testing.platforms.logind import why_not as why_no_logind
from shipper.testing.platforms.systemd import NotifySocket

SHIPPER = (sys.executable, "-m", "shipper")
SERVICES_LAST = 1.5  # seconds from a notice to the end of the services, where the platform does not stop them itself
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


class Ecs(Platform):
    """The desired status first; then every container gets SIGTERM at once."""

    name = "ecs"
    budget = 9.0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with FakeEcs() as self._ecs:
            yield

    def env(self) -> Mapping[str, str]:
        return {**self._ecs.env(), "ECS_CONTAINER_STOP_TIMEOUT": "10s"}

    async def end(self, host: Host) -> Ending:
        ending = Ending()
        before = time.monotonic()
        self._ecs.stop_task()
        paths = (self._ecs.container_path, self._ecs.task_path)
        while not (seen := [one.at for one in self._ecs.asked if one.at >= before and one.path in paths]):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        ending.answered = seen[0]
        host.word()
        await asyncio.sleep(0.5)
        stopping = asyncio.ensure_future(host.stop_service())
        host.stop_sidecar(ending)
        await host.ended(ending, lambda: ending.stopped + 10.0)
        ending.services_ended = await stopping
        ending.note = f"protections {self._ecs.protections}"
        return ending


class Kubernetes(Platform):
    """A pod with a native sidecar, whose preStop hook is ``shipper notice``; the kubelet does the rest."""

    name = "kubernetes"
    budget = 9.0
    grace: ClassVar[float] = 12.0

    def env(self) -> Mapping[str, str]:
        return {
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "SHIPPER_TERMINATION_GRACE": f"{self.grace:g}s",
            "SHIPPER_NATIVE_SIDECAR": "true",
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as self._stack:
            yield

    async def start(self, host: Host) -> None:
        hook = [*SHIPPER, "notice", "--state-dir", host.env["SHIPPER_STATE_DIR"]]
        pod = Pod(
            [
                Container("shipper", host.sidecar_command, hook, sidecar=True, env=host.env, output=host.output),
                Container("service", host.service_command),
            ],
            grace=self.grace,
        )
        self._pod = await self._stack.enter_async_context(pod)

    async def end(self, host: Host) -> Ending:
        host.word()
        ending = Ending(answered=time.monotonic())
        ends = await self._pod.delete()
        own, service = ends["shipper"], ends["service"]
        ending.services_ended = ending.answered + service.ended
        ending.stopped = ending.answered + own.signalled if own.signalled is not None else 0.0
        ending.ended, ending.status = ending.answered + own.ended, own.status
        ending.killed = own.killed is not None
        return ending


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


class Signalled(Platform):
    """Everything in a container or a group of them gets a signal at once, and SIGKILL some seconds later."""

    says = False

    kills_after: ClassVar[float]
    number: ClassVar[signal.Signals] = signal.SIGTERM
    variables: ClassVar[Mapping[str, str]] = {}

    def env(self) -> Mapping[str, str]:
        return self.variables

    async def end(self, host: Host) -> Ending:
        host.word()
        ending = Ending(answered=time.monotonic())
        stopping = asyncio.ensure_future(host.stop_service(self.number))
        host.stop_sidecar(ending, self.number)
        await host.ended(ending, lambda: ending.stopped + self.kills_after)
        ending.services_ended = await stopping
        return ending


class Docker(Signalled):
    name, budget, kills_after = "docker", 8.0, 10.0
    variables: ClassVar[Mapping[str, str]] = {"container": "docker"}


class Nomad(Signalled):
    name, budget, kills_after, number = "nomad", 4.0, 5.0, signal.SIGINT
    variables: ClassVar[Mapping[str, str]] = {"NOMAD_ALLOC_ID": "b9c7e8a1-0c1d-4c57-a0f2-4a38b1a6d2a5"}


class Fly(Signalled):
    name, budget, kills_after, number = "fly", 4.0, 5.0, signal.SIGINT
    variables: ClassVar[Mapping[str, str]] = {"FLY_MACHINE_ID": "5683606c41098e", **A_MACHINE}


class CloudRun(Signalled):
    name, budget, kills_after = "cloud-run", 8.0, 10.0
    variables: ClassVar[Mapping[str, str]] = {"K_REVISION": "web-00042-abc", "K_SERVICE": "web"}


class Lambda(Platform):
    """The environment ends: the runtime first, then the extension has what is left of two seconds, and SIGKILL."""

    name = "lambda"
    budget = 1.5

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with FakeLambda() as self._api:
            yield

    def env(self) -> Mapping[str, str]:
        return {"AWS_LAMBDA_RUNTIME_API": self._api.runtime_api, "AWS_LAMBDA_FUNCTION_NAME": "web"}

    async def end(self, host: Host) -> Ending:
        ending = Ending()
        ending.services_ended = await host.stop_service()
        host.word()
        ending.answered = time.monotonic()
        self._api.shut_down("SPINDOWN", within=2.0)
        await host.ended(ending, lambda: ending.answered + 2.0)
        ending.note = ", ".join(kind for _, kind in self._api.errors)
        return ending


PLATFORMS: Mapping[str, type[Platform]] = {
    one.name: one
    for one in (Ec2Spot, Asg, Ecs, Kubernetes, Gce, Azure, Logind, Systemd, Docker, Nomad, Fly, CloudRun, Lambda)
}
