"""When requests go: the bucket, full requests, the window, linger, fairness, urgency."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.clock import Deadline
from shipper.contracts import Accepted, Limits, Prepared
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of


class Slow:
    """Answers after ``seconds`` of the host's clock."""

    def __init__(self, host: Host, seconds: float) -> None:
        self.host = host
        self.seconds = seconds

    async def __call__(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        await self.host.clock.sleep(self.seconds)
        return Accepted()


def test_a_stream_of_lines_goes_at_the_pace_of_the_bucket(tmp_path: Path) -> None:
    """After the burst, lines that keep coming leave in five requests a second, each with all that came meanwhile."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(burst=3)
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            for n in range(200):
                host.write(stream, b"line %d\n" % n)
                await host.clock.run(0.01)
            await host.clock.run(0.5)
            assert exporter.lines() == [b"line %d" % n for n in range(200)]
            assert 12 <= len(exporter.attempts) <= 3 + 5 * 2.5 + 1
            assert pump.exposure().max <= 0.21
        host.close()

    asyncio.run(story())


def test_low_exposure_sends_at_once(tmp_path: Path) -> None:
    """With mode low-exposure no line waits for a token."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(burst=1)
        pump = host.pump(exporter, mode="low-exposure")
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            for n in range(50):
                host.write(stream, b"line %d\n" % n)
                await host.clock.run(0.02)
            assert len(exporter.attempts) == 50
            assert pump.exposure().max == 0
        host.close()

    asyncio.run(story())


def test_a_backlog_needs_no_tokens(tmp_path: Path) -> None:
    """Full requests leave as fast as they are answered, up to the window, without the bucket."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_wire_bytes=10_000, max_raw_bytes=40_000, burst=1, requests_per_second=0.001)
        exporter.answer = Slow(host, 0.1)
        pump = host.pump(exporter)
        host.add(MemoryStream("a", b"x" * 99 + b"\n"))
        stream = host.add(MemoryStream("b", (b"y" * 99 + b"\n") * 20_000))
        async with host.running(pump), host.clock.autojump():
            await pump.wait_idle(Deadline.after(host.clock, 60))
        # Whatever is left behind the last full request is part-filled and waits for its token.
        assert len(exporter.lines()) >= 19_500
        assert exporter.most_at_once == 4
        assert all(sum(len(got.payload) for got in p.body) <= 40_000 for p in exporter.attempts)
        assert stream.released_to > 1_900_000
        host.close()

    asyncio.run(story())


def test_a_hot_stream_does_not_delay_a_quiet_one(tmp_path: Path) -> None:
    """A line of a quiet stream joins the next request although another stream has a large backlog."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=40_000, max_in_flight=1)
        exporter.answer = Slow(host, 0.1)
        pump = host.pump(exporter, batch_bytes=5_000)
        host.add(MemoryStream("hot", (b"y" * 99 + b"\n") * 20_000))
        quiet = host.add(MemoryStream("quiet"))
        async with host.running(pump):
            await host.clock.run(1.05)
            before = len(exporter.attempts)
            host.write(quiet, b"last words\n")
            await host.clock.run(0.25)
            sent = [n for n, prepared in enumerate(exporter.attempts) if b"last words" in lines_of(prepared)]
            assert sent
            assert sent[0] <= before + 1
        host.close()

    asyncio.run(story())


def test_a_part_filled_request_gathers_behind_one_in_flight(tmp_path: Path) -> None:
    """While an answer is due lines are gathered, and go together when it comes."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Slow(host, 0.05)
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, b"first\n")
            for n in range(4):
                await host.clock.run(0.01)
                host.write(stream, b"line %d\n" % n)
            await host.clock.run(0.2)
            assert [len(lines_of(prepared)) for prepared in exporter.attempts] == [1, 4]
        host.close()

    asyncio.run(story())


def test_one_hung_request_stalls_nobody(tmp_path: Path) -> None:
    """Behind a request that never answers, others still go."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()

        async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
            await host.clock.sleep(1e6 if b"hangs" in lines_of(prepared) else 0.01)
            return Accepted()

        exporter.answer = answer
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, b"hangs\n")
            await host.clock.run(0.3)
            for n in range(5):
                host.write(stream, b"line %d\n" % n)
                await host.clock.run(0.3)
            assert exporter.lines() == [b"line %d" % n for n in range(5)]
            assert stream.released_to == 0
            assert not pump.idle()
        host.close()

    asyncio.run(story())


def test_linger_waits_for_company_and_a_drain_does_not(tmp_path: Path) -> None:
    """A destination that lingers gets its objects after its time, or at once in a drain."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(linger=30.0)
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            host.write(stream, b"one\n")
            await host.clock.run(29.9)
            assert exporter.attempts == []
            host.write(stream, b"two\n")
            await host.clock.run(0.1)
            assert [lines_of(prepared) for prepared in exporter.attempts] == [[b"one", b"two"]]
            host.write(stream, b"three\n")
            await host.clock.run(1)
            assert len(exporter.attempts) == 1
            pump.urgent(True)
            await host.clock.settle()
            assert len(exporter.attempts) == 2
        host.close()

    asyncio.run(story())


def test_the_backlog_is_told_by_stream(tmp_path: Path) -> None:
    """Backlog, age and their gauges say what is not acknowledged; only the largest streams have a gauge of their own."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = Slow(host, 1e6)
        pump = host.pump(exporter)
        streams = [host.add(MemoryStream(f"s{n:02}")) for n in range(30)]
        async with host.running(pump):
            for n, stream in enumerate(streams):
                host.write(stream, b"x" * n + b"\n")
            await host.clock.run(7)
            pump.measure()
            assert pump.backlog() == {f"s{n:02}": n + 1 for n in range(30)}
            assert pump.oldest_unacknowledged() == 7
            value = host.metrics.registry.get_sample_value
            assert value("shipper_backlog_bytes", {"destination": "dest", "stream": "s29"}) == 30
            assert value("shipper_backlog_bytes", {"destination": "dest", "stream": "other"}) == sum(range(1, 11))
            assert value("shipper_oldest_unacknowledged_seconds", {"destination": "dest"}) == 7
        host.close()

    asyncio.run(story())


def test_lines_for_a_request_in_waiting_wake_nobody(tmp_path: Path) -> None:
    """While a token is awaited, each further line costs no cut and no look at all streams."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(burst=1, requests_per_second=0.1)
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a", b"first\n"))
            await host.clock.run(1)
            cuts = stream.cuts
            for n in range(100):
                host.write(stream, b"line %d\n" % n)
                await host.clock.run(0.01)
            assert stream.cuts == cuts
            await host.clock.run(9)
            assert len(exporter.attempts) == 2
            assert len(exporter.lines()) == 101
        host.close()

    asyncio.run(story())
