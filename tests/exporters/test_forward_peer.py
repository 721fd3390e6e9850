"""Round trips through receivers of the forward protocol that others wrote: N distinct records in, N out, all fields equal.

Fluent's server for JavaScript is installed by npm. ``OTELCOL_BINARY`` names a Collector with the receiver ``fluent_forward`` and the
exporter ``file`` (``OTELCOL_CONTRIB_BINARY`` where that is another), ``FLUENTD_BINARY`` a Fluentd, ``FLUENT_BIT_BINARY`` a Fluent Bit.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext, Signal
from shipper.otlp.decode import from_json, records
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE
from shipper_exporters.forward import ForwardExporter, ForwardSettings
from tests.e2e.kit import free_port, listening, until
from tests.exporters import fluent_js_server
from tests.exporters.log_kit import payload, request
from tests.sources.certificates import make

COLLECTOR = os.environ.get("OTELCOL_CONTRIB_BINARY") or os.environ.get("OTELCOL_BINARY", "")
FLUENTD = os.environ.get("FLUENTD_BINARY", "")
FLUENT_BIT = os.environ.get("FLUENT_BIT_BINARY", "")
COUNT = 1000
ROWS = [
    {
        "body": f"event {number} é",
        "time_unix_nano": START_WALL_NS + number,
        "severity_number": 9,
        "attributes": {"user.id": f"u{number}", "count": number, "flag": True, "list": ["a", 1]},
        "trace_id": (number + 1).to_bytes(16, "big"),
        "span_id": (number + 1).to_bytes(8, "big"),
    }
    for number in range(COUNT)
]
LINES = [{"body": f"line {number}", "observed_time_unix_nano": START_WALL_NS} for number in range(COUNT)]


async def send(endpoint: str, **options: Any) -> None:
    """Send all rows and all lines, in two requests."""
    settings = ForwardSettings(endpoint=endpoint, **options)
    exporter = ForwardExporter("fluentd", settings, ExporterContext(SystemClock(), LIFE, 1, "test"))
    await exporter.start()
    for rows in (ROWS, LINES):
        sent = request((payload(rows, scope="shop"), len(rows)))
        assert await exporter.send(exporter.prepare(sent), Deadline.after(SystemClock(), 60)) == Accepted()
    await exporter.aclose()


def checked(found: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Nanoseconds and records as they were sent."""
    assert len(found) == 2 * COUNT
    for row, (when, record) in zip(ROWS, found, strict=False):
        assert when == row["time_unix_nano"]
        assert record["message"] == row["body"]
        assert (record["severity"], record["severity_number"]) == ("INFO", 9)
        assert record["attributes"] == row["attributes"]
        assert (record["trace_id"], record["span_id"]) == (row["trace_id"].hex(), row["span_id"].hex())
    for line, (when, record) in zip(LINES, found[COUNT:], strict=True):
        assert (when, record["message"]) == (line["observed_time_unix_nano"], line["body"])
    for _, record in found:
        assert (record["service"], record["release"], record["generation"]) == ("checkout", "2.4.1", "deploy-17")
        assert (record["environment"], record["host"], record["life"]) == ("production", "ip-10-0-1-17", LIFE)
        assert record["image"] == "ami-1"
        assert record["resource"] == {"host.id": "i-0abc", "host.image.id": "ami-1"}


@asynccontextmanager
async def running(command: Sequence[str], **options: Any) -> AsyncIterator[Process]:
    """A process that is ended."""
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, **options)
    try:
        async with asyncio.timeout(120):
            yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("secured", [False, True], ids=["open", "shared key"])
def test_fluents_own_server_for_javascript(tmp_path: Path, compression: str, secured: bool) -> None:
    """All records arrive, by both modes, with and without a shared key and a user."""
    security = {"serverHostname": "js", "sharedKey": "k1", "authorize": True, "userDict": {"host": "p1"}}
    options: dict[str, Any] = {"compression": compression}
    if secured:
        (tmp_path / "key").write_text("k1")
        (tmp_path / "password").write_text("p1")
        options |= {"shared_key_file": str(tmp_path / "key"), "password_file": str(tmp_path / "password")}
        options |= {"username": "host"}
    command = fluent_js_server.command({"security": security} if secured else {})

    async def story() -> None:
        async with running(command, stdout=PIPE, limit=1 << 24) as server:
            assert server.stdout is not None
            port = int(await server.stdout.readline())
            sending = asyncio.create_task(send(f"127.0.0.1:{port}", **options))
            found = [json.loads(await server.stdout.readline()) for _ in range(2 * COUNT)]
            await sending
        assert {tag for tag, _, _ in found} == {"checkout.logs"}
        checked([(seconds * 10**9 + nanoseconds, record) for _, (seconds, nanoseconds), record in found])

    asyncio.run(story())


@cache
def _takes_forward() -> bool:
    if not COLLECTOR:
        return False
    listed = subprocess.run([COLLECTOR, "components"], capture_output=True, text=True, timeout=60, check=True).stdout
    return "fluent_forward" in listed and "name: file" in listed


