"""The composition root: the only module that knows every room. A sidecar and a gateway are the same program.

It has the run put together (`shipper.build`), waits for a stop, has the drain carried out and returns its exit status.
Nothing here decides how anything is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from shipper.admin import Admin
from shipper.build import build
from shipper.clock import Clock, Deadline
from shipper.config import Config, Role
from shipper.drain.drain import Drain, Order, Outcome, show
from shipper.drain.meaning import Meaning, read_meaning
from shipper.drain.state import DrainState, State
from shipper.errors import ConfigError, ShipperError
from shipper.events import Problem, Reporter, Said
from shipper.parts import Parts
from shipper.signals import take_over

EPHEMERAL = {"auto": None, "true": True, "false": False}
BACKLOG_LOOK_SECONDS = 1.0  # how often the gauges of backlog and age are brought up to date
STATEMENT_RETRY_SECONDS = 0.25


class Sidecar:
    """One run, from birth to farewell. Made and run within an event loop."""

    def __init__(self, config: Config, role: Role, *, env: Mapping[str, str], clock: Clock, report: Reporter) -> None:
        self._config = config
        self._role = role
        self._env = env
        self._clock = clock
        self._report = report
        self._state = DrainState()
        loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[tuple[Order, Deadline]] = loop.create_future()
        self._ended: asyncio.Future[Outcome] = loop.create_future()
        self._in_container = False
        self._drain: Drain | None = None
        self._interrupts = 0

    async def run(self) -> int:
        """Run until told to stop and drained; the exit status (0 drained, 3 expired)."""
        take_over(asyncio.get_running_loop(), self._on_signal)
        parts = await build(self._config, self._role, env=self._env, clock=self._clock, report=self._report)
        self._in_container = parts.identity.in_container
        try:
            return await self._live(parts)
        finally:
            await parts.aclose()

    async def _live(self, parts: Parts) -> int:
        admin = Admin(
            socket=self._config.admin.socket,
            listen=self._config.admin.listen,
            status=lambda: self._status(parts),
            drain=lambda wanted: self._drain_by_hand(parts, wanted),
            ready=lambda: self._state.state in (State.RUNNING, State.NOTICED),
            refresh=parts.refresh_metrics,
            report=self._report,
        )
        show(self._state.state, self._report)
        await admin.start()
        self._report(Said(f"up: 'shipper status' asks at {self._config.admin.socket}"))
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(work) for work in self._background(parts)]
                await self._stated(lambda: parts.account.birth(parts.notes), self._stop.done)
                order, deadline = await self._stop
                outcome = await self._carry_out(parts, order, deadline)
                for task in background:
                    task.cancel()
        finally:
            if not self._ended.done():
                self._ended.cancel()
            await asyncio.sleep(0)  # whoever waits for the end on the admin socket gets its answer out first
            await admin.aclose()
        return outcome.exit_code

    def _background(self, parts: Parts) -> list[Coroutine[Any, Any, None]]:
        return [
            *(pump.run() for pump in parts.pumps),
            *(source.run() for source in parts.sources),
            parts.account.run(),
            self._keep_gauges(parts),
        ]

    async def _keep_gauges(self, parts: Parts) -> None:
        while True:
            await self._clock.sleep(BACKLOG_LOOK_SECONDS)
            parts.refresh_metrics()

    async def _carry_out(self, parts: Parts, order: Order, deadline: Deadline) -> Outcome:
        settings = self._config.drain
        self._drain = Drain(
            state=self._state,
            sources=parts.sources,
            pumps=parts.pumps,
            farewell=lambda outcome, left: self._farewell(parts, outcome, left),
            clock=self._clock,
            report=self._report,
            quiet_seconds=settings.quiet,
            reserve_seconds=min(settings.reserve, deadline.remaining() / 4),
        )
        outcome = await self._drain.carry_out(order, deadline)
        self._ended.set_result(outcome)
        return outcome

    async def _farewell(self, parts: Parts, outcome: Outcome, deadline: Deadline) -> None:
        order = outcome.order
        words = {
            "reason": order.reason,
            "ends_life": order.ends_life,
            "why": order.why,
            "outcome": outcome.state.value,
        }
        written = await self._stated(lambda: parts.account.farewell(words), deadline.expired)
        sent = await asyncio.gather(*(pump.wait_idle(deadline, include_account=True) for pump in parts.pumps))
        if not written:
            self._report(Problem("farewell", "the farewell could not be written down, so nobody has it"))
        for pump, done in zip(parts.pumps, sent, strict=True):
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

    # -- being told to stop --------------------------------------------------------------------------------------

    def _on_signal(self, name: str) -> None:
        """The first signal starts the drain. A further SIGTERM changes nothing: platforms repeat it. A second SIGINT is a
        person who has lost patience."""
        self._interrupts += name == "SIGINT"
        if not self._stop.done():
            meaning = self._meaning()
            deadline = Deadline.after(self._clock, self._config.drain.deadline or 25.0)
            self._stop.set_result((Order(name, meaning.ends_life, meaning.why), deadline))
        elif self._interrupts > 1 and self._drain is not None:
            self._report(Problem("aborted", "second SIGINT: the drain is given up"))
            self._drain.abort()
        else:
            self._report(Said(f"{name} while draining: going on; a second SIGINT gives up"))

    def _meaning(self) -> Meaning:
        ephemeral = EPHEMERAL[self._config.drain.ephemeral]
        if self._role == "gateway" and ephemeral is None:
            return Meaning(False, "a gateway's disk stays")
        return read_meaning(ephemeral, container=self._in_container, env=self._env)

    async def _drain_by_hand(self, parts: Parts, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        seconds = wanted.get("deadline", self._config.drain.deadline or 25.0)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < 1e9:
            raise ConfigError("deadline", f"seconds above zero are wanted, not {seconds!r}")
        if not self._stop.done():
            meaning = self._meaning()
            if "ends_life" in wanted:
                meaning = Meaning(bool(wanted["ends_life"]), "said by shipper drain")
            order = Order(str(wanted.get("reason", "shipper drain")), meaning.ends_life, meaning.why)
            self._stop.set_result((order, Deadline.after(self._clock, seconds)))
        elif self._drain is not None:
            self._drain.deadline.move(self._clock.monotonic() + seconds)
        if not wanted.get("wait", True):
            return {"message": "draining"}
        outcome = await asyncio.shield(self._ended)
        left = "nothing left" if outcome.state is State.DRAINED else f"left: {parts.left()}"
        return {"message": f"{outcome.state.value}, {left}", "exit_code": outcome.exit_code}

    def _status(self, parts: Parts) -> Mapping[str, Any]:
        return {"role": self._role, "state": self._state.state.value, **parts.status()}
