"""A life in numbers: how it begins, how all of it ends with the farewell, and who speaks for one that could not."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.errors import SpoolFull
from shipper.ledger import LedgerThread
from shipper.measure.samples import Samples
from shipper.testing.clock import FakeClock
from tests.measure.measurekit import Point
from tests.measure.sourcekit import INTERVAL, Gauge, Run, in_state, until


def ended(sample: list[Point]) -> set[tuple[str, ...]]:
    """The series that are ended in it."""
    return {(point.name, *point.labels.values()) for point in sample if point.message.flags}


def lived(sample: list[Point]) -> set[tuple[str, ...]]:
    """The series that have a value in it."""
    return {(point.name, *point.labels.values()) for point in sample if not point.message.flags}


def test_a_life_begins_in_numbers_once(tmp_path: Path) -> None:
    """The first run writes the beginning of every series at the life's birth; the next goes on, at once."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        born = clock.wall_ns()
        first = Run(tmp_path, ledger, clock, own=True)
        async with first.running():
            await until(first.samples)
            assert {point.time_ns for point in first.samples()[0]} == {born}
            await clock.run(INTERVAL)
            await until(lambda: len(first.samples()) == 2)
            assert lived(first.samples()[0]) == lived(first.samples()[1])
        clock.advance(3)
        second = Run(tmp_path, ledger, clock, own=True)
        async with second.running():
            await until(lambda: len(second.samples()) == 3)
            assert {point.time_ns for point in second.samples()[2]} == {clock.wall_ns()}

    in_state(tmp_path, work)


def test_all_that_lives_ends_with_the_farewell(tmp_path: Path) -> None:
    """Own series, requests and what was read of others get a last value that says how it ended, and a moment later their end."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock, Gauge(), own=True, upstream=True)
        async with run.running():
            run.counter.add(run.file)
            run.file.span()
            run.counter.ready(run.file)
            await run.counted(1)
            await run.source.settled()
            counted = len(run.samples())
            await run.source.farewell("drained", 0)
            await clock.run(10 * INTERVAL)
            assert len(run.samples()) == counted  # what the account counts was complete before
            (last,) = run.late()
            before = [point for sample in run.samples() for point in sample]
        assert {("reads",), ("shipper.requests", "ok"), ("shipper.request.duration",), ("shipper.streams",)} <= ended(
            last
        )
        assert ended(last) == lived(before)
        values = {(point.name, *point.labels.values()): point.value for point in last if not point.message.flags}
        assert values["shipper.farewells", "drained"] == 1
        assert values["shipper.requests", "ok"] == values["shipper.requests", "error"] == 1
        (at,) = {point.time_ns for point in last if not point.message.flags}
        assert {point.time_ns for point in last if point.message.flags} == {at + 1_000_000}
        assert at > max(point.time_ns for point in before if point.name != "reads")

    in_state(tmp_path, work)


def test_a_long_drain_is_seen_by_the_other_stream(tmp_path: Path) -> None:
    """While a backlog is sent the host says how it is, but nothing that would have to be accounted for."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock, own=True)
        async with run.running():
            await run.source.settled()
            before = len(run.samples())
            for count in range(1, 4):
                await clock.run(INTERVAL)
                await until(lambda count=count: len(run.late()) == count)
            assert len(run.samples()) == before
            assert not any(ended(sample) for sample in run.late())

    in_state(tmp_path, work)


def test_numbers_go_on_when_the_drain_is_taken_back(tmp_path: Path) -> None:
    """Requests are counted again, and the host's series live again: after their end too, where a host outlived its farewell."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock, own=True)
        async with run.running():
            run.counter.add(run.file)
            run.file.span()
            await run.counted(1)
            await run.source.settled()
            await run.source.farewell("expired", 7)
            stamped = max(point.time_ns for point in run.late()[-1])
            run.source.reopen()
            run.source.go_on(outlived=True)
            run.file.span(error=True)
            run.counter.ready(run.file)
            await run.counted(2)
            before = len(run.samples())
            await clock.run(INTERVAL)
            await until(lambda: len(run.samples()) > before)
            again = {(point.name, *point.labels.values()): point for point in run.samples()[-1]}
            assert again["shipper.requests", "error"].value == 1
            assert again["shipper.farewells", "expired"].value == again["shipper.drain.left",].value == 0
            assert min(point.time_ns for point in again.values()) > stamped
            await run.source.settled()
            await run.source.farewell("drained", 0)
            assert {("shipper.requests", "error"), ("shipper.streams",)} <= ended(run.late()[-1])

    in_state(tmp_path, work)


def test_an_end_that_cannot_be_written_is_tried_again_whole(tmp_path: Path) -> None:
    """A full disk delays the end of the series; nothing of it is lost."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        run = Run(tmp_path, ledger, clock, own=True)
        async with run.running():
            await run.source.settled()
            write, failing = run.ends.write, True

            async def fail(samples: Samples, time_ns: int) -> None:
                if failing:
                    raise SpoolFull("no room")
                await write(samples, time_ns)

            run.ends.write = fail  # type: ignore[method-assign]
            with pytest.raises(SpoolFull):
                await run.source.farewell("drained", 0)
            assert not run.late()
            failing = False
            await run.source.farewell("drained", 0)
            (last,) = run.late()
            assert ended(last) == lived(last) | lived(run.samples()[0])

    in_state(tmp_path, work)


def test_what_an_earlier_life_left_is_said_once_and_ended(tmp_path: Path) -> None:
    """A life that died without a word gets its last numbers from the next one, and is not seen alive because of it."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        died = Run(tmp_path, ledger, clock)
        async with died.running():
            died.counter.add(died.file)
            died.file.span()
            await died.counted(1)
        clock.advance(1000)
        later = Run(tmp_path, ledger, clock, over=True)
        async with later.running():
            before = len(later.samples())
            await clock.run(3 * INTERVAL)
            assert len(later.samples()) == before
            await later.source.settled()
            (last,) = later.samples()[before:]
            assert (
                ended(last)
                == lived(last)
                == {
                    ("shipper.requests", "ok"),
                    ("shipper.requests", "error"),
                    ("shipper.request.duration",),
                }
            )

    in_state(tmp_path, work)


def test_a_life_that_said_farewell_needs_no_other_to_speak_for_it(tmp_path: Path) -> None:
    """Unless something of it was counted only afterwards."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        first = Run(tmp_path, ledger, clock)
        async with first.running():
            first.counter.add(first.file)
            first.file.span()
            await first.counted(1)
            await first.source.settled()
            await first.source.farewell("expired", 3)
        for more in (0, 1):
            later = Run(tmp_path, ledger, clock, over=True)
            later.file.data = first.file.data
            async with later.running():
                before = len(later.samples())
                for _ in range(more):
                    later.file.span()
                later.counter.add(later.file)
                await later.source.settled()
                assert len(later.samples()) == before + more

    in_state(tmp_path, work)
