"""The fleet of compose.yaml: ephemeral hosts, replaced for ever; every second deploy is a bad release, and is rolled back.

Each host is what `shipper demo` makes of one: a directory, a service process and a real ``shipper run`` beside it. Deploys
are told by ``shipper deploy``, as a pipeline would. SIGTERM drains every host, then it ends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shipper.demo.host import Build, Host

GATEWAY = os.environ.get("FLEET_GATEWAY", "http://127.0.0.1:4318")
HOSTS = int(os.environ.get("FLEET_HOSTS", "3"))
RATE = float(os.environ.get("FLEET_RATE", "5"))  # requests a second to each host
SECONDS = float(os.environ.get("FLEET_SECONDS", "480"))  # how long a generation serves; a bad one a third of it
GOOD, BAD = 0.005, 0.08  # share of requests that fail
SERVICE, ENVIRONMENT = "checkout", "demo"  # what the demo's hosts say they are


def generations() -> Iterator[tuple[str, Build, float]]:
    """What is deployed, for ever: the word for it, the build, and how long it serves."""
    good, number = "1.0.0", 0
    while True:
        yield "start", build(good, GOOD), SECONDS
        number += 1
        yield "start", build(f"1.{number}.0", BAD), SECONDS / 3
        yield "rollback", build(good, GOOD), SECONDS
        good = f"1.{number}.1"


def build(release: str, error_ratio: float) -> Build:
    """A build of a release, deployed now: every deploy is a generation of its own, also when it goes back."""
    return Build(release, f"registry.example/checkout:{release}", f"{int(time.time())}-{release}", error_ratio)


async def tell(action: str, new: Build, before: str) -> None:
    """What a pipeline says of its deploy; a fleet does not wait for those who watch it, nor fail for them."""
    words = [action, "--service", SERVICE, "--env", ENVIRONMENT, "--release", new.release, "--image", new.image]
    words += ["--generation", new.generation, "--endpoint", GATEWAY]
    if before:
        words += ["--from", before]
    telling = await asyncio.create_subprocess_exec(sys.executable, "-m", "shipper", "deploy", *words)
    try:
        await telling.wait()
    finally:
        await telling.wait()  # also when we are stopped meanwhile: it takes seconds at most


class Fleet:
    """Hosts that live below ``directory``; their names are never used twice, as those of real hosts are not."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._alive: list[Host] = []
        self._name = f"host-{int(time.time()):x}"
        self._count = 0

    async def run(self) -> None:
        """Deploy after deploy; when cancelled, every host ends as a stopped one does."""
        release = ""
        try:
            async with asyncio.TaskGroup() as traffic:
                for action, new, seconds in generations():
                    print(f"{action}: {new.release}, generation {new.generation}", flush=True)
                    await tell(action, new, release)
                    leaving = list(self._alive)
                    for _ in range(HOSTS):
                        traffic.create_task((await self._launch(new)).serve(RATE))
                        if leaving:
                            await self._retire(leaving.pop(0))
                    await tell("finish", new, release)
                    release = new.release
                    await asyncio.sleep(seconds)
        finally:
            await asyncio.gather(*(self._retire(host) for host in list(self._alive)))

    async def _launch(self, new: Build) -> Host:
        self._count += 1
        name = f"{self._name}-{self._count}"
        host = Host(name, new, self._directory / name, GATEWAY)
        self._alive.append(host)
        await host.start()
        return host

    async def _retire(self, host: Host) -> None:
        """The end of a host, and of its disk."""
        await host.terminate(kill_service=False)
        self._alive.remove(host)
        shutil.rmtree(host.directory, ignore_errors=True)


async def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory:
        fleet = asyncio.ensure_future(Fleet(Path(directory)).run())
        for stop in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(stop, fleet.cancel)
        try:
            await fleet
        except asyncio.CancelledError:
            print("stopped: every host has drained", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
