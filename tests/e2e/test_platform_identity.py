"""A sidecar asks its platform who it is: records carry the answer, and no platform, however it behaves, keeps records back."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.testing.platforms.imds import TOKEN_PATH, FakeImds
from shipper.testing.platforms.loopback import EVERYWHERE, hang
from shipper.testing.sink import Sink
from tests.e2e.kit import data_lines, sidecar, statements, until

LAUNCHED = {"aws:ec2launchtemplate:id": "lt-0abc", "aws:ec2launchtemplate:version": "7"}


def _attributes(sink: Sink) -> dict[str, Any]:
    """The resource attributes of the last request of lines."""
    message = ExportLogsServiceRequest.FromString(
        [request for request in sink.kept() if data_lines_of(request)][-1].body
    )
    pairs = message.resource_logs[0].resource.attributes
    return {pair.key: pair.value.string_value for pair in pairs}


def data_lines_of(request: Any) -> list[str]:
    return [line for line in request.lines() if not line.startswith("{")]


def test_records_carry_what_the_platform_said_also_after_a_restart(tmp_path: Path) -> None:
    """Image, zone and launch template are on the lines; the life keeps them, also when the platform says otherwise later."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\n")
        async with Sink() as sink, FakeImds(tags=LAUNCHED) as imds:
            env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url, "SHIPPER_GENERATION": ""}
            async with sidecar(tmp_path / "host", sink.url, log, **env) as process:
                await until(lambda: data_lines(sink) == ["one"], "the line arrives")
                assert await process.terminate() == 0, process.said()
            first = _attributes(sink)
            assert first["shipper.generation"] == "lt-0abc:7"
            assert first["cloud.availability_zone"] == "us-east-1a"
            assert statements(sink)[0]["labels"]["generation"] == "lt-0abc:7"
            imds.set_tags({**LAUNCHED, "aws:ec2launchtemplate:version": "8"})
            with open(log, "a") as out:
                out.write("two\n")
            async with sidecar(tmp_path / "host", sink.url, log, **env) as process:
                await until(lambda: data_lines(sink) == ["one", "two"], "the next line arrives")
                assert await process.terminate() == 0, process.said()
            assert _attributes(sink) == first

    asyncio.run(story())


def test_a_stop_while_the_platform_is_asked_is_kept_and_nothing_is_lost(tmp_path: Path) -> None:
    """A metadata service that never answers delays the first record by two seconds, and takes no last word away."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\ntwo\n")
        async with Sink() as sink, FakeImds() as imds:
            imds.trap_always(EVERYWHERE, hang())
            env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url}
            async with sidecar(tmp_path / "host", sink.url, log, **env) as process:
                await until(lambda: imds.count(TOKEN_PATH, "PUT"), "the platform is asked")
                process.signal(signal.SIGTERM)
                assert await process.ended() == 0, process.said()
            assert data_lines(sink) == ["one", "two"]
            assert statements(sink)[-1]["outcome"] == "drained"
            assert "ec2: " in process.said()
            assert "stays unknown for this life" in process.said()
            assert "host.type" not in _attributes(sink)

    asyncio.run(story())
