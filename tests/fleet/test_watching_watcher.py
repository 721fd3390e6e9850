"""The watcher: what it writes, what it ends, what it says, and that only one of several computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.dashboards.cost import VERDICT_SERIES
from shipper.fleet.deploys.lease import EXPIRY, Lease
from shipper.fleet.store import open_store
from shipper.fleet.verdict.model import Judgement, Kind
from shipper.fleet.watching import looks
from shipper.fleet.watching.newest import Wanted
from shipper.fleet.watching.watcher import EVERY, KEEPS, LEASE_KEY, Watcher
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.verdict_names import SERIES
from tests.fleet import reports
from tests.fleet.watched import Kept, Told, judgement

SECOND = 1_000_000_000
ONE = ("shop", "prod")


class Watched:
    """A watcher with a Prometheus that says what it is told, and verdicts as they are told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: FakeClock | None = None, archive: Path | None = None):
        self.clock = clock or FakeClock()
        self.report = reports.Kept(self.clock)
        self.prometheus = Told({ONE: "2"}, START_WALL_NS / 1e9)
        self.writer = Kept()
        self.says: Callable[[str, str], Judgement] = lambda service, generation: judgement()
        self.looked: list[tuple[str, str | None, str]] = []
        self.lease = None
        if archive is not None:
            store = open_store(str(archive), create=True)
            self.lease = Lease(
                store, f"me-{id(self)}", clock=self.clock, report=self.report, key=LEASE_KEY, keeps=KEEPS
            )
        self.watcher = Watcher(
            self.prometheus,
            SERIES,
            Wanted(),
            self.writer,
            lease=self.lease,
            every=EVERY,
            clock=self.clock,
            report=self.report,
        )

        def look(client: object, series: object, asked: Any, candidate: str) -> Judgement:
            self.looked.append((asked.service, asked.env, candidate))
            return self.says(asked.service, candidate)

        monkeypatch.setattr(looks, "look", look)

    async def turn(self) -> None:
        """A minute later."""
        self.clock.advance(EVERY)
        self.prometheus.at += EVERY
        await self.look()

    async def look(self) -> None:
        """Now."""
        if self.lease is not None:
            await self.lease.turn()
        await self.watcher.turn()

    def said(self, words: str) -> int:
        return sum(words in text for text in self.report.texts())


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_every_number_of_the_sentence_is_a_series(watched: Watched) -> None:
    """The word as a code, the counts of both sides, factor, interval and the smallest factor, by subject and baseline."""
    watched.says = lambda *_: judgement(Kind.WORSE, latency=Kind.NO_DIFFERENCE)
    asyncio.run(watched.turn())
    about = {"service.name": "shop", "deployment.environment.name": "prod", "shipper.generation": "2", "baseline": "1"}
    for name, value in {
        "": 1.0, ".requests": 6510, ".errors": 262, ".baseline_requests": 9600, ".baseline_errors": 48, ".factor": 8.05,
        ".interval_low": 5.9, ".interval_high": 11, ".seen_factor": 1.6,
    }.items():  # fmt: skip
        assert watched.writer.last(f"shipper.verdict{name}", subject="errors", **about) == [value]
    assert watched.writer.last(subject="latency", **about) == [0]
    assert len(watched.writer.requests[-1]) == VERDICT_SERIES
    assert watched.said("shop in prod, generation 2: errors: worse (×8.1, 95 % interval 5.9 to 11") == 1


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.WORSE, 1),
        (Kind.NO_DIFFERENCE, 0),
        (Kind.BETTER, -1),
        (Kind.NOT_ENOUGH, -2),
        (Kind.CANNOT_TELL, -3),
    ],
)
def test_words_have_their_codes(watched: Watched, kind: Kind, code: int) -> None:
    """Of several codes the largest is the one to act on; what a verdict does not have is no series."""
    watched.says = lambda *_: judgement(kind)
    asyncio.run(watched.turn())
    assert watched.writer.last() == [code]
    factor = watched.writer.last("shipper.verdict.factor")
    assert factor == ([] if kind is Kind.CANNOT_TELL else [8.05])


def test_what_is_over_ends(watched: Watched) -> None:
    """The series of a generation that is no longer the newest, of a service that is gone, and of another baseline end at once."""

    async def story() -> None:
        await watched.turn()
        watched.prometheus.newest = {ONE: "3"}
        await watched.turn()
        assert watched.writer.last(**{"shipper.generation": "2"}) == [None]
        assert watched.writer.last(**{"shipper.generation": "3"}) == [1]
        watched.says = lambda *_: judgement(baseline="8 earlier generations")
        await watched.turn()
        assert watched.writer.last(baseline="1") == [None]
        assert watched.writer.last(baseline="8 earlier generations") == [1]
        watched.prometheus.newest = {}
        await watched.turn()
        assert set(watched.writer.requests[-1].values()) == {None}
        written = len(watched.writer.requests)
        await watched.turn()
        assert len(watched.writer.requests) == written

    asyncio.run(story())


