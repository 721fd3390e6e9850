"""Records that are understood, left out and sampled, through real sidecars: what arrives, and that the books agree."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.testing.sink import Sink, accept, refuse
from tests.e2e.kit import audit, data_lines, free_port, gateway, host, listening, sidecar, statements, until

CONFIG = """\
files:
  - include: [{log}]
    shape:
      parse: json
      fields: [user]
      drop: [{{below: info}}]
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def line(number: int, level: str = "info", **more: str) -> str:
    return json.dumps({"time": f"2026-11-23T02:00:00.{number:03d}Z", "level": level, "user": number, **more})


def log_records(sink: Sink) -> list[LogRecord]:
    """Those of the data, in order."""
    messages = [ExportLogsServiceRequest.FromString(request.body) for request in sink.received if request.kept]
    found = [
        r for m in messages for resource in m.resource_logs for scope in resource.scope_logs for r in scope.log_records
    ]
    return [one for one in found if not one.event_name]


def test_what_a_line_says_is_on_its_record_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    """Time, severity, trace and a field arrive; debug lines do not, and the farewell says how many that were."""

    async def story() -> None:
        log, config = tmp_path / "app.log", tmp_path / "shipper.yaml"
        config.write_text(CONFIG.format(log=log))
        lines = [line(1, trace_id=TRACE), line(2, "debug"), line(3, "error"), "no JSON at all", line(4, "trace")]
        log.write_text("".join(f"{one}\n" for one in lines))
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, flags=[f"--config={config}"]) as process:
                await until(lambda: len(data_lines(sink)) == 3, "what is not left out arrives")
                assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == [lines[0], lines[2], lines[3]]
            first, second, third = log_records(sink)
            assert first.time_unix_nano == 1795399200001000000
            assert (first.trace_id.hex(), first.severity_text) == (TRACE, "info")
            assert [(one.key, one.value.int_value) for one in second.attributes] == [("user", 3)]
            assert (second.severity_number, third.severity_number) == (17, 0)
            assert [(one.key, one.value.string_value) for one in third.attributes] == [("shipper.shape.error", "json")]
            (stream,) = statements(sink)[-1]["streams"]
            (figures,) = stream["destinations"].values()
            assert (figures["read"], figures["acknowledged"], figures["filtered"], figures["unread"]) == (5, 3, 2, 0)

    asyncio.run(story())


def test_the_books_agree_over_halves_kills_and_another_shape(tmp_path: Path) -> None:
    """Ranges that were refused, halved, and read again by a sidecar that shapes them otherwise: each line is accounted for."""

    async def story() -> None:
        log, config, port = tmp_path / "app.log", tmp_path / "shipper.yaml", free_port()
        config.write_text(CONFIG.format(log=log))
        lines = [line(number, ("debug", "info", "error")[number % 3]) for number in range(900)]
        log.write_text("".join(f"{one}\n" for one in lines))
        flags = [f"--config={config}"]
        async with Sink() as busy:
            busy.judge = lambda request: (
                refuse(413 if len(request.body) > 20_000 else 503) if data(request.body) else accept()
            )
            async with sidecar(tmp_path / "host", busy.url, flags=flags) as process:
                await until(lambda: "503" in process.said(), "the file is cut, halved and not taken")
                await process.kill()
        config.write_text(CONFIG.format(log=log).replace("below: info", "at_least: error"))
        async with gateway(tmp_path / "gateway", port) as there:
            await listening(port)
            async with sidecar(tmp_path / "host", f"http://127.0.0.1:{port}", flags=flags) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
                assert "were shaped by another configuration" in process.said()
            assert await there.terminate() == 0, there.said()
        life = host(audit(tmp_path / "gateway/archive"), "host")
        assert (life["counts"]["read"], life["counts"]["archived"]) == (900, 600)
        assert (life["counts"]["missing"], life["counts"]["duplicates"]) == (0, 0)

    asyncio.run(story())


def data(body: bytes) -> bool:
    return b"2026-11-23T02:00:00" in body


def test_a_file_of_which_nothing_is_shipped_is_done_with(tmp_path: Path) -> None:
    """Ranges without a record are acknowledged like all others, so that nothing is held or asked for again."""

    async def story() -> None:
        log, config, port = tmp_path / "app.log", tmp_path / "shipper.yaml", free_port()
        config.write_text(CONFIG.format(log=log))
        log.write_text("".join(f"{line(number, 'debug')}\n" for number in range(50)))
        async with gateway(tmp_path / "gateway", port) as there:
            await listening(port)
            async with sidecar(tmp_path / "host", f"http://127.0.0.1:{port}", flags=[f"--config={config}"]) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
            assert await there.terminate() == 0, there.said()
        life = host(audit(tmp_path / "gateway/archive"), "host")
        assert (life["counts"]["read"], life["counts"]["archived"], life["counts"]["missing"]) == (50, 0, 0)

    asyncio.run(story())
