"""All pods of a node: each is met by its log directory, shipped by a run of its own, and let go of when it is gone.

The kubelet's directories say which pods there are; the API server says who they are, and which of them have ended. Where it
cannot be asked, nothing waits for it: a pod is who its directory says, and gone when that is gone.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shipper.build import Making
from shipper.clock import Clock, Deadline
from shipper.conductor import Conductor
from shipper.config import Config
from shipper.drain.order import Order
from shipper.events import Problem, Reporter, Said
from shipper.labels.identity import Identity
from shipper.node.ends import Ends
from shipper.node.exporters import Destinations
from shipper.node.identity import identify, of_node
from shipper.node.life import PodLifeMaker
from shipper.node.memory import Memory
from shipper.node.places import Place, fingerprint, scan, sizes_differ
from shipper.node.run import PodRun, config_of, settings_of
from shipper.node.watch import PodWatch, wait_for
from shipper.parts import Parts

LOOK_SECONDS = 1.0  # how often the directories are looked at
RETRY_SECONDS = 30.0
AT_ONCE = 4  # runs that are put together at a time
ENVIRONMENT = ("shipper.io/environment", "environment", "env")  # labels of a namespace
PRESTOP = "kubernetes-prestop"  # a notice of the agent's own pod, not of the node


class Node:
    """The pods of this node, beside the agent's own run."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        conductor: Conductor,
        destinations: Destinations,
        watch: PodWatch | None,
        *,
        env: Mapping[str, str],
        clock: Clock,
        report: Reporter,
    ) -> None:
        """``watch``: None where the API server is not to be asked. Raises `StateUnwritable`."""
        self._config = config
        self._parts = parts
        self._conductor = conductor
        self._destinations = destinations
        self._watch = watch
        self._env = env
        self._clock = clock
        self._report = report
        self._memory = Memory(config.state_dir)
        self._own = str(parts.identity.extra.get("k8s.pod.uid", ""))
        self._runs: dict[str, PodRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends = Ends(watch, config.node.quiet, clock)
        self._ended: dict[str, dict[str, int]] = {}  # whose farewell was said in the drain that is under way
        self._left_out: dict[str, str] = {}  # uid: why
        self._order: Order | None = None
        self._starting = asyncio.Semaphore(AT_ONCE)

    # -- the work ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Meet pods and let go of them until cancelled. What is wrong with one of them costs the others nothing."""
        async with asyncio.TaskGroup() as group:
            if self._watch is not None:
                group.create_task(self._watch.run())
            while True:
                await self._look(group)
                await self._clock.sleep(LOOK_SECONDS)

    async def _look(self, group: asyncio.TaskGroup) -> None:
        pods_dir = self._config.node.pods_dir
        try:
            there = {place.uid: place for place in await asyncio.to_thread(scan, pods_dir)}
        except OSError as problem:
            said = f"{pods_dir} cannot be read ({problem.strerror}): no pods are found; mount the node's /var/log there"
            self._report(Problem("pods-directory", said, pods_dir))
            return
        for uid, place in there.items():
            if uid not in self._tasks and await self._wanted(place):
                self._begin(group, place)
        for uid, met in self._memory.all().items():
            if uid in there or uid in self._tasks:
                continue
            if met.ended:
                await self._forget(met.place)
            elif os.path.dirname(met.place.path) == os.path.abspath(pods_dir):
                self._begin(group, met.place)  # it was deleted while nobody looked: what is left of its life ends now
        for uid in list(self._runs):
            await self._see_to(uid, there)
        for uid in self._left_out.keys() - there.keys():
            del self._left_out[uid]

    async def _forget(self, place: Place) -> None:
        try:
            await asyncio.to_thread(self._memory.forget, place.uid)
        except OSError as problem:
            said = f"the state of pod {place.namespace}/{place.name} cannot be removed: {problem.strerror}"
            self._report(Problem("state", said, place.uid))

    async def _wanted(self, place: Place) -> bool:
        if place.uid in self._left_out:
            return False
        if why := self._unwanted(place):
            self._left_out[place.uid] = why
            self._report(Said(f"pod {place.namespace}/{place.name} is left out: {why}"))
            return False
        before = self._ended.get(place.uid)
        met = self._memory.get(place.uid)
        if before is None and met is not None and met.ended:
            before = dict(met.sizes)
        return before is None or sizes_differ(before, await asyncio.to_thread(fingerprint, place.path))

    def _unwanted(self, place: Place) -> str:
        settings = self._config.node
        if place.uid == self._own:
            return "it is this agent"
        if settings.namespaces and not _any(settings.namespaces, place.namespace):
            return "node.namespaces does not name its namespace"
        if _any(settings.exclude_namespaces, place.namespace):
            return "node.exclude_namespaces names its namespace"
        return self._ends.excluded(place.uid)

    def _begin(self, group: asyncio.TaskGroup, place: Place) -> None:
        self._ended.pop(place.uid, None)
        task = self._tasks[place.uid] = group.create_task(self._live(place))
        task.add_done_callback(lambda _: self._tasks.pop(place.uid, None))

    async def _live(self, place: Place) -> None:
        """One run of one pod's life, begun again for as long as it breaks."""
        while True:
            try:
                await self._live_once(place)
                return
            except Exception as problem:  # a bug, too, must cost no other pod anything
                said = f"pod {place.namespace}/{place.name} cannot be shipped now: {_first(problem)}"
                self._report(Problem("pod", said, place.uid))
            finally:
                self._runs.pop(place.uid, None)
                self._ends.forget(place.uid)
            if self._order is not None:  # no time for another attempt: what is left stays on the disk
                self._ended[place.uid] = await asyncio.to_thread(fingerprint, place.path)
                return
            await self._clock.sleep(RETRY_SECONDS)

    async def _live_once(self, place: Place) -> None:
        known = os.path.exists(os.path.join(self._memory.directory(place.uid), "ledger.db"))
        if not known and self._watch is not None:
            settings = self._config.node
            await wait_for(self._watch, place.namespace, place.name, place.uid, self._clock, settings.wait)
            if self._ends.excluded(place.uid):
                return
        environment = "" if known else await self._environment(place.namespace)
        run = self._runs[place.uid] = self._make(place, environment)
        self._memory.begun(place)
        if self._order is not None:
            run.end(self._order)
        outcome = await run.run(self._env, self._starting)
        sizes = run.sizes
        if sizes is None:  # the node's end, or the agent's; the life may go on
            self._ended[place.uid] = await asyncio.to_thread(fingerprint, place.path)
        elif outcome.exit_code == 0:
            await asyncio.to_thread(self._memory.ended, place, sizes)

    def _make(self, place: Place, environment: str) -> PodRun:
        report = Reporter(self._clock, logger=_logger(place))
        config = config_of(place, self._config, self._memory.directory(place.uid))

        def found() -> tuple[Identity, dict[str, Identity]]:
            pod = self._watch.pods.get(place.uid) if self._watch is not None else None
            own, each = identify(place, pod, environment=environment, node=of_node(self._parts.identity.extra))
            return own if self._watch is not None else replace(own, problems=()), each

        life = PodLifeMaker(place, found, config, self._env, self._clock, report)
        making = Making(
            life,
            lambda wanted, attributes: settings_of(life, wanted, attributes),
            self._destinations.make,
            buckets=self._destinations.buckets,
            bench=self._destinations.bench,
        )
        return PodRun(place, config, making, self._conductor, clock=self._clock, report=report)

    async def _environment(self, namespace: str) -> str:
        """That of the namespace, else that of the node."""
        labels: dict[str, str] = {}
        if self._watch is not None and self._watch.synced:
            labels = await self._watch.labels_of(namespace, self._config.node.wait)
        return next((labels[key] for key in ENVIRONMENT if labels.get(key)), self._parts.identity.environment.value)

    # -- the end of a pod ----------------------------------------------------------------------------------------

    async def _see_to(self, uid: str, there: Mapping[str, Place]) -> None:
        run = self._runs.get(uid)
        if run is None or run.ending or run.parts is None or (uid in there and self._ends.surely_lives(uid)):
            return
        sizes = await asyncio.to_thread(fingerprint, run.place.path) if uid in there else None
        if (why := await self._ends.over(run.place, sizes)) and uid in self._runs and not run.ending:
            run.sizes = sizes or {}
            run.end(Order(why[0], True, why[1], stop=True))

    # -- the end of the node, or of the agent --------------------------------------------------------------------

    def drain(self, order: Order) -> None:
        """The agent's run ends, or the node goes: so do the runs of all pods, and those that are met meanwhile."""
        self._order = self._of_pods(order)
        for run in self._runs.values():
            run.end(self._order)

    def follow(self, order: Order | None, *, impatient: bool) -> None:
        """What counts now, while the drain is under way; None: it is taken back. ``impatient``: break it off."""
        if order is not None:
            self.drain(order)
        for run in self._runs.values():
            if impatient:
                run.abort()
            if order is None:
                run.withdraw("its source took the notice back")

    def goes_on(self) -> None:
        """The drain ended without the run: pods whose farewell was said begin another run of their lives."""
        self._order = None
        self._ended.clear()

    async def finish(self, deadline: Deadline) -> None:
        """Return when all runs have ended; not much later than ``deadline``, by which each has said its farewell."""
        while self._runs:
            await self._clock.sleep(0.02)
            if deadline.remaining() < -self._config.drain.reserve:
                return

    def _of_pods(self, order: Order) -> Order:
        """A stop of the agent's own pod ends no other pod's life; the end of the node ends all of them."""
        if self._config.drain.ephemeral == "true":
            return replace(order, ends_life=True)
        board = self._conductor.board
        for one in board.all():
            if one.notice.ends_life and one.notice.budget != PRESTOP and board.is_imminent(one):
                return replace(order, ends_life=True, why=f"{one.notice.source} said: {one.notice.evidence}")
        return replace(order, ends_life=False, why="the agent stops, the pod stays")

    # -- what is asked -------------------------------------------------------------------------------------------

    def idle(self) -> bool:
        """Whether every run has ended."""
        return not self._runs and not any(self._missing())

    def _missing(self) -> list[str]:
        return [uid for uid in self._tasks if uid not in self._runs and self._order is not None]

    def backlog(self) -> dict[str, int]:
        """Bytes not settled, by pod."""
        return {uid: max(run.backlog().values(), default=0) for uid, run in self._runs.items()}

    def oldest(self) -> float:
        """Age in seconds of the oldest data not settled."""
        return max((run.oldest() for run in self._runs.values()), default=0.0)

    def urgent(self, on: bool) -> None:
        """Without waits of our own choice, or as usual."""
        for run in self._runs.values():
            run.urgent(on)

    async def flush(self, deadline: Deadline) -> bool:
        """Send everything of all pods that exists now; True when it is acknowledged."""
        return all(await asyncio.gather(*(run.flush(deadline) for run in list(self._runs.values()))))

    def refresh_metrics(self) -> None:
        """Bring the gauges up to date."""
        for run in self._runs.values():
            if run.parts is not None:
                run.parts.refresh_metrics()

    def status(self) -> dict[str, Any]:
        """What ``shipper status`` shows."""
        return {
            "api": None if self._watch is None else {"synced": self._watch.synced, "pods": len(self._watch.pods)},
            "pods": {f"{run.place.namespace}/{run.place.name}": run.status() for run in self._runs.values()},
            "left_out": dict(self._left_out),
        }


def _any(patterns: list[str], name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _logger(place: Place) -> logging.Logger:
    """One that names the pod; it is in no registry, which would keep it for ever."""
    logger = logging.Logger("shipper.pod")
    logger.parent = logging.getLogger("shipper")

    def named(record: logging.LogRecord) -> bool:
        record.msg = f"{place.namespace}/{place.name}: {record.msg}"
        return True

    logger.addFilter(named)
    return logger


def _first(problem: BaseException) -> str:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return f"{type(problem).__name__}: {problem}"
