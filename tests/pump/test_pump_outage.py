"""A fallback in an outage: it comes when somebody is down for long, goes when he is well for sure, and is repaid."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Prepared, Signal, StreamKind
from shipper.errors import Retryable, Unusable
from shipper.events import Metrics, Reporter
from shipper.intervals import IntervalSet
from shipper.pump import Pump, Share
from shipper.pump.outage import WELL_SECONDS, Doing, Outage
from shipper.pump.share import Member
from shipper.testing.clock import FakeClock
from tests.pump.pumpkit import ForgetfulStream, Host, MemoryStream, ScriptedExporter, ValuedStream

AFTER = 60.0


class Nobody:
    """A member of shares that has nothing to say."""

    def gets(self, stream: str) -> bool:
        return True

    def lacks(self, stream: str) -> bool:
        return True

    def settled_of(self, stream: str) -> IntervalSet:
        return IntervalSet()

    def claims_of(self, stream: str) -> IntervalSet:
        return IntervalSet()

    def nudge(self) -> None:
        pass

    def enter(self, share: Share | None) -> None:
        pass


@dataclass
class Ill:
    """A destination whose state the test decides."""

    name: str
    bad: bool = False
    answers: int = 0
    failed_at: float = -math.inf
    member: Member = field(default_factory=Nobody)

    def failing(self) -> bool:
        return self.bad

    def answers_in_a_row(self) -> int:
        return self.answers

    def last_failure(self) -> float:
        return self.failed_at

    def backlog_bytes(self) -> int:
        return 1000


class Helper:
    """A fallback that writes down what it is told."""

    name = "archive"

    def __init__(self) -> None:
        self.told: list[str] = []

    def activate(self, share: Share) -> None:
        self.told.append("help" if share.repaid else "drain")

    def stand_by(self) -> None:
        self.told.append("stand by")


class Watch:
    """Two destinations, a fallback and a clock."""

    def __init__(self, after: float = AFTER) -> None:
        self.clock, self.helper = FakeClock(), Helper()
        self.one, self.two = Ill("one"), Ill("two")
        self.metrics = Metrics()
        report = Reporter(self.clock, self.metrics)
        self.outage = Outage([self.one, self.two], self.helper, after=after, clock=self.clock, report=report)

    def down(self, *which: Ill) -> None:
        for one in which:
            one.bad, one.answers, one.failed_at = True, 0, self.clock.monotonic()

    def answers(self, one: Ill, times: int) -> None:
        one.bad, one.answers = False, times

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.outage.look()

    def helping(self) -> float | None:
        return self.metrics.registry.get_sample_value("shipper_fallback_helping", {"destination": "archive"})


def test_it_helps_when_one_is_down_for_long_enough_and_not_before() -> None:
    """An outage of less than that costs the fallback nothing."""
    watch = Watch()
    watch.down(watch.one)
    watch.wait(AFTER)
    assert (watch.helper.told, watch.helping()) == ([], 0)
    watch.wait(1)
    assert watch.helper.told == ["help"]
    assert (watch.outage.doing, watch.outage.down, watch.helping()) == (Doing.HELPING, ["one"], 1)


def test_one_that_answers_now_and_then_is_down_all_the_same() -> None:
    """A single answer among failures neither keeps the fallback away nor sends it home."""
    watch = Watch()
    for _ in range(8):
        watch.down(watch.one)
        watch.wait(9)
        watch.answers(watch.one, 1)
        watch.wait(1)
    assert watch.helper.told == ["help"]


@pytest.mark.parametrize(("answers", "seconds"), [(3, 1), (1, WELL_SECONDS)])
def test_it_stands_by_when_the_other_is_well_for_sure(answers: int, seconds: float) -> None:
    """Several answers in a row; or one and no failure since, of one that has little to send."""
    watch = Watch()
    watch.down(watch.one)
    watch.wait(AFTER + 1)
    watch.down(watch.one)
    watch.answers(watch.one, answers)
    watch.wait(seconds - 1)
    assert watch.helper.told == ["help"]
    watch.wait(1)
    assert watch.helper.told == ["help", "stand by"]
    assert (watch.outage.doing, watch.helping()) == (Doing.STANDING_BY, 0)


def test_it_helps_only_those_that_are_down() -> None:
    """A second one joins, the first leaves, and nobody else is stood in for."""
    watch = Watch()
    watch.down(watch.one)
    watch.wait(AFTER + 1)
    watch.down(watch.two)
    watch.wait(AFTER + 1)
    assert watch.outage.down == ["one", "two"]
    watch.answers(watch.one, 3)
    watch.wait(1)
    assert watch.outage.down == ["two"]
    assert watch.helper.told == ["help", "help", "help"]


def test_a_drain_takes_it_over_and_gives_it_back() -> None:
    """What is down when a drain is taken back is helped at once; where nobody is, the fallback stands by."""
    watch = Watch()
    watch.down(watch.one)
    watch.wait(AFTER + 1)
    watch.outage.drain()
    watch.wait(5)
    assert watch.outage.doing is Doing.DRAINING
    watch.outage.drain_over()
    assert watch.outage.doing is Doing.HELPING
    watch.outage.drain()
    watch.answers(watch.one, 3)
    watch.wait(1)
    watch.outage.drain_over()
    assert watch.helper.told == ["help", "drain", "stand by", "help", "drain", "stand by"]
    assert watch.outage.doing is Doing.STANDING_BY


def test_one_for_drains_alone_never_helps_by_itself() -> None:
    """``drain.fallback`` means what it says."""
    watch = Watch(after=math.inf)
    watch.down(watch.one, watch.two)
    watch.wait(500)
    assert watch.helper.told == []


# -- with pumps -------------------------------------------------------------------------------------------------


async def down(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take nothing."""
    raise Retryable("connection refused")


