"""Decides, out of signals, requests and notices, when a drain begins, by when it has to be done, and when it is taken back.

There are two clocks in it: that of the notices (`Board.deadline`) and that of a stop somebody demanded. One `Deadline`
is made of both and handed to the drain; whatever moves one of them moves it, and everyone who waits sees it at once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shipper.clock import Clock, Deadline
from shipper.config import Config, Role
from shipper.drain.meaning import Meaning, read_meaning
from shipper.drain.order import Order, Outcome
from shipper.drain.state import DrainState, Input, State
from shipper.errors import ConfigError
from shipper.events import Problem, Reporter, Said
from shipper.notice import Notice, NoticeKind
from shipper.notices.board import Board, Standing
from shipper.notices.budgets import Budgets
from shipper.notices.stop_signal import NATIVE_SIDECAR, StopBudget, read_stop_budget

EPHEMERAL = {"auto": None, "true": True, "false": False}
BY_HAND = "by-hand"
PRESTOP = "prestop"
# Budgets of the very stop that a signal announces: the earlier word of it already has the whole time in it.
SAME_STOP = frozenset({"kubernetes-prestop", "kubernetes", "ecs", "lambda"})
# Words that come after the services were stopped: nobody writes any more, so they are as good as a stop.
AFTER_SERVICES = frozenset({"lambda"})
# Guesses at when a stop signal will come and what it will give: the signal itself knows better.
SUPERSEDED = frozenset({"logind", "systemd", "ec2-asg"})


@dataclass(slots=True)
class Stop:
    """A stop somebody demanded: why, and by when (monotonic seconds)."""

    order: Order
    at: float


class Conductor:
    """One per run. ``changes`` counts what happened that a drain, or its beginning, depends on."""

    def __init__(
        self,
        config: Config,
        role: Role,
        *,
        env: Mapping[str, str],
        clock: Clock,
        report: Reporter,
        flush: Callable[[float], Awaitable[bool]],
    ) -> None:
        """``flush``: sends everything that exists now, within so many seconds (see `NoticeBoard.flushed`)."""
        self.state = DrainState()
        self.deadline = Deadline(clock)
        self.in_container = False
        self._config = config
        self._role = role
        self._env = env
        self._clock = clock
        self._report = report
        self._budgets = Budgets(config.notices.budgets)
        self.board = Board(
            clock=clock,
            report=report,
            budgets=self._budgets,
            lead=config.notices.lead,
            changed=self._on_board,
            flush=flush,
        )
        self.stop: Stop | None = None
        self.changes = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._interrupts = 0

    # -- what the sidecar asks -----------------------------------------------------------------------------------

    def order(self) -> Order | None:
        """The drain that is due now; None while there is no reason for one."""
        if self.stop is not None:
            return self.stop.order
        due = self.board.imminent()
        if due is None:
            return None
        meaning = self._meaning_of(due)
        stop = due.notice.budget in AFTER_SERVICES
        reason = f"notice from {due.notice.source}"
        return Order(reason, meaning.ends_life, meaning.why, stop=stop, guessed=due.assumed)

    def hurried(self) -> bool:
        """True while an advisory stands: the risk of a sudden end is higher than usual, so nothing waits for company."""
        return any(notice.kind is NoticeKind.ADVISORY for notice in self.board.standing())

    async def next_change(self, seen: int) -> None:
        """Return when ``changes`` is no longer ``seen``, or when a scheduled notice has come near."""
        if self.changes != seen:
            return
        woken = asyncio.get_running_loop().create_future()
        self._waiters.add(woken)
        wait = self.board.next_due()
        due = asyncio.ensure_future(self._clock.sleep(wait)) if math.isfinite(wait) else None
        try:
            await asyncio.wait([woken, *([due] if due else [])], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiters.discard(woken)
            if due is not None:
                due.cancel()
        if not woken.done():
            self.board.look()

    def goes_on(self, outcome: Outcome) -> None:
        """A drain ended without the run: it was taken back, or the host outlived what its platform usually gives."""
        if outcome.state is State.NOTICED:
            self.board.outlived()
        self.state.on(Input.NOTICE if self.board.all() else Input.WITHDRAWN)

    def time_for_a_drain(self, wanted: Mapping[str, Any]) -> tuple[float, str]:
        """How long a drain would have that began now, and where that figure comes from. Raises `ConfigError`."""
        if "deadline" in wanted:
            return seconds_of(wanted, 0.0), "--deadline"
        if math.isfinite(self.deadline.at):
            return self.deadline.remaining(), "the notice that stands"
        if self._config.drain.deadline:
            return self._config.drain.deadline, "drain.deadline"
        budget = read_stop_budget(self._env, container=self.in_container)
        return self._seconds(budget), f"a stop signal here: {budget.evidence}"

    def impatient(self) -> bool:
        """True after a second SIGINT: a person at the keyboard has lost patience."""
        return self._interrupts > 1

    # -- being told ----------------------------------------------------------------------------------------------

    def on_signal(self, name: str) -> None:
        """The first signal demands the stop. A further SIGTERM changes nothing: platforms repeat it. A second SIGINT is a
        person who has lost patience."""
        self._interrupts += name == "SIGINT"
        if self.stop is None:
            meaning = self._meaning()
            budget = read_stop_budget(self._env, container=self.in_container)
            if budget.problem:
                self._report(Problem("notice-source", budget.problem))
            self._demand(Order(name, meaning.ends_life, meaning.why, stop=True), self._stop_at(budget))
        elif self.impatient():
            self._report(Problem("aborted", "second SIGINT: the drain is given up"))
            self._wake()
        else:
            self._report(Said(f"{name} while draining: going on; a second SIGINT gives up"))

    def drain_by_hand(self, wanted: Mapping[str, Any]) -> None:
        """``shipper drain``: a stop with a stated time. Raises `ConfigError` for a time that is none."""
        seconds = seconds_of(wanted, self._config.drain.deadline or self._budgets.seconds(BY_HAND))
        at = self._clock.monotonic() + seconds
        if self.stop is not None:
            self.stop.at = at
            self._move()
            self._wake()
            return
        meaning = self._meaning()
        if "ends_life" in wanted:
            meaning = Meaning(bool(wanted["ends_life"]), "said by shipper drain")
        reason = str(wanted.get("reason", "shipper drain"))
        self._demand(Order(reason, meaning.ends_life, meaning.why, stop=True), at)

    def notice_by_hand(self, wanted: Mapping[str, Any]) -> str:
        """``shipper notice``: from a preStop hook, a script, or a person; what was understood. Raises `ConfigError`."""
        in_pod = "KUBERNETES_SERVICE_HOST" in self._env
        source = str(wanted.get("source") or (PRESTOP if in_pod else BY_HAND))[:60]
        if wanted.get("withdraw"):
            self.board.withdrawn(source, "", str(wanted.get("evidence") or "shipper notice --withdraw")[:300])
            return f"the notice of {source} is taken back"
        try:
            kind = NoticeKind(str(wanted.get("kind", NoticeKind.IMMINENT.value)))
        except ValueError:
            raise ConfigError("kind", f"one of {', '.join(NoticeKind)} is wanted, not {wanted['kind']!r}") from None
        deadline = None
        if "deadline" in wanted:
            deadline = self._clock.monotonic() + seconds_of(wanted, 0.0)
        elif in_pod and (grace := self._grace_of_pod()) is not None:
            deadline = self._clock.monotonic() + grace
        evidence = str(wanted.get("evidence") or ("preStop hook" if in_pod else "shipper notice"))[:300]
        budget = "kubernetes-prestop" if in_pod else BY_HAND
        self.board.notice(
            Notice(source, kind, evidence, deadline, budget, ends_life=bool(wanted.get("ends_life", True)))
        )
        return f"{kind.value} notice from {source}"

    # -- how it fits together ------------------------------------------------------------------------------------

    def _demand(self, order: Order, at: float) -> None:
        self.stop = Stop(order, at)
        self._move()
        self._wake()

    def _wake(self) -> None:
        self.changes += 1
        for woken in self._waiters:
            if not woken.done():
                woken.set_result(None)

    def _seconds(self, budget: StopBudget) -> float:
        return budget.seconds if budget.seconds is not None else self._budgets.seconds(budget.budget)

    def _stop_at(self, budget: StopBudget) -> float:
        if self._config.drain.deadline:
            return self._clock.monotonic() + self._config.drain.deadline
        due = self.board.imminent()
        if (
            due is not None
            and due.notice.budget in SAME_STOP
            and budget.budget.startswith(("kubernetes", "ecs", "lambda"))
        ):
            return due.at
        return self._clock.monotonic() + self._seconds(budget)

    def _grace_of_pod(self) -> float | None:
        """A preStop hook runs at the pod's deletion, with the whole grace before it, also for a native sidecar."""
        return read_stop_budget({**self._env, NATIVE_SIDECAR: ""}, container=True).seconds

    def _on_board(self) -> None:
        if not self._draining():
            self.state.on(Input.NOTICE if self.board.all() else Input.WITHDRAWN)
        self._move()
        self._wake()

    def _draining(self) -> bool:
        return self.state.state not in (State.RUNNING, State.NOTICED)

    def _move(self) -> None:
        clocks = [one.at for one in self.board.all() if one is not None and self._counts(one)]
        if self.stop is not None:
            clocks.append(self.stop.at)
        self.deadline.move(min(clocks, default=math.inf))

    def _counts(self, one: Standing) -> bool:
        if not self.board.is_imminent(one):
            return False
        return self.stop is None or not (one.notice.budget in SUPERSEDED and one.assumed)

    def _meaning(self) -> Meaning:
        ephemeral = EPHEMERAL[self._config.drain.ephemeral]
        if self._role == "gateway" and ephemeral is None:
            return Meaning(False, "a gateway's disk stays")
        due = self.board.imminent()
        if ephemeral is None and due is not None and due.notice.ends_life:
            return Meaning(True, f"{due.notice.source} said: {due.notice.evidence}")
        return read_meaning(ephemeral, container=self.in_container, env=self._env)

    def _meaning_of(self, due: Standing) -> Meaning:
        return Meaning(due.notice.ends_life, due.notice.evidence)


def seconds_of(wanted: Mapping[str, Any], default: float) -> float:
    """The field ``deadline`` of a request, seconds above zero. Raises `ConfigError`."""
    seconds = wanted.get("deadline", default)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < 1e9:
        raise ConfigError("deadline", f"seconds above zero are wanted, not {seconds!r}")
    return float(seconds)
