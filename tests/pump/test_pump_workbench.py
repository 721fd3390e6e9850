"""What is in hand between cutting and sending: bounded for all destinations together, and nobody can keep it for himself."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Cut, Limits, Prepared, Request
from shipper.errors import Retryable
from shipper.ids import uuid7
from shipper.pump import attempts
from shipper.pump.pump import Pump
from shipper.pump.workbench import EACH, PLACES, Workbench
from tests.pump.answers import Failing, numbered
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter

LARGE = Limits(max_raw_bytes=100_000)  # more than is prepared without a thread
BACKLOG = numbered(100_000)


class Slow(ScriptedExporter):
    """Its requests are being prepared until it is ``freed``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.limits = LARGE
        self.begun = 0
        self.freed = threading.Event()

    def prepare(self, request: Request) -> Prepared:
        self.begun += 1
        self.freed.wait(30)
        return super().prepare(request)


class Counted(MemoryStream):
    """Knows what was cut of it."""

    taken = 0

    def _batch(self, start: int, end: int, observed_ns: int) -> object:  # type: ignore[override]
        self.taken += end - start
        return super()._batch(start, end, observed_ns)


async def _until(holds: Callable[[], bool]) -> None:
    late = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < late
        await asyncio.sleep(0.002)


def test_what_is_in_hand_does_not_grow_with_the_number_of_destinations(tmp_path: Path) -> None:
    """Six destinations that have a backlog, and take their time to put it into their form, have cut three requests together."""

    async def story() -> None:
        host, bench = Host(tmp_path), Workbench()
        exporters = [Slow(f"dest{n}") for n in range(6)]
        pumps = [host.pump(one, bench=bench) for one in exporters]
        stream = Counted("a", BACKLOG)
        host.add(stream)
        async with host.running(*pumps):
            await _until(lambda: sum(one.begun for one in exporters) == PLACES)
            for _ in range(100):
                await asyncio.sleep(0)
            assert sum(one.begun for one in exporters) == PLACES
            assert stream.taken <= PLACES * LARGE.max_raw_bytes
            for one in exporters:
                one.freed.set()
            await _until(lambda: all(pump.idle() for pump in pumps))
        assert all(sorted(one.lines()) == sorted(BACKLOG.splitlines()) for one in exporters)
        host.close()

    asyncio.run(story())


def test_an_exporter_that_never_comes_back_holds_up_nobody_else(tmp_path: Path) -> None:
    """It has fewer places than there are."""

    async def story() -> None:
        host, bench = Host(tmp_path), Workbench()
        stuck, well = Slow("stuck"), ScriptedExporter("well")
        well.limits = LARGE
        pumps = [host.pump(one, bench=bench) for one in (stuck, well)]
        host.add(MemoryStream("a", BACKLOG))
        async with host.running(*pumps):
            await _until(lambda: stuck.begun == EACH and pumps[1].idle())
            assert sorted(well.lines()) == sorted(BACKLOG.splitlines())
            stuck.freed.set()
            await _until(pumps[0].idle)
        host.close()

    asyncio.run(story())


