"""One destination is down for ever, and what is kept for it fills its room: what that costs, and whom."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Prepared, Signal, StreamKind
from shipper.errors import Retryable, SpoolFull
from shipper.intervals import IntervalSet
from shipper.ledger import StreamRow
from shipper.otlp.decode import records
from shipper.otlp.encode import LineEncoder, resource, scope
from shipper.pump import Pump
from shipper.pump.outage import Outage
from shipper.spool import Fsync, Spool, SpoolStream
from shipper.spool.policy import Policy
from tests.pump.answers import value
from tests.pump.pumpkit import LIFE, Host, ScriptedExporter, healthy

ENCODER = LineEncoder(resource({"host.name": "h"}), scope("test"))
ROOM = 64 << 10


async def down(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take nothing."""
    raise Retryable("dead: HTTP 503", 60.0, unsent=True)  # so that it keeps nothing meanwhile


class Receiving:
    """A receiver's spool of little room, and one destination that is down beside one that is well."""

    def __init__(self, directory: Path, policy: Policy) -> None:
        self.host = Host(directory)
        self.spool = Spool.open(
            directory / "spool",
            name="otlp",
            fsync=Fsync.NEVER,
            segment_bytes=ROOM // 8,
            max_bytes=ROOM,
            policy=policy,
            report=self.host.report,
        )
        self.stream = SpoolStream(
            self.spool, id="otlp", signal=Signal.LOGS, kind=StreamKind.DATA, life=LIFE, name="otlp"
        )
        row = StreamRow("otlp", StreamKind.DATA, Signal.LOGS, "spool", "otlp", 0)
        self.host.ledger.ledger.put_stream(row)
        self.well, self.dead = ScriptedExporter("well"), ScriptedExporter("dead")
        self.dead.answer = down
        self.pumps = [self.host.pump(self.dead), self.host.pump(self.well)]
        self.host.hub.add(self.stream)
        self.taken = 0

    def receive(self) -> None:
        """One request of a hundred lines. Raises `SpoolFull`."""
        now = self.host.clock.wall_ns()
        lines = [b"line %06d %s" % (self.taken + number, b"x" * 20) for number in range(100)]
        header = json.dumps({"records": 100, "units": 100, "observed": now}).encode()
        self.spool.append(header, ENCODER.encode(lines, now))
        self.taken += 100
        self.host.hub.ready(self.stream)

    def has_room(self) -> bool:
        """Whether one more request was taken."""
        try:
            self.receive()
        except SpoolFull:
            return False
        return True

    def numbers(self, exporter: ScriptedExporter) -> list[int]:
        """Of the lines that it has."""
        found = (record for got in exporter.got for record in records(Signal.LOGS, got.payload))
        return [int(str(record.body).split()[1]) for record in found]

    def lost(self, destination: str) -> IntervalSet:
        """What is given up there."""
        return self.host.ledger.ledger.cursor(destination, "otlp").lost

    def close(self) -> None:
        self.spool.close()
        self.host.close()


def test_where_the_oldest_is_dropped_only_the_one_that_is_down_loses(tmp_path: Path) -> None:
    """The other gets all of it, and its books know of no loss; the dead one's say which ranges, and are repaid the rest."""

    async def main() -> None:
        receiving = Receiving(tmp_path, "drop_oldest")
        async with receiving.host.running(*receiving.pumps):
            for _ in range(60):
                receiving.receive()
                await receiving.host.clock.run(1)
            assert receiving.numbers(receiving.well) == list(range(6000))
            assert receiving.pumps[1].backlog_bytes() == 0
            assert not receiving.lost("well")
            assert receiving.spool.size() <= ROOM

            receiving.dead.answer = healthy
            assert await receiving.host.drained(receiving.pumps[0])
        arrived = sorted(receiving.numbers(receiving.dead))
        assert arrived == list(range(6000 - len(arrived), 6000)), "the newest, and none of them twice"
        assert 0 < len(arrived) < 3000
        counts = receiving.host.ledger.ledger.cursor("dead", "otlp").counts
        assert counts.acknowledged == len(arrived)
        assert receiving.lost("dead").total() == receiving.spool.frontier() - _size(receiving, len(arrived))
        assert value(receiving.host, "shipper_acknowledged_records_total", destination="well") == 6000
        receiving.close()

    asyncio.run(main())


def _size(receiving: Receiving, lines: int) -> int:
    """Bytes of the newest lines in the spool; every hundred is a frame, and all are of one size."""
    return receiving.spool.frontier() // (receiving.taken // 100) * (lines // 100)


@pytest.mark.parametrize("stands_in", [False, True])
def test_where_nothing_is_dropped_the_senders_wait_for_the_one_that_is_down(tmp_path: Path, stands_in: bool) -> None:
    """Then the others get nothing new either, and nothing is lost anywhere; a fallback changes nothing of that."""

    async def main() -> None:
        receiving = Receiving(tmp_path, "refuse")
        pumps: list[Pump] = list(receiving.pumps)
        host = receiving.host
        if stands_in:
            pumps.append(host.pump(ScriptedExporter("rescue"), standby=True))
            Outage(pumps[:2], pumps[2], after=0.0, clock=host.clock, report=host.report).drain()
        async with host.running(*pumps):
            full = False
            while not full:
                full = not receiving.has_room()
                await host.clock.run(1)
            assert receiving.numbers(receiving.well) == list(range(receiving.taken))
            assert not receiving.lost("dead")
            assert receiving.spool.first() == 0
        receiving.close()

    asyncio.run(main())
