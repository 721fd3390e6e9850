"""Round trips through the OpenTelemetry Collector's ``splunk_hec`` receiver: N distinct records in, N out, all fields equal.

``OTELCOL_BINARY`` (``OTELCOL_CONTRIB_BINARY`` where that is another) names a Collector with that receiver, the extension ``ack``
and the exporter ``file``.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.ids import uuid7
from shipper.otlp.decode import Record, from_json, records
from shipper.otlp.encode import LineEncoder, export_logs, log_record, resource, scope
from shipper.otlp.metrics import export_metrics, gauge, number
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.e2e.kit import free_port, listening, until
from tests.exporters.splunk_hec import TOKEN

pytestmark = pytest.mark.peer

COLLECTOR = os.environ.get("OTELCOL_CONTRIB_BINARY") or os.environ.get("OTELCOL_BINARY", "")
COUNT = 1000
HOST = {
    "service.name": "checkout",
    "service.version": "2.4.1",
    "deployment.environment.name": "production",
    "shipper.generation": "deploy-17",
    "shipper.life.id": LIFE,
    "host.id": "i-0abc",
}


@cache
def _takes_hec() -> bool:
    if not COLLECTOR:
        return False
    listed = subprocess.run([COLLECTOR, "components"], capture_output=True, text=True, timeout=60, check=True).stdout
    return "name: splunk_hec" in listed and "name: ack" in listed and "name: file" in listed


needs_collector = pytest.mark.skipif(
    not _takes_hec(), reason="OTELCOL_BINARY names no Collector with splunk_hec, ack and file"
)


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_HEC_TOKEN", TOKEN)


def config(port: int, out: Path, signal: Signal, *, ack: bool) -> dict[str, Any]:
    receiver: dict[str, Any] = {"endpoint": f"127.0.0.1:{port}"}
    if ack:
        receiver["ack"] = {"extension": "ack"}
    return {
        "receivers": {"splunk_hec": receiver},
        "extensions": {"ack": {}},
        "exporters": {"file": {"path": str(out)}},
        "service": {
            "extensions": ["ack"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {signal.value: {"receivers": ["splunk_hec"], "exporters": ["file"]}},
        },
    }


def through_a_collector(
    directory: Path, signal: Signal, payloads: Sequence[bytes], expected: int, *, ack: bool, **options: Any
) -> list[Record]:
    """What the Collector wrote down of what was sent to it."""
    port, out = free_port(), directory / "out.json"
    file = directory / "collector.json"
    file.write_text(json.dumps(config(port, out, signal, ack=ack)))

    def written() -> list[Record]:
        lines = out.read_bytes().split(b"\n")[:-1] if out.exists() else []
        return [record for line in lines for record in records(signal, from_json(signal, line))]

    async def story() -> list[Record]:
        collector = await asyncio.create_subprocess_exec(
            COLLECTOR, f"--config={file}", stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await listening(port)
            await _send(f"http://127.0.0.1:{port}", signal, payloads, acknowledgement=ack, **options)
            await until(lambda: len(written()) >= expected, "the Collector has written all")
            return written()
        finally:
            with suppress(ProcessLookupError):
                collector.terminate()
            await collector.wait()

    return asyncio.run(story())


async def _send(endpoint: str, signal: Signal, payloads: Sequence[bytes], **options: Any) -> None:
    clock = SystemClock()
    exporter = SplunkExporter(
        "splunk", SplunkSettings(endpoint=endpoint, **options), ExporterContext(clock, LIFE, 1, "test")
    )
    await exporter.start()
    try:
        for payload in payloads:
            cut = Cut(0, 1, 0, 1, COUNT, START_WALL_NS)
            request = Request(uuid7(clock.wall_ns()), signal, (Batch(LIFE, "s", signal, cut, payload),))
            assert await exporter.send(exporter.prepare(request), Deadline.after(clock, 60)) == Accepted()
    finally:
        await exporter.aclose()


def _near(ns: int) -> Callable[[int], bool]:
    """The Collector keeps HEC's seconds as a double, which has microseconds at this date."""
    return lambda other: abs(ns - other) < 1000


