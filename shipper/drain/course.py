"""One drain from its order to its farewell: read until the services are silent, send what is left, say the truth, let go.

Everything that can happen meanwhile (the deadline moves, a stop is said, the notice is taken back, somebody loses patience) is
looked at in one loop, a few dozen times a second. Nothing but this loop acts, so no two of these can meet halfway.
"""

from __future__ import annotations

import asyncio
from enum import Enum

from shipper.clock import Deadline
from shipper.drain.crew import Crew
from shipper.drain.earlier import Earlier
from shipper.drain.early_release import LOOK_SECONDS, EarlyRelease
from shipper.drain.order import Order, Outcome
from shipper.drain.silence import Silence
from shipper.drain.state import Input, State
from shipper.drain.steering import Steering
from shipper.events import Problem, Reporter, Said

SOON_SECONDS = 0.005  # the same once the services are silent: the host waits for nothing but us
RELEASE_SHARE = 4  # of the reserve, this part is kept for letting go of holds after the farewell


class Phase(Enum):
    """How far a drain has come."""

    READING = 1  # services may still write
    SETTLING = 2  # their end is read; it is being written down
    SENDING = 3  # everything is known; it is being sent


class Course:
    """A drain under way."""

    def __init__(self, order: Order, deadline: Deadline, crew: Crew) -> None:
        self.order = order
        self.deadline = deadline
        self.early = Earlier(crew.clock, deadline, crew.reserve)
        self.steering = Steering(
            crew.pumps,
            crew.fallback,
            deadline=deadline,
            early=self.early,
            clock=crew.clock,
            report=crew.report,
            random=crew.random,
        )
        self.aborted = False
        self.over = False  # the farewell is being said: too late to take anything back
        self._crew = crew
        self._withdrawn = ""
        began = crew.clock.monotonic()
        self._phase = Phase.READING
        self._settling: asyncio.Future[list[None]] | None = None
        self._writing = True
        usable = self.early.remaining()
        self._silence = Silence(crew.sources, crew.ended, crew.quiet, crew.clock, began, usable)
        self._release = EarlyRelease(crew, self.early, self.steering.repaying, lambda: self._outcome(State.DRAINED))

    def withdraw(self, why: str) -> bool:
        """The notice is taken back; False when somebody said stop, or it is too late."""
        if self.order.stop or self.over:
            return False
        self._withdrawn = why or "it was taken back"
        return True

    async def run(self) -> Outcome:
        """See `Drain.carry_out`."""
        crew = self._crew
        try:
            happened = await self._until_something_ends_it()
            known = self._settling is not None and self._settling.done()
        finally:
            await self._cancel_side_work()
        if happened in (Input.DEADLINE, Input.ABORT):
            happened = await self._end_sending(happened, known=known)
        crew.state.on(happened)
        show(crew.state.state, crew.report)
        if happened is Input.WITHDRAWN:
            return self._go_on(State.RUNNING, f"the drain is taken back ({self._withdrawn})")
        if happened is Input.OUTLIVED:
            return await self._outlive()
        return await self._finish()

    # -- until it ends -------------------------------------------------------------------------------------------

    async def _until_something_ends_it(self) -> Input:
        while True:
            if self.aborted:
                return Input.ABORT
            if self._withdrawn and not self.order.stop:
                return Input.WITHDRAWN
            self._read_on()
            if (
                self._phase is Phase.SENDING
                and self._crew.nothing_left()
                and self._still_silent()
                and not self._repaying()
            ):
                return Input.EMPTY
            if self.early.expired():
                return await self._late()
            self.steering.look()
            self._release.look(ends_life=self.order.ends_life, reading=self._phase is Phase.READING)
            turn = LOOK_SECONDS if self._phase is Phase.READING else SOON_SECONDS
            # A look at the very moment of the deadline, not one turn later; never a turn of no time.
            await self._crew.clock.sleep(min(turn, max(0.001, self.early.remaining())))

    def _read_on(self) -> None:
        if self._phase is Phase.READING:
            if self.order.stop and not self.order.ends_life:
                for source in self._crew.sources:
                    source.stop_reading()
                self._close()
            elif self._silence.reached(self.order):
                self._close()
        elif self._phase is Phase.SETTLING and self._settling is not None and self._settling.done():
            self._settling.result()
            self._phase = Phase.SENDING

    def _close(self) -> None:
        """Nobody writes any more: what is incomplete stays so, and is sent as it is."""
        self._writing = False
        self._end_events()

    def _still_silent(self) -> bool:
        """Sending a backlog takes its time: a service that began to write again meanwhile (a restart) is read on."""
        if (self.order.stop and not self.order.ends_life) or self._silence.reached(self.order):
            return True
        for source in self._crew.sources:
            source.reopen()
        self._writing = True
        self._phase = Phase.READING
        return False

    def _end_events(self) -> None:
        for source in self._crew.sources:
            source.close_events()
        self._settling = asyncio.gather(*(source.settled() for source in self._crew.sources))
        self._phase = Phase.SETTLING

    def _repaying(self) -> bool:
        """Whether a destination is getting what only its fallback has, or may; where the disk stays, the next run repays it."""
        return self.order.ends_life and (self.steering.repaying() or self.steering.asking())

    async def _late(self) -> Input:
        """The deadline less the reserve has come: write down what was seen, which is worth a moment also now."""
        report = self._crew.report
        if self._phase is Phase.SENDING and self._crew.nothing_left():
            return Input.DEADLINE  # everything is somewhere, and what is not repaid yet is not late
        if self._phase is Phase.READING:
            if self._crew.sources:
                report(Problem("drain-writers", "the deadline came while files were still being written"))
            self._end_events()
        if self._phase is Phase.SETTLING and self._settling is not None:
            await self._crew.clock.sleep(LOOK_SECONDS)
            if not self._settling.done():
                report(Problem("drain-sources", "the deadline came before everything found was written down"))
            elif not self._writing and self._crew.nothing_left():
                return Input.EMPTY
        if self.order.guessed and not self.order.stop:
            return Input.OUTLIVED
        return Input.DEADLINE  # also with nothing left to send while somebody writes: what comes now is not shipped

    async def _cancel_side_work(self) -> None:
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)
        await self._release.cancel()

    # -- the end -------------------------------------------------------------------------------------------------

    def _go_on(self, state: State, why: str) -> Outcome:
        self.steering.release()
        for source in self._crew.sources:
            source.reopen()
        if state is State.RUNNING:
            self._crew.holds.again()
        self._crew.report(Said(f"{why}; shipping goes on"))
        return self._outcome(state)

    async def _outlive(self) -> Outcome:
        """Nobody stated this deadline, and nobody said stop: the host may live on, so the farewell is said, but we do not go.

        Holds go on, too: what the platform waits for is still true. A deadline that moves meanwhile is the next drain's: nobody
        waits for an answer to this farewell in the time of that.
        """
        self.over = True
        self.steering.activate()
        soon = Deadline.after(self._crew.clock, self.deadline.remaining())
        await self._crew.farewell(self._outcome(State.EXPIRED), soon)
        return self._go_on(State.NOTICED, "the time that is usual here has passed, and the host lives")

    async def _end_sending(self, happened: Input, *, known: bool) -> Input:
        """Time is up, and no more data is sent. The last answer may have settled the last of it: then nothing was late.

        ``known``: whether everything that was found is written down.
        """
        self.over = True
        self.steering.activate()
        await self.steering.finish(self._last_answers())
        if happened is Input.ABORT or self._writing or not known:
            return happened
        return happened if any(pump.backlog_bytes() for pump in self._crew.pumps) else Input.EMPTY

    async def _finish(self) -> Outcome:
        crew = self._crew
        self.over = True
        outcome = self._outcome(crew.state.state)
        self.steering.activate()
        await crew.farewell(outcome, self._last_moment(outcome))
        if crew.holds.kept and (self.order.ends_life or crew.noticed()):
            await self._let_go(outcome)
        await crew.holds.released()
        return outcome

    async def _let_go(self, outcome: Outcome) -> None:
        """Let the platforms go on. What a local relay took is not off this host: it gets the time that is left."""
        crew = self._crew
        drained = outcome.state is State.DRAINED
        if drained and crew.holds.holding() and (names := crew.unproved()):
            crew.report(Said(f"{', '.join(names)} may still need this host: it is kept until the deadline"))
            while (unproved := bool(crew.unproved()) and crew.holds.holding()) and not (
                self.early.expired() or self.aborted
            ):
                await crew.clock.sleep(min(LOOK_SECONDS, max(0.001, self.early.remaining())))
            drained = not unproved
        crew.holds.release_all(drained=drained)

    def _last_moment(self, outcome: Outcome) -> Deadline:
        """By when the farewell has to be done.

        After an abort it gets its reserve, no more: the person at the keyboard waits. The same where the fallback has
        everything and another destination fails: it would hold up the end until the deadline.
        """
        clock = self._crew.clock
        lost = outcome.fallback and any(pump.failing() for pump in self._crew.pumps)
        if self.aborted or lost:
            return Deadline.after(clock, min(self._crew.reserve, self.deadline.remaining()))
        if self._crew.holds.kept:
            return Earlier(clock, self.deadline, self.early.reserve / RELEASE_SHARE)
        return self.deadline

    def _last_answers(self) -> Deadline:
        """By when what is on its way has to be answered: half of the reserve, none of the time of somebody who waits."""
        share = 0.0 if self.aborted else 0.5
        return Deadline.after(self._crew.clock, share * min(self.early.reserve, self.deadline.remaining()))

    def _outcome(self, state: State) -> Outcome:
        fallback = self._crew.fallback.pump.name if self.steering.needed and self._crew.fallback is not None else ""
        return Outcome(state, self.order, fallback, writing=self._writing and self.order.ends_life)


def show(current: State, report: Reporter) -> None:
    """Bring the gauge of the state up to date."""
    for state in State:
        report.metrics.drain_state.labels(state.value).set(1 if state is current else 0)
