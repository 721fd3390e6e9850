"""Shipper and an OpenTelemetry Collector, both real: what is written arrives, whatever the Collector answers.

Needs a Collector with the otlp receiver, the otlp_http exporter and the memory_limiter processor; its path is taken from
``OTELCOL_BINARY``. Behind it stands a sink, or a gateway, that says what came through.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.testing.sink import Sink, refuse
from tests.e2e.kit import (
    PATIENCE,
    free_port,
    gateway,
    is_statement,
    listening,
    shipper,
    sidecar,
    until,
)

OTELCOL = os.environ.get("OTELCOL_BINARY", "")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not OTELCOL, reason="OTELCOL_BINARY names no OpenTelemetry Collector"),
]


class Collector:
    """A Collector that answers only when the next one has answered; ``body`` limits requests, ``processor`` is its only one."""

    def __init__(self, directory: Path, port: int, to: str, **options: Any) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._directory = directory
        self._port = port
        self._process: Process | None = None
        http: dict[str, Any] = {"endpoint": f"127.0.0.1:{port}"}
        if "body" in options:
            http["max_request_body_size"] = options["body"]
        processors = options.get("processor", {})
        sender = {"endpoint": to, "sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
        pipeline = {"receivers": ["otlp"], "processors": list(processors), "exporters": ["otlp_http"]}
        self._config = {
            "receivers": {"otlp": {"protocols": {"http": http}}},
            "processors": processors,
            "exporters": {"otlp_http": sender | options.get("sender", {})},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"logs": pipeline, "traces": pipeline, "metrics": pipeline},
            },
        }

    async def __aenter__(self) -> Collector:
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "collector.json"
        config.write_text(json.dumps(self._config))
        with open(self._directory / "collector.out", "ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                OTELCOL, f"--config={config}", stdin=DEVNULL, stdout=output, stderr=STDOUT
            )
        await listening(self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(signal.SIGTERM)

    async def stop(self, number: signal.Signals) -> None:
        """End it with a signal, and wait for that."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            await self._process.wait()

    def said(self) -> str:
        """What it printed."""
        return (self._directory / "collector.out").read_text()


def _lines(sink: Sink) -> list[str]:
    """Everything that came through; a Collector takes Shipper's keys off, so nothing is left out as a repeat."""
    return [line for line in sink.lines() if not is_statement(line)]


def _number(line: str) -> int:
    return int(line.split(" ")[1])


def test_lines_labels_and_origin_come_through_a_collector(tmp_path: Path) -> None:
    """Each line comes through once with its host's resource and its file's scope, and the farewell comes too."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(f"line {number}\n" for number in range(20_000)))
        async with Sink() as sink, Collector(tmp_path / "col", free_port(), sink.url) as collector:
            async with sidecar(tmp_path / "host-a", collector.url, log) as process:
                await until(lambda: len(_lines(sink)) >= 20_000, "all lines arrive")
                assert await process.terminate() == 0, process.said()
            assert [_number(line) for line in _lines(sink)] == list(range(20_000))
            assert json.loads(sink.lines()[-1])["outcome"] == "drained"
            first = next(r for r in sink.kept() if r.lines()[0] == "line 0")
            (logs,) = ExportLogsServiceRequest.FromString(first.body).resource_logs
            resource = {pair.key: pair.value.string_value for pair in logs.resource.attributes}
            assert (resource["service.name"], resource["service.version"]) == ("checkout", "1.2.3")
            assert resource["host.name"] == "host-a"
            scope = {pair.key: pair.value.string_value for pair in logs.scope_logs[0].scope.attributes}
            assert scope["log.file.path"] == str(log)

    asyncio.run(story())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_collector_restarted_under_load_costs_no_line(tmp_path: Path, how: signal.Signals) -> None:
    """A Collector that ends and comes back while lines are written: every line arrives."""

    async def story() -> None:
        log, port, written = tmp_path / "app.log", free_port(), 0
        async with Sink() as sink, sidecar(tmp_path / "host-a", f"http://127.0.0.1:{port}", log) as process:
            for _ in range(4):
                async with Collector(tmp_path / "col", port, sink.url) as collector:
                    before = len(sink.kept())
                    for _ in range(20):
                        with open(log, "ab") as out:
                            for _ in range(500):
                                out.write(b"line %d\n" % written)
                                written += 1
                        await asyncio.sleep(0.01)
                    await until(lambda: len(sink.kept()) > before, "something arrives")  # noqa: B023
                    await collector.stop(how)
            async with Collector(tmp_path / "col", port, sink.url):
                await until(lambda: len({*_lines(sink)}) >= written, "all lines arrive")
                assert await process.terminate() == 0, process.said()
            assert {_number(line) for line in _lines(sink)} == set(range(written))

    asyncio.run(story())


def test_requests_that_a_collector_finds_too_large_are_cut(tmp_path: Path) -> None:
    """A Collector that takes 8 KiB a request gets everything in pieces of that size; a larger line is quarantined."""

    async def story() -> None:
        log = tmp_path / "app.log"
        lines = [f"line {number} {'x' * 100}\n" for number in range(3000)]
        lines[1234] = f"line 1234 {'x' * 9000}\n"
        log.write_text("".join(lines))
        async with Sink() as sink, Collector(tmp_path / "col", free_port(), sink.url, body=8192) as collector:
            async with sidecar(tmp_path / "host-a", collector.url, log) as process:
                await until(lambda: len(_lines(sink)) >= 2999, "all other lines arrive")
                assert await process.terminate() == 0, process.said()
            assert sorted(map(_number, _lines(sink))) == [n for n in range(3000) if n != 1234]
            assert all(len(request.body) <= 8192 for request in sink.kept())
        listed = shipper("quarantine", "ls", f"--state-dir={tmp_path / 'host-a/state'}")
        assert "too large" in listed.stdout, listed.stdout + listed.stderr

    asyncio.run(story())


def test_a_collector_out_of_memory_is_waited_for(tmp_path: Path) -> None:
    """While the memory_limiter refuses, nothing is given up; with more memory everything arrives."""

    async def story() -> None:
        log, port = tmp_path / "app.log", free_port()
        log.write_text("".join(f"line {number}\n" for number in range(5000)))
        tight = {"memory_limiter": {"check_interval": "10ms", "limit_mib": 2, "spike_limit_mib": 1}}
        async with Sink() as sink, sidecar(tmp_path / "host-a", f"http://127.0.0.1:{port}", log) as process:
            async with Collector(tmp_path / "col", port, sink.url, processor=tight):
                await until(lambda: "503" in process.said(), "the refusal is reported")
                assert sink.kept() == []
            async with Collector(tmp_path / "col", port, sink.url):
                await until(lambda: len(_lines(sink)) >= 5000, "all lines arrive")
                assert await process.terminate() == 0, process.said()
            assert sorted(map(_number, _lines(sink))) == list(range(5000))

    asyncio.run(story())


def test_what_the_place_behind_a_collector_refuses_is_not_counted_as_arrived(tmp_path: Path) -> None:
    """A Collector passes on that its own destination is down or throttles; Shipper sends again until it is taken."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(f"line {number}\n" for number in range(5000)))
        async with Sink() as sink, Collector(tmp_path / "col", free_port(), sink.url) as collector:
            sink.script(refuse(503), refuse(429, retry_after="1"), refuse(502))
            async with sidecar(tmp_path / "host-a", collector.url, log) as process:
                await until(lambda: len(_lines(sink)) >= 5000, "all lines arrive")
                assert await process.terminate() == 0, process.said()
            assert [_number(line) for line in _lines(sink)] == list(range(5000))

    asyncio.run(story())


