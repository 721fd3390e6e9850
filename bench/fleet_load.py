"""Thousands of hosts that write a few lines a second, shipped to one destination at the default pace: what does it have to bear?

Real pumps and ledgers in one process, on a clock that stands still unless everybody waits; only the network and the lines are made
up. A destination sees no more requests than its exporter's pace times the hosts, and in the first seconds the burst.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from bench.row import Row
from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext, Limits, Prepared
from shipper.ledger import StreamRow
from shipper.pump import Pump
from shipper.pump.load import make_exporter
from shipper.testing.clock import FakeClock
from tests.pump.pumpkit import LIFE, Host, MemoryStream, ScriptedExporter

HOSTS = 5000
LINES = 5.0  # a second on each host, one by one
SECONDS = 12
SETTLED = 8  # from here on the first burst is over
LINE = b"x" * 199 + b"\n"

KINDS: dict[str, Mapping[str, Any]] = {
    "otlp": {"endpoint": "http://sink:4318"},
    "loki": {"endpoint": "http://sink:3100"},
}
"""One exporter of each pace: those to servers of one's own, and those to services that bill or throttle."""


def rows(name: str, hosts: int = HOSTS) -> list[Row]:
    """A row for each pace."""
    return [row for kind, options in KINDS.items() for row in _load(name, kind, options, hosts)]


def _load(name: str, kind: str, options: Mapping[str, Any], hosts: int) -> list[Row]:
    limits = make_exporter(kind, "sink", options, ExporterContext(SystemClock(), LIFE, 1, "bench")).limits
    clock = FakeClock()
    by_second: Counter[int] = Counter()

    async def answer(prepared: Prepared, deadline: Deadline) -> Accepted:
        by_second[int(clock.monotonic() - began)] += 1
        await clock.sleep(0.05)
        return Accepted()

    with tempfile.TemporaryDirectory(prefix="shipper-bench-") as directory:
        fleet = [_host(Path(directory) / str(number), number, clock, limits, answer) for number in range(hosts)]
        began = clock.monotonic()
        asyncio.run(_write(fleet, clock))
        for host, _, _ in fleet:
            host.close()
    settled = [by_second[second] for second in range(SETTLED, SECONDS)]
    what = f"{kind}, {hosts} hosts at {limits.requests_per_second:g} requests/s"
    return [
        Row(name, f"{what}: median second", "requests", statistics.median(settled)),
        Row(name, f"{what}: busiest second", "requests", max(settled)),
        Row(name, f"{what}: busiest second of the first burst", "requests", max(by_second.values())),
    ]


def _host(
    directory: Path, number: int, clock: FakeClock, limits: Limits, answer: Any
) -> tuple[Host, Pump, MemoryStream]:
    directory.mkdir()
    host = Host(directory, clock)
    exporter = ScriptedExporter()
    exporter.limits = limits
    exporter.answer = answer
    pump = host.pump(exporter, random=Random(number))
    stream = MemoryStream("app.log")
    host.ledger.ledger.put_stream(StreamRow(stream.id, stream.kind, stream.signal, "memory", stream.name, 0))
    host.hub.add(stream)
    return host, pump, stream


async def _write(fleet: list[tuple[Host, Pump, MemoryStream]], clock: FakeClock) -> None:
    """Each host writes a line now and then, at its own moments."""
    pumps = [asyncio.create_task(pump.run()) for _, pump, _ in fleet]

    async def writer(number: int, host: Host, stream: MemoryStream) -> None:
        random = Random(number)
        await clock.sleep(random.random() / LINES)
        while True:
            stream.data += LINE
            host.hub.ready(stream)
            await clock.sleep(random.uniform(0.5, 1.5) / LINES)

    writers = [asyncio.create_task(writer(number, host, stream)) for number, (host, _, stream) in enumerate(fleet)]
    async with clock.autojump():
        await clock.sleep(SECONDS)
    for task in [*writers, *pumps]:
        task.cancel()
    await asyncio.gather(*writers, *pumps, return_exceptions=True)
