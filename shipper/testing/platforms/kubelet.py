"""A pod's end as the kubelet carries it out: real processes, its order of hooks and signals, its clock.

    pod = Pod(
        [
            Container("app", [python, "app.py"]),
            Container("shipper", [shipper, "run"], pre_stop=[shipper, "notice"], sidecar=True),
        ],
        grace=30,
    )
    async with pod:
        ... the pod works ...
        ended = await pod.delete()
    assert ended["shipper"].status == 0

What it does, in this order (kuberuntime_container.go, kuberuntime_termination_order.go, pod-lifecycle of the Kubernetes
documentation): at deletion the preStop hooks of *all* containers start at once, those of native sidecars too; each ordinary
container gets SIGTERM when its own hook has ended; native sidecars get theirs after the last ordinary container has ended, in
the reverse order of their declaration, each when the one declared after it has ended; at the end of the grace period
everything gets SIGKILL. One whose turn comes late, or whose hook used the time up, is still given two seconds. The grace counts
from the deletion; a hook's output is seen by nobody, and a hook that fails is not repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from shipper.clock import Clock, Deadline, SystemClock

MINIMUM_GRACE = 2.0  # minimumGracePeriodInSeconds


@dataclass(frozen=True, slots=True)
class Container:
    """One container: its process, its preStop hook (a command), and whether it is a native sidecar (restartPolicy Always).

    ``stop_signal``: the image's STOPSIGNAL. ``env`` is laid over this process's environment. ``output``: a file for what it
    prints; None: thrown away.
    """

    name: str
    command: Sequence[str]
    pre_stop: Sequence[str] = ()
    sidecar: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    output: Path | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How a container ended: exit status (negative: the signal that killed it), and when, in seconds since the deletion
    (both None where it did not happen).
    """

    status: int
    ended: float
    signalled: float | None
    killed: float | None


class Pod:
    """Runs containers and ends them. ``grace``: terminationGracePeriodSeconds. ``clock``: of the grace periods; the
    containers' ends are real in any case.
    """

    def __init__(self, containers: Sequence[Container], *, grace: float = 30.0, clock: Clock | None = None) -> None:
        self.grace = grace
        self.happened: list[tuple[str, str]] = []
        """(what, container) in order: preStop, preStop ended, preStop failed, TERM, KILL, ended."""
        self._containers = list(containers)
        self._clock: Clock = clock or SystemClock()
        self._processes: dict[str, Process] = {}
        self._hooks: set[Process] = set()
        self._born = 0.0

    async def __aenter__(self) -> Self:
        for container in sorted(self._containers, key=lambda one: not one.sidecar):  # init containers come first
            self._processes[container.name] = await _run(container.command, container)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self._processes.values(), *self._hooks):
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()

    def pid(self, name: str) -> int:
        """The process of a container."""
        return self._processes[name].pid

    async def delete(self, *, grace: float | None = None) -> dict[str, End]:
        """``kubectl delete pod``, with ``--grace-period`` if given; returns when everything has ended."""
        return await self._end(self.grace if grace is None else grace)

    async def node_shutdown(self, period: float) -> dict[str, End]:
        """The node goes down: the same, with no more time than ``period`` (shutdownGracePeriod of the pod's group)."""
        return await self._end(min(self.grace, period))

    async def _end(self, grace: float) -> dict[str, End]:
        self._born = self._clock.monotonic()
        deadline = Deadline.after(self._clock, grace)
        gone = {container.name: asyncio.Event() for container in self._containers}
        main = [container for container in self._containers if not container.sidecar]
        # A sidecar waits for all ordinary containers, and for every sidecar that was started after it.
        before: dict[str, list[str]] = {container.name: [] for container in main}
        waits_for = [container.name for container in main]
        for container in reversed([one for one in self._containers if one.sidecar]):
            before[container.name] = list(waits_for)
            waits_for.append(container.name)
        async with asyncio.TaskGroup() as group:
            tasks = {
                one.name: group.create_task(
                    self._kill_container(one, deadline, [gone[name] for name in before[one.name]], gone[one.name])
                )
                for one in self._containers
            }
        return {name: task.result() for name, task in tasks.items()}

    async def _kill_container(
        self, container: Container, deadline: Deadline, before: list[asyncio.Event], gone: asyncio.Event
    ) -> End:
        """killContainer: the hook, its turn, the signal, SIGKILL; each with what the steps before have left of the time."""
        process = self._processes[container.name]
        signalled = killed = None
        ending = asyncio.ensure_future(process.wait())
        try:
            if container.pre_stop and process.returncode is None:
                await self._pre_stop(container, deadline)
            if before:
                await self._within(asyncio.gather(*(event.wait() for event in before)), deadline.remaining())
            if process.returncode is None:
                signalled = self._signal(container, container.stop_signal, "TERM")
                if not await self._within(asyncio.shield(ending), max(MINIMUM_GRACE, deadline.remaining())):
                    killed = self._signal(container, signal.SIGKILL, "KILL")
            status = await ending
        finally:
            ending.cancel()
        self.happened.append(("ended", container.name))
        gone.set()
        return End(status, self._since(), signalled, killed)

    async def _pre_stop(self, container: Container, deadline: Deadline) -> None:
        self.happened.append(("preStop", container.name))
        try:
            hook = await _run(container.pre_stop, container)
        except OSError:
            self.happened.append(("preStop failed", container.name))
            return
        self._hooks.add(hook)
        if not await self._within(hook.wait(), deadline.remaining()):
            return  # it goes on for as long as its container does
        self.happened.append(("preStop ended" if hook.returncode == 0 else "preStop failed", container.name))

    async def _within(self, work: Awaitable[object], seconds: float) -> bool:
        """Whether it was done within that time of the clock; it is no longer waited for then."""
        doing = asyncio.ensure_future(work)
        end = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({doing, end}, return_when=asyncio.FIRST_COMPLETED)
            return doing.done()
        finally:
            for task in (doing, end):
                task.cancel()

    def _signal(self, container: Container, number: signal.Signals, what: str) -> float:
        self.happened.append((what, container.name))
        with contextlib.suppress(ProcessLookupError):
            self._processes[container.name].send_signal(number)
        return self._since()

    def _since(self) -> float:
        return self._clock.monotonic() - self._born


async def _run(command: Sequence[str], container: Container) -> Process:
    with contextlib.ExitStack() as files:
        output = files.enter_context(open(container.output, "ab")) if container.output else None
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=output or DEVNULL,
            stderr=output or DEVNULL,
            env={**os.environ, **container.env},
        )
