"""The fake clock: time moves only when told, and wakes sleepers as real time would."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Clock, Deadline
from shipper.testing.clock import FakeClock


def test_time_stands_still_until_moved() -> None:
    """Both clocks move together, and only by advance."""
    clock: Clock = (fake := FakeClock(monotonic=5.0, wall_ns=7))
    assert (clock.monotonic(), clock.wall_ns()) == (5.0, 7)
    fake.advance(1.5)
    assert (clock.monotonic(), clock.wall_ns()) == (6.5, 1_500_000_007)


def test_wall_clock_jumps_alone() -> None:
    """An NTP step changes the wall clock and no deadline."""
    clock = FakeClock()
    deadline = Deadline.after(clock, 10)
    before = clock.wall_ns()
    clock.jump_wall(-3600)
    assert clock.wall_ns() == before - 3600 * 10**9
    assert deadline.remaining() == 10
    clock.set_wall_ns(42)
    assert clock.wall_ns() == 42


def test_advance_refuses_to_go_back() -> None:
    """A monotonic clock cannot be turned back."""
    with pytest.raises(ValueError, match="does not go back"):
        FakeClock().advance(-1)


def test_sleepers_wake_in_order_of_their_moment() -> None:
    """Whoever is due earlier runs earlier, and equal moments keep the order of going to sleep."""

    async def scenario() -> list[str]:
        clock = FakeClock()
        order: list[str] = []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            order.append(name)

        async with asyncio.TaskGroup() as group:
            for name, seconds in (("late", 3.0), ("early", 1.0), ("early too", 1.0), ("never yet", 9.0)):
                group.create_task(sleeper(name, seconds))
            await clock.settle()
            assert clock.sleeping() == 4
            assert clock.advance(3.0) == 3
            await clock.settle()
            seen = order.copy()
            clock.advance(6.0)
        return seen

    assert asyncio.run(scenario()) == ["early", "early too", "late"]


def test_run_wakes_each_sleeper_at_its_own_moment() -> None:
    """A loop that sleeps one second at a time runs ten times in ten seconds, each at the right time."""

    async def scenario() -> list[float]:
        clock = FakeClock(monotonic=0.0)
        moments: list[float] = []

        async def ticker() -> None:
            while True:
                await clock.sleep(1.0)
                moments.append(clock.monotonic())

        task = asyncio.create_task(ticker())
        await clock.run(10.5)
        task.cancel()
        assert clock.monotonic() == 10.5
        return moments

    assert asyncio.run(scenario()) == [float(n) for n in range(1, 11)]


def test_cancelled_sleeper_is_forgotten() -> None:
    """A cancelled sleep neither counts nor is woken."""

    async def scenario() -> None:
        clock = FakeClock()
        task = asyncio.create_task(clock.sleep(1))
        await clock.settle()
        task.cancel()
        await clock.settle()
        assert clock.sleeping() == 0
        assert clock.next_due() is None
        assert clock.advance(2) == 0

    asyncio.run(scenario())


def test_sleeping_for_nothing_does_not_block() -> None:
    """A sleep of zero seconds returns without the time being moved."""

    async def scenario() -> None:
        clock = FakeClock()
        await clock.sleep(0)
        await clock.sleep(-1)
        assert clock.sleeping() == 0

    asyncio.run(scenario())


def test_autojump_passes_an_hour_at_once() -> None:
    """Inside autojump time passes by itself whenever everybody sleeps."""

    async def scenario() -> float:
        clock = FakeClock(monotonic=0.0)
        async with clock.autojump():
            await clock.sleep(1800)
            await asyncio.gather(clock.sleep(1800), clock.sleep(900))
        return clock.monotonic()

    assert asyncio.run(scenario()) == 3600.0


def test_until_sleeping_waits_for_real_work() -> None:
    """A task that does real I/O before it sleeps is waited for."""

    async def scenario() -> None:
        clock = FakeClock()

        async def work() -> None:
            await asyncio.to_thread(lambda: None)
            await clock.sleep(5)

        task = asyncio.create_task(work())
        await clock.until_sleeping()
        clock.advance(5)
        await task

    asyncio.run(scenario())


@settings(max_examples=60, deadline=None)
@given(
    sleeps=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=5), min_size=1, max_size=5),
    steps=st.lists(st.integers(0, 15), min_size=1, max_size=10),
)
def test_tasks_that_sleep_by_turns_wake_as_in_real_time(sleeps: list[list[int]], steps: list[int]) -> None:
    """However time is cut into steps, each sleep of each task ends exactly when its time has passed, in that order."""

    async def scenario() -> list[tuple[float, int]]:
        clock = FakeClock(monotonic=0.0)
        woken: list[tuple[float, int]] = []

        async def work(task: int) -> None:
            for seconds in sleeps[task]:
                await clock.sleep(seconds)
                woken.append((clock.monotonic(), task))

        tasks = [asyncio.create_task(work(task)) for task in range(len(sleeps))]
        for step in steps:
            await clock.run(step)
        for task in tasks:
            task.cancel()
        return woken

    due = [(sum(seconds[: n + 1]), task) for task, seconds in enumerate(sleeps) for n in range(len(seconds))]
    woken = asyncio.run(scenario())
    assert sorted(woken) == sorted((float(at), task) for at, task in due if at <= sum(steps))
    assert [at for at, _ in woken] == sorted(at for at, _ in woken)


async def steps(work: Callable[[], Awaitable[object]]) -> int:
    """How many calls of functions ``work`` takes, in all tasks: what it costs, whatever else the machine is at."""
    made = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        await work()
    finally:
        sys.setprofile(before)
    return made


@pytest.mark.parametrize("jumps", [False, True])
def test_time_costs_by_those_who_wake_and_not_by_those_who_sleep(jumps: bool) -> None:
    """A hundred wake-ups of one task take as many steps beside a thousand sleepers as beside ten."""

    async def scenario(sleepers: int) -> int:
        clock = FakeClock()
        asleep = [asyncio.create_task(clock.sleep(1e6)) for _ in range(sleepers)]
        await clock.until_sleeping(sleepers)

        async def ticker() -> None:
            for _ in range(100):
                await clock.sleep(1)

        async def jump() -> None:
            async with clock.autojump():
                await ticker()

        async def run() -> None:
            ticking = asyncio.create_task(ticker())
            await clock.run(100)
            await ticking

        made = await steps(jump if jumps else run)
        for task in asleep:
            task.cancel()
        await asyncio.gather(*asleep, return_exceptions=True)
        return made

    assert asyncio.run(scenario(1000)) == asyncio.run(scenario(10))


def test_settle_ends_when_all_have_come_to_rest() -> None:
    """With nobody at work it takes a few turns of the loop and not all that it may take; a long chain of work gets them."""

    async def scenario() -> None:
        clock = FakeClock()
        done: list[int] = []

        async def chain() -> None:
            for step in range(20):
                await asyncio.sleep(0)
                done.append(step)

        task = asyncio.create_task(chain())
        at_work = await steps(clock.settle)
        assert len(done) == 20
        at_rest = await steps(clock.settle)
        assert at_rest < at_work / 2
        await task

    asyncio.run(scenario())


def test_settle_waits_for_what_sockets_within_the_loop_bring() -> None:
    """A question and its answer over a pair of sockets are through when everybody is said to be at rest."""

    async def scenario() -> bytes:
        clock = FakeClock()
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        their_reader, their_writer = await asyncio.open_connection(sock=theirs)
        heard = b""

        async def ask() -> None:
            nonlocal heard
            writer.write(b"?\n")
            heard = await reader.readline()

        async def answer() -> None:
            await their_reader.readline()
            their_writer.write(b"!\n")

        async with asyncio.TaskGroup() as group:
            group.create_task(ask())
            group.create_task(answer())
            await clock.settle()
            seen = heard
        for one in (writer, their_writer):
            one.close()
            await one.wait_closed()
        return seen

    assert asyncio.run(scenario()) == b"!\n"


def test_sleeps_that_were_cut_short_are_not_kept() -> None:
    """Whoever waits for an event with a time limit, again and again, leaves nothing behind that the clock looks through."""

    async def scenario(cancelled: int) -> int:
        clock = FakeClock()
        for _ in range(cancelled):
            task = asyncio.create_task(clock.sleep(1e6))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        due = asyncio.create_task(clock.sleep(2e6))
        made = await steps(lambda: clock.run(3e6))
        await due
        return made

    assert asyncio.run(scenario(5000)) < asyncio.run(scenario(0)) + 500


@settings(max_examples=60, deadline=None)
@given(
    sleeps=st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=5), min_size=1, max_size=8),
    grain=st.integers(0, 20),
)
def test_with_a_grain_nobody_wakes_early_nor_later_than_that(sleeps: list[list[int]], grain: int) -> None:
    """Each sleep takes at least its time and at most the grain more, and those who wake together see one moment."""

    async def scenario() -> int:
        clock = FakeClock(monotonic=0.0)
        moments: set[float] = set()

        async def work(seconds: list[int]) -> None:
            for each in seconds:
                began = clock.monotonic()
                await clock.sleep(each)
                moments.add(clock.monotonic())
                assert each <= clock.monotonic() - began <= each + grain

        async with clock.autojump(grain):
            await asyncio.gather(*(work(one) for one in sleeps))
        return len(moments)

    longest = max(sum(one) + grain * len(one) for one in sleeps)
    assert asyncio.run(scenario()) <= longest // (grain + 1) + 1
