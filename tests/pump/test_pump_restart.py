"""What a crash leaves behind is sent again unchanged; what cannot be is counted and named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from shipper.errors import Retryable
from shipper.intervals import IntervalSet
from shipper.ledger import Counts
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter


async def never(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take it, say nothing."""
    await asyncio.Event().wait()
    return Accepted()


async def crashed_with_open_requests(host: Host, *streams: MemoryStream, shaping: str = "") -> ScriptedExporter:
    """A first run that dies before any answer."""
    exporter = ScriptedExporter()
    exporter.limits = Limits(max_raw_bytes=1000)
    exporter.answer = never
    pump = host.pump(exporter, shaping=shaping)
    for stream in streams:
        host.add(stream)
    async with host.running(pump):
        await host.clock.run(1)
    assert exporter.attempts
    host.new_run()
    return exporter


def test_open_requests_are_resent_unchanged(tmp_path: Path) -> None:
    """After a crash the same requests go first, with the same ids and bytes, although more was written since."""

    async def story() -> None:
        host = Host(tmp_path)
        stream = MemoryStream("a", b"0123456789\n" * 1000)
        first = await crashed_with_open_requests(host, stream)
        stream.data += b"later\n" * 10
        second = ScriptedExporter()
        pump = host.pump(second)
        async with host.running(pump):
            host.hub.add(stream)
            assert await host.drained(pump)
        count = len(first.attempts)
        assert count == 4
        assert [(p.request_id, p.body) for p in second.attempts[:count]] == [
            (p.request_id, p.body) for p in first.attempts
        ]
        assert len(second.lines()) == 1010
        assert stream.released_to == stream.frontier()
        host.close()

    asyncio.run(story())


def test_a_resent_range_that_is_gone_is_dropped_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One range of a request cannot be read again: it is dropped, counted and named, the rest goes under a new id."""

    async def story() -> None:
        host = Host(tmp_path)
        good, bad = MemoryStream("good", b"fine\n" * 7), MemoryStream("bad", b"lost\n" * 9)
        first = await crashed_with_open_requests(host, good, bad)
        assert len(first.attempts) == 1
        bad.destroyed.add(0, 45)
        second = ScriptedExporter()
        pump = host.pump(second)
        host.hub.add(good)
        host.hub.add(bad)
        async with host.running(pump):
            assert await host.drained(pump)
        assert second.lines() == [b"fine"] * 7
        assert second.attempts[0].request_id != first.attempts[0].request_id
        ledger = host.ledger.ledger
        assert ledger.cursor("dest", "good").counts == Counts(read=7, acknowledged=7)
        assert ledger.cursor("dest", "bad").counts == Counts(read=9, dropped=9)
        assert ledger.cursor("dest", "bad").lost == IntervalSet([(0, 45)])
        assert ledger.open_requests("dest") == []
        dropped = {"destination": "dest", "cause": "gone"}
        assert host.metrics.registry.get_sample_value("shipper_dropped_records_total", dropped) == 9
        assert any("/logs/bad: 9 records" in record.getMessage() for record in caplog.records)
        host.close()

    asyncio.run(story())


def test_a_resent_request_that_is_all_gone_is_settled(tmp_path: Path) -> None:
    """When nothing of a request can be read again, nothing is sent and nothing stays open."""

    async def story() -> None:
        host = Host(tmp_path)
        bad = MemoryStream("bad", b"lost\n" * 9)
        await crashed_with_open_requests(host, bad)
        bad.destroyed.add(0, 45)
        second = ScriptedExporter()
        pump = host.pump(second)
        host.hub.add(bad)
        async with host.running(pump):
            assert await host.drained(pump)
        assert second.attempts == []
        assert host.ledger.ledger.open_requests("dest") == []
        host.close()

    asyncio.run(story())


def test_unread_bytes_that_are_destroyed_are_counted_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two destinations find the same hole: both go on behind it, and the bytes are counted and said once."""

    async def story() -> None:
        host = Host(tmp_path)
        exporters = [ScriptedExporter("one"), ScriptedExporter("two")]
        pumps = [host.pump(exporter) for exporter in exporters]
        stream = MemoryStream("a", b"0123\n" * 10)
        stream.destroyed.add(20, 30)
        host.add(stream)
        async with host.running(*pumps):
            for pump in pumps:
                assert await host.drained(pump)
        for exporter in exporters:
            assert len(exporter.lines()) == 8
            assert host.ledger.ledger.cursor(exporter.name, "a").lost == IntervalSet([(20, 30)])
        lost = host.metrics.registry.get_sample_value("shipper_lost_bytes_total", {"cause": "truncated"})
        assert lost == 10
        assert len([record for record in caplog.records if "[20, 30)" in record.getMessage()]) == 1
        assert stream.released_to == 50
        host.close()

    asyncio.run(story())


