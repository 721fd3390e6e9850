"""What happens to the demo's fleet: three generations, replaced while running, with every kind of death on the way.

Release A serves, release B takes over and fails more often, and the rollback brings A back as a new generation. On the
way some hosts get SIGTERM, some services SIGKILL, one sidecar is killed and restarted, and the gateway is away a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shipper.demo.gateway import GatewayProcess
from shipper.demo.host import Build, Host
from shipper.demo.pipeline import tell

GENERATIONS = (
    Build(release="A", image="demo-image:a1f3", generation="1-A", error_ratio=0.01),
    Build(release="B", image="demo-image:b27c", generation="2-B", error_ratio=0.12),
    Build(release="A", image="demo-image:a1f3", generation="3-A", error_ratio=0.01),
)
OUTAGE_SECONDS = 3.0
SIDECAR_DOWN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Size of the demo: hosts a generation, requests a second to each, seconds of traffic in all.

    ``prometheus``: a remote-write URL that metrics go to as well; ``push``: seconds between two samples of a host.
    """

    hosts: int
    rate: float
    seconds: float
    prometheus: str = ""
    push: float = 15.0


class Fleet:
    """Runs the story. ``say`` is told each thing that happens, as it happens."""

    def __init__(self, plan: Plan, directory: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.gateway = GatewayProcess(directory, prometheus=plan.prometheus, push=plan.push)
        self.hosts: list[Host] = []
        self._directory = directory
        self._say = say

    async def run(self) -> None:
        """The whole story, until every host is gone and the gateway has written its archive."""
        await self.gateway.start()
        self._say(f"gateway listens on {self.gateway.endpoint}")
        async with asyncio.TaskGroup() as traffic:
            current: list[Host] = []
            for number, build in enumerate(GENERATIONS):
                self._say(_announcement(number, build))
                await self._tell(number, "rollback" if number == 2 else "start")
                following = await self._launch(number, build, traffic)
                retired = traffic.create_task(self._retire(current, first_killed=number == 1))
                await self._middle(number, following)
                await retired
                await self._tell(number, "finish")
                current = following
            await self._retire(current, first_killed=False)
        await self.gateway.stop()

    async def _tell(self, number: int, verb: str) -> None:
        """The pipeline's word on the deploy of a generation."""
        before = GENERATIONS[number - 1].release if number else ""
        await tell(verb, GENERATIONS[number], before=before, hosts=self.plan.hosts, endpoint=self.gateway.endpoint)

    async def _launch(self, number: int, build: Build, traffic: asyncio.TaskGroup) -> list[Host]:
        hosts = []
        for index in range(self.plan.hosts):
            name = f"host-{number + 1}{chr(ord('a') + index % 26)}{index // 26 or ''}"
            host = Host(name, build, self._directory / "hosts" / name, self.gateway.endpoint, self.plan.push)
            self.hosts.append(host)
            hosts.append(host)
            await host.start()
            traffic.create_task(host.serve(self.plan.rate))
        return hosts

    async def _middle(self, number: int, hosts: list[Host]) -> None:
        share = self.plan.seconds / len(GENERATIONS)
        async with asyncio.TaskGroup() as together:
            together.create_task(asyncio.sleep(share))
            await asyncio.sleep(share / 3)
            if number == 0:
                self._say(f"SIGKILL to the sidecar of {hosts[-1].name}; it comes back in {SIDECAR_DOWN_SECONDS:.0f} s")
                together.create_task(hosts[-1].crash_sidecar(SIDECAR_DOWN_SECONDS))
            if number == 1:
                self._say(f"the gateway becomes unreachable for {OUTAGE_SECONDS:.0f} s (SIGKILL)")
                together.create_task(self.gateway.outage(OUTAGE_SECONDS))

    async def _retire(self, hosts: list[Host], *, first_killed: bool) -> None:
        """Replace hosts: one after the other begins to die, as an orchestrator does it."""
        async with asyncio.TaskGroup() as deaths:
            for index, host in enumerate(hosts):
                kill = first_killed and index % 2 == 0
                self._say(
                    f"{host.name} is replaced ({'its service gets SIGKILL' if kill else 'SIGTERM to everything'})"
                )
                deaths.create_task(host.terminate(kill_service=kill))
                await asyncio.sleep(0.3)

    async def destroy(self) -> None:
        """SIGKILL whatever still runs (the demo was interrupted) and wait until it is gone."""
        await asyncio.gather(self.gateway.destroy(), *(host.destroy() for host in self.hosts))


def _announcement(number: int, build: Build) -> str:
    words = ("starts", "replaces it", "comes back: the rollback")
    return f"generation {build.generation}: release {build.release} {words[number]}"
