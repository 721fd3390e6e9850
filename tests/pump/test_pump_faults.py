"""Bugs of exporters, full disks and being stopped cost time, but no record and no truth in the books."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Prepared
from shipper.errors import LedgerFull
from shipper.pump import Pump
from tests.pump.answers import Failing, numbered, value
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, healthy


def test_a_bug_in_an_exporter_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that raises anything else is said in one line without traceback, and tried again rarely."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.prepare_fails = 2
        exporter.answer = Failing(KeyError("oops"), ZeroDivisionError("division by zero"))
        pump = host.pump(exporter)
        begin = host.clock.monotonic()
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert len(exporter.lines()) == 10
        assert host.clock.monotonic() - begin > 4 + 8 + 16 + 32
        assert value(host, "shipper_problems_total", kind="exporter-bug") == 4
        assert any("a bug in prepare" in record.getMessage() for record in caplog.records)
        assert all(record.exc_info is None for record in caplog.records)
        host.close()

    asyncio.run(story())


def test_a_full_ledger_disk_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent that is not in the books; when there is room again everything goes on."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            await host.clock.settle()
            host.ledger.fails = [LedgerFull("ledger.db cannot be written: disk full")] * 90
            host.write(stream, numbered(10))
            await host.clock.run(80)
            assert exporter.attempts == []
            assert await host.drained(pump)
        assert len(exporter.lines()) == 10
        assert len([record for record in caplog.records if "disk full" in record.getMessage()]) == 2
        host.close()

    asyncio.run(story())


def test_an_acknowledgement_that_cannot_be_written_is_not_forgotten(tmp_path: Path) -> None:
    """When the ledger is full after the destination answered, the acknowledgement is written later, not sent again."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            host.ledger.fails = [LedgerFull("disk full")] * 3
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            await host.clock.settle()
            assert not pump.idle()
            assert await host.drained(pump)
        assert len(exporter.attempts) == 1
        host.close()

    asyncio.run(story())


def test_being_stopped_in_flight_leaves_the_books_right(tmp_path: Path) -> None:
    """A pump killed while a request is out leaves that request open, and nothing else."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(1e9)
            return Accepted()

        exporter.answer = answer
        pump: Pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            await host.clock.run(1)
        (request,) = host.ledger.ledger.open_requests("dest")
        assert sum(cut.records for _, cut in request.cuts) == 10
        assert exporter.answer is not healthy
        host.close()

    asyncio.run(story())
