"""Random histories against a model: answers of all kinds, crashes at any moment, holes in files, lines that keep coming."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pump.moodyworld import STREAMS, Step, World, a_host
from tests.pump.pumpkit import Host

STEP = st.one_of(
    st.tuples(st.just("by value"), st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.just("fallback"), st.integers(0, 1), st.just(0)),
    st.tuples(st.sampled_from(["line", "line", "poison", "#"]), st.integers(0, 2), st.integers(1, 60)),
    st.tuples(st.just("destroy"), st.integers(0, 2), st.integers(0, 100)),
    st.tuples(st.just("wait"), st.floats(0.001, 20), st.just(0)),
    st.tuples(st.just("crash"), st.just(0), st.just(0)),
    st.tuples(st.just("disk full"), st.integers(1, 4), st.just(0)),
)


async def history(host: Host, steps: list[Step], seed: int, backlog: int = 0) -> None:
    """Play ``steps``, then let everything calm down, then look."""
    world = World.over(host, seed)
    if backlog:
        for name in STREAMS:
            for word in ("line", "poison", "line", "#", "bad", "line"):
                world.write(name, word, backlog)
    await world.live(steps, lambda: calm_down(world))
    world.check_all()


async def calm_down(world: World) -> None:
    """Everybody takes what comes, until all is delivered."""
    for mood in world.moody.values():
        mood.calm = True
    if world.rescue is not None:
        world.rescue.stand_by()
    for pump in world.pumps:
        assert await world.host.drained(pump, 1e6)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=5, max_size=30), seed=st.integers(0, 2**32), backlog=st.integers(1, 40))
def test_a_backlog_cut_out_of_order_is_accounted_for(steps: list[Step], seed: int, backlog: int) -> None:
    """The same for drains of a backlog: whatever goes first, whoever takes over, and whenever it dies."""
    with a_host() as host:
        asyncio.run(history(host, steps, seed, backlog))


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_everything_is_accounted_for_at_every_destination(steps: list[Step], seed: int) -> None:
    """Whatever is answered, destroyed, and whenever it dies: all arrives, by key once, or is counted and named."""
    with a_host() as host:
        asyncio.run(history(host, steps, seed))