def test_the_end_of_the_watcher_ends_its_series(watched: Watched) -> None:
    """When it stops all of them end; taken back, it goes on."""

    async def story() -> None:
        await watched.turn()
        await watched.watcher.settled()
        assert set(watched.writer.requests[-1].values()) == {None}
        assert len(watched.writer.requests[-1]) == 9
        await watched.turn()
        assert len(watched.writer.requests) == 2
        watched.watcher.reopen()
        await watched.turn()
        assert watched.writer.last() == [1]
        await watched.watcher.aclose()
        assert watched.writer.closed

    asyncio.run(story())


def test_a_prometheus_that_does_not_answer_makes_it_cannot_tell(watched: Watched) -> None:
    """Known services become 'cannot tell' without a number; that is said once, and that it is over."""

    async def story() -> None:
        await watched.turn()
        watched.prometheus.problem = "Prometheus warns that its answer may not be whole"
        for _ in range(3):
            await watched.turn()
        assert watched.writer.last(baseline="") == []
        assert [value for value in watched.writer.last() if value is not None] == [-3]
        assert watched.writer.last("shipper.verdict.factor") == []
        assert len(watched.looked) == 1
        watched.prometheus.problem = ""
        await watched.turn()
        assert watched.writer.last(baseline="1") == [1]

    asyncio.run(story())
    assert watched.said("generations cannot be judged, which is tried again: Prometheus warns") == 1
    assert watched.said("generations are judged again") == 1


def test_a_target_that_refuses_is_said_once_and_tried_again(watched: Watched) -> None:
    """What could not be written is written with the next look, and no end is forgotten meanwhile."""

    async def story() -> None:
        await watched.turn()
        watched.writer.refuses = "remote write to http://prometheus:9090: 403"
        watched.prometheus.newest = {ONE: "3"}
        await watched.turn()
        watched.prometheus.newest = {ONE: "4"}
        await watched.turn()
        watched.writer.refuses = ""
        await watched.turn()
        assert watched.writer.last(**{"shipper.generation": "2"}) == [None]
        assert watched.writer.last(**{"shipper.generation": "3"}) == [None]  # perhaps it got there
        assert watched.writer.last(**{"shipper.generation": "4"}) == [1]

    asyncio.run(story())
    assert watched.said("verdicts cannot be written, which is tried again: remote write to") == 1
    assert watched.said("verdicts are written again") == 1


def test_a_verdict_is_said_when_it_becomes_another(watched: Watched) -> None:
    """Not every minute."""

    async def story() -> None:
        for kind in (Kind.NOT_ENOUGH, Kind.NOT_ENOUGH, Kind.WORSE, Kind.WORSE):
            watched.says = lambda *_, kind=kind: judgement(kind)
            await watched.turn()

    asyncio.run(story())
    assert watched.said("generation 2: errors: not enough data") == 1
    assert watched.said("generation 2: errors: worse") == 1


def test_a_fault_in_one_judgement_ends_nothing(watched: Watched) -> None:
    """It is said whose it is, that service is 'cannot tell', and the others are judged."""

    def says(service: str, generation: str) -> Judgement:
        if service == "cart":
            raise ZeroDivisionError("division by zero")
        return judgement()

    watched.says = says
    watched.prometheus.newest = {ONE: "2", ("cart", ""): "7"}
    asyncio.run(watched.turn())
    assert watched.writer.last(**{"service.name": "cart"}) == [-3]
    assert watched.writer.last(**{"service.name": "shop"}) == [1]
    assert watched.said("cart cannot be judged: a fault in Shipper: ZeroDivisionError: division by zero") == 1
    assert ("cart", "", "7") in watched.looked  # the empty environment is one, and not all of them


def test_what_no_longer_changes_is_not_asked_again(watched: Watched) -> None:
    """Alone for more than an hour, a verdict stays and is written on; with another beside it, it is asked for again."""

    async def story() -> None:
        for _ in range(100):
            await watched.turn()
        asked = len(watched.looked)
        assert 60 < asked < 75
        assert watched.writer.last() == [1]
        assert watched.prometheus.asked == 100
        watched.prometheus.serving = 2
        for _ in range(100):
            await watched.turn()
        assert len(watched.looked) == asked + 100

    asyncio.run(story())


