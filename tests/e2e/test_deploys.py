"""Deploys through real gateways: told by the command or shown by hosts, kept alive by one gateway at a time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from shipper.contracts import Signal
from shipper.dashboards.build import build
from shipper.dashboards.config import BoardConfig
from shipper.otlp import decode
from shipper.testing import prometheus
from shipper.testing.prometheus import Labels, Prometheus
from shipper.testing.sink import Sink
from tests.dashboards.lint import promql
from tests.e2e.kit import Shipper, audit, free_port, gateway, listening, shipper, sidecar, until
from tests.e2e.test_prometheus import configuration

FAST = {"SHIPPER_METRICS_INTERVAL": "1s", "SHIPPER_DEPLOYS_LEASE": "9s"}  # a holder must not lose it on a busy machine


def points(sink: Sink, name: str) -> Iterator[decode.Record]:
    """The points of a metric that the sink keeps, in order of their time."""
    found = [
        record
        for request in sink.kept()
        if request.signal is Signal.METRICS
        for record in decode.records(Signal.METRICS, request.body)
        if record.name == name
    ]
    return iter(sorted(found, key=lambda record: record.time_ns))


def keepers(sink: Sink) -> list[str]:
    """Who said to keep the series of deploys, one after the other."""
    names = (str(record.attributes["gateway"]) for record in points(sink, "shipper.keeper.info"))
    return [name for name, _ in groupby(names)]


def kept(sink: Sink, generation: str, gateway: str) -> bool:
    """Whether a deploy of this generation is written after the gateway began to."""
    since = min(
        (r.time_ns for r in points(sink, "shipper.keeper.info") if r.attributes["gateway"] == gateway), default=0
    )
    started = points(sink, "shipper.deploy.started_timestamp")
    return bool(since) and any(
        record.resource.get("shipper.generation") == generation and record.time_ns >= since for record in started
    )


async def tell(port: int, *arguments: str) -> None:
    """``shipper deploy`` as a pipeline runs it."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPPER_", "OTEL_"))}
    command = [
        sys.executable,
        "-m",
        "shipper",
        "deploy",
        *arguments,
        "--service",
        "checkout",
        "--env",
        "prod",
        "--strict",
    ]
    command += [f"--endpoint=http://127.0.0.1:{port}", "--timeout=30"]
    done = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_of_two_gateways_keeps_deploys_alive_and_the_other_follows_its_death(tmp_path: Path) -> None:
    """A deploy told to one gateway is kept alive by the other that holds the lease; after its SIGKILL the first takes over."""

    async def story(sink: Sink) -> None:
        ports = {name: free_port() for name in ("one", "two")}
        running: dict[str, Shipper] = {}
        for name, port in ports.items():
            flags = [f"--archive={tmp_path / 'archive'}", f"--to={sink.url}"]
            running[name] = await gateway(tmp_path / name, port, flags=flags, **FAST, SHIPPER_HOST=name).start()
            await listening(port)
        try:
            (holder,) = await until(lambda: keepers(sink), "somebody keeps the series of deploys")
            (other,) = running.keys() - {holder}
            await tell(ports[other], "start", "--generation", "g7")
            await until(lambda: kept(sink, "g7", holder), "the holder writes what the other was told")
            await running[holder].kill()
            await tell(ports[other], "finish", "--generation", "g7")
            await until(lambda: kept(sink, "g7", other), "the other goes on")
            await until(lambda: list(points(sink, "shipper.deploy.finished_timestamp")), "and knows the end")
            assert keepers(sink) == [holder, other]
            assert await running[other].terminate() == 0, running[other].said()
        finally:
            for process in running.values():
                await process.kill()

    async def main() -> None:
        async with Sink() as sink:
            await story(sink)

    asyncio.run(main())
    report = audit(tmp_path / "archive")
    assert report["totals"]["missing"] == 0
    said = shipper("cat", str(tmp_path / "archive")).stdout
    assert "deploy of checkout started, in prod, generation g7" in said  # the event itself went on as a log record


