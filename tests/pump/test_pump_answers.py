"""Every answer about the destination decides when the same is tried again, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import Retryable, Unusable
from tests.pump.answers import Failing, numbered, value
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of


def test_a_retried_request_is_the_same_request(tmp_path: Path) -> None:
    """After failures the very same bytes go under the same id until they are taken; each retry is counted by cause."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("sink: HTTP 503")] * 5, *[Retryable("sink: cannot connect: refused")] * 2)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(10)))
        async with host.running(pump):
            assert await host.drained(pump)
        assert all(prepared == exporter.attempts[0] for prepared in exporter.attempts)
        assert len(exporter.attempts) == 8
        assert len(exporter.lines()) == 10
        assert value(host, "shipper_retried_requests_total", destination="dest", cause="http_503") == 5
        assert value(host, "shipper_retried_requests_total", destination="dest", cause="connection") == 2
        assert value(host, "shipper_requests_sent_total", destination="dest", outcome="accepted") == 1
        host.close()

    asyncio.run(story())


def test_a_destination_that_comes_back_after_a_long_outage_is_found_within_seconds(tmp_path: Path) -> None:
    """While there is nobody to connect to, attempts stay at most five seconds apart, however long that lasts."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("sink: cannot connect: refused")] * 50)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", numbered(1)))
        async with host.running(pump):
            while exporter.attempts == [] or not exporter.lines():
                tried = len(exporter.attempts)
                await host.clock.run(5.1)
                assert len(exporter.attempts) > tried
        host.close()

    asyncio.run(story())


def test_a_retry_blocks_no_other_request(tmp_path: Path) -> None:
    """While one request waits for its next attempt, others are sent."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            if b"poison" in lines_of(prepared):
                raise Retryable("sink: HTTP 503")
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, b"poison\n")
            await host.clock.run(1)
            for n in range(5):
                host.write(stream, b"line %d\n" % n)
                await host.clock.run(1)
            assert exporter.lines() == [b"line %d" % n for n in range(5)]
        host.close()

    asyncio.run(story())


@pytest.mark.parametrize("wait", [1.0, 3600.0])
def test_retry_after_is_honoured(tmp_path: Path, wait: float) -> None:
    """Nothing at all is sent before the time that the destination named."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(Retryable("sink: HTTP 429", wait))
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, b"one\n")
            await host.clock.run(wait / 2)
            host.write(stream, b"two\n")
            await host.clock.run(wait / 2 - 0.01)
            assert len(exporter.attempts) == 1
            await host.clock.run(0.02)
            assert sorted(exporter.lines()) == [b"one", b"two"]
        host.close()

    asyncio.run(story())


def test_a_drain_tries_once_more_before_its_deadline(tmp_path: Path) -> None:
    """A wish for an hour is granted in a drain only up to shortly before the deadline."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(Retryable("sink: HTTP 429", 3600.0))
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"one\n"))
        async with host.running(pump):
            await host.clock.run(60)
            pump.deadline = Deadline.after(host.clock, 20)
            pump.urgent(True)
            await host.clock.run(18.9)
            assert len(exporter.attempts) == 1
            assert await host.drained(pump, 20)
            assert exporter.lines() == [b"one"]
        host.close()

    asyncio.run(story())


def test_a_drain_ends_a_long_backoff(tmp_path: Path) -> None:
    """A request that waits out a back-off is tried at once when the drain begins."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("sink: cannot connect")] * 12)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"one\n"))
        async with host.running(pump):
            while len(exporter.attempts) < 12:
                await host.clock.run(0.5)
            pump.deadline = Deadline.after(host.clock, 20)
            pump.urgent(True)
            await host.clock.settle()
            assert exporter.lines() == [b"one"]
        host.close()

    asyncio.run(story())


def test_an_expired_drain_leaves_the_request_open(tmp_path: Path) -> None:
    """When nothing goes through, waiting for idleness ends at the deadline and the ledger keeps what is open."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Retryable("sink: cannot connect")] * 1000)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"one\n"))
        async with host.running(pump):
            pump.deadline = Deadline.after(host.clock, 20)
            pump.urgent(True)
            assert not await host.drained(pump, 20)
            assert len(exporter.attempts) < 1000
        assert len(host.ledger.ledger.open_requests("dest")) == 1
        host.close()

    asyncio.run(story())


def test_an_unusable_destination_is_held_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A destination set up wrongly is tried every 5 to 30 seconds, said at most once a minute, and gets all in the end."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Failing(*[Unusable("HTTP 401: no such token")] * 12)
        pump = host.pump(exporter)
        begin = host.clock.monotonic()
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, numbered(100))
            assert await host.drained(pump)
        assert len(exporter.attempts) == 13
        assert 4 + 8 + 16 + 9 * 24 <= host.clock.monotonic() - begin <= 5 + 10 + 20 + 9 * 30 + 1
        assert len(exporter.lines()) == 100
        said = [record for record in caplog.records if "401" in record.getMessage()]
        assert 4 <= len(said) <= 7
        host.close()

    asyncio.run(story())


def test_an_overloaded_destination_gets_fewer_requests_at_a_time(tmp_path: Path) -> None:
    """After 503 fewer requests are in flight at once, and more again as answers come."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=10_000)
        overloaded = True

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(0.1)
            if overloaded:
                raise Retryable("sink: HTTP 503", 5.0)
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        host.add(MemoryStream("a", (b"z" * 99 + b"\n") * 4_000))
        async with host.running(pump):
            await host.clock.run(0.15)
            assert exporter.most_at_once == 4
            exporter.most_at_once = 0
            await host.clock.run(5.05)
            assert exporter.most_at_once == 1
            overloaded = False
            assert await host.drained(pump)
            assert exporter.most_at_once == 4
        host.close()

    asyncio.run(story())
