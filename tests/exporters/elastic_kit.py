"""An Elasticsearch exporter at work, for tests of what it does at its nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Request
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from tests.exporters.fake_elastic import FakeElastic, Whole

STREAM = "logs-generic-default"
LOST = Whole(store=True, fault="hang up")


def context(clock: FakeClock | None = None) -> ExporterContext:
    return ExporterContext(clock or FakeClock(), LIFE, 1, "Shipper/1.2")


@asynccontextmanager
async def exporting(
    *nodes: FakeElastic, clock: FakeClock | None = None, **options: Any
) -> AsyncIterator[ElasticsearchExporter]:
    urls = [node.url for node in nodes]
    where: dict[str, Any] = {"endpoint": urls[0]} if len(urls) == 1 else {"endpoints": urls}
    exporter = ElasticsearchExporter("es", ElasticsearchSettings(**where, **options), context(clock))
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: ElasticsearchExporter, one: Request) -> Accepted:
    return await exporter.send(exporter.prepare(one), Deadline.after(exporter._context.clock, 600))


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        await asyncio.sleep(0.002)


def request(*lines: str, start: int = 0, wall_ns: int = START_WALL_NS + 10**9) -> Request:
    return log_request(log_batch(lines, start=start), wall_ns=wall_ns)