def test_two_exporters_that_never_come_back_hold_up_the_others_for_a_minute_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever works on one request for so long has no claim to its place any more."""
    monkeypatch.setattr(attempts, "STUCK", 0.05)

    async def story() -> None:
        host, bench = Host(tmp_path), Workbench()
        stuck, well = [Slow(f"stuck{n}") for n in range(3)], ScriptedExporter("well")
        well.limits = LARGE
        pumps = [host.pump(one, bench=bench) for one in (*stuck, well)]
        host.add(MemoryStream("a", BACKLOG))
        async with host.running(*pumps):
            await _until(lambda: sorted(well.lines()) == sorted(BACKLOG.splitlines()))
            for one in stuck:
                one.freed.set()
            await _until(lambda: all(pump.idle() for pump in pumps))
        host.close()

    asyncio.run(story())


class Unreadable(MemoryStream):
    """Cannot be read again while it is ``broken``."""

    broken = True
    asked = 0

    def reread(self, cut: Cut) -> object:  # type: ignore[override]
        self.asked += 1
        if self.broken:
            raise OSError("the disk does not answer")
        return super().reread(cut)


def test_a_stream_that_cannot_be_read_again_takes_no_place(tmp_path: Path) -> None:
    """While an open request waits for its stream, others have all places; then it goes, too."""

    async def story() -> None:
        host = Host(tmp_path)
        stream = Unreadable("a", numbered(1))
        host.add(stream)
        cuts = [(stream.id, Cut(0, len(stream.data), 0, len(stream.data), 1, 0))]
        for name in ("one", "two", "three"):
            host.ledger.ledger.commit(name, uuid7(1), stream.signal, cuts, "")
        bench = Workbench()
        waiting = [ScriptedExporter(name) for name in ("one", "two", "three")]
        well = ScriptedExporter("well")
        pumps = [host.pump(one, bench=bench) for one in (*waiting, well)]
        async with host.running(*pumps):
            await _until(lambda: stream.asked >= len(waiting))
            assert await host.drained(pumps[-1])
            assert not any(one.got for one in waiting)
            stream.broken = False
            for pump in pumps:
                assert await host.drained(pump)
        assert all(one.lines() == [b"line 0"] for one in waiting)
        host.close()

    asyncio.run(story())


class Body(list):  # type: ignore[type-arg]
    """One that a weak reference can point to."""


class Watched(ScriptedExporter):
    """Knows which of its prepared requests somebody still has."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.alive: weakref.WeakSet[Body] = weakref.WeakSet()

    def prepare(self, request: Request) -> Prepared:
        self.made += 1
        prepared = super().prepare(request)
        body = Body(prepared.body)
        body.__class__.__hash__ = object.__hash__  # type: ignore[assignment]
        self.alive.add(body)
        return Prepared(prepared.request_id, prepared.signal, body, prepared.wire_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        answer = await self.answer(prepared, deadline)
        self.got.extend(prepared.body)
        return answer


def test_an_outage_costs_no_memory(tmp_path: Path) -> None:
    """Between attempts that are far apart nothing is kept of a request; it is the same one when its turn comes."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = Watched()
        exporter.answer = Failing(*(Retryable("sink: HTTP 503", 60.0) for _ in range(4)))
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            await host.clock.run(0.01)
            assert exporter.made == 1
            await host.clock.run(150)
            assert exporter.made == 3
            assert not exporter.alive
            assert await host.drained(pump, 3600)
        assert exporter.lines() == numbered(10).splitlines()
        assert len({got.request for got in exporter.got}) == 1
        host.close()

    asyncio.run(story())


def test_the_end_of_a_drain_gives_places_back(tmp_path: Path) -> None:
    """Data that is broken off leaves the bench to what tells of the life."""

    async def story() -> None:
        host, bench = Host(tmp_path), Workbench()
        stuck = Slow("dest")
        pump: Pump = host.pump(stuck, bench=bench)
        host.add(MemoryStream("a", BACKLOG))
        async with host.running(pump):
            await _until(lambda: stuck.begun == EACH)
            pump.deadline = Deadline(host.clock, 0.0)
            pump.urgent(True)
            await pump.finish(Deadline(host.clock, 0.0))
            desks = [bench.desk() for _ in range(PLACES)]
            for desk in desks:
                await asyncio.wait_for(desk.place(), 10)
            stuck.freed.set()
        host.close()

    asyncio.run(story())


def test_a_place_that_was_waited_for_in_vain_is_free() -> None:
    """Who is cancelled while waiting has taken nothing."""

    async def story() -> None:
        bench = Workbench()
        desk, other = bench.desk(), bench.desk()
        held = [await desk.place() for _ in range(EACH)]
        more = [await other.place() for _ in range(PLACES - EACH)]
        in_vain = asyncio.create_task(other.place())
        await asyncio.sleep(0)
        in_vain.cancel()
        await asyncio.gather(in_vain, return_exceptions=True)
        for place in (*held, *more):
            place.leave()
            place.leave()
        for one in (bench.desk() for _ in range(PLACES)):
            await asyncio.wait_for(one.place(), 10)

    asyncio.run(story())
