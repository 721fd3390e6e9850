"""What a destination does not take is found, set aside and counted; everything beside it arrives."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Prepared
from shipper.errors import Rejected, TooLarge
from shipper.ledger import Counts
from tests.pump.answers import Failing, Refusing, counts, numbered, value
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of


def test_too_large_is_halved_until_it_fits(tmp_path: Path) -> None:
    """Requests over the destination's limit arrive in pieces, and later ones are cut smaller."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            if sum(len(got.payload) for got in prepared.body) > 70_000:
                raise TooLarge("HTTP 413")
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", (b"z" * 99 + b"\n") * 20_000))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.lines()) == 20_000
        assert value(host, "shipper_requests_sent_total", destination="dest", outcome="too_large") < 150
        assert host.quarantine.kept == []
        assert counts(host).acknowledged == 20_000
        host.close()

    asyncio.run(story())


def test_one_record_too_large_is_set_aside(tmp_path: Path) -> None:
    """A single record that the destination finds too large goes to quarantine; its neighbours arrive."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            if any(len(line) > 5_000 for line in lines_of(prepared)):
                raise TooLarge("HTTP 413")
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(50) + b"w" * 9_000 + b"\n" + numbered(50)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.lines()) == 100
        assert host.quarantine.lines() == [b"w" * 9_000]
        assert host.quarantine.kept[0][3] == "too_large"
        assert (counts(host).acknowledged, counts(host).quarantined) == (100, 1)
        host.close()

    asyncio.run(story())


@pytest.mark.parametrize("bad", [[0], [499], [250], [3, 4, 400, 77]])
def test_the_offender_is_isolated(tmp_path: Path, bad: list[int]) -> None:
    """Only the records that the destination refuses go to quarantine, everything beside them arrives once."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Refusing(*(b"line %d" % n for n in bad))
        pump = host.pump(exporter, batch_bytes=1000)
        stream = host.add(MemoryStream("a", numbered(500)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert sorted(host.quarantine.lines()) == sorted(b"line %d" % n for n in bad)
        assert sorted(exporter.lines()) == sorted(b"line %d" % n for n in range(500) if n not in bad)
        assert counts(host) == Counts(read=500, acknowledged=500 - len(bad), quarantined=len(bad))
        assert stream.released_to == stream.frontier()
        rejected = value(host, "shipper_quarantined_records_total", destination="dest", cause="rejected")
        assert rejected == len(bad)
        host.close()

    asyncio.run(story())


def test_a_destination_that_refuses_everything_is_not_flooded(tmp_path: Path) -> None:
    """When the whole content is refused, the search for an offender ends soon and all of it is set aside."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Refusing(*numbered(5000).splitlines())
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(5000)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.attempts) < 80
        assert sorted(host.quarantine.lines()) == sorted(numbered(5000).splitlines())
        assert counts(host).quarantined == 5000
        host.close()

    asyncio.run(story())


def test_without_isolation_the_whole_request_is_set_aside(tmp_path: Path) -> None:
    """A refusal that halving cannot help quarantines every batch of the request after one attempt."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(Rejected("HTTP 400: wrong tenant", isolate=False))
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        host.add(MemoryStream("b", numbered(10)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.attempts) == 1
        assert sorted(batch.stream for batch, *_ in host.quarantine.kept) == ["a", "b"]
        assert counts(host, "a").quarantined == counts(host, "b").quarantined == 10
        host.close()

    asyncio.run(story())


def test_a_full_quarantine_disk_keeps_the_request_pending(tmp_path: Path) -> None:
    """What cannot be set aside stays pending and is set aside later; it is never dropped."""

    async def story() -> None:
        host = Host(tmp_path)
        host.quarantine.fails = [OSError(errno.ENOSPC, "No space left on device")] * 5
        exporter = ScriptedExporter()
        exporter.answer = Refusing(b"line 1")
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(3)))
        async with host.running(pump):
            await host.clock.settle()
            assert not pump.idle()
            assert await host.drained(pump)
        assert host.quarantine.lines() == [b"line 1"]
        assert value(host, "shipper_problems_total", kind="quarantine") == 5
        host.close()

    asyncio.run(story())


@pytest.mark.parametrize("rejected", [3, 1000, -1])
def test_partial_success_is_counted(tmp_path: Path, rejected: int) -> None:
    """Records refused in a partial success are counted as rejected, never more than the request held."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            return Accepted(rejected, "too old")

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            assert await host.drained(pump)
        wanted = max(0, min(10, rejected))
        assert counts(host) == Counts(read=10, acknowledged=10 - wanted, rejected=wanted)
        assert value(host, "shipper_rejected_records_total", destination="dest") == wanted
        assert value(host, "shipper_acknowledged_records_total", destination="dest") == 10 - wanted
        host.close()

    asyncio.run(story())