@pytest.mark.skipif(not _takes_forward(), reason="OTELCOL_BINARY names no Collector with fluent_forward and file")
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_an_opentelemetry_collector(tmp_path: Path, compression: str) -> None:
    """All records arrive in a Collector, by both modes, and what it writes down has all fields."""
    port, out = free_port(), tmp_path / "out.json"
    config = {
        "receivers": {"fluent_forward": {"endpoint": f"127.0.0.1:{port}"}},
        "exporters": {"file": {"path": str(out)}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"logs": {"receivers": ["fluent_forward"], "exporters": ["file"]}},
        },
    }
    (tmp_path / "collector.json").write_text(json.dumps(config))

    def written() -> list[Any]:
        lines = out.read_bytes().split(b"\n")[:-1] if out.exists() else []
        return [record for line in lines for record in records(Signal.LOGS, from_json(Signal.LOGS, line))]

    async def story() -> None:
        command = [COLLECTOR, f"--config={tmp_path / 'collector.json'}"]
        async with running(command, stdout=DEVNULL, stderr=DEVNULL):
            await listening(port)
            await send(f"127.0.0.1:{port}", compression=compression)
            await until(lambda: len(written()) >= 2 * COUNT, "the Collector has written all")
        assert {record.attributes["fluent.tag"] for record in written()} == {"checkout.logs"}
        checked([(record.time_ns, {"message": record.body, **record.attributes}) for record in written()])

    asyncio.run(story())


SECURITY = """
  <security>
    self_hostname server
    shared_key k1
    user_auth true
    <user>
      username host
      password p1
    </user>
  </security>
"""


@pytest.mark.skipif(not FLUENTD, reason="FLUENTD_BINARY names no Fluentd")
@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("secured", [False, True], ids=["open", "secured"])
def test_fluentd(tmp_path: Path, compression: str, secured: bool) -> None:
    """All records arrive in Fluentd, by both modes, also over TLS with a client certificate, a shared key and a user."""
    port, out, options = free_port(), tmp_path / "out", {"compression": compression}
    transport = security = ""
    if secured:
        files = make(tmp_path / "certificates")
        (tmp_path / "key").write_text("k1")
        (tmp_path / "password").write_text("p1")
        options |= {"shared_key_file": str(tmp_path / "key"), "username": "host"}
        options |= {"password_file": str(tmp_path / "password"), "ca_file": str(files.ca)}
        options |= {"cert_file": str(files.client_cert), "key_file": str(files.client_key)}
        transport = f"<transport tls>\ncert_path {files.cert}\nprivate_key_path {files.key}\n"
        transport += f"ca_path {files.ca}\nclient_cert_auth true\n</transport>"
        security = SECURITY
    (tmp_path / "fluentd.conf").write_text(
        f"""
        <source>
          @type forward
          bind 127.0.0.1
          port {port}
          {transport}
          {security}
        </source>
        <match checkout.**>
          @type file
          path {out}/records
          append true
          <inject>
            time_key time
            time_type string
            time_format %s%N
          </inject>
          <format>
            @type json
          </format>
          <buffer>
            flush_mode immediate
          </buffer>
        </match>
        """
    )

    def written() -> list[Any]:
        lines = [line for file in out.glob("records*.log") for line in file.read_bytes().split(b"\n")[:-1]]
        return [json.loads(line) for line in lines]

    async def story() -> None:
        command = [FLUENTD, "--no-supervisor", "-c", str(tmp_path / "fluentd.conf")]
        async with running(command, stdout=DEVNULL, stderr=DEVNULL):
            await listening(port)
            await send(f"{'tls://' if secured else ''}127.0.0.1:{port}", **options)
            await until(lambda: len(written()) >= 2 * COUNT, "Fluentd has written all")
        # Its buffers are written one beside the other.
        order = {row["body"]: number for number, row in enumerate([*ROWS, *LINES])}
        found = sorted(written(), key=lambda record: order[record["message"]])
        checked([(int(record["time"]), record) for record in found])

    asyncio.run(story())


@pytest.mark.skipif(not FLUENT_BIT, reason="FLUENT_BIT_BINARY names no Fluent Bit")
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_fluent_bit(tmp_path: Path, compression: str) -> None:
    """All records arrive in Fluent Bit, by both modes, and what it writes down has all fields."""
    port, out = free_port(), tmp_path / "out"
    arguments = ["-q", "-f", "0.1", "-i", "forward", "-p", "listen=127.0.0.1", "-p", f"port={port}"]
    arguments += ["-o", "file", "-m", "*", "-p", f"path={tmp_path}", "-p", "file=out", "-p", "format=plain"]

    def written() -> list[dict[str, Any]]:
        return [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]] if out.exists() else []

    async def story() -> None:
        async with running([FLUENT_BIT, *arguments], stdout=DEVNULL, stderr=DEVNULL):
            await listening(port)
            await send(f"127.0.0.1:{port}", compression=compression)
            await until(lambda: len(written()) >= 2 * COUNT, "Fluent Bit has written all")
        times = [row["time_unix_nano"] for row in ROWS] + [line["observed_time_unix_nano"] for line in LINES]
        checked(list(zip(times, written(), strict=True)))  # this format leaves the time out

    asyncio.run(story())
