"""A pod ends in the kubelet's order: all hooks at once, mains first, native sidecars in reverse, SIGKILL at the end."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from shipper.testing.clock import FakeClock
from shipper.testing.platforms.kubelet import Container, Pod

POLITE = [
    sys.executable,
    "-c",
    "import signal, time\nsignal.signal(15, lambda *_: exit(0))\nopen({0!r}, 'w')\ntime.sleep(600)",
]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time\nsignal.signal(15, lambda *_: 0)\nopen({0!r}, 'w')\nwhile 1: time.sleep(600)",
]
PATIENCE = 30.0


class Ready:
    """Containers that say when they have their signal handlers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.marks: list[Path] = []

    def command(self, template: list[str]) -> list[str]:
        mark = self.directory / f"mark{len(self.marks)}"
        self.marks.append(mark)
        return [*template[:2], template[2].format(str(mark))]

    async def all(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not all(mark.exists() for mark in self.marks):  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.01)


async def happening(pod: Pod, what: str, name: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while (what, name) not in pod.happened:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.01)


def test_sidecars_hear_of_the_deletion_first_and_are_stopped_last(tmp_path: Path) -> None:
    """Their own preStop runs at the deletion; their SIGTERM comes after the mains' end, in reverse order of declaration."""

    async def scenario() -> None:
        ready = Ready(tmp_path)
        containers = [
            Container("first", ready.command(POLITE), sidecar=True),
            Container("second", ready.command(POLITE), pre_stop=["true"], sidecar=True),
            Container("app", ready.command(POLITE), pre_stop=["sleep", "0.2"]),
        ]
        async with Pod(containers) as pod:
            await ready.all()
            ended = await pod.delete()
        assert {name: end.status for name, end in ended.items()} == {"app": 0, "first": 0, "second": 0}
        order = pod.happened
        assert set(order[:2]) == {("preStop", "second"), ("preStop", "app")}
        assert order[-6:] == [
            ("TERM", "app"),
            ("ended", "app"),
            ("TERM", "second"),
            ("ended", "second"),
            ("TERM", "first"),
            ("ended", "first"),
        ]

    asyncio.run(scenario())


def test_mains_that_use_up_the_grace_leave_a_sidecar_two_seconds(tmp_path: Path) -> None:
    """At the expiry the main is killed; the sidecar gets SIGTERM then and SIGKILL two seconds later, by the clock."""

    async def scenario() -> None:
        ready, clock = Ready(tmp_path), FakeClock()
        containers = [
            Container("shipper", ready.command(STUBBORN), sidecar=True),
            Container("app", ready.command(STUBBORN)),
        ]
        async with Pod(containers, grace=30, clock=clock) as pod:
            await ready.all()
            deletion = asyncio.ensure_future(pod.delete())
            await happening(pod, "TERM", "app")
            await clock.run(30)
            await happening(pod, "TERM", "shipper")
            assert ("KILL", "shipper") not in pod.happened
            await clock.until_sleeping(1)
            await clock.run(2)
            ended = await deletion
        assert ended["app"].signalled == 0
        assert ended["app"].killed == 30
        assert ended["shipper"].signalled == 30
        assert ended["shipper"].killed == 32
        assert ended["shipper"].status == -signal.SIGKILL

    asyncio.run(scenario())


def test_a_hook_that_never_ends_delays_the_signal_to_the_expiry_and_two_seconds_are_added(tmp_path: Path) -> None:
    """The time a hook takes is taken from its container's grace; at the end of it SIGTERM comes with two seconds."""

    async def scenario() -> None:
        ready, clock = Ready(tmp_path), FakeClock()
        container = Container("app", ready.command(STUBBORN), pre_stop=["sleep", "600"])
        async with Pod([container], grace=10, clock=clock) as pod:
            await ready.all()
            deletion = asyncio.ensure_future(pod.delete())
            await clock.until_sleeping()
            await clock.run(9)
            assert ("TERM", "app") not in pod.happened
            await clock.run(1)
            await happening(pod, "TERM", "app")
            await clock.until_sleeping()
            await clock.run(2)
            ended = await deletion
        assert (ended["app"].signalled, ended["app"].killed) == (10, 12)

    asyncio.run(scenario())


def test_a_node_that_goes_down_and_a_delete_with_less_grace_leave_less(tmp_path: Path) -> None:
    """The effective grace is the smaller one; a hook that fails or is not there changes nothing."""

    async def scenario() -> None:
        for shutdown in (True, False):
            ready, clock = Ready(tmp_path / str(shutdown)), FakeClock()
            ready.directory.mkdir()
            container = Container("app", ready.command(STUBBORN), pre_stop=["/nowhere/hook"])
            async with Pod([container], grace=30, clock=clock) as pod:
                await ready.all()
                deletion = asyncio.ensure_future(pod.node_shutdown(20) if shutdown else pod.delete(grace=20))
                await happening(pod, "TERM", "app")
                await clock.until_sleeping()
                await clock.run(20)
                assert (await deletion)["app"].killed == 20
            assert pod.happened[0:2] == [("preStop", "app"), ("preStop failed", "app")]

    asyncio.run(scenario())


def test_a_container_that_ended_by_itself_gets_no_signal(tmp_path: Path) -> None:
    """Its status is told all the same."""

    async def scenario() -> None:
        async with Pod([Container("job", [sys.executable, "-c", "exit(7)"], output=tmp_path / "out")]) as pod:
            async with asyncio.timeout(PATIENCE):
                while Path(f"/proc/{pod.pid('job')}").exists():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.01)
            ended = await pod.delete()
        assert ended["job"].status == 7
        assert ended["job"].signalled is None

    asyncio.run(scenario())
