"""The composition root: the only module that knows every room. A sidecar and a gateway are the same program.

It has the run put together (`shipper.build`), listens for word of the end, has the drain carried out when the conductor says
so (`shipper.conductor`) and returns its exit status. Nothing here decides how anything is done.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shipper.admin import Admin
from shipper.build import build
from shipper.clock import Clock, Deadline
from shipper.conductor import Conductor
from shipper.config import Config, Role
from shipper.drain.drain import Drain, Fallback, Order, Outcome, show
from shipper.drain.endings import Endings
from shipper.drain.state import State
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter, Said
from shipper.labels.finding import Surroundings
from shipper.notice import Hold, NoticeWatcher
from shipper.notices.board import Standing
from shipper.notices.choose import Around, Platform, choose
from shipper.notices.left_note import take_note
from shipper.notices.times import Times
from shipper.parts import Parts
from shipper.pump.share import Share
from shipper.signals import take_over

BACKLOG_LOOK_SECONDS = 1.0  # how often the gauges of backlog and age are brought up to date
STATEMENT_RETRY_SECONDS = 0.25
DEADLINE_WORTH_TELLING = 5.0  # seconds by which a deadline has to move to be stated again


class Sidecar:
    """One run, from birth to farewell. Made and run within an event loop."""

    def __init__(self, config: Config, role: Role, *, env: Mapping[str, str], clock: Clock, report: Reporter) -> None:
        self._config = config
        self._role = role
        self._env = env
        self._clock = clock
        self._report = report
        self._conductor = Conductor(config, role, env=env, clock=clock, report=report, flush=self._flush)
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._draining = False
        self._parts: Parts | None = None

    async def run(self) -> int:
        """Run until told to stop and drained; the exit status (0 drained, 3 expired)."""
        take_over(asyncio.get_running_loop(), self._conductor.on_signal)
        platform = self._platform()
        # Before anything else: a host can be told to die while it is still finding out who it is.
        async with self._listening(platform.watchers):
            self._take_note()
            parts = await build(self._config, self._role, env=self._env, clock=self._clock, report=self._report)
            self._conductor.in_container = parts.identity.in_container
            self._parts = parts
            try:
                return await self._live(parts, platform)
            finally:
                await parts.aclose()

    # -- word of the end -----------------------------------------------------------------------------------------

    def _platform(self) -> Platform:
        settings = self._config.notices
        if self._role == "gateway" and settings.watch == ["auto"]:
            return Platform()  # a gateway's disk stays, and its hosts' notices are theirs
        around = Around(
            clock=self._clock,
            report=self._report,
            times=Times(self._clock),
            surroundings=Surroundings("/", self._env),
            endpoints=settings.endpoints,
            touch_file=settings.touch_file,
        )
        return choose(settings.watch, around, hold=settings.hold)

    @asynccontextmanager
    async def _listening(self, watchers: tuple[NoticeWatcher, ...]) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._listen(watcher)) for watcher in watchers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, watcher: NoticeWatcher) -> None:
        try:
            await watcher.run(self._conductor.board)
        except Exception as fault:  # a fault in one watcher must cost neither the others nor the run
            said = f"{watcher.name} is not listened to any more: {type(fault).__name__}: {fault}"
            self._report(Problem("notice-watcher-bug", said, watcher.name))
        finally:
            await watcher.aclose()

    def _take_note(self) -> None:
        wanted = take_note(self._config.state_dir, self._clock)
        if wanted is not None:
            try:
                self._conductor.notice_by_hand(wanted)
            except ShipperError as problem:
                self._report(Problem("notice-source", f"a notice left before the start is not understood: {problem}"))

    async def _flush(self, timeout: float) -> bool:
        """Everything that exists now is sent, without waits of our own choice."""
        parts = self._parts
        if parts is None:
            return False
        deadline = Deadline.after(self._clock, timeout)
        for pump in parts.pumps:
            pump.urgent(True)
        try:
            return all(await asyncio.gather(*(pump.wait_idle(deadline) for pump in parts.pumps)))
        finally:
            if not self._draining:
                self._pace(parts)

    # -- the run -------------------------------------------------------------------------------------------------

    async def _live(self, parts: Parts, platform: Platform) -> int:
        drain = self._make_drain(parts, platform.holds)
        admin = self._admin(parts, drain)
        show(self._conductor.state.state, self._report)
        await admin.start()
        self._report(Said(f"up: 'shipper status' asks at {self._config.admin.socket}"))
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(work) for work in self._background(parts, drain)]
                await self._stated(lambda: parts.account.birth(parts.notes), lambda: self._conductor.stop is not None)
                outcome = await self._until_ended(parts, drain)
                for task in background:
                    task.cancel()
        finally:
            if not self._ended.done():
                self._ended.cancel()
            await asyncio.sleep(0)  # whoever waits for the end on the admin socket gets its answer out first
            await admin.aclose()
        return outcome.exit_code

    def _admin(self, parts: Parts, drain: Drain) -> Admin:
        return Admin(
            socket=self._config.admin.socket,
            listen=self._config.admin.listen,
            status=lambda: self._status(parts, drain),
            drain=lambda wanted: self._drain_by_hand(parts, drain, wanted),
            notice=self._conductor.notice_by_hand,
            ready=lambda: self._conductor.state.state in (State.RUNNING, State.NOTICED),
            refresh=parts.refresh_metrics,
            report=self._report,
        )

    def _make_drain(self, parts: Parts, holds: Sequence[Hold]) -> Drain:
        settings = self._config.drain
        standby = parts.fallback
        return Drain(
            state=self._conductor.state,
            sources=parts.sources,
            pumps=parts.pumps,
            farewell=lambda outcome, left: self._farewell(parts, outcome, left),
            clock=self._clock,
            report=self._report,
            quiet_seconds=settings.quiet,
            reserve_seconds=settings.reserve,
            services_grace=settings.services_grace,
            endings=Endings(settings.wait_for, clock=self._clock, report=self._report),
            holds=holds,
            notices=self._conductor.board.standing,
            unproved=lambda: [pump.name for pump in parts.pumps if not parts.exporters[pump.name].trusted()],
            fallback=None
            if standby is None
            else Fallback(standby, lambda: standby.activate(Share(parts.pumps)), standby.stand_by),
        )

    def _background(self, parts: Parts, drain: Drain) -> list[Coroutine[Any, Any, None]]:
        return [
            *(pump.run() for pump in parts.every_pump),
            *(source.run() for source in parts.sources),
            parts.account.run(),
            drain.run(),
            self._keep_gauges(parts),
        ]

    async def _keep_gauges(self, parts: Parts) -> None:
        while True:
            await self._clock.sleep(BACKLOG_LOOK_SECONDS)
            parts.refresh_metrics()

    async def _until_ended(self, parts: Parts, drain: Drain) -> Outcome:
        """Wait for a reason, drain, and go on where it was taken back; how the run ended."""
        remains = asyncio.create_task(self._ship_remains(parts))
        teller = asyncio.create_task(self._tell_notices(parts))
        try:
            while True:
                seen = self._conductor.changes
                if (order := self._conductor.order()) is None:
                    self._pace(parts)
                    await self._conductor.next_change(seen)
                    continue
                if parts.remains is not None:
                    parts.remains.pause()
                outcome = await self._carry_out(drain, order)
                if outcome.state is not State.RUNNING:
                    await self._last_of_remains(parts, outcome)
                    self._ended.set_result(outcome)
                    return outcome
                self._conductor.taken_back()
                await remains
                remains = asyncio.create_task(self._ship_remains(parts))
        finally:
            for task in (remains, teller):
                task.cancel()
            await asyncio.gather(remains, teller, return_exceptions=True)

    async def _carry_out(self, drain: Drain, order: Order) -> Outcome:
        self._draining = True
        following = asyncio.create_task(self._follow(drain))
        try:
            return await drain.carry_out(order, self._conductor.deadline)
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
            await conductor.next_change(seen)

    def _pace(self, parts: Parts) -> None:
        """Between drains: as usual, or without waits of our own choice while the risk is higher than usual."""
        for pump in parts.pumps:
            pump.urgent(self._conductor.hurried())

    async def _ship_remains(self, parts: Parts) -> None:
        if parts.remains is not None:
            await parts.remains.run()

    async def _last_of_remains(self, parts: Parts, outcome: Outcome) -> None:
        """What earlier lives left is next, where the disk goes with this one; where it stays, the next start has it."""
        if parts.remains is not None and outcome.order.ends_life and not self._conductor.impatient():
            await parts.remains.finish(self._conductor.deadline)

    # -- what is said of it --------------------------------------------------------------------------------------

    async def _tell_notices(self, parts: Parts) -> None:
        """State each notice in the account, once and again when its deadline moved: a host that then dies says why."""
        told: dict[tuple[str, str], float] = {}
        while True:
            seen = self._conductor.changes
            for one in self._conductor.board.all():
                if one.key in told and not abs(told[one.key] - one.at) >= DEADLINE_WORTH_TELLING:
                    continue
                told[one.key] = one.at
                words = self._words(one)
                await self._stated(lambda words=words: parts.account.notice(words), lambda: True)  # type: ignore[misc]
            await self._conductor.next_change(seen)

    def _words(self, one: Standing) -> dict[str, Any]:
        left = one.at - self._clock.monotonic()
        return {
            "source": one.notice.source,
            "kind": one.notice.kind.value,
            "evidence": one.notice.evidence,
            "deadline_ns": self._clock.wall_ns() + round(left * 1e9) if math.isfinite(left) else None,
            "assumed": one.assumed,
            "ends_life": one.notice.ends_life,
        }

    async def _farewell(self, parts: Parts, outcome: Outcome, deadline: Deadline) -> None:
        order = outcome.order
        words = {
            "reason": order.reason,
            "ends_life": order.ends_life,
            "why": order.why,
            "outcome": outcome.state.value,
            "fallback": outcome.fallback,
            "writing": outcome.writing,
        }
        written = await self._stated(lambda: parts.account.farewell(words), deadline.expired)
        pumps = [pump for pump in parts.every_pump if pump.takes_part]
        sent = await asyncio.gather(*(pump.wait_idle(deadline, include_account=True) for pump in pumps))
        if not written:
            self._report(Problem("farewell", "the farewell could not be written down, so nobody has it"))
        for pump, done in zip(pumps, sent, strict=True):
            if written and not done:
                self._report(
                    Problem("farewell", f"{pump.name} has not acknowledged the farewell; it stays on this disk")
                )
        left = parts.left()
        if outcome.state is State.DRAINED:
            self._report(Said("drained: everything read is acknowledged"))
        else:
            self._report(Problem("expired", f"the drain ended early; left unacknowledged: {left}"))

    async def _stated(self, statement: Callable[[], Awaitable[None]], too_late: Callable[[], bool]) -> bool:
        """Write a statement, tried again on a full disk; False when it could not be. The run matters more than what is said of it."""
        while True:
            try:
                await statement()
                return True
            except (ShipperError, OSError) as problem:
                self._report(Problem("account", f"a statement cannot be written now: {problem}", "statement"))
            if too_late():
                return False
            await self._clock.sleep(STATEMENT_RETRY_SECONDS)

    async def _drain_by_hand(self, parts: Parts, drain: Drain, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        if wanted.get("dry_run"):
            seconds, origin = self._conductor.time_for_a_drain(wanted)
            plan = drain.plan(seconds, origin)
            return {"message": plan.text(), "plan": plan.as_dict()}
        self._conductor.drain_by_hand(wanted)
        if not wanted.get("wait", True):
            return {"message": "draining"}
        outcome = await asyncio.shield(self._ended)
        left = "nothing left" if outcome.state is State.DRAINED else f"left: {parts.left()}"
        return {"message": f"{outcome.state.value}, {left}", "exit_code": outcome.exit_code}

    def _status(self, parts: Parts, drain: Drain) -> Mapping[str, Any]:
        return {
            "role": self._role,
            "state": self._conductor.state.state.value,
            **parts.status(),
            "notices": [self._words(one) for one in self._conductor.board.all()],
            "notice_sources_unknown": self._conductor.board.sources_unknown(),
            "deadline_seconds": _finite(self._conductor.deadline.remaining()),
            "holds": drain.holds,
        }


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
