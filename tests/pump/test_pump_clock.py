"""A wall clock that jumps: nothing waits longer, nothing is lost, and no figure goes mad."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.clock import Deadline
from shipper.errors import Retryable
from shipper.ledger import Counts
from tests.pump.answers import Failing, counts
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter

DAY = 86_400


def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    """Steps of a day back and forth, also during a back-off and over a restart: all arrives, as fast, with true exposure."""

    async def story() -> None:
        host = Host(tmp_path)
        stream = host.add(MemoryStream("a"))
        exporter = ScriptedExporter()
        for step in (DAY, -3 * DAY, DAY):
            exporter.answer = Failing(Retryable("busy", wait=2.0))
            pump = host.pump(exporter)
            async with host.running(pump):
                host.write(stream, b"line\n")
                await host.clock.settle()
                host.clock.jump_wall(step)
                began = host.clock.monotonic()
                assert await host.drained(pump, 60)
                assert host.clock.monotonic() - began < 5
                assert 2.0 <= pump.exposure().max < 5
            host.new_run()
            host.hub.add(stream)
        assert counts(host) == Counts(read=3, acknowledged=3)
        ids = [got.request for got in exporter.got]
        assert len(ids) == len(set(ids)) == 3
        host.close()

    asyncio.run(story())


def test_a_deadline_does_not_move_with_the_wall_clock(tmp_path: Path) -> None:
    """A drain whose destination is gone ends at its deadline by time that passed, whatever NTP does to the clock meanwhile."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("busy")] * 1000)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"line\n"))
        async with host.running(pump):
            pump.deadline = Deadline.after(host.clock, 20)
            pump.urgent(True)
            host.clock.jump_wall(-DAY)
            began = host.clock.monotonic()
            async with host.clock.autojump():
                assert not await pump.wait_idle(pump.deadline)
            assert 20 <= host.clock.monotonic() - began < 21
        host.close()

    asyncio.run(story())
