"""Counting requests out of frames: what counts, whose it is, and that a bad disk or a bad stream costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.contracts import Signal
from shipper.errors import LedgerFull, RangeGone
from shipper.events import Reporter
from shipper.handoff.frame import NOT_A_REQUEST, Kind, pack
from shipper.ledger import Ledger, LedgerThread
from shipper.measure.counts import Bounds, Key, Serving
from shipper.measure.requests import BOOK, MAX_LABEL, RequestCounter
from shipper.testing.clock import FakeClock
from tests.measure.measurekit import (
    BOUNDS,
    CLIENT,
    HOST,
    SERVER,
    SpanFile,
    count_all,
    counter_on,
    ledger_at,
)

SHOP = Key(Serving("shop", "r1", "g1"))


def with_ledger(tmp_path: Path, work: Callable[[LedgerThread, FakeClock], Awaitable[None]]) -> None:
    async def main() -> None:
        ledger = ledger_at(tmp_path / "ledger.db")
        try:
            await work(ledger, FakeClock())
        finally:
            await ledger.aclose()

    asyncio.run(main())


def shop(id: str = "s1") -> SpanFile:
    stream = SpanFile(id)
    stream.add(Kind.HEAD)
    stream.declare(1, service="shop", release="r1", generation="g1")
    return stream


def numbers(counter: RequestCounter, key: Key = SHOP) -> tuple[int, int]:
    line = counter.book.lines[key]
    return line.requests, line.errors


def test_server_spans_are_counted_and_nothing_else(tmp_path: Path) -> None:
    """One request is one server span; client and inner spans, websockets, logs and notes are no requests."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        for kind in range(8):
            stream.span(kind=kind)
        stream.span(error=True, ms=700)
        stream.span(kind=CLIENT, error=True)
        stream.add(Kind.SPAN, b"", flags=SERVER | NOT_A_REQUEST, resource=1)
        stream.add(Kind.LOG, b"", flags=2, resource=1)
        stream.add(Kind.NOTE, b"hello")
        stream.add(Kind.SEAL, b"")
        counter = counter_on(ledger, clock)
        counter.add(stream)
        await count_all(counter)
        assert numbers(counter) == (2, 1)
        assert counter.book.lines[SHOP].buckets == (1, 0, 0, 1, 0, 0)
        assert stream.measured_to == len(stream.data)

    with_ledger(tmp_path, work)


def test_a_service_counts_from_its_declaration_on(tmp_path: Path) -> None:
    """Both outcomes are at zero before the first request, so that the first error is seen as one."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        counter = counter_on(ledger, clock)
        counter.add(stream)
        await count_all(counter)
        assert numbers(counter) == (0, 0)

    with_ledger(tmp_path, work)


def test_what_a_service_does_not_say_the_host_says(tmp_path: Path) -> None:
    """A request is never without a release because only the sidecar knows it."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = SpanFile()
        stream.declare(1, service="bare")
        stream.span(resource=1)
        stream.span(resource=7)  # never declared
        counter = counter_on(ledger, clock)
        counter.add(stream)
        await count_all(counter)
        own = Serving("bare", HOST["service.version"], HOST["shipper.generation"])
        host = Serving("host", HOST["service.version"], HOST["shipper.generation"])
        assert {key.who: line.requests for key, line in counter.book.lines.items()} == {own: 1, host: 1}

    with_ledger(tmp_path, work)


def test_processes_of_a_service_are_one_line(tmp_path: Path) -> None:
    """The workers of a server are counted together, those of another release apart."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        counter = counter_on(ledger, clock)
        for number in range(5):
            stream = shop(f"s{number}")
            stream.span()
            counter.add(stream)
        other = SpanFile("other")
        other.declare(3, service="shop", release="r2", generation="g2")
        other.span(resource=3)
        counter.add(other)
        await count_all(counter)
        assert numbers(counter) == (5, 0)
        assert numbers(counter, Key(Serving("shop", "r2", "g2"))) == (1, 0)

    with_ledger(tmp_path, work)


def test_routes_are_counted_only_where_they_are_asked_for(tmp_path: Path) -> None:
    """Ten more series a route are not given to anybody who did not ask."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        stream.routes = {1: "/cart/{id}"}
        stream.span(route=1)
        stream.span(route=0)
        plain, routed = counter_on(ledger, clock), counter_on(ledger, clock, routes=True)
        for counter in (plain, routed):
            counter.add(stream)
            counter._feeds[stream.id].at = 0
            await counter.turn()
        assert {key.route for key in plain.book.lines} == {""}
        assert {key.route: line.requests for key, line in routed.book.lines.items()} == {"": 1, "/cart/{id}": 1}

    with_ledger(tmp_path, work)


def test_streams_of_other_signals_are_left_alone(tmp_path: Path) -> None:
    """A process hands over logs too; counting has no business there and does not hold them."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        stream.signal = Signal.LOGS
        stream.span()
        counter = counter_on(ledger, clock)
        counter.add(stream)
        counter.ready(stream)
        counter.finished(stream)
        assert not await counter.turn()
        assert not counter.book.lines
        assert not stream.measured_calls

    with_ledger(tmp_path, work)


def test_labels_are_bounded_and_can_be_exposed(tmp_path: Path) -> None:
    """What a process says of itself can neither be endless nor break /metrics."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = SpanFile()
        stream.declare(1, service="x" * 10_000, release="\ud800\n")
        counter = counter_on(ledger, clock)
        counter.add(stream)
        await count_all(counter)
        (key,) = counter.book.lines
        assert len(key.who.service) == MAX_LABEL
        assert key.who.release == "\\ud800\n"

    with_ledger(tmp_path, work)


