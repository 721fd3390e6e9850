"""One run of the life of one pod: put together as a sidecar of its own would be, drained when the pod or the node ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from shipper.build import Making, build
from shipper.build_sources import file_settings
from shipper.clock import Clock, Deadline
from shipper.conductor import Conductor
from shipper.config import Config, Files, Labels, Receivers
from shipper.drain.drain import Drain, Order, Outcome
from shipper.drain.state import DrainState, Input, State
from shipper.events import Reporter
from shipper.last_words import LastWords
from shipper.node.life import PodLifeMaker
from shipper.node.places import Place, escape, files_of
from shipper.otlp.encode import AttributeValue
from shipper.parts import Parts
from shipper.sources.file.settings import FileSettings

MOST_FILES = 64  # descriptors for files that are read to their end; of a pod, not of the node
REST = ["*/*.log*"]  # of a pod that no group of files is about
TEMPORARY = "*.tmp"  # what the kubelet is making a compressed file of


class PodRun:
    """Made when the pod is met; `run` it until it ended. ``making``: see `shipper.build.Making`."""

    def __init__(
        self, place: Place, config: Config, making: Making, conductor: Conductor, *, clock: Clock, report: Reporter
    ) -> None:
        self.place = place
        self.parts: Parts | None = None
        self.sizes: dict[str, int] | None = None  # of its files, when the pod itself was found to have ended
        self._config = config
        self._making = making
        self._conductor = conductor
        self._clock = clock
        self._report = report
        self._order: Order | None = None
        self._woken = asyncio.Event()
        self._drain: Drain | None = None
        self._carrying = False  # the drain has begun

    async def run(self, env: Mapping[str, str], starting: asyncio.Semaphore) -> Outcome:
        """Ship until it is ended and drained; ``starting`` bounds how many are put together at a time.

        Raises `ShipperError` (its state cannot be used) with everything closed.
        """
        clock, report = self._clock, self._report
        async with starting:
            parts = self.parts = await build(
                self._config, "sidecar", env=env, clock=clock, report=report, making=self._making
            )
        try:
            words = LastWords(parts, self._conductor, clock=clock, report=report)
            state = DrainState()
            drain = self._drain = self._make_drain(parts, words, state)
            async with asyncio.TaskGroup() as group:
                background = [
                    *(group.create_task(pump.run()) for pump in parts.every_pump),
                    *(group.create_task(source.run()) for source in parts.sources),
                    group.create_task(parts.account.run()),
                    *(group.create_task(each) for each in parts.watching()),
                    group.create_task(drain.run()),
                ]
                await words.birth()
                background.append(group.create_task(words.tell_notices()))
                outcome = await self._until_ended(drain, words, state)
                for task in background:
                    task.cancel()
            return outcome
        finally:
            self.parts = self._drain = None
            await parts.aclose()

    # -- what the agent says -------------------------------------------------------------------------------------

    def end(self, order: Order) -> None:
        """The pod's, or the node's end: drain. A later order takes the place of one that only a notice gave."""
        if self._order is not None and self._order.stop:
            return
        self._order = order
        self._woken.set()
        if self._drain is not None and order.stop:
            self._drain.stop_said(order)
        elif self._drain is not None:
            self._drain.notice_counts(order)

    def withdraw(self, why: str) -> None:
        """The notice is taken back that the drain began with."""
        if self._drain is not None and self._carrying:
            self._drain.withdraw(why)
        elif self._order is not None and not self._order.stop:
            self._order = None  # it had not begun

    def abort(self) -> None:
        """Somebody has lost patience."""
        if self._drain is not None:
            self._drain.abort()

    @property
    def ending(self) -> bool:
        """Whether a drain is under way."""
        return self._order is not None

    def urgent(self, on: bool) -> None:
        """Without waits of our own choice, or as usual."""
        if not self.ending:
            for pump in self.parts.pumps if self.parts is not None else ():
                pump.urgent(on)

    async def flush(self, deadline: Deadline) -> bool:
        """Send everything that exists now; True when it is acknowledged."""
        parts = self.parts
        if parts is None:
            return False
        self.urgent(True)
        for source in parts.sources:
            source.silent(0.0)  # asking makes a source look
        return all(await asyncio.gather(*(pump.wait_idle(deadline) for pump in parts.pumps)))

    def backlog(self) -> dict[str, int]:
        """Bytes not settled, by destination."""
        return {pump.name: pump.backlog_bytes() for pump in self.parts.pumps} if self.parts is not None else {}

    def oldest(self) -> float:
        """Age in seconds of the oldest data not settled."""
        return max((pump.oldest_unacknowledged() for pump in (self.parts.pumps if self.parts else ())), default=0.0)

    def status(self) -> dict[str, Any]:
        """What ``shipper status`` shows of it."""
        parts = self.parts
        if parts is None:
            return {"state": "starting"}
        return {
            "life": parts.decision.life,
            "run": parts.decision.run,
            "state": "draining" if self.ending else "running",
            "labels": parts.identity.values(),
            "streams": len(parts.hub.streams()),
            "backlog_bytes": self.backlog(),
            "oldest_seconds": self.oldest(),
        }

    # -- inside --------------------------------------------------------------------------------------------------

    async def _until_ended(self, drain: Drain, words: LastWords, state: DrainState) -> Outcome:
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._order is None:
                continue
            self._carrying = True
            outcome = await drain.carry_out(self._order, self._conductor.deadline)
            self._carrying = False
            if outcome.state in (State.DRAINED, State.EXPIRED):
                return outcome
            state.on(Input.WITHDRAWN if outcome.state is State.RUNNING else Input.NOTICE)
            self._order = None
            self._woken.clear()
            words.go_on()

    def _make_drain(self, parts: Parts, words: LastWords, state: DrainState) -> Drain:
        settings = self._config.drain
        return Drain(
            state=state,
            sources=parts.sources,
            pumps=parts.pumps,
            farewell=words.farewell,
            clock=self._clock,
            report=self._report,
            quiet_seconds=settings.quiet,
            reserve_seconds=settings.reserve,
            services_grace=settings.services_grace,
            notices=self._conductor.board.standing,
            fallback=parts.drain_fallback(),
        )


def config_of(place: Place, config: Config, state_dir: str) -> Config:
    """The configuration of one pod's run: its files, its state, and nothing that is the node's."""
    groups = [
        msgspec.structs.replace(group, include=list(patterns), exclude=[*group.exclude, TEMPORARY])
        for group, patterns in files_of(place, config.node.pods_dir, config.files)
    ]
    home = escape(place.path)
    rest = msgspec.convert({"include": [f"{home}/{pattern}" for pattern in REST], "exclude": [TEMPORARY]}, Files)
    limit = config.file_limits.max_open_files or MOST_FILES
    return msgspec.structs.replace(
        config,
        state_dir=state_dir,
        spool_dir=os.path.join(state_dir, "spool"),
        labels=Labels(),
        files=groups or [rest],
        file_limits=msgspec.structs.replace(config.file_limits, max_open_files=min(limit, MOST_FILES)),
        journal=[],
        services=msgspec.structs.replace(config.services, enabled=False),
        receivers=Receivers(),
        metrics=msgspec.structs.replace(config.metrics, scrape=[], multiprocess_dirs=[]),
    )


def settings_of(life: PodLifeMaker, config: Config, attributes: Mapping[str, AttributeValue]) -> FileSettings:
    """How the pod's files are read: each with the attributes of its container."""
    plain: FileSettings = file_settings(config, attributes)
    groups = tuple(
        replace(made, resource_of=partial(life.resource_of, more=group.attributes))
        for made, group in zip(plain.groups, config.files, strict=True)
    )
    return replace(plain, groups=groups)
