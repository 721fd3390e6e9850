"""A destination that takes a request, and acknowledges it seconds later: nobody waits for that but the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared, Signal
from shipper.errors import Retryable
from tests.pump.answers import numbered
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of

LIMITS = Limits(max_raw_bytes=40_000, max_in_flight=2, max_batches=4, max_unacknowledged=6)


class Indexer:
    """Takes what comes at once, lets its bytes go, and acknowledges it ``after`` seconds; what is ``lost`` it never does."""

    def __init__(self, host: Host, after: float) -> None:
        self.host = host
        self.after = after
        self.taken: list[Prepared] = []
        self.waiting = self.most_waiting = 0
        self.loses: Callable[[], bool] = lambda: False
        self.stored: list[bytes] = []

    async def answer(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        assert prepared.body, "what was let go has to be prepared anew"
        assert prepared.taken is not None
        held = list(prepared.body)
        self.taken.append(Prepared(prepared.request_id, prepared.signal, held))
        prepared.body.clear()
        prepared.taken()
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await self.host.clock.sleep(self.after)
        finally:
            self.waiting -= 1
        if self.loses():
            raise Retryable("its acknowledgement did not come")
        self.stored += [line for got in held for line in got.payload.splitlines()]
        return Accepted()


def indexed(host: Host, after: float = 5.0) -> tuple[ScriptedExporter, Indexer]:
    exporter, indexer = ScriptedExporter(), Indexer(host, after)
    exporter.limits, exporter.answer = LIMITS, indexer.answer
    return exporter, indexer


def test_what_is_taken_holds_nobody_back(tmp_path: Path) -> None:
    """As many requests wait to be acknowledged as may, so that a backlog goes as fast as that and not as one answer."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter, indexer = indexed(host)
        pump = host.pump(exporter, batch_bytes=10_000)
        host.add(MemoryStream("a", numbered(60_000)))
        async with host.running(pump):
            began = host.clock.monotonic()
            assert await host.drained(pump)
            assert indexer.most_waiting == LIMITS.max_in_flight + LIMITS.max_unacknowledged
            turns = -(-len(indexer.taken) // indexer.most_waiting)
            assert turns > 1
            assert host.clock.monotonic() - began < indexer.after * turns + 1
        assert indexer.stored == numbered(60_000).splitlines()
        host.close()

    asyncio.run(story())


def test_nothing_gathers_behind_what_is_taken(tmp_path: Path) -> None:
    """A lone line sets out at once, and not when the one before it is acknowledged."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter, indexer = indexed(host)
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            for number in range(3):
                host.write(stream, b"line %d\n" % number)
                await host.clock.run(0.1)
            assert [len(lines_of(one)) for one in indexer.taken] == [1, 1, 1]
        host.close()

    asyncio.run(story())


def test_samples_go_on_when_those_before_are_taken(tmp_path: Path) -> None:
    """Of metrics one request is under way at a time; one that was taken is not under way."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter, indexer = indexed(host)
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("m", signal=Signal.METRICS))
            for number in range(3):
                host.write(stream, b"sample %d\n" % number)
                await host.clock.run(0.5)
            assert len(indexer.taken) == 3
        host.close()

    asyncio.run(story())


def test_an_indexer_is_given_time(tmp_path: Path) -> None:
    """Who takes a request and has never acknowledged one fails only when half a minute passes without."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter, _ = indexed(host, after=60.0)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            await host.clock.run(29)
            assert not pump.failing()
            await host.clock.run(2)
            assert pump.failing()
            await host.clock.run(30)
            assert not pump.failing()
            assert pump.usual_answer() == pytest.approx(60, abs=1)
        host.close()

    asyncio.run(story())


def test_what_is_lost_is_prepared_anew_a_few_at_a_time(tmp_path: Path) -> None:
    """When all that waits is lost at once, it is sent again from its streams, and no more at a time than otherwise."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter, indexer = indexed(host)
        indexer.loses = lambda: len(indexer.taken) <= 8
        sending = most = 0

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            nonlocal sending, most
            sending += 1
            most = max(most, sending)
            await host.clock.sleep(0.05)
            sending -= 1
            return await indexer.answer(prepared, deadline)

        exporter.answer = answer
        pump = host.pump(exporter, batch_bytes=10_000)
        host.add(MemoryStream("a", numbered(60_000)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert most == LIMITS.max_in_flight
        again = [one.request_id for one in indexer.taken]
        assert len(again) > len(set(again))
        first = {one.request_id: lines_of(one) for one in reversed(indexer.taken)}
        assert all(lines_of(one) == first[one.request_id] for one in indexer.taken)
        assert sorted(indexer.stored) == sorted(numbered(60_000).splitlines())
        host.close()

    asyncio.run(story())


def test_a_drain_waits_for_the_last_acknowledgements(tmp_path: Path) -> None:
    """A drain is over when all is acknowledged and not when all is sent; what is not by the deadline stays in the books."""

    async def story(seconds: float) -> tuple[bool, int]:
        directory = tmp_path / str(seconds)
        directory.mkdir()
        host = Host(directory)
        exporter, indexer = indexed(host)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(100)))
        async with host.running(pump):
            pump.deadline = Deadline.after(host.clock, seconds)
            pump.urgent(True)
            async with host.clock.autojump():
                idle = await pump.wait_idle(pump.deadline)
                await pump.finish(pump.deadline)
            assert len(indexer.taken) == 1
        left = sum(pump.backlog().values())
        assert left == sum(len(numbered(100)) for _ in host.ledger.ledger.open_requests("dest"))
        host.close()
        return idle, left

    assert asyncio.run(story(8.0)) == (True, 0)
    assert asyncio.run(story(3.0)) == (False, len(numbered(100)))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10_000), kills=st.lists(st.floats(0.1, 20.0), max_size=3))
def test_whatever_is_lost_arrives(tmp_path_factory: pytest.TempPathFactory, seed: int, kills: list[float]) -> None:
    """Acknowledgements out of order, lost ones, refusals and kills: in the end each line is there, and the cursor knows."""
    dice = Random(seed)

    async def story() -> None:
        host = Host(tmp_path_factory.mktemp("taken"))
        exporter, indexer = indexed(host)

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            indexer.after = dice.uniform(0.0, 9.0)
            if dice.random() < 0.2:
                raise Retryable("answered 503 Service Unavailable", dice.choice([None, 1.0]))
            return await indexer.answer(prepared, deadline)

        indexer.loses = lambda: dice.random() < 0.2
        exporter.answer = answer
        stream = MemoryStream("a", numbered(6000))
        for seconds in [*kills, None]:
            pump = host.pump(exporter, batch_bytes=10_000)
            host.add(stream)
            async with host.running(pump):
                if seconds is not None:
                    async with host.clock.autojump():
                        await pump.wait_idle(Deadline.after(host.clock, seconds))
                else:
                    assert await host.drained(pump)
                done = host.ledger.ledger.cursor("dest", "a").done
                stored = set(indexer.stored)
                for start, end in done:
                    assert set(bytes(stream.data[start:end]).splitlines()) <= stored
            host.new_run()
        assert set(indexer.stored) == set(numbered(6000).splitlines())
        host.close()

    asyncio.run(story())
