"""What goes into one request: one signal, one life, nothing that was filtered away, and no more than the exporter takes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from shipper.contracts import Batch, Limits, Signal
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter, lines_of


def test_a_request_holds_one_signal(tmp_path: Path) -> None:
    """Logs and traces go in requests of their own."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        host.add(MemoryStream("logs", b"a log\n"))
        host.add(MemoryStream("traces", b"a span\n", signal=Signal.TRACES))
        async with host.running(pump):
            assert await host.drained(pump)
        assert sorted((prepared.signal.value, lines_of(prepared)) for prepared in exporter.attempts) == [
            ("logs", [b"a log"]),
            ("traces", [b"a span"]),
        ]
        host.close()

    asyncio.run(story())


def test_a_request_has_a_bounded_number_of_batches(tmp_path: Path) -> None:
    """Many quiet streams are combined, but never more batches than the exporter takes."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_batches=64, burst=1)
        pump = host.pump(exporter)
        for n in range(200):
            host.add(MemoryStream(f"s{n}", b"line\n"))
        async with host.running(pump):
            assert await host.drained(pump)
        assert [len(prepared.body) for prepared in exporter.attempts] == [64, 64, 64, 8]
        host.close()

    asyncio.run(story())


def test_filtered_lines_cost_no_request(tmp_path: Path) -> None:
    """A batch without records is settled without being sent, and counted as filtered."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        stream = host.add(MemoryStream("a", b"# noise\n# more\n"))
        async with host.running(pump):
            assert await host.drained(pump)
        assert exporter.attempts == []
        counts = host.ledger.ledger.cursor("dest", "a").counts
        assert (counts.read, counts.filtered) == (2, 2)
        assert stream.released_to == stream.frontier()
        host.close()

    asyncio.run(story())


class Swelling(MemoryStream):
    """Its payloads are four times as large as their source, and belong to a life of the stream's name."""

    def _batch(self, start: int, end: int, observed_ns: int) -> Batch:
        batch = super()._batch(start, end, observed_ns)
        return replace(batch, payload=batch.payload * 4, life=self.id)


def test_no_request_is_larger_than_the_exporter_takes(tmp_path: Path) -> None:
    """A batch that turns out too large for the request at hand opens the next one, and none is lost."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=10_000)
        pump = host.pump(exporter, batch_bytes=1_000)
        stream = host.add(Swelling("a", (b"z" * 99 + b"\n") * 500))
        async with host.running(pump):
            assert await host.drained(pump)
        assert max(sum(len(got.payload) for got in p.body) for p in exporter.attempts) <= 10_000
        assert len(exporter.lines()) == 4 * 500
        assert stream.released_to == 50_000
        host.close()

    asyncio.run(story())


def test_a_request_holds_one_life(tmp_path: Path) -> None:
    """Streams of several lives do not share a request, because a request names one."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        for name in ("a", "b", "c"):
            host.add(Swelling(name, b"z\n" * 50))
        async with host.running(pump):
            assert await host.drained(pump)
        assert sorted({got.key.split("/")[0] for got in p.body} for p in exporter.attempts) == [{"a"}, {"b"}, {"c"}]
        host.close()

    asyncio.run(story())
