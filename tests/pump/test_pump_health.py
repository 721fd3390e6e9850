"""What is said of a destination that fails: the reason, also where a drain's deadline ended the last attempt."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.clock import Deadline
from shipper.contracts import Accepted, Prepared
from shipper.errors import Retryable
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter

REFUSED = "sink: cannot connect: connection refused"
LATE = "sink: the deadline came before it could be sent"


class Answering:
    """Refuses connections until ``well``, and says of attempts behind the deadline what exporters say of them."""

    def __init__(self, reason: str = REFUSED) -> None:
        self.reason = reason
        self.well = False

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if deadline.expired():
            raise Retryable(LATE, unsent=True)
        if not self.well:
            raise Retryable(self.reason)
        return Accepted()


def test_a_deadline_that_passed_does_not_hide_why_a_destination_fails(tmp_path: Path) -> None:
    """Both are said; with the next attempt that has time only its own reason, and nothing once one was answered."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = answering = Answering()
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"line\n"))
        async with host.running(pump):
            await host.clock.run(10)
            assert pump.failure() == f"will be tried again: {REFUSED}"
            pump.deadline = Deadline.after(host.clock, 5)
            pump.urgent(True)
            await host.clock.run(40)
            assert pump.failure() == f"will be tried again: {LATE} (before that: will be tried again: {REFUSED})"
            pump.deadline = Deadline(host.clock)
            pump.urgent(False)
            answering.reason = "sink: HTTP 503"
            await host.clock.run(60)
            assert pump.failure() == "will be tried again: sink: HTTP 503"
            answering.well = True
            assert await host.drained(pump)
            assert pump.failure() == ""
        host.close()

    asyncio.run(main())


def test_a_deadline_that_came_before_any_attempt_is_said_alone(tmp_path: Path) -> None:
    """There is nothing else to say."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Answering()
        pump = host.pump(exporter)
        pump.deadline = Deadline.after(host.clock, 0)
        host.add(MemoryStream("a", b"line\n"))
        async with host.running(pump):
            await host.clock.run(5)
            assert pump.failure() == f"will be tried again: {LATE}"
        host.close()

    asyncio.run(main())
