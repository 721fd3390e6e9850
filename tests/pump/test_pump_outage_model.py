"""A fallback under random outages, answers, kills and drains: who is owed everything ends up with it, by key once."""

from __future__ import annotations

import asyncio
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Prepared
from shipper.errors import Retryable
from shipper.pump import Pump
from shipper.pump.outage import Doing, Outage
from tests.pump.moodyworld import DESTINATIONS, RESCUE, STREAMS, Moody, Step, World, a_host
from tests.pump.pumpkit import Host

AFTER = 60.0

STEP = st.one_of(
    st.tuples(st.just("down"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("up"), st.integers(0, 2), st.just(0)),
    st.tuples(st.sampled_from(["line", "line", "poison", "#"]), st.integers(0, 2), st.integers(1, 40)),
    st.tuples(st.just("wait"), st.floats(1, 150), st.just(0)),
    st.tuples(st.just("drain"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("destroy"), st.integers(0, 2), st.integers(0, 100)),
    st.tuples(st.just("crash"), st.just(0), st.just(0)),
)


class Falling(Moody):
    """One that may also be down altogether."""

    down = False

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.down:
            raise Retryable("connection refused", unsent=True)
        return await super().__call__(prepared, deadline)


class Sea(World):
    """The world of the other model, with outages, and somebody who looks after the fallback."""

    outage: Outage

    def begin_run(self) -> list[Pump]:
        pumps = super().begin_run()
        assert self.rescue is not None
        self.outage = Outage(self.pumps, self.rescue, after=AFTER, clock=self.host.clock, report=self.host.report)
        return pumps

    async def act(self, step: Step) -> None:
        what, one, _ = step
        if what in ("down", "up"):
            mood = self.moody[(*DESTINATIONS, RESCUE)[int(one)]]
            assert isinstance(mood, Falling)
            mood.down = what == "down"
        elif what == "drain":
            (self.outage.drain if one else self.outage.drain_over)()
        elif what == "wait":
            await self.pass_time(one)
        else:
            await super().act(step)

    async def pass_time(self, seconds: float) -> None:
        for _ in range(math.ceil(seconds / 10)):
            await self.host.clock.run(10)
            self.outage.look()

    async def calm_down(self) -> None:
        """Everybody is well, and stays so until all is delivered."""
        for mood in self.moody.values():
            assert isinstance(mood, Falling)
            mood.calm, mood.down = True, False
        if self.outage.doing is Doing.DRAINING:
            self.outage.drain_over()
        for number in range(400):
            self.write(STREAMS[number % 3], "line", 1)
            await self.pass_time(10)
            if self.outage.doing is Doing.STANDING_BY and number >= 3:
                break
        assert self.outage.doing is Doing.STANDING_BY
        for pump in self.pumps:
            assert await self.host.drained(pump, 1e6)

    def check_together(self) -> None:
        """What a destination has given up, and the fallback took, is there."""
        ledger = self.host.ledger.ledger
        rescued = {line for payload in self.moody[RESCUE].has.values() for line in payload.splitlines()}
        for line, (name, start, end) in self.written.items():
            if not line.startswith((b"#", b"poison")):
                acknowledged = ledger.cursor(RESCUE, name).acknowledged.covers(start, end)
                assert not acknowledged or line in rescued


async def history(host: Host, steps: list[Step], seed: int) -> None:
    """Play ``steps``, let everything calm down, and look."""
    world = Sea.over(host, seed, Falling)
    await world.live(steps, world.calm_down)
    world.check_together()
    world.check_all()


@settings(max_examples=20, deadline=None)
@given(steps=st.lists(STEP, min_size=3, max_size=25), seed=st.integers(0, 2**32))
def test_through_any_outages_everything_is_accounted_for(steps: list[Step], seed: int) -> None:
    """Whoever is down, for however long, and whenever the host dies: each primary ends up with everything, by key once."""
    with a_host() as host:
        asyncio.run(history(host, steps, seed))