def test_what_cannot_be_told_is_asked_again(watched: Watched) -> None:
    """However long it serves alone: the data may come yet."""
    watched.says = lambda *_: judgement(Kind.CANNOT_TELL)

    async def story() -> None:
        for _ in range(100):
            await watched.turn()

    asyncio.run(story())
    assert len(watched.looked) == 100


def test_no_time_is_left_to_ask_about_all(watched: Watched) -> None:
    """Where a Prometheus is so slow that the minute is over, the rest is 'cannot tell' and not the last minute's verdict."""

    def says(service: str, generation: str) -> Judgement:
        watched.clock.advance(EVERY / 2)
        return judgement()

    watched.says = says
    watched.prometheus.newest = {(f"s{index}", "prod"): "2" for index in range(12)}
    asyncio.run(watched.turn())
    told = watched.writer.last()
    assert {1.0, -3.0} == set(told)
    assert len(told) == 12
    assert watched.said("Prometheus is too slow to be asked about all services") == told.count(-3)


def test_samples_have_the_time_of_the_prometheus(watched: Watched) -> None:
    """A wrong clock of ours makes no verdict look old or young, and no time is written twice."""

    async def story() -> None:
        await watched.turn()
        assert abs(watched.writer.at[-1] - watched.prometheus.at * 1e9) < SECOND
        watched.clock.jump_wall(-600)
        await watched.turn()
        assert abs(watched.writer.at[-1] - watched.prometheus.at * 1e9) < SECOND
        watched.prometheus.at -= 300  # theirs was set back
        await watched.turn()

    asyncio.run(story())
    assert watched.writer.at == sorted(set(watched.writer.at))


def test_only_one_of_those_that_share_an_archive_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The holder of the lease; another goes on when it stops, and after its silence when it died."""
    clock = FakeClock()
    first, second, third = (Watched(monkeypatch, clock, tmp_path / "archive") for _ in range(3))

    async def story() -> None:
        await first.look()
        await second.look()
        assert (len(first.writer.requests), len(second.writer.requests), second.prometheus.asked) == (1, 0, 0)
        await first.watcher.settled()
        assert set(first.writer.requests[-1].values()) == {None}
        await second.look()
        assert second.writer.last() == [1]
        await third.look()
        assert third.writer.requests == []
        clock.advance(EXPIRY)
        await third.look()
        assert third.writer.last() == [1]
        await second.look()  # it was only slow: it has lost it, and ends nothing of what the other writes
        await second.watcher.settled()
        assert len(second.writer.requests) == 1

    asyncio.run(story())
    assert second.said("keeps the series of verdicts") >= 1
    assert (tmp_path / "archive/shipper/verdicts/lease").is_dir()
    assert not (tmp_path / "archive/shipper/keeper").exists()


def test_it_looks_once_a_minute(watched: Watched) -> None:
    """The time a look takes is part of the minute; the first is at once."""

    async def story() -> None:
        running = asyncio.create_task(watched.watcher.run())
        for count in range(1, 4):
            await watched.clock.until_sleeping()
            assert watched.prometheus.asked == count
            assert watched.clock.next_due() == 1000.0 + count * EVERY
            watched.clock.advance(EVERY)
            await watched.clock.settle()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())


def test_a_source_that_nobody_waits_for(watched: Watched) -> None:
    """A drain waits for records, never for a verdict."""
    watched.watcher.stop_reading()
    watched.watcher.close_events()
    assert watched.watcher.silent(0.0)


def test_a_write_that_fails_unforeseen_surfaces(watched: Watched) -> None:
    """Only what is known to pass is survived."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    watched.writer.write = broken  # type: ignore[method-assign,assignment]
    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(watched.turn())


def test_who_comes_to_hold_the_lease_looks_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first look is at once, and that of a successor comes with its lease and not up to a minute after it."""
    clock = FakeClock()
    first, second = (Watched(monkeypatch, clock, tmp_path / "archive") for _ in range(2))

    async def story() -> None:
        running = asyncio.create_task(first.watcher.run())
        await clock.until_sleeping(2)
        assert first.writer.last() == [1]
        waiting = asyncio.create_task(second.watcher.run())
        await clock.until_sleeping(4)
        assert second.prometheus.asked == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await first.watcher.settled()
        for _ in range(2):
            clock.advance(EXPIRY / 3)
            await clock.until_sleeping(2)
        assert second.writer.last() == [1]
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(story())
