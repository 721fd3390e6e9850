"""Real sidecars on clouds that announce the end: they drain in time, and let go of what waits for them when they are empty."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from shipper.testing.platforms.azure import FakeAzure
from shipper.testing.platforms.gce import FakeGce
from shipper.testing.platforms.lambda_api import FakeLambda
from shipper.testing.sink import Sink
from tests.e2e.kit import data_lines, sidecar, statements, until
from tests.e2e.writer import end, service


def test_a_preempted_machine_of_gce_sends_its_last_words(tmp_path: Path) -> None:
    """The long poll's answer begins the drain, reading goes on until the service has ended, and then the sidecar goes."""

    async def scenario() -> None:
        async with Sink() as sink, FakeGce() as gce:
            log = tmp_path / "app.log"
            one = sidecar(tmp_path / "host", sink.url, log, GCE_METADATA_HOST=gce.metadata_host)
            writer = service(log)
            async with one:
                await one.up()
                await until(lambda: data_lines(sink) == ["first"], "the first line")
                gce.preempt()
                await until(lambda: "draining because of notice from gce" in one.said(), "the drain")
                assert one.alive()
                await end(writer)
                assert await one.ended() == 0
            assert data_lines(sink) == ["first", "last"]
            (notice,) = (words["notice"] for words in statements(sink) if "notice" in words)
            assert "preempted is TRUE" in notice["evidence"]

    asyncio.run(scenario())


def test_azure_is_told_to_go_on_when_the_host_is_empty_and_not_before(tmp_path: Path) -> None:
    """Another machine's eviction does nothing; our own is approved once the service's last word has arrived."""

    async def scenario() -> None:
        async with Sink() as sink, FakeAzure() as azure:
            config = tmp_path / "shipper.yaml"
            destination = {"type": "otlp", "endpoint": sink.url, "trust_local": True}
            config.write_text(
                json.dumps({"destinations": {"main": destination}, "notices": {"endpoints": {"azure": azure.url}}})
            )
            log = tmp_path / "app.log"
            one = sidecar(tmp_path / "host", "", log, flags=["--config", str(config)])
            writer = service(log)
            async with one:
                await one.up()
                azure.schedule("Preempt", within=30, resources=["web_1"])
                asked = len(azure.asked)
                await until(lambda: len(azure.asked) > asked + 2, "two more questions")
                assert "draining" not in one.said()
                event = azure.schedule("Preempt", within=60)
                await until(lambda: "draining because of notice from azure" in one.said(), "the drain")
                await until(lambda: data_lines(sink) == ["first"], "the first line")
                assert azure.approved == []
                await end(writer)
                await until(lambda: azure.approved, "the approval")
                assert data_lines(sink) == ["first", "last"]
                assert await one.ended() == 0
            assert azure.approved == [event]

    asyncio.run(scenario())


def test_an_extension_of_lambda_follows_invocations_and_goes_at_the_end(tmp_path: Path) -> None:
    """Each invocation is followed by the question for the next; SHUTDOWN drains within its two seconds, without a signal."""

    async def scenario() -> None:
        async with Sink() as sink, FakeLambda() as api:
            log = tmp_path / "app.log"
            writer = service(log)
            assert writer.stdin is not None
            one = sidecar(
                tmp_path / "host", sink.url, log, AWS_LAMBDA_RUNTIME_API=api.runtime_api, AWS_LAMBDA_FUNCTION_NAME="web"
            )
            async with one:
                await api.until_ready()
                for number in range(1, 4):
                    api.invoke(f"r-{number}")
                    writer.stdin.write(f"invocation {number}\n".encode())
                    writer.stdin.flush()
                    await api.until_ready(number + 1)
                    await until(lambda number=number: f"invocation {number}" in data_lines(sink), "its line")
                api.shut_down("SPINDOWN", within=2.0)
                await until(lambda: "draining because of notice from lambda" in one.said(), "the drain")
                await end(writer)
                assert await one.ended() == 0
            assert data_lines(sink)[-1] == "last"
            assert statements(sink)[-1]["outcome"] == "drained"

    asyncio.run(scenario())
