"""Round trips through a server of the lumberjack protocol that others wrote.

``LUMBERJACK_SERVER`` names a program that listens, prints its address, then each event as a line of JSON, and acknowledges:
Elastic's own is built in tests/peers/lumber with ``go build``.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE
from shipper_exporters.logstash import LogstashExporter, LogstashSettings
from tests.exporters.log_kit import HOST, payload, request

SERVER = os.environ.get("LUMBERJACK_SERVER", "")
pytestmark = pytest.mark.skipif(not SERVER, reason="LUMBERJACK_SERVER names no server of the lumberjack protocol")


class Peer:
    """A running server."""

    def __init__(self, process: asyncio.subprocess.Process, endpoint: str) -> None:
        self._process = process
        self.endpoint = endpoint

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next events, in order."""
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            return [json.loads(await self._process.stdout.readline()) for _ in range(count)]


@asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    """Start one, and end it."""
    process = await asyncio.create_subprocess_exec(
        SERVER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=1 << 26
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            yield Peer(process, (await process.stdout.readline()).decode().strip())
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("compression", ["zlib", "none"])
def test_every_record_arrives_once_with_all_fields(compression: str) -> None:
    """Thousands of records, plain lines and others, arrive in order with their texts, times, severities, traces and identity."""
    lines = [{"body": f"line {number} é", "observed_time_unix_nano": START_WALL_NS} for number in range(5000)]
    rich = [
        {
            "body": f"event {number}",
            "time_unix_nano": START_WALL_NS + number,
            "severity_number": 17,
            "severity_text": "ERROR",
            "attributes": {"http.request.method": "GET", "user.id": f"u{number}", "odd": [1, {"a": True}]},
            "trace_id": number.to_bytes(16, "big"),
            "span_id": number.to_bytes(8, "big"),
        }
        for number in range(1, 101)
    ]

    async def story() -> None:
        async with peer() as server:
            settings = LogstashSettings(endpoint=server.endpoint, compression=compression)
            exporter = LogstashExporter("logstash", settings, ExporterContext(SystemClock(), LIFE, 1, "test"))
            await exporter.start()
            sent = request((payload(lines), len(lines)), (payload(rich, scope="app"), len(rich)))
            prepared = exporter.prepare(sent)
            delivery = asyncio.create_task(exporter.send(prepared, Deadline.after(SystemClock(), 60)))
            events = await server.events(len(lines) + len(rich))
            assert await delivery == Accepted()
            await exporter.aclose()
        assert [event["message"] for event in events] == [row["body"] for row in lines + rich]
        assert len({event["@metadata"]["_id"] for event in events}) == len(events)
        assert all(event["labels"]["shipper_life_id"] == LIFE for event in events)
        for number, event in enumerate(events[len(lines) :], 1):
            assert event["@timestamp"].startswith("2023-11-14T22:13:20.000000")
            assert event["log"]["level"] == "ERROR"
            assert event["trace"]["id"] == f"{number:032x}"
            assert event["span"]["id"] == f"{number:016x}"
            assert event["user"]["id"] == f"u{number}"
            assert event["service"]["version"] == HOST["service.version"]

    asyncio.run(story())
