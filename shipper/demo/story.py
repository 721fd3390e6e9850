"""What happens to the demo's fleet: three generations, replaced while running, with every kind of death on the way.

Release A serves, release B takes over and fails more often, and the rollback brings A back as a new generation. On the
way some hosts get SIGTERM, some services SIGKILL, one sidecar is killed and restarted, and the gateway is away a while.

An eventful story, which is told where somebody will look at the boards, has more of what they are for: a host that never
comes up, one that loses its power, a release that runs from two images, and a canary that is withdrawn and comes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shipper.demo.builds import CANARY, GENERATIONS, REBUILT
from shipper.demo.gateway import GatewayProcess
from shipper.demo.host import Build, Host
from shipper.demo.pipeline import tell

OUTAGE_SECONDS = 3.0
SIDECAR_DOWN_SECONDS = 1.0
PAUSE_SECONDS = (
    0.3  # between the ends of two hosts that are replaced; longer in an eventful story, to be seen on boards
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Size of the demo: hosts a generation, requests a second to each, seconds of traffic in all.

    ``prometheus``: a remote-write URL that metrics go to as well; ``asked``: the base URL where verdicts are asked for, if
    anywhere; ``push``: seconds between two samples of a host;
    ``eventful``: more goes wrong, see the module.
    """

    hosts: int
    rate: float
    seconds: float
    prometheus: str = ""
    asked: str = ""
    push: float = 15.0
    eventful: bool = False


@dataclass(slots=True)
class Moments:
    """When somebody would have looked at the boards, in seconds since the epoch."""

    began: float = 0.0
    accused: float = 0.0  # the bad release serves, and nobody has gone back yet
    over: float = 0.0  # all has happened, and the last hosts still serve