def test_a_deploy_that_was_acknowledged_survives_the_gateway_s_sudden_death(tmp_path: Path) -> None:
    """SIGKILL right after the answer: the gateway's next run keeps the deploy alive, without an archive too."""

    async def story(sink: Sink) -> None:
        port = free_port()
        settings = {"SHIPPER_OTLP_ENDPOINT": sink.url, "SHIPPER_ADMIN_LISTEN": "off", "SHIPPER_HOST": "only", **FAST}
        arguments = ["gateway", f"--listen=127.0.0.1:{port}", f"--state-dir={tmp_path / 'state'}"]
        async with Shipper(tmp_path / "gateway", arguments, settings) as receiver:
            await listening(port)
            await tell(port, "rollback", "--generation", "g8")
            await receiver.kill()
            sink.received.clear()
            await receiver.start()
            await until(lambda: kept(sink, "g8", "only"), "the deploy is still known")
            assert await receiver.terminate() == 0, receiver.said()

    async def main() -> None:
        async with Sink() as sink:
            await story(sink)

    asyncio.run(main())


@pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)
def test_a_rollback_that_nobody_told_of_is_three_generations(tmp_path: Path) -> None:
    """Hosts of A, of B, and of A again: Prometheus has three inferred starts, and so have boards and markers and the audit's table."""

    async def story(server: Prometheus) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        flag = configuration(
            tmp_path / "gateway", prometheus={"type": "prometheus", "endpoint": server.write_url, "trust_local": True}
        )
        async with gateway(tmp_path / "gateway", port, flags=[flag], **FAST) as receiver:
            await listening(port)
            before: Shipper | None = None
            for number, key in enumerate("ABA", start=1):
                settings = {"SHIPPER_GENERATION": key, "SHIPPER_RELEASE": f"r{key}", "SHIPPER_ENVIRONMENT": "prod"}
                log = tmp_path / f"{number}.log"
                log.write_text("a line\n")
                process = await sidecar(
                    tmp_path / f"host-{number}", url, log, flags=["--ephemeral"], **settings
                ).start()
                await process.up()
                if before is not None:
                    assert await before.terminate() == 0, before.said()
                before = process
                await until(lambda: len(episodes(server)) == number, f"episode {number} is seen")  # noqa: B023
            assert before is not None
            assert await before.terminate() == 0, before.said()
            assert await receiver.terminate() == 0, receiver.said()
        assert server.value('max_over_time(shipper_keeper_info{gateway="gateway"}[5m])', time.time()) == 1
        assert sorted(episodes(server)) == [("A", "1"), ("A", "2"), ("B", "1")]
        back = (
            'shipper_deploy_started_timestamp_seconds{action="rollback",inferred="true",from_release="rB",episode="2"}'
        )
        assert server.value(f"count({back})", time.time()) == 1
        board = json.loads(build(BoardConfig())["shipper-triage.json"])
        [changes] = [panel for panel in board["panels"] if panel["title"].startswith("What changed last")]
        rows = [dict(labels) for labels in asked(server, changes["targets"][0]["expr"])]
        assert sorted((row["generation"], row["action"], row["inferred"]) for row in rows) == [
            ("A", "deploy", "true"),
            ("A", "rollback", "true"),
            ("B", "deploy", "true"),
        ]
        for marker in board["annotations"]["list"][:2]:
            assert {dict(labels)["inferred"] for labels in asked(server, marker["expr"])} == {"true"}, marker["name"]

    def asked(server: Prometheus, expression: str) -> Iterable[Labels]:
        return server.query(promql.filled(expression, {"env": "prod", "service": "checkout"}), time.time())

    def episodes(server: Prometheus) -> list[tuple[str, str]]:
        found = server.query("shipper_generation_episode_started_timestamp_seconds", time.time())
        return [(dict(labels)["generation"], dict(labels)["episode"]) for labels in found]

    with Prometheus(tmp_path / "prometheus") as server:
        asyncio.run(story(server))
    printed = shipper("audit", str(tmp_path / "gateway/archive")).stdout
    assert "the 2. time, rollback" in printed
