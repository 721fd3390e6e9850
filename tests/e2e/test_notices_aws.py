"""Real sidecars on EC2 and ECS that hear of their end: they drain in time, and the group goes on when the host is empty."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from shipper.testing.platforms.autoscaling import FakeAutoScaling
from shipper.testing.platforms.ecs import FakeEcs
from shipper.testing.platforms.imds import FakeImds
from shipper.testing.sink import Sink
from tests.e2e.kit import data_lines, sidecar, statements, until
from tests.e2e.writer import end, service


def test_a_spot_instance_sends_its_last_words(tmp_path: Path) -> None:
    """The interruption begins the drain, reading goes on until the service has ended, and then the sidecar goes."""

    async def scenario() -> None:
        async with Sink() as sink, FakeImds() as imds:
            imds.interrupt("terminate", seconds=120)
            log = tmp_path / "app.log"
            writer = service(log)
            one = sidecar(tmp_path / "host", sink.url, log, AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url)
            async with one:
                await until(lambda: "draining because of notice from ec2-spot" in one.said(), "the drain")
                await until(lambda: data_lines(sink) == ["first"], "the first line")
                assert one.alive()
                await end(writer)
                assert await one.ended() == 0
            assert data_lines(sink) == ["first", "last"]
            (notice,) = (words["notice"] for words in statements(sink) if "notice" in words)
            assert "terminate" in notice["evidence"]

    asyncio.run(scenario())


def test_an_auto_scaling_group_waits_until_the_host_is_empty(tmp_path: Path) -> None:
    """The hook is kept waiting while the service still writes, and completed once its last word has arrived."""
    pytest.importorskip("botocore")

    async def scenario() -> None:
        tags = {"aws:autoscaling:groupName": "checkout-asg"}
        async with Sink() as sink, FakeImds(tags=tags, role="checkout") as imds, FakeAutoScaling() as api:
            hook = api.add_hook("drain", heartbeat=300)
            api.terminate()
            imds.set_target_state("Terminated")
            config = tmp_path / "shipper.yaml"
            destination = {"type": "otlp", "endpoint": sink.url, "trust_local": True}
            endpoints = {"ec2": imds.url, "autoscaling": api.url}
            config.write_text(json.dumps({"destinations": {"main": destination}, "notices": {"endpoints": endpoints}}))
            log = tmp_path / "app.log"
            writer = service(log)
            away = {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
            one = sidecar(tmp_path / "host", "", log, flags=["--config", str(config)], **away)
            async with one:
                await until(lambda: api.called("RecordLifecycleActionHeartbeat"), "a heartbeat")
                await until(lambda: data_lines(sink) == ["first"], "the first line")
                assert not hook.completed
                await end(writer)
                await until(lambda: hook.completed, "the completion")
                assert data_lines(sink) == ["first", "last"]
                assert await one.ended() == 0
            assert hook.completed == "CONTINUE"

    asyncio.run(scenario())


def test_a_task_that_shall_stop_drains_before_the_signal(tmp_path: Path) -> None:
    """DesiredStatus STOPPED begins the drain; with the service's end the sidecar ends, and no signal was needed."""

    async def scenario() -> None:
        async with Sink() as sink, FakeEcs() as ecs:
            log = tmp_path / "app.log"
            writer = service(log)
            one = sidecar(tmp_path / "host", sink.url, log, **ecs.env())
            async with one:
                await one.up()
                await until(lambda: data_lines(sink) == ["first"], "the first line")
                ecs.stop_task()
                await until(lambda: "draining because of notice from ecs" in one.said(), "the drain")
                await end(writer)
                assert await one.ended() == 0
            assert data_lines(sink) == ["first", "last"]

    asyncio.run(scenario())
