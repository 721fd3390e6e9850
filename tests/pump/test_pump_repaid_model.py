"""A backend that comes and goes, drains, kills and restarts, in any order: it has each record once, or the fallback has it.

And what the account says of that is what an audit finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.drain import course
from shipper.drain.drain import Outcome
from shipper.drain.state import State
from shipper.fleet.cover import without
from shipper.fleet.report import LifeReport
from shipper.intervals import IntervalSet
from shipper.pump.outage import Doing
from tests.pump.moodyworld import a_host
from tests.pump.repayworld import AFTER, STREAMS, Coast

KNOWN_BY_THEN = 8.0  # seconds after which a backend that is well has been tried again, in a drain of at most 40 s
Step = tuple[str, float]
Run = tuple[list[Step], str]
MOODS = st.sampled_from(["well", "down", "silent", "deaf"])
HAPPENS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.sampled_from(STREAMS), st.integers(1, 40)),
    st.tuples(st.sampled_from(STREAMS), st.integers(1, 40)),
    st.tuples(MOODS.map(lambda mood: f"home {mood}"), st.just(0)),
    st.tuples(MOODS.map(lambda mood: f"rescue {mood}"), st.just(0)),
    st.tuples(st.just("wait"), st.floats(0.1, 2 * AFTER)),
)
RUNS = st.lists(
    st.tuples(st.lists(HAPPENS, max_size=8), st.sampled_from(["kill", "stop", "killed in a drain"])),
    max_size=2,
)
ENDING = st.lists(st.tuples(st.floats(0.1, 12), HAPPENS), max_size=5)


async def act(coast: Coast, step: Step) -> None:
    """One thing that happens."""
    what, size = step
    name, _, mood = what.partition(" ")
    if what == "wait":
        await coast.host.clock.run(size)
    elif mood:
        (coast.home if name == "home" else coast.rescue).feel(mood)
    else:
        coast.write(name, int(size))


async def play(coast: Coast, steps: Sequence[tuple[float, Step]], work: asyncio.Task[Outcome]) -> Outcome:
    """Let things happen while a drain is under way; its outcome."""
    clock = coast.host.clock
    for pause, step in steps:
        if work.done():
            break
        await clock.run(pause)
        late = step[0] in STREAMS and coast.saying_farewell
        if not work.done() and step[0] != "wait" and not late:
            await act(coast, step)
    while not work.done():
        await clock.run(0.5)
    return await work


def last_words(steps: Sequence[tuple[float, Step]]) -> float:
    """How long services write."""
    at, last = 0.0, 0.0
    for pause, (what, _) in steps:
        at += pause
        last = at if what in STREAMS else last
    return last


async def lives(coast: Coast, runs: list[Run]) -> None:
    """The runs before the last one."""
    for steps, ending in runs:
        async with coast.running():
            for step in steps:
                await act(coast, step)
            if ending == "stop":
                await play(coast, [], asyncio.create_task(coast.drain(10, ends_life=False)))
            elif ending == "killed in a drain":
                drain = asyncio.create_task(coast.drain(30, ends_life=True))
                await coast.host.clock.run(coast.dice.uniform(0.1, 15))
                drain.cancel()
                await asyncio.gather(drain, return_exceptions=True)


def everything(coast: Coast) -> dict[str, IntervalSet]:
    return {name: IntervalSet([(0, coast.host.streams[name].frontier())]) for name in STREAMS}


def in_both(coast: Coast) -> dict[str, IntervalSet]:
    return {name: IntervalSet([*coast.home.ranges(name), *coast.rescue.ranges(name)]) for name in STREAMS}


def of_audit(life: LifeReport, what: str) -> dict[str, IntervalSet]:
    return {stream.id: IntervalSet(map(tuple, getattr(stream, what))) for stream in life.streams}


def check_once(coast: Coast) -> None:
    """Nobody has a position under two keys."""
    for store in (coast.home, coast.rescue):
        assert {name: store.doubled(name) for name in STREAMS} == dict.fromkeys(STREAMS, 0), store.name


def check_audit(coast: Coast, *, safe: bool) -> None:
    """Both archives together have what both destinations have; with everything ``safe`` nothing is missing in either."""
    if not (coast.home.has and coast.rescue.has):
        return  # nothing to hold against each other
    union = in_both(coast)
    together = coast.audited(coast.home, coast.rescue)
    twice = of_audit(together, "overlapping_ranges")  # in batches of both that were cut differently, and named
    assert together.counts.archived == coast.lines_in(union) + coast.lines_in(twice)
    assert together.counts.duplicates == 0
    for name, missing in of_audit(together, "missing_ranges").items():
        assert not any(union.get(name, IntervalSet()).overlaps(*pair) for pair in missing)
    if safe:
        assert together.ok, "drained, and something is missing"
        assert union == everything(coast) or not coast.lines
    if safe:
        alone = coast.audited(coast.home)
        assert alone.ok
        elsewhere = of_audit(alone, "elsewhere_ranges")
        for name in STREAMS:
            lacking = without(coast.rescue.ranges(name), coast.home.ranges(name))
            assert elsewhere.get(name, IntervalSet()) == lacking, "owed, and not said so, or the other way round"


async def to_the_end(
    coast: Coast, runs: list[Run], last: list[Step], seconds: float, ending: list[tuple[float, Step]]
) -> Outcome:
    """A life with a drain at its end."""
    await lives(coast, runs)
    async with coast.running():
        for step in last:
            await act(coast, step)
        drain = asyncio.create_task(coast.drain(seconds, ends_life=True))
        began = coast.host.clock.monotonic()
        coast.services.leave_at = began + last_words(ending)
        outcome = await play(coast, ending, drain)
    early = coast.ended_at < began + seconds - 2
    if outcome.state is State.DRAINED and early and coast.home_well_for > KNOWN_BY_THEN:
        assert {name: coast.home.ranges(name) for name in STREAMS} == everything(coast), "it was there, and not repaid"
    return outcome


async def to_calm(coast: Coast, runs: list[Run], last: list[Step]) -> None:
    """A life whose backend is well again, and stays so."""
    await lives(coast, runs)
    async with coast.running():
        for step in last:
            await act(coast, step)
        coast.home.feel("well")
        coast.rescue.feel("well")
        for _ in range(60):
            await coast.host.clock.run(5)
            if coast.outage.doing is Doing.STANDING_BY and coast.primary.idle():
                break
        assert coast.primary.idle()
        await play(coast, [], asyncio.create_task(coast.drain(30, ends_life=True)))
    assert {name: coast.home.ranges(name) for name in STREAMS} == everything(coast)


async def to_a_return(
    coast: Coast, runs: list[Run], last: list[Step], back_after: float, writes: list[float]
) -> Outcome:
    """A life whose backend is away when its drain begins, and back while services still write."""
    await lives(coast, runs)
    async with coast.running():
        for step in last:
            await act(coast, step)
        away = coast.dice.choice(["down", "silent", "deaf"])
        hangs = away == "silent" or ("home silent", 0) in last
        patience = 9.0 if hangs else 0.5  # nobody knows that it is back while an attempt hangs
        coast.home.feel(away)
        coast.rescue.feel("well")
        for name in STREAMS:
            coast.write(name, 10)
        await coast.host.clock.run(coast.dice.choice([0, 3]))
        drain = asyncio.create_task(coast.drain(back_after + sum(writes) + patience + 40, ends_life=True))
        coast.services.leave_at = coast.host.clock.monotonic() + back_after + sum(writes) + patience
        await play_for(coast, back_after)
        coast.home.feel("well")
        return await play(coast, [(pause, ("a", 5)) for pause in writes], drain)


async def play_for(coast: Coast, seconds: float) -> None:
    """Lines keep coming."""
    for _ in range(3):
        coast.write("b", 3)
        await coast.host.clock.run(seconds / 3)


@contextmanager
def a_coast(seed: int) -> Iterator[Coast]:
    """One whose drains look around less often than real ones, which takes time."""
    with (
        a_host() as host,
        patch.object(course, "LOOK_SECONDS", 0.1),
        patch.object(course, "SOON_SECONDS", 0.05),
    ):
        yield Coast(host, seed)


@settings(max_examples=20, deadline=None)
@given(
    runs=RUNS,
    last=st.lists(HAPPENS, min_size=1, max_size=8),
    seconds=st.floats(6, 40),
    ending=ENDING,
    seed=st.integers(0, 2**32),
)
def test_whatever_the_end_is_each_record_is_somewhere_and_the_audit_knows(
    runs: list[Run], last: list[Step], seconds: float, ending: list[tuple[float, Step]], seed: int
) -> None:
    """In the backend once, or with the fallback and counted as owed; a backend that is back in the drain has everything."""
    with a_coast(seed) as coast:
        outcome = asyncio.run(to_the_end(coast, runs, last, seconds, ending))
        check_once(coast)
        check_audit(coast, safe=outcome.state is State.DRAINED and coast.farewell_is_known())


@settings(max_examples=12, deadline=None)
@given(
    runs=RUNS,
    last=st.lists(HAPPENS, max_size=6),
    back_after=st.floats(0.2, 25),
    writes=st.lists(st.floats(0.1, 3), max_size=3),
    seed=st.integers(0, 2**32),
)
def test_a_backend_that_is_back_in_the_drain_has_everything_once(
    runs: list[Run], last: list[Step], back_after: float, writes: list[float], seed: int
) -> None:
    """Whatever the fallback took before: there is time, so nothing is owed at the end."""
    with a_coast(seed) as coast:
        outcome = asyncio.run(to_a_return(coast, runs, last, back_after, writes))
        assert outcome.state is State.DRAINED
        assert {name: coast.home.ranges(name) for name in STREAMS} == everything(coast)
        check_once(coast)
        check_audit(coast, safe=True)


@settings(max_examples=8, deadline=None)
@given(runs=RUNS, last=st.lists(HAPPENS, min_size=1, max_size=8), seed=st.integers(0, 2**32))
def test_a_backend_that_is_well_for_long_enough_has_everything_once(
    runs: list[Run], last: list[Step], seed: int
) -> None:
    """Whatever happened before: it is repaid by its own cursor, and neither archive misses anything."""
    with a_coast(seed) as coast:
        asyncio.run(to_calm(coast, runs, last))
        check_once(coast)
        check_audit(coast, safe=True)
