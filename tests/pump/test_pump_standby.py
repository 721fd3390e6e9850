"""A fallback: it does nothing until it is activated, then takes over what the others do not get done, and both are counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared, StreamKind
from shipper.errors import Retryable
from shipper.pump import Pump, Share
from tests.pump.pumpkit import Host, ScriptedExporter, ValuedStream

LINES = b"".join(b"line %06d " % number + b"." * 87 + b"\n" for number in range(6000))
SMALL = Limits(max_raw_bytes=50_000, max_in_flight=2, max_batches=4)


async def down(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take nothing."""
    raise Retryable("connection refused")


async def hung(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Never answer."""
    await asyncio.Event().wait()
    return Accepted()


class Two:
    """A primary and a fallback over the same stream."""

    def __init__(self, directory: Path) -> None:
        self.host = Host(directory)
        self.first, self.rescue = ScriptedExporter("first"), ScriptedExporter("rescue")
        for exporter in (self.first, self.rescue):
            exporter.limits = SMALL
        self.primary = self.host.pump(self.first)
        self.fallback = self.host.pump(self.rescue, standby=True)
        self.stream = self.host.add(ValuedStream("one", LINES))
        self.host.add(ValuedStream("life", b"born\n", kind=StreamKind.LIFE))
        for pump in self.pumps:
            pump.urgent(True)

    @property
    def pumps(self) -> list[Pump]:
        return [self.primary, self.fallback]

    def slow(self, exporter: ScriptedExporter, seconds: float) -> None:
        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await self.host.clock.sleep(seconds)
            return Accepted()

        exporter.answer = answer

    def data(self, exporter: ScriptedExporter) -> list[bytes]:
        return [line for line in exporter.lines() if line != b"born"]


def test_a_fallback_that_stands_by_takes_part_in_nothing(tmp_path: Path) -> None:
    """It sends nothing, holds nothing back, is always idle, and no account speaks of it."""

    async def main() -> None:
        two = Two(tmp_path)
        async with two.host.running(*two.pumps):
            assert await two.host.drained(two.primary, include_account=True)
            await two.host.clock.run(60)
            assert two.fallback.idle(include_account=True)
            assert two.stream.released_to == two.stream.frontier()
        assert two.rescue.attempts == []
        assert not two.fallback.takes_part
        assert not two.fallback.failing()
        assert (two.fallback.backlog(), two.fallback.backlog_bytes(), two.fallback.rate()) == ({}, 0, 0.0)
        assert not two.host.ledger.ledger.has_sent_to("rescue")
        with pytest.raises(ValueError, match="does not stand by"):
            two.primary.activate(Share([]))
        two.host.close()

    asyncio.run(main())


def test_it_takes_over_from_a_primary_that_is_down(tmp_path: Path) -> None:
    """All data gets there, and birth too; then the primary has nothing left to do but to say its own birth and farewell."""

    async def main() -> None:
        two = Two(tmp_path)
        two.first.answer = down
        async with two.host.running(*two.pumps):
            await two.host.clock.run(3)
            assert two.primary.failing()
            two.fallback.activate(Share([two.primary]))
            assert await two.host.drained(two.fallback, 60, include_account=True)
            assert two.primary.idle()
            assert two.primary.backlog_bytes() == 0
            assert two.primary.backlog() == {"one": len(LINES)}, "its own figures stay its own"
            assert not two.primary.idle(include_account=True)
        assert sorted(two.data(two.rescue)) == LINES.splitlines()
        assert b"born" in two.rescue.lines()
        assert two.fallback.takes_part
        figures = two.host.ledger.ledger.account(["first", "rescue"])[0].destinations
        assert figures["rescue"].acknowledged == ((0, len(LINES)),)
        assert figures["first"].acknowledged == ()
        assert figures["first"].pending > 0
        two.host.close()

    asyncio.run(main())


def test_both_work_and_no_range_goes_to_both(tmp_path: Path) -> None:
    """While each makes progress they share the work, and together they have everything once."""

    async def main() -> None:
        two = Two(tmp_path)
        two.slow(two.first, 1.0)
        two.slow(two.rescue, 0.7)
        async with two.host.running(*two.pumps):
            await two.host.clock.run(2)
            two.fallback.activate(Share([two.primary]))
            assert await two.host.drained(two.primary, 600)
            assert two.fallback.idle()
        assert len(two.data(two.first)) > 1500
        assert len(two.data(two.rescue)) > 1500
        assert sorted([*two.data(two.first), *two.data(two.rescue)]) == LINES.splitlines()
        two.host.close()

    asyncio.run(main())


def test_what_a_hung_primary_claims_is_free_after_a_while(tmp_path: Path) -> None:
    """Nothing is left out because somebody else was about to send it."""

    async def main() -> None:
        two = Two(tmp_path)
        two.first.answer = hung
        async with two.host.running(*two.pumps):
            two.fallback.activate(Share([two.primary]))
            await two.host.clock.run(3)
            assert 0 < len(two.data(two.rescue)) < 6000
            await two.host.clock.run(10)
            assert two.primary.failing()
            assert sorted(two.data(two.rescue)) == LINES.splitlines()
            assert two.primary.idle()
        two.host.close()

    asyncio.run(main())


def test_a_drain_that_is_taken_back_leaves_everything_to_the_primary(tmp_path: Path) -> None:
    """The fallback stops, and each destination that is owed everything gets it, also what the fallback had taken."""

    async def main() -> None:
        two = Two(tmp_path)
        two.slow(two.first, 1.0)
        two.slow(two.rescue, 1.0)
        async with two.host.running(*two.pumps):
            two.fallback.activate(Share([two.primary]))
            await two.host.clock.run(5)
            two.fallback.stand_by()
            sent = len(two.rescue.attempts)
            assert two.fallback.idle()
            assert two.primary.backlog_bytes() > 0
            assert await two.host.drained(two.primary, 600, include_account=True)
            assert len(two.rescue.attempts) == sent
        assert sorted(two.data(two.first)) == LINES.splitlines()
        assert two.stream.released_to == two.stream.frontier()
        two.host.close()

    asyncio.run(main())


def test_with_two_primaries_it_takes_what_one_of_them_lacks(tmp_path: Path) -> None:
    """That another primary has it is no help to one that is down: each is owed everything."""

    async def main() -> None:
        two = Two(tmp_path)
        second = ScriptedExporter("second")
        second.answer = down
        other = two.host.pump(second)
        async with two.host.running(*two.pumps, other):
            await two.host.clock.run(30)
            assert sorted(two.data(two.first)) == LINES.splitlines()
            two.fallback.activate(Share([two.primary, other]))
            assert await two.host.drained(other, 60)
        assert sorted(two.data(two.rescue)) == LINES.splitlines()
        two.host.close()

    asyncio.run(main())


def test_what_it_had_on_its_way_when_killed_is_sent_again_unchanged(tmp_path: Path) -> None:
    """A run that dies in the middle leaves open requests of both; the next one sends each to whom it was for."""

    async def main() -> None:
        two = Two(tmp_path)
        two.first.answer = down
        two.rescue.answer = hung
        async with two.host.running(*two.pumps):
            await two.host.clock.run(3)
            two.fallback.activate(Share([two.primary]))
            await two.host.clock.run(3)
        flying = {prepared.request_id for prepared in two.rescue.attempts}
        assert flying
        two.host.new_run()
        later = ScriptedExporter("rescue")
        later.limits = SMALL
        primary, fallback = two.host.pump(two.first), two.host.pump(later, standby=True)
        for stream in two.host.streams.values():
            two.host.hub.add(stream)
        async with two.host.running(primary, fallback):
            await two.host.clock.run(10)
            assert later.attempts == []
            fallback.activate(Share([primary]))
            assert await two.host.drained(fallback, 60, include_account=True)
        assert {prepared.request_id for prepared in later.attempts} >= flying
        assert sorted(line for line in later.lines() if line != b"born") == LINES.splitlines()
        two.host.close()

    asyncio.run(main())
