"""A round trip through the OpenTelemetry Collector's ``datadog`` receiver: N distinct records in, N out, all fields equal.

``OTELCOL_BINARY`` (``OTELCOL_CONTRIB_BINARY`` where that is another) names a Collector with that receiver and the exporter
``file``. The receiver keeps the reserved attributes only.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.ids import uuid7
from shipper.otlp.decode import Record, from_json, records
from shipper.otlp.encode import LineEncoder, export_logs, log_record, resource, scope
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE
from shipper_exporters.datadog import DatadogExporter, DatadogSettings
from tests.e2e.kit import free_port, listening, until
from tests.exporters.datadog_intake import KEY

pytestmark = pytest.mark.peer

COLLECTOR = os.environ.get("OTELCOL_CONTRIB_BINARY") or os.environ.get("OTELCOL_BINARY", "")
COUNT = 1500
HOST = {
    "service.name": "checkout",
    "service.version": "2.4.1",
    "deployment.environment.name": "production",
    "shipper.generation": "deploy-17",
    "shipper.life.id": LIFE,
    "host.name": "h1",
}
TAGS = f"service:checkout,env:production,version:2.4.1,shipper.generation:deploy-17,shipper.life.id:{LIFE}"


@cache
def _takes_logs() -> bool:
    if not COLLECTOR:
        return False
    listed = subprocess.run([COLLECTOR, "components"], capture_output=True, text=True, timeout=60, check=True).stdout
    return "name: datadog" in listed and "name: file" in listed


async def _send(port: int, payloads: list[bytes], compression: str) -> None:
    clock = SystemClock()
    settings = DatadogSettings(logs_endpoint=f"http://127.0.0.1:{port}/api/v2/logs", compression=compression)  # type: ignore[arg-type]
    exporter = DatadogExporter("datadog", settings, ExporterContext(clock, LIFE, 1, "test"))
    await exporter.start()
    try:
        for payload in payloads:
            batch = Batch(LIFE, "s", Signal.LOGS, Cut(0, 1, 0, 1, COUNT, START_WALL_NS), payload)
            prepared = exporter.prepare(Request(uuid7(clock.wall_ns()), Signal.LOGS, (batch,)))
            assert await exporter.send(prepared, Deadline.after(clock, 60)) == Accepted()
    finally:
        await exporter.aclose()


@pytest.mark.skipif(not _takes_logs(), reason="OTELCOL_BINARY names no Collector with datadog and file")
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str) -> None:
    """Lines and records arrive with their text, time, status, service, host and tags, each once."""
    monkeypatch.setenv("DD_API_KEY", KEY)
    port, out, config = free_port(), tmp_path / "out.json", tmp_path / "collector.json"
    pipeline = {"logs": {"receivers": ["datadog"], "exporters": ["file"]}}
    settings = {
        "receivers": {"datadog": {"endpoint": f"127.0.0.1:{port}"}},
        "exporters": {"file": {"path": str(out)}},
        "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": pipeline},
    }
    config.write_text(json.dumps(settings))
    who = resource(HOST)
    lines = LineEncoder(who, scope("")).encode([f"line {at}".encode() for at in range(COUNT)], START_WALL_NS)
    rows = [
        log_record(time_ns=START_WALL_NS + 1_000_000 * at, observed_ns=START_WALL_NS, body=f"event {at} é", severity=17)
        for at in range(COUNT)
    ]

    def written() -> list[Record]:
        found = out.read_bytes().split(b"\n")[:-1] if out.exists() else []
        return [record for line in found for record in records(Signal.LOGS, from_json(Signal.LOGS, line))]

    async def story() -> None:
        nowhere = asyncio.subprocess.DEVNULL
        collector = await asyncio.create_subprocess_exec(
            COLLECTOR, f"--config={config}", stdout=nowhere, stderr=nowhere
        )
        try:
            await listening(port)
            await _send(port, [lines, export_logs(who, scope(""), rows)], compression)
            await until(lambda: len(written()) >= 2 * COUNT, "the Collector has written all")
        finally:
            with suppress(ProcessLookupError):
                collector.terminate()
            await collector.wait()

    asyncio.run(story())
    found = written()
    assert [record.body for record in found] == [f"line {at}" for at in range(COUNT)] + [
        f"event {at} é" for at in range(COUNT)
    ]
    for at, record in enumerate(found):
        told = record.attributes
        assert (told["service"], told["hostname"], told["ddsource"]) == ("checkout", "h1", "shipper")
        assert set(str(told["ddtags"]).split(",")) == set(TAGS.split(","))
        assert told["timestamp"] == START_WALL_NS // 1_000_000 + max(0, at - COUNT)
        assert told["status"] == ("error" if at >= COUNT else "")