def test_a_gateway_killed_behind_a_collector_has_every_line_in_its_archive(tmp_path: Path) -> None:
    """Sidecar, Collector, gateway: with the gateway killed again and again nothing that it acknowledged is lost."""

    async def story() -> int:
        log, port, written = tmp_path / "app.log", free_port(), 0
        to = f"http://127.0.0.1:{port}"
        # It ends with a backlog and after refusals; how long that takes a loaded machine is not what is asked here.
        time = {"SHIPPER_DRAIN_DEADLINE": f"{PATIENCE:.0f}s"}
        receiver = await gateway(tmp_path / "gateway", port, **time).start()
        async with Collector(tmp_path / "col", free_port(), to) as collector:
            async with sidecar(tmp_path / "host-a", collector.url, log, **time) as process:
                for _ in range(4):
                    with open(log, "ab") as out:
                        for _ in range(4000):
                            out.write(b"line %d\n" % written)
                            written += 1
                    await listening(port)
                    for _ in range(10):  # at some moment of the transfer
                        await asyncio.sleep(0.03)
                    await receiver.kill()
                    await receiver.start()
                await listening(port)
                assert await process.terminate() == 0, process.said()
        assert await receiver.terminate() == 0, receiver.said()
        return written

    written = asyncio.run(story())
    printed = shipper("cat", str(tmp_path / "gateway/archive"), "--host", "host-a").stdout.splitlines()
    assert {_number(line[line.index("line ") :]) for line in printed if "line " in line} == set(range(written))


def test_a_gateway_takes_what_a_collector_compressed_with_zstd(tmp_path: Path) -> None:
    """A Collector that compresses with zstd needs no other setting; its lines are in the archive."""

    async def story() -> None:
        log, port = tmp_path / "app.log", free_port()
        log.write_text("".join(f"line {number}\n" for number in range(100)))
        sender = {"compression": "zstd"}
        async with gateway(tmp_path / "gateway", port) as receiver:
            await listening(port)
            async with Collector(tmp_path / "col", free_port(), f"http://127.0.0.1:{port}", sender=sender) as collector:
                async with sidecar(tmp_path / "host-a", collector.url, log) as process:
                    await process.up()
                    assert await process.terminate() == 0, process.said()
            assert await receiver.terminate() == 0, receiver.said()

    asyncio.run(story())
    printed = shipper("cat", str(tmp_path / "gateway/archive"), "--host", "host-a").stdout.splitlines()
    assert {_number(line[line.index("line ") :]) for line in printed if "line " in line} == set(range(100))
