"""A destination that throttles gets fewer requests at a time, and hardly more than it needs to get."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from random import Random

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import Retryable
from shipper.pump import Pump
from shipper.testing.clock import FakeClock
from tests.pump.pumpkit import Host, ScriptedExporter, ValuedStream

LINES = b"".join(b"line %06d " % number + b"." * 87 + b"\n" for number in range(4000))
SMALL = Limits(max_raw_bytes=50_000, max_in_flight=4, max_batches=4)


class Throttle:
    """Takes so many requests a second from everybody together, and refuses the rest, saying when to come back or not."""

    def __init__(self, clock: FakeClock, rate: float, *, says_when: bool, answer: float = 0.05) -> None:
        self.clock = clock
        self.rate = rate
        self.says_when = says_when
        self.answer = answer
        self.tokens = 1.0
        self.at = clock.monotonic()
        self.taken = self.refused = self.at_once = 0
        self.most_after_refusal = 0

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        self.at_once += 1
        try:
            await self.clock.sleep(self.answer)
        finally:
            self.at_once -= 1
        now = self.clock.monotonic()
        self.tokens = min(max(1.0, self.rate), self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            self.refused += 1
            raise Retryable("HTTP 429", 1 / self.rate if self.says_when else None)
        self.tokens -= 1
        self.taken += 1
        return Accepted()


@pytest.mark.parametrize("says_when", [True, False])
@pytest.mark.parametrize("hosts", [1, 20])
def test_a_drain_into_a_throttling_destination_is_no_storm(tmp_path: Path, says_when: bool, hosts: int) -> None:
    """All arrives, with at most twice the requests that are needed, from one host and from many at once."""

    async def main() -> None:
        clock = FakeClock()
        sink = Throttle(clock, 2.0 * hosts, says_when=says_when)
        fleet: list[tuple[Host, Pump, ScriptedExporter]] = []
        for number in range(hosts):
            directory = tmp_path / str(number)
            directory.mkdir()
            host = Host(directory, clock)
            exporter = ScriptedExporter()
            exporter.limits = SMALL
            exporter.answer = sink
            pump = host.pump(exporter, random=Random(number))
            host.add(ValuedStream("one", LINES))
            pump.deadline = Deadline.after(clock, 120)
            pump.urgent(True)
            fleet.append((host, pump, exporter))
        tasks = [asyncio.create_task(pump.run()) for _, pump, _ in fleet]
        async with clock.autojump():
            done = await asyncio.gather(*(pump.wait_idle(pump.deadline) for _, pump, _ in fleet))
        assert all(done)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for host, _, exporter in fleet:
            assert sorted(exporter.lines()) == LINES.splitlines()
            host.close()
        needed = hosts * math.ceil(len(LINES) / 50_000)
        assert sink.taken <= needed * 1.2
        assert sink.taken + sink.refused <= 2 * sink.taken, (sink.taken, sink.refused)

    asyncio.run(main())


def test_a_drain_after_an_outage_begins_with_what_is_left_of_time(tmp_path: Path) -> None:
    """A distance between attempts that grew during an outage does not outlast a short drain once the destination is well."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = SMALL
        down = True

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            if down:
                raise Retryable("HTTP 503")
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter, random=Random(1))
        host.add(ValuedStream("one", LINES))
        async with host.running(pump):
            await host.clock.run(300)
            down = False
            pump.deadline = Deadline.after(host.clock, 8)
            pump.urgent(True)
            assert await host.drained(pump, 8)
        host.close()

    asyncio.run(main())