async def revoked(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take nothing until somebody mends it."""
    raise Unusable("HTTP 401")


async def well(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take everything."""
    return Accepted()


class Pair:
    """A primary that keeps no accounts, or does, a fallback that does, and what looks after it."""

    def __init__(self, directory: Path) -> None:
        self.host = Host(directory)
        self.first, self.rescue = ScriptedExporter("first"), ScriptedExporter("rescue")
        self.rescue.keeps_accounts = True
        self.begin()
        self.stream = self.host.add(ValuedStream("one"))
        self.account = self.host.add(ForgetfulStream("account", kind=StreamKind.ACCOUNT))

    def begin(self) -> None:
        self.primary = self.host.pump(self.first)
        self.fallback = self.host.pump(self.rescue, standby=True)
        self.outage = Outage([self.primary], self.fallback, after=AFTER, clock=self.host.clock, report=self.host.report)

    @property
    def pumps(self) -> list[Pump]:
        return [self.primary, self.fallback]

    async def pass_time(self, seconds: int, write: str = "") -> None:
        """Second after second, with a line and a statement in each."""
        for number in range(seconds):
            if write:
                self.host.write(self.stream, f"{write} {number}\n".encode())
                self.host.write(self.account, f"statement {write} {number}\n".encode())
            await self.host.clock.run(1)
            self.outage.look()

    def data(self, exporter: ScriptedExporter) -> list[bytes]:
        return [line for line in exporter.lines() if not line.startswith(b"statement")]


def test_the_primary_is_repaid_by_its_own_cursor_and_gets_nothing_twice(tmp_path: Path) -> None:
    """What the fallback got in the outage the primary gets, too, once, and from then on it alone."""

    async def main() -> None:
        pair = Pair(tmp_path)
        async with pair.host.running(*pair.pumps):
            await pair.pass_time(10, "before")
            pair.first.answer = down
            await pair.pass_time(200, "during")
            assert pair.outage.doing is Doing.HELPING
            assert len(pair.data(pair.rescue)) >= 190
            assert pair.primary.backlog_bytes() > 0, "it is still owed everything"
            assert pair.stream.released_to < pair.stream.frontier(), "and what holds it is kept"
            pair.first.answer = well
            await pair.pass_time(100, "after")
            assert pair.outage.doing is Doing.STANDING_BY
            there = len(pair.data(pair.rescue))
            await pair.pass_time(20, "long after")
            assert len(pair.data(pair.rescue)) == there
            assert await pair.host.drained(pair.primary)
        assert sorted(pair.data(pair.first)) == sorted(bytes(pair.stream.data).splitlines())
        assert len(pair.data(pair.rescue)) == len(set(pair.data(pair.rescue)))
        assert not any(line.startswith(b"before") for line in pair.data(pair.rescue))
        assert pair.stream.released_to == pair.stream.frontier()
        pair.host.close()

    asyncio.run(main())


@pytest.mark.parametrize("keeps", [False, True])
def test_in_an_outage_the_fallback_gets_the_account_from_then_on(tmp_path: Path, keeps: bool) -> None:
    """The host may die before it can say farewell; what older statements are gone was superseded, and is no loss."""

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.first.keeps_accounts = keeps
        async with pair.host.running(*pair.pumps):
            await pair.pass_time(10, "before")
            assert await pair.host.drained(pair.primary, include_account=True)
            pair.account.destroyed.add(0, pair.account.released_to)
            pair.first.answer = revoked
            await pair.pass_time(120, "during")
            got = [line for line in pair.rescue.lines() if line.startswith(b"statement")]
            assert b"statement during 115" in got
            assert b"statement before 3" not in got
            pair.first.answer = well
            await pair.pass_time(200, "after")
            assert await pair.host.drained(pair.primary, include_account=True)
        assert pair.account.released_to == pair.account.frontier()
        registry = pair.host.metrics.registry
        assert not registry.get_sample_value("shipper_lost_bytes_total", {"cause": "truncated"})
        pair.host.close()

    asyncio.run(main())


def test_what_is_given_up_for_the_primary_only_the_fallback_has(tmp_path: Path) -> None:
    """A limit took it from the host before it could be repaid: the ledger says so of each."""

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.first.answer = down
        async with pair.host.running(*pair.pumps):
            await pair.pass_time(150, "during")
            assert pair.fallback.backlog_bytes() == 0
            pair.stream.destroyed.add(0, 500)
            pair.first.answer = well
            assert await pair.host.drained(pair.primary)
        accounts = pair.host.ledger.ledger.account(
            ["first", "rescue"], signals=dict.fromkeys(("first", "rescue"), frozenset(Signal))
        )
        figures = accounts[0].destinations
        lost = IntervalSet(figures["first"].lost)
        assert lost.total() > 400
        assert all(IntervalSet(figures["rescue"].acknowledged).covers(*pair_) for pair_ in lost)
        pair.host.close()

    asyncio.run(main())


def test_a_stream_that_no_primary_gets_is_not_stood_in_for(tmp_path: Path) -> None:
    """Nobody lacks anything of it."""

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.first.signals = frozenset({Signal.LOGS})
        spans = pair.host.add(MemoryStream("spans", signal=Signal.TRACES))
        pair.first.answer = down
        async with pair.host.running(*pair.pumps):
            for _ in range(100):
                pair.host.write(spans, b"span\n")
                await pair.pass_time(1, "line")
            assert pair.outage.doing is Doing.HELPING
            assert b"span" not in pair.rescue.lines()
            assert spans.released_to == spans.frontier()
        pair.host.close()

    asyncio.run(main())


def test_one_that_stands_by_again_does_no_work(tmp_path: Path) -> None:
    """It waits to be needed, instead of looking without an end for something to send."""

    async def main() -> None:
        pair = Pair(tmp_path)
        pair.first.answer = down
        async with pair.host.running(*pair.pumps):
            await pair.pass_time(100, "during")
            pair.first.answer = well
            await pair.pass_time(100, "after")
            assert pair.outage.doing is Doing.STANDING_BY
            pair.host.write(pair.stream, b"one more\n")
            looks = 0
            look = pair.fallback._feed.next_look

            def counted() -> float:
                nonlocal looks
                looks += 1
                return look()

            pair.fallback._feed.next_look = counted  # type: ignore[method-assign]
            await pair.pass_time(10)
            assert looks == 0
        pair.host.close()

    asyncio.run(main())


def test_a_drain_in_the_outage_counts_what_the_fallback_got_before_it(tmp_path: Path) -> None:
    """Then it is over at once: the host may go, and what is owed to the others is said in the farewell."""

    async def main() -> None:
        pair = Pair(tmp_path)
        async with pair.host.running(*pair.pumps):
            await pair.pass_time(5, "before")
            pair.first.answer = down
            await pair.pass_time(100, "during")
            await pair.pass_time(5)
            assert pair.primary.backlog_bytes() > 0
            pair.outage.drain()
            await pair.host.clock.run(1)
            assert pair.primary.backlog_bytes() == 0
            assert pair.primary.idle()
        pair.host.close()

    asyncio.run(main())


def test_what_it_had_begun_of_a_stream_that_is_gone_since_holds_nobody_up(tmp_path: Path) -> None:
    """In the next outage it goes on with what there is; what everybody got meanwhile is no loss."""

    async def main() -> None:
        pair = Pair(tmp_path)
        async with pair.host.running(*pair.pumps):
            pair.first.answer = pair.rescue.answer = down
            await pair.pass_time(100, "during")
            assert pair.rescue.attempts
            pair.first.answer = well
            await pair.pass_time(60, "after")
            pair.stream.ended = True
            pair.host.hub.finished(pair.stream)
            await pair.pass_time(5)
            assert pair.host.hub.get("one") is None
            later = pair.stream = pair.host.add(ValuedStream("two"))
            pair.first.answer, pair.rescue.answer = down, well
            await pair.pass_time(150, "again")
            assert set(bytes(later.data).splitlines()[:-2]) <= set(pair.data(pair.rescue))
        metrics = pair.host.metrics.registry
        assert not metrics.get_sample_value("shipper_dropped_records_total", {"destination": "rescue", "cause": "gone"})
        pair.host.close()

    asyncio.run(main())
