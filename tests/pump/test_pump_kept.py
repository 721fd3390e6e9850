"""What an exporter wants to know after a restart is written with the cursor, and is there before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import LedgerFull, Retryable
from tests.pump.answers import numbered
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of

LIMITS = Limits(max_raw_bytes=1000, max_in_flight=1)


class Counting(ScriptedExporter):
    """Keeps how many lines the destination has taken, and asks for nothing else."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.clock = host.clock
        self.limits = LIMITS
        self.counted: int | None = None
        self.fails = 0

    def resume(self, kept: Mapping[bytes, bytes]) -> None:
        assert self.counted is None
        assert not self.attempts
        self.counted = int(kept.get(b"lines", b"0"))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        assert self.counted is not None, "resumed first"
        await self.clock.sleep(0.05)
        await super().send(prepared, deadline)
        if self.fails:
            self.fails -= 1
            raise Retryable("answered 503")
        self.counted += len(lines_of(prepared))
        return Accepted(keep={b"lines": b"%d" % self.counted})


def test_it_is_as_old_as_the_cursor(tmp_path: Path) -> None:
    """Over kills, failures and a full disk what is kept says what the cursor says."""

    async def story() -> None:
        host = Host(tmp_path)
        data = numbered(2000)
        stream = MemoryStream("a", data)
        for run in range(4):
            exporter = Counting(host)
            exporter.fails = run
            pump = host.pump(exporter, batch_bytes=500)
            host.add(stream)
            async with host.running(pump):
                if run == 1:
                    host.ledger.fails.append(LedgerFull("full"))
                if run < 3:
                    async with host.clock.autojump():
                        await pump.wait_idle(Deadline.after(host.clock, 0.22))
                else:
                    assert await host.drained(pump)
                done = host.ledger.ledger.cursor("dest", "a").done
                lines = sum(data[start:end].count(b"\n") for start, end in done)
                assert int(host.ledger.ledger.kept("dest").get(b"lines", b"0")) == lines
                assert run == 3 or 0 < lines < 2000
            host.new_run()
        assert host.ledger.ledger.kept("dest") == {b"lines": b"2000"}
        host.close()

    asyncio.run(story())