def test_a_full_disk_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """What could not be committed is neither shown nor measured, and is committed later as it was found."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        full = True

        class Filling:
            async def call(self, fn: Any, *args: Any) -> Any:
                if full and fn.__name__ == "_store":
                    raise LedgerFull("no room")
                return await ledger.call(fn, *args)

        stream = shop()
        stream.span()
        counter = counter_on(Filling(), clock)
        counter.add(stream)
        for _ in range(3):
            with pytest.raises(LedgerFull):
                await counter.turn()
            stream.span()
            counter.ready(stream)
        assert not counter.book.lines
        assert stream.measured_to == 0
        full = False
        await count_all(counter)
        assert numbers(counter) == (4, 0)
        assert stream.measured_to == len(stream.data)

    with_ledger(tmp_path, work)


def test_a_stream_that_cannot_be_read_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """A fault of one process's files is reported, the rest is counted, and it is tried again when something is new."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        def broken(at: int) -> None:
            raise OSError("no such device")

        def fine(at: int) -> None:
            pass

        bad, good = shop("bad"), shop("good")
        for stream in (bad, good):
            stream.span()
        bad.trouble = broken
        report = Reporter(clock)
        counter = counter_on(ledger, clock, report=report)
        counter.add(bad)
        counter.add(good)
        await count_all(counter)
        assert numbers(counter) == (1, 0)
        assert report.metrics.problems.labels("measure")._value.get() == 1
        bad.trouble = fine
        counter.ready(bad)
        await count_all(counter)
        assert numbers(counter) == (2, 0)

    with_ledger(tmp_path, work)


def test_a_range_that_is_gone_is_stepped_over(tmp_path: Path) -> None:
    """What was dropped before it was counted is the source's to report; counting goes on behind it."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        hole = len(stream.data)
        stream.span()
        behind = len(stream.data)
        stream.span(error=True)

        def gone(at: int) -> None:
            if at < behind:
                raise RangeGone(stream.id, at, behind, "dropped")

        counter = counter_on(ledger, clock)
        counter.add(stream)
        stream.trouble = gone
        await count_all(counter)
        assert hole
        assert numbers(counter) == (1, 1)

    with_ledger(tmp_path, work)


def test_a_finished_stream_is_forgotten_when_all_of_it_is_counted(tmp_path: Path) -> None:
    """A server that replaces its workers after each request does not fill memory; coming again, it is not counted again."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        stream.span()
        counter = counter_on(ledger, clock)
        counter.add(stream)
        counter.finished(stream)
        await count_all(counter)
        assert not counter._feeds
        counter.ready(stream)
        counter.add(stream)
        await count_all(counter)
        assert numbers(counter) == (1, 0)

    with_ledger(tmp_path, work)


def test_a_large_backlog_is_counted_in_turns(tmp_path: Path) -> None:
    """Hours of spans found at a start are committed piece by piece, each time saying that there is more."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        frame = pack(Kind.SPAN, 1, b"x" * 60_000, flags=2, resource=1)
        stream.data += frame * 120
        counter = counter_on(ledger, clock)
        counter.add(stream)
        turns = 1
        while await counter.turn():
            turns += 1
        assert turns > 1
        assert numbers(counter) == (120, 0)

    with_ledger(tmp_path, work)


def test_a_torn_frame_is_counted_once_when_it_is_whole(tmp_path: Path) -> None:
    """A frame of which the sidecar sees only the beginning is waited for."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        whole = len(stream.data)
        stream.span()
        rest = bytes(stream.data[whole + 20 :])
        del stream.data[whole + 20 :]
        counter = counter_on(ledger, clock)
        counter.add(stream)
        await count_all(counter)
        assert numbers(counter) == (0, 0)
        stream.data += rest
        counter.ready(stream)
        await count_all(counter)
        assert numbers(counter) == (1, 0)

    with_ledger(tmp_path, work)


@pytest.mark.parametrize("damage", ["", "{", '{"version":9}'])
def test_counts_that_are_damaged_begin_anew_and_it_is_said(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A sidecar starts whatever its ledger holds; the new counter has a new start time."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        await ledger.call(Ledger.put, BOOK, damage)
        counter = counter_on(ledger, clock)
        await counter.open()
        assert not counter.book.lines

    caplog.set_level("INFO", "shipper")
    with_ledger(tmp_path, work)
    assert "counted from zero again" in caplog.text


def test_other_buckets_are_another_histogram(tmp_path: Path) -> None:
    """Counts of other latency buckets are not mixed with the new ones, and positions go on where they were."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        stream = shop()
        stream.span()
        first = counter_on(ledger, clock)
        first.add(stream)
        await count_all(first)
        clock.advance(60)
        other = counter_on(ledger, clock, bounds=Bounds((1,), BOUNDS.max_services, BOUNDS.max_routes))
        await other.open()
        stream.span()
        other.add(stream)
        await count_all(other)
        assert numbers(other) == (1, 0)
        assert other.book.lines[SHOP].start_ns > first.book.lines[SHOP].start_ns

    with_ledger(tmp_path, work)