class Fleet:
    """Runs the story. ``say`` is told each thing that happens, as it happens."""

    def __init__(self, plan: Plan, directory: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.gateway = GatewayProcess(directory, prometheus=plan.prometheus, asked=plan.asked, push=plan.push)
        self.hosts: list[Host] = []
        self.moments = Moments()
        self._directory = directory
        self._say = say

    async def run(self) -> None:
        """The whole story, until every host is gone and the gateway has written its archive."""
        self.moments.began = time.time()
        await self.gateway.start()
        self._say(f"gateway listens on {self.gateway.endpoint}")
        async with asyncio.TaskGroup() as traffic:
            current: list[Host] = []
            for number, build in enumerate(GENERATIONS):
                self._say(_announcement(number, build))
                await self._tell_of(number, "rollback" if number == 2 else "start")
                following = await self._launch(number, traffic)
                replaced = traffic.create_task(self._replace(current, following, number))
                await self._middle(number, following, replaced, traffic)
                await replaced
                if number == 1:
                    self.moments.accused = time.time()
                current = following
            self.moments.over = time.time()
            await self._recover()
            await self._retire(current, first_killed=False)
        await self.gateway.stop()

    async def _replace(self, hosts: list[Host], following: list[Host], number: int) -> None:
        """The hosts of the generation before go once the others serve; then the pipeline is done."""
        for host in following:
            await host.came_up.wait()
        slow = self.plan.seconds / len(GENERATIONS) / 4 / self.plan.hosts
        await self._retire(hosts, first_killed=number == 1, pause=slow if self.plan.eventful else PAUSE_SECONDS)
        await self._tell_of(number, "finish")

    async def _tell_of(self, number: int, verb: str) -> None:
        """The pipeline's word on the deploy of a generation."""
        before = GENERATIONS[number - 1].release if number else ""
        await self._tell(verb, GENERATIONS[number], before=before, hosts=self.plan.hosts + len(self._missing(number)))

    async def _tell(self, verb: str, build: Build, *, before: str, hosts: int) -> None:
        await tell(verb, build, before=before, hosts=hosts, endpoint=self.gateway.endpoint)

    def _missing(self, number: int) -> list[str]:
        """The hosts of a generation that never come up."""
        return [_name(number, self.plan.hosts)] if self.plan.eventful and number == 1 else []

    async def _launch(self, number: int, traffic: asyncio.TaskGroup) -> list[Host]:
        last = self.plan.hosts - 1
        hosts = []
        for index in range(self.plan.hosts):
            rebuilt = self.plan.eventful and number == 2 and index == last
            build = REBUILT if rebuilt else GENERATIONS[number]
            hosts.append(await self._boot(_name(number, index), build, traffic))
            if rebuilt:
                self._say(f"{hosts[-1].name} runs release {build.release} from another image: {build.image}")
        for name in self._missing(number):
            self._say(f"{name} does not come up")
        return hosts

    async def _boot(self, name: str, build: Build, traffic: asyncio.TaskGroup) -> Host:
        host = Host(name, build, self._directory / "hosts" / name, self.gateway.endpoint, self.plan.push)
        self.hosts.append(host)
        await host.start()
        traffic.create_task(host.serve(self.plan.rate))
        return host

    async def _middle(
        self, number: int, hosts: list[Host], replaced: asyncio.Task[None], traffic: asyncio.TaskGroup
    ) -> None:
        share = self.plan.seconds / len(GENERATIONS)
        async with asyncio.TaskGroup() as together:
            together.create_task(asyncio.sleep(share))
            if self.plan.eventful:
                together.create_task(self._more(number, hosts, traffic, share))
            await asyncio.sleep(share / 3)
            if number == 0:
                self._say(f"SIGKILL to the sidecar of {hosts[-1].name}; it comes back in {SIDECAR_DOWN_SECONDS:.0f} s")
                together.create_task(hosts[-1].crash_sidecar(SIDECAR_DOWN_SECONDS))
            if number == 1:
                if self.plan.eventful:
                    await replaced  # one thing after the other, to be told apart on boards
                self._say(f"the gateway becomes unreachable for {OUTAGE_SECONDS:.0f} s (SIGKILL)")
                together.create_task(self.gateway.outage(OUTAGE_SECONDS))

    async def _more(self, number: int, hosts: list[Host], traffic: asyncio.TaskGroup, share: float) -> None:
        """What else goes wrong in an eventful story, within the ``share`` of it that a generation has, in seconds."""
        if number == 1:
            await asyncio.sleep(share / 2)
            self._say(f"{hosts[0].name} loses its power")
            await hosts[0].lose_power()
            return
        await asyncio.sleep(share / 8)
        again = number == 2
        self._say(f"a canary of release {CANARY.release} {'comes back under its old name' if again else 'is tried'}")
        await self._tell("start", CANARY, before=GENERATIONS[number].release, hosts=1)
        canary = await self._boot(f"host-{number + 1}-canary", CANARY, traffic)
        await canary.came_up.wait()
        await asyncio.sleep(share / 5)
        await canary.terminate(kill_service=False)
        self._say(f"the canary of release {CANARY.release} is withdrawn")
        await self._tell("withdraw", CANARY, before="", hosts=1)

    async def _recover(self) -> None:
        """What lay on the disks of hosts without power is sent at last, as their own."""
        for host in self.hosts:
            if not host.has_power:
                self._say(f"the disk of {host.name} is found")
                await host.recover()

    async def _retire(self, hosts: list[Host], *, first_killed: bool, pause: float = PAUSE_SECONDS) -> None:
        """Replace hosts: one after the other begins to die, as an orchestrator does it, ``pause`` seconds apart."""
        async with asyncio.TaskGroup() as deaths:
            for index, host in enumerate(host for host in hosts if host.has_power):
                kill = first_killed and index % 2 == 0
                self._say(
                    f"{host.name} is replaced ({'its service gets SIGKILL' if kill else 'SIGTERM to everything'})"
                )
                deaths.create_task(host.terminate(kill_service=kill))
                await asyncio.sleep(pause)

    async def destroy(self) -> None:
        """SIGKILL whatever still runs (the demo was interrupted) and wait until it is gone."""
        await asyncio.gather(self.gateway.destroy(), *(host.destroy() for host in self.hosts))


def _name(number: int, index: int) -> str:
    return f"host-{number + 1}{chr(ord('a') + index % 26)}{index // 26 or ''}"


def _announcement(number: int, build: Build) -> str:
    words = ("starts", "replaces it", "comes back: the rollback")
    return f"generation {build.generation}: release {build.release} {words[number]}"
