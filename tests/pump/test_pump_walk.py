"""The plain way: what is written arrives, is acknowledged, and is let go."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter


def test_a_line_arrives_without_time_passing(tmp_path: Path) -> None:
    """A lone line on a quiet host goes at once."""

    async def story() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter)
        async with host.running(pump):
            stream = host.add(MemoryStream("a"))
            await host.clock.settle()
            host.write(stream, b"hello\n")
            await host.clock.settle()
            assert exporter.lines() == [b"hello"]
            assert pump.idle()
            assert stream.released_to == 6
        host.close()

    asyncio.run(story())
