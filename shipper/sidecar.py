"""The composition root: the only module that knows every room. A sidecar and a gateway are the same program.

It has the run put together (`shipper.build`), listens for word of the end, has the drain carried out when the conductor says
so (`shipper.conductor`) and returns its exit status. Nothing here decides how anything is done.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shipper.admin import Admin
from shipper.build import build
from shipper.clock import Clock, Deadline
from shipper.conductor import Conductor
from shipper.config import Config, Role
from shipper.drain.drain import Drain, Order, Outcome, show
from shipper.drain.drainable import Drainable
from shipper.drain.endings import Endings
from shipper.drain.state import State
from shipper.events import Reporter, Said
from shipper.last_words import LastWords
from shipper.listening import listening, platform_of
from shipper.notice import Hold
from shipper.notices.choose import Platform
from shipper.notices.sd_notify import ServiceManager
from shipper.parts import Parts
from shipper.signals import take_over

if TYPE_CHECKING:
    from shipper.node.agent import Node

BACKLOG_LOOK_SECONDS = 1.0  # how often the gauges of backlog and age are brought up to date


class Sidecar:
    """One run, from birth to farewell. Made and run within an event loop."""

    def __init__(
        self,
        config: Config,
        role: Role,
        *,
        env: Mapping[str, str],
        clock: Clock,
        report: Reporter,
        of_node: bool = False,
    ) -> None:
        """``of_node``: it is the agent of a Kubernetes node, and ships the pods there as well."""
        self._config = config
        self._of_node = of_node
        self._node: Node | None = None
        self._role = role
        self._env = env
        self._clock = clock
        self._report = report
        self._conductor = Conductor(config, role, env=env, clock=clock, report=report, flush=self._flush)
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._manager = ServiceManager(env=env, report=report)
        self._draining = False
        self._parts: Parts | None = None

    async def run(self) -> int:
        """Run until told to stop and drained; the exit status (0 drained, 3 expired)."""
        take_over(asyncio.get_running_loop(), self._conductor.on_signal)
        config, clock, report = self._config, self._clock, self._report
        platform = platform_of(config, self._role, env=self._env, clock=clock, report=report)
        async with listening(platform, self._conductor, state_dir=config.state_dir, clock=clock, report=report):
            parts = await build(self._own(config), self._role, env=self._env, clock=clock, report=report)
            self._conductor.in_container = parts.identity.in_container
            self._parts = parts
            if self._of_node:
                from shipper.node.build import make_node

                self._node = make_node(config, parts, self._conductor, env=self._env, clock=clock, report=report)
            try:
                return await self._live(parts, platform)
            finally:
                await parts.aclose()

    def _own(self, config: Config) -> Config:
        """The configuration of this run: what pods write is the matter of theirs."""
        if not self._of_node:
            return config
        from shipper.node.build import without_pods

        return without_pods(config)

    async def _flush(self, timeout: float) -> bool:
        """Everything that exists now is sent, without waits of our own choice."""
        parts = self._parts
        if parts is None:
            return False
        deadline = Deadline.after(self._clock, timeout)
        for pump in parts.pumps:
            pump.urgent(True)
        for source in parts.sources:
            source.silent(0.0)  # asking makes a source look: a line of this very moment counts
        pods = [self._node.flush(deadline)] if self._node is not None else []
        try:
            return all(await asyncio.gather(*(pump.wait_idle(deadline) for pump in parts.pumps), *pods))
        finally:
            if not self._draining:
                self._pace(parts)

    # -- the run -------------------------------------------------------------------------------------------------

    async def _live(self, parts: Parts, platform: Platform) -> int:
        words = LastWords(parts, self._conductor, clock=self._clock, report=self._report)
        drain = self._make_drain(parts, words, platform.holds)
        admin = self._admin(parts, words, drain)
        show(self._conductor.state.state, self._report)
        await admin.start()
        self._report(Said(f"up: 'shipper status' asks at {self._config.admin.socket}"))
        self._manager.ready(f"life {parts.decision.life}, {parts.identity.host.value}")
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(work) for work in self._background(parts, drain)]
                await words.birth()
                background.append(group.create_task(words.tell_notices()))
                outcome = await self._until_ended(parts, words, drain)
                for task in background:
                    task.cancel()
        finally:
            if not self._ended.done():
                self._ended.cancel()
            await asyncio.sleep(0)  # whoever waits for the end on the admin socket gets its answer out first
            await admin.aclose()
        return outcome.exit_code

    def _admin(self, parts: Parts, words: LastWords, drain: Drain) -> Admin:
        return Admin(
            socket=self._config.admin.socket,
            listen=self._config.admin.listen,
            status=lambda: self._status(parts, words, drain),
            drain=lambda wanted: self._drain_by_hand(parts, drain, wanted),
            notice=self._conductor.notice_by_hand,
            ready=lambda: self._conductor.state.state in (State.RUNNING, State.NOTICED),
            refresh=lambda: self._refresh(parts),
            report=self._report,
        )

    def _make_drain(self, parts: Parts, words: LastWords, holds: Sequence[Hold]) -> Drain:
        settings = self._config.drain
        return Drain(
            state=self._conductor.state,
            sources=parts.sources,
            pumps=[*parts.pumps, *self._pods()],
            farewell=words.farewell,
            clock=self._clock,
            report=self._report,
            quiet_seconds=settings.quiet,
            reserve_seconds=settings.reserve,
            services_grace=settings.services_grace,
            endings=Endings(settings.wait_for, clock=self._clock, report=self._report),
            holds=holds,
            notices=self._conductor.board.standing,
            unproved=lambda: [pump.name for pump in parts.pumps if not parts.exporters[pump.name].trusted()],
            fallback=parts.drain_fallback(),
        )

    def _pods(self) -> list[Drainable]:
        if self._node is None:
            return []
        from shipper.node.drainable import Pods

        return [Pods(self._node, self._clock)]

    def _background(self, parts: Parts, drain: Drain) -> list[Coroutine[Any, Any, None]]:
        return [
            *(pump.run() for pump in parts.every_pump),
            *(source.run() for source in parts.sources),
            parts.account.run(),
            *parts.watching(),
            drain.run(),
            self._keep_gauges(parts),
            self._manager.keep_alive(self._clock),
            *([self._node.run()] if self._node is not None else []),
        ]

    async def _keep_gauges(self, parts: Parts) -> None:
        while True:
            await self._clock.sleep(BACKLOG_LOOK_SECONDS)
            self._refresh(parts)
            show(self._conductor.state.state, self._report)

    def _refresh(self, parts: Parts) -> None:
        parts.refresh_metrics()
        if self._node is not None:
            self._node.refresh_metrics()

    async def _until_ended(self, parts: Parts, words: LastWords, drain: Drain) -> Outcome:
        """Wait for a reason, drain, and go on where it was taken back; how the run ended."""
        remains = asyncio.create_task(self._ship_remains(parts))
        try:
            while True:
                seen = self._conductor.changes
                if (order := self._conductor.order()) is None:
                    self._pace(parts)
                    await self._conductor.next_change(seen)
                    continue
                remains.cancel()  # everything is for the run now
                outcome = await self._carry_out(drain, order)
                if outcome.state not in (State.RUNNING, State.NOTICED):
                    await self._last_of_remains(parts, outcome)
                    self._ended.set_result(outcome)
                    return outcome
                self._conductor.goes_on(outcome)
                words.go_on()
                await asyncio.gather(remains, return_exceptions=True)
                remains = asyncio.create_task(self._ship_remains(parts))
        finally:
            remains.cancel()
            await asyncio.gather(remains, return_exceptions=True)

    async def _carry_out(self, drain: Drain, order: Order) -> Outcome:
        self._draining = True
        following = asyncio.create_task(self._follow(drain))
        if self._node is not None:
            self._node.drain(order)
        try:
            outcome = await drain.carry_out(order, self._conductor.deadline)
            if self._node is not None and outcome.state in (State.DRAINED, State.EXPIRED):
                await self._node.finish(self._conductor.deadline)
            elif self._node is not None:
                self._node.goes_on()
            return outcome
        finally:
            self._draining = False
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, drain: Drain) -> None:
        """Pass on what comes while a drain is under way."""
        conductor = self._conductor
        while True:
            seen = conductor.changes
            if conductor.impatient():
                drain.abort()
            if (order := conductor.order()) is None:
                drain.withdraw("its source took the notice back")
            elif order.stop:
                drain.stop_said(order)
                self._manager.stopping(f"draining because of {order.reason}")
            else:
                drain.notice_counts(order)
            if self._node is not None:
                self._node.follow(order, impatient=conductor.impatient())
            await conductor.next_change(seen)

    def _pace(self, parts: Parts) -> None:
        """Between drains: as usual, or without waits of our own choice while the risk is higher than usual."""
        for pump in parts.pumps:
            pump.urgent(self._conductor.hurried())
        if self._node is not None:
            self._node.urgent(self._conductor.hurried())

    async def _ship_remains(self, parts: Parts) -> None:
        if parts.remains is not None:
            await parts.remains.run()

    async def _last_of_remains(self, parts: Parts, outcome: Outcome) -> None:
        """What earlier lives left is next, where the disk goes with this one; where it stays, the next start has it."""
        if parts.remains is not None and outcome.order.ends_life and not self._conductor.impatient():
            await parts.remains.finish(self._conductor.deadline)

    # -- over the admin socket -----------------------------------------------------------------------------------

    async def _drain_by_hand(self, parts: Parts, drain: Drain, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        if wanted.get("dry_run"):
            seconds, origin = self._conductor.time_for_a_drain(wanted)
            return drain.plan(seconds, origin).answer()
        self._conductor.drain_by_hand(wanted)
        if not wanted.get("wait", True):
            return {"message": "draining"}
        outcome = await asyncio.shield(self._ended)
        left = "nothing left" if outcome.state is State.DRAINED else f"left: {parts.left()}"
        return {"message": f"{outcome.state.value}, {left}", "exit_code": outcome.exit_code}

    def _status(self, parts: Parts, words: LastWords, drain: Drain) -> Mapping[str, Any]:
        return {
            "role": self._role,
            "state": self._conductor.state.state.value,
            **parts.status(),
            **({"node": self._node.status()} if self._node is not None else {}),
            "notices": [words.describe(one) for one in self._conductor.board.all()],
            "notice_sources_unknown": self._conductor.board.sources_unknown(),
            "deadline_seconds": _finite(self._conductor.deadline.remaining()),
            "holds": drain.holds,
        }


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
