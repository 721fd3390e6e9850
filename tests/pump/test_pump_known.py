"""After a lost ledger the destination is asked what it has, and what it says is believed as far as it can be true."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.errors import Retryable
from shipper.intervals import IntervalSet
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter


def test_after_a_lost_ledger_the_destination_is_asked(tmp_path: Path) -> None:
    """With a new ledger nothing is sent that the destination says it has, nor before it answered."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.has = {"a": IntervalSet([(0, 20), (30, 40)])}
        answers = [Retryable("sink: cannot connect")] * 3
        known = exporter.known

        async def late(life: str) -> object:
            if answers:
                raise answers.pop()
            return await known(life)

        exporter.known = late  # type: ignore[assignment, method-assign]
        pump = host.pump(exporter, ask_known=True)
        stream = host.add(MemoryStream("a", b"".join(b"%04d\n" % n for n in range(10))))
        async with host.running(pump):
            await host.clock.settle()
            assert exporter.attempts == []
            assert await host.drained(pump)
        assert exporter.lines() == [b"0004", b"0005", b"0008", b"0009"]
        assert stream.released_to == 50
        host.close()

    asyncio.run(story())


def test_a_destination_that_claims_more_than_exists_hides_nothing(tmp_path: Path) -> None:
    """What is written after the question was asked is sent, however much the destination claimed to have."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.has = {"a": IntervalSet([(0, 1_000_000)])}
        pump = host.pump(exporter, ask_known=True)
        stream = host.add(MemoryStream("a", b"0000\n"))
        async with host.running(pump):
            assert await host.drained(pump)
            stream.data += b"0001\n"
            host.hub.ready(stream)
            assert await host.drained(pump)
        assert exporter.lines() == [b"0001"]
        host.close()

    asyncio.run(story())


def test_an_exporter_that_cannot_be_asked_is_not_waited_for(tmp_path: Path) -> None:
    """A bug in `known` is said; shipping begins all the same."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def buggy(life: str) -> object:
            raise KeyError("oops")

        exporter.known = buggy  # type: ignore[assignment, method-assign]
        pump = host.pump(exporter, ask_known=True)
        host.add(MemoryStream("a", b"one\n"))
        async with host.running(pump):
            assert await host.drained(pump)
        assert exporter.lines() == [b"one"]
        assert host.metrics.registry.get_sample_value("shipper_problems_total", {"kind": "exporter-bug"}) == 1
        host.close()

    asyncio.run(story())
