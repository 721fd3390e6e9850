"""Refused records at the edges: the quarantine has reached its limit, or the run died while it set them aside."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.errors import QuarantineFull, Rejected, Retryable
from shipper.ledger import Counts
from tests.pump.answers import Failing, counts, numbered, value
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter


def test_beyond_the_limit_of_the_quarantine_refused_records_are_dropped_and_counted(tmp_path: Path) -> None:
    """A limit does not go away by waiting: what does not fit is given up by name, what fits is kept, and the pump goes on."""

    async def story() -> None:
        host = Host(tmp_path)
        host.quarantine.fails = [QuarantineFull("256 MiB are held")]
        exporter = ScriptedExporter()
        exporter.answer = Failing(Rejected("bad content", isolate=False))
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(3)))
        host.add(MemoryStream("b", numbered(2)))
        async with host.running(pump):
            assert await host.drained(pump)
            host.write(host.streams["a"], b"later\n")
            assert await host.drained(pump)
        assert len(host.quarantine.kept) == 1
        assert counts(host, "a") == Counts(read=4, acknowledged=1, dropped=3)
        assert counts(host, "b") == Counts(read=2, quarantined=2)
        assert value(host, "shipper_dropped_records_total", destination="dest", cause="quarantine_full") == 3
        assert value(host, "shipper_quarantined_records_total", destination="dest", cause="rejected") == 2
        host.close()

    asyncio.run(story())


def test_what_was_set_aside_before_a_kill_is_in_quarantine_not_lost(tmp_path: Path) -> None:
    """Killed between setting a batch aside and writing that down, its bytes destroyed since: it counts as quarantined."""

    async def story() -> None:
        host = Host(tmp_path)
        stopped = ScriptedExporter()
        stopped.answer = Failing(Retryable("sink: HTTP 503"))
        streams = [host.add(MemoryStream("a", numbered(3))), host.add(MemoryStream("b", numbered(2)))]
        async with host.running(host.pump(stopped)):
            await host.clock.settle()
        aside, lost = streams
        for request in host.ledger.ledger.open_requests("dest"):
            for name, cut in request.cuts:
                if name == "a":
                    host.quarantine.put(aside.reread(cut), "dest", "bad content", "rejected", aside.name)
        for stream in streams:
            stream.destroyed.add(0, stream.frontier())
        host.new_run()
        pump = host.pump(ScriptedExporter())
        for stream in (aside, lost):
            host.hub.add(stream)
        async with host.running(pump):
            assert await host.drained(pump)
        assert counts(host, "a") == Counts(read=3, quarantined=3)
        assert counts(host, "b") == Counts(read=2, dropped=2)
        host.close()

    asyncio.run(story())