@needs_collector
@pytest.mark.parametrize("ack", [True, False], ids=["acknowledged", "accepted"])
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_logs(tmp_path: Path, ack: bool, compression: str) -> None:
    """Lines and records arrive with their text, time, identity and attributes, each once."""
    attributes = [{"user.id": f"u{at}", "count": at, "flag": True, "list": ["a", "b"]} for at in range(COUNT)]
    rows = [
        log_record(
            time_ns=START_WALL_NS + 1_000_000 * at,
            observed_ns=START_WALL_NS,
            body=f"event {at} é",
            severity=9,
            severity_text="INFO",
            attributes=own,
            trace_id=(at + 1).to_bytes(16, "big"),
            span_id=(at + 1).to_bytes(8, "big"),
        )
        for at, own in enumerate(attributes)
    ]
    who = resource({**HOST, "host.name": "h1", "log.file.path": "/var/log/a.log"})
    lines = LineEncoder(who, scope("")).encode([f"line {at}".encode() for at in range(COUNT)], START_WALL_NS)
    payloads = [lines, export_logs(who, scope(""), rows)]
    found = through_a_collector(
        tmp_path, Signal.LOGS, payloads, 2 * COUNT, ack=ack, compression=compression, sourcetype="app", index="main"
    )
    assert len(found) == 2 * COUNT
    for at, record in enumerate(found):
        assert HOST.items() <= record.attributes.items()
        assert (record.resource["host.name"], record.resource["com.splunk.source"]) == ("h1", "/var/log/a.log")
        assert (record.resource["com.splunk.sourcetype"], record.resource["com.splunk.index"]) == ("app", "main")
        if at < COUNT:
            assert (record.body, record.time_ns) == (f"line {at}", START_WALL_NS)
    for at, record in enumerate(found[COUNT:]):
        assert record.body == f"event {at} é"
        assert _near(START_WALL_NS + 1_000_000 * at)(record.time_ns)
        assert attributes[at].items() <= record.attributes.items()
        assert record.attributes["trace_id"] == (at + 1).to_bytes(16, "big").hex()
        assert record.attributes["span_id"] == (at + 1).to_bytes(8, "big").hex()
        assert record.attributes["otel.log.severity.number"] == 9
        assert record.attributes["otel.log.severity.text"] == "INFO"


@needs_collector
def test_raw(tmp_path: Path) -> None:
    """Lines arrive by the raw endpoint with where they belong, and whose life they are of."""
    lines = LineEncoder(resource({**HOST, "host.name": "h1"}), scope("")).encode(
        [f"line {at}".encode() for at in range(COUNT)], START_WALL_NS
    )
    found = through_a_collector(tmp_path, Signal.LOGS, [lines], COUNT, ack=True, api="raw", sourcetype="app")
    assert [record.body for record in found] == [f"line {at}" for at in range(COUNT)]
    told = found[0].resource
    assert (told["host.name"], told["com.splunk.source"]) == ("h1", f"checkout#{LIFE}")


@needs_collector
def test_metrics(tmp_path: Path) -> None:
    """Numbers of several metrics at one time arrive each under its name, with identity and attributes."""
    points = [number(at + 0.5, START_WALL_NS, attributes={"core": str(at)}) for at in range(COUNT)]
    payload = export_metrics(resource(HOST), scope(""), [gauge("cpu", points), gauge("memory", points)])
    found = through_a_collector(tmp_path, Signal.METRICS, [payload], 2 * COUNT, ack=True, metrics_index="metrics")
    assert len(found) == 2 * COUNT
    assert {record.name for record in found} == {"cpu", "memory"}
    values = {(record.name, record.attributes["core"]): record.value for record in found}
    assert values == {(name, str(at)): at + 0.5 for name in ("cpu", "memory") for at in range(COUNT)}
    assert all(record.attributes["shipper.life.id"] == LIFE for record in found)
