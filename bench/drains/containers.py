"""How a pod, a task, a container or a function ends: by a word or by a signal alone, and by SIGKILL soon."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar

from bench.drains.ending import A_MACHINE, SHIPPER, Ending, Host, Platform
from shipper.testing.platforms.ecs import FakeEcs
from shipper.testing.platforms.kubelet import Container, Pod
from shipper.testing.platforms.lambda_api import FakeLambda


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