def test_streams_that_nobody_announces_stay_pending(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Open requests of unknown streams hold up a drain only for a grace time; they stay open, and it is said."""

    async def story() -> None:
        host = Host(tmp_path)
        await crashed_with_open_requests(host, MemoryStream("old", b"one\n"))
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        begin = host.clock.monotonic()
        async with host.running(pump):
            assert not pump.idle()
            assert await host.drained(pump)
            assert 4.9 <= host.clock.monotonic() - begin <= 6
            assert len(host.ledger.ledger.open_requests("dest")) == 1
            assert any("was a pattern removed" in record.getMessage() for record in caplog.records)
            host.hub.add(host.streams["old"])  # its source was only slow
            await host.clock.settle()
            assert exporter.lines() == [b"one"]
        host.close()

    asyncio.run(story())


def test_other_streams_do_not_wait_for_unknown_ones(tmp_path: Path) -> None:
    """New lines go while an open request waits for its source."""

    async def story() -> None:
        host = Host(tmp_path)
        await crashed_with_open_requests(host, MemoryStream("old", b"one\n"))
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        host.add(MemoryStream("new", b"two\n"))
        async with host.running(pump):
            await host.clock.settle()
            assert exporter.lines() == [b"two"]
        host.close()

    asyncio.run(story())


def test_another_shaping_is_said_and_resent(tmp_path: Path) -> None:
    """Requests shaped by an earlier configuration are resent, and the difference is counted."""

    async def story() -> None:
        host = Host(tmp_path)
        await crashed_with_open_requests(host, MemoryStream("a", b"one\n"), shaping="v1")
        exporter = ScriptedExporter()
        pump = host.pump(exporter, shaping="v2")
        host.hub.add(host.streams["a"])
        async with host.running(pump):
            assert await host.drained(pump)
        assert exporter.lines() == [b"one"]
        problems = host.metrics.registry.get_sample_value("shipper_problems_total", {"kind": "shaping-changed"})
        assert problems == 1
        host.close()

    asyncio.run(story())


def test_one_at_a_time_keeps_the_order(tmp_path: Path) -> None:
    """A destination with a window of one gets everything in order, through failures and a restart."""

    async def story() -> None:
        host = Host(tmp_path)
        stream = MemoryStream("a", b"".join(b"%09d\n" % n for n in range(1000)))
        host.add(stream)
        exporters = []
        for run in range(3):
            exporter = ScriptedExporter()
            exporter.limits = Limits(max_raw_bytes=1000, max_in_flight=1)
            answers = [Retryable("sink: HTTP 503"), None, None, Retryable("sink: HTTP 503")]

            async def answer(
                prepared: Prepared, deadline: Deadline, answers: list[Retryable | None] = answers
            ) -> Accepted:
                problem = answers.pop(0) if answers else None
                if problem:
                    raise problem
                await host.clock.sleep(0.1)
                return Accepted()

            exporter.answer = answer
            exporters.append(exporter)
            pump = host.pump(exporter)
            if run:
                host.hub.add(stream)
            async with host.running(pump):
                await host.clock.run(3 if run < 2 else 100)
            host.new_run()
        lines = [line for exporter in exporters for line in exporter.lines()]
        assert sorted(set(lines)) == list(dict.fromkeys(lines))
        assert len(set(lines)) >= 950
        host.close()

    asyncio.run(story())


def test_a_stream_that_cannot_be_read_rests(tmp_path: Path) -> None:
    """A read error is said, others go on, and the stream is tried again after a while."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        stream = MemoryStream("a", b"one\n")
        cut, fails = stream.cut, [OSError(5, "Input/output error")] * 2

        def failing(at: int, resume: int, limit: int, observed_ns: int) -> object:
            if fails:
                raise fails.pop()
            return cut(at, resume, limit, observed_ns)

        stream.cut = failing  # type: ignore[assignment, method-assign]
        host.add(stream)
        host.add(MemoryStream("b", b"two\n"))
        async with host.running(pump):
            await host.clock.settle()
            assert exporter.lines() == [b"two"]
            await host.clock.run(10.1)
            assert exporter.lines() == [b"two", b"one"]
        host.close()

    asyncio.run(story())


def test_a_finished_stream_whose_rest_is_gone_is_retired(tmp_path: Path) -> None:
    """When the unread end of a finished stream was destroyed, the loss is counted and the stream leaves."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        stream = MemoryStream("a", b"0123\n" * 10)
        stream.destroyed.add(20, 50)
        stream.ended = True
        host.add(stream)
        async with host.running(pump):
            assert await host.drained(pump)
            await host.clock.settle()
            assert host.hub.streams() == []
        assert len(exporter.lines()) == 4
        host.close()

    asyncio.run(story())
