"""What a host says in numbers, from its birth to its last sample, in a real Prometheus: equal to the truth, and gone with it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shipper.contracts import Signal
from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from shipper.testing.sink import Received, Sink
from tests.e2e.kit import audit, free_port, gateway, host, listening, shipper, sidecar, until
from tests.measure.measurekit import points

NEEDS_PROMETHEUS = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)
LOGS = """\
requests:
  logs:
    - files: ["{directory}/*.log*"]
      format: 'request .*status=(?P<status>\\d+) duration_ms=(?P<duration>[\\d.]+)'
      unit: ms
"""
OWN = {"SHIPPER_METRICS_OWN": "true", "SHIPPER_METRICS_INTERVAL": "1"}
WRITER = """
import os, sys
path, first, count, rotate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for number in range(first, first + count):
    if rotate and number % rotate == 0 and os.path.exists(path):
        os.rename(path, path + ".1")
    with open(path, "a") as log:
        log.write(f"INFO request method=GET path=/ status={500 if number % 4 == 0 else 200} duration_ms={number % 7}00.5\\n")
        log.write("INFO something else\\n")
"""


def to_prometheus(server: Prometheus) -> dict[str, str]:
    """A second destination, of numbers only."""
    name = "SHIPPER_DESTINATIONS_NUMBERS"
    return {f"{name}_TYPE": "prometheus", f"{name}_ENDPOINT": server.write_url, f"{name}_TRUST_LOCAL": "true"}


def log_config(directory: Path) -> str:
    """A configuration file that counts requests from the logs in a directory."""
    file = directory / "shipper.yaml"
    file.write_text(LOGS.format(directory=directory))
    return f"--config={file}"


async def write(log: Path, first: int, count: int, *, rotate: int = 0) -> tuple[int, int]:
    """Another process logs so many requests; how many of them are well, and how many failed."""
    arguments = (sys.executable, "-c", WRITER, str(log), str(first), str(count), str(rotate))
    process = await asyncio.create_subprocess_exec(*arguments)
    assert await process.wait() == 0
    errors = sum(number % 4 == 0 for number in range(first, first + count))
    return count - errors, errors


def data_records(kept: list[Received]) -> int:
    """Records of requests that an account counts, as the sender listed them."""
    found: dict[str, int] = {}
    for request in kept:
        for item in request.headers["Shipper-Batches"].split(","):
            parts = item.strip().split(":")
            if len(parts) == 4:  # a fifth part names the kind
                found[f"{parts[0]}:{parts[1]}"] = int(parts[3])
    return sum(found.values())


def counted(sink: Sink, well: int, failed: int) -> bool:
    """Whether the numbers that came last are these."""
    return last_numbers(sink) == {("ok",): well, ("error",): failed, (): well + failed}


@NEEDS_PROMETHEUS
def test_a_short_life_is_counted_to_its_last_request_and_gone_with_its_end(tmp_path: Path) -> None:
    """Every counter in Prometheus is the truth when the life has ended, and a second later nothing of the host is left there."""

    async def main(server: Prometheus) -> None:
        log = tmp_path / "app.log"
        async with Sink() as sink:
            env = {**OWN, **to_prometheus(server), "SHIPPER_DRAIN_EPHEMERAL": "true", "SHIPPER_IMAGE": "sha256:77"}
            flags = [log_config(tmp_path)]
            async with sidecar(tmp_path / "short", sink.url, log, flags=flags, **env) as life:
                await life.up()
                well, failed = await write(log, 0, 40)
                await until(lambda: server.query("shipper_requests_total > 0"), "the first requests are in Prometheus")
                more = await write(log, 40, 37)
                assert await life.terminate() == 0, life.said()
            well, failed = well + more[0], failed + more[1]
            farewell = server.samples('shipper_farewells_total{outcome="drained"}', time.time() + 5)
            (said,) = farewell.values()
            at = said[-1][0]
            values = {
                tuple(value for name, value in key if name in ("__name__", "outcome", "destination")): value
                for key, value in server.query('{instance="short"}', at).items()
            }
            assert values["shipper_requests_total", "ok"] == well
            assert values["shipper_requests_total", "error"] == failed
            assert values[("shipper_request_duration_seconds_count",)] == well + failed
            assert values["shipper_farewells_total", "drained"] == 1
            assert values["shipper_farewells_total", "expired"] == 0
            assert values[("shipper_host_state",)] == 4
            assert values[("shipper_drain_left_bytes",)] == values["shipper_backlog_bytes", "primary"] == 0
            assert values["shipper_acknowledged_records_total", "primary"] == data_records(sink.kept())
            (info,) = server.query('shipper_host_info{instance="short"}', at)
            assert {("service", "checkout"), ("generation", "g1"), ("release", "1.2.3"), ("image", "sha256:77")} <= set(
                info
            )
            assert len(server.query('{instance="short"}', at)) <= 75  # two destinations
            started = server.value('shipper_host_started_timestamp_seconds{instance="short"}', at)
            assert server.samples("shipper_host_info", at + 5)[info][0][0] == pytest.approx(started, abs=0.001)
            assert server.query('{instance="short"}', at + 1) == {}
            ratio = (
                "sum(increase(shipper_requests_total{outcome='error'}[5m])) / sum(increase(shipper_requests_total[5m]))"
            )
            assert server.value(ratio, at) == pytest.approx(failed / (well + failed), rel=0.01)
            for samples in server.samples('shipper_requests_total{instance="short"}', at + 5).values():
                assert samples[0][1] == 0

    with Prometheus(tmp_path / "prometheus") as server:
        asyncio.run(main(server))


@NEEDS_PROMETHEUS
def test_no_counter_falls_when_the_sidecar_is_killed_and_started_again(tmp_path: Path) -> None:
    """Prometheus sees one host with counters that only grow; the end of a run is not the end of its series."""

    async def main(server: Prometheus) -> None:
        log = tmp_path / "app.log"
        async with Sink() as sink:
            env = {**OWN, **to_prometheus(server)}
            total = 0
            life = sidecar(tmp_path / "again", sink.url, log, flags=[log_config(tmp_path)], **env)
            for run, ending in enumerate(("kill", "terminate", "kill", "terminate")):
                await life.start()
                await life.up()
                total += sum(await write(log, 100 * run, 20))
                await until(
                    lambda now=total: server.value("sum(shipper_requests_total)") == now, "all of it is in Prometheus"
                )
                await (life.kill() if ending == "kill" else life.terminate())
            now = time.time() + 1
            found = server.samples('{instance="again"}', now)
            for key, samples in found.items():
                if dict(key)["__name__"].endswith(("_total", "_bucket", "_count", "_sum")):
                    values = [value for _, value in samples]
                    assert values == sorted(values), key
            acknowledged = [
                samples
                for key, samples in found.items()
                if {("__name__", "shipper_acknowledged_records_total"), ("destination", "primary")} <= set(key)
            ]
            assert [samples[0][1] for samples in acknowledged] == [0]
            assert 160 <= acknowledged[0][-1][1] <= data_records(sink.kept())
            assert server.query('shipper_host_info{instance="again"}', now)  # its life goes on
            assert {
                samples[-1][1] for key, samples in found.items() if ("__name__", "shipper_farewells_total") in key
            } == {0}

    with Prometheus(tmp_path / "prometheus") as server:
        asyncio.run(main(server))


@NEEDS_PROMETHEUS
def test_a_gateway_forwards_the_numbers_of_hosts_and_says_its_own(tmp_path: Path) -> None:
    """Through it a host ends as promptly; its archive holds the end, which no account counts, and nobody misses anything."""

    async def main(server: Prometheus) -> None:
        port, log = free_port(), tmp_path / "app.log"
        async with gateway(tmp_path / "gateway", port, **OWN, **to_prometheus(server)) as tower:
            await listening(port)
            env = {**OWN, "SHIPPER_DRAIN_EPHEMERAL": "true"}
            flags = [log_config(tmp_path)]
            async with sidecar(tmp_path / "via", f"http://127.0.0.1:{port}", log, flags=flags, **env) as life:
                await life.up()
                well, failed = await write(log, 0, 30)
                assert await life.terminate() == 0, life.said()
            farewells = 'shipper_farewells_total{instance="via",outcome="drained"}'
            await until(lambda: server.query(f"max_over_time({farewells}[5m]) == 1"), "the farewell is in Prometheus")
            (said,) = server.samples(farewells, time.time() + 5).values()
            at = said[-1][0]
            assert server.value('sum(shipper_requests_total{instance="via"})', at) == well + failed
            assert server.query('{instance="via"}', at + 1) == {}
            assert await tower.terminate() == 0, tower.said()
            assert server.query('shipper_host_state{instance="gateway"}', time.time())  # its life goes on

    with Prometheus(tmp_path / "prometheus") as server:
        asyncio.run(main(server))
    archive = tmp_path / "gateway/archive"
    report = audit(archive)
    for name in ("via", "gateway"):
        row = host(report, name)
        assert not row["notes"], row
        streams = {stream["id"]: stream for stream in row["streams"]}
        assert streams["metrics"]["counts"]["missing"] == 0
        assert "metrics-life" not in streams
    assert shipper("cat", str(archive)).stdout.count("request method=GET") == 30
    numbers = shipper("cat", str(archive), "--signal", "metrics", "--json")
    assert numbers.returncode == 0, numbers.stderr
    assert "shipper.requests" in numbers.stdout


def test_each_line_of_a_log_is_counted_once_over_rotations_and_kills(tmp_path: Path) -> None:
    """The counts are the truth though the log is renamed and deleted, and the sidecar killed while it reads."""

    async def main() -> None:
        log = tmp_path / "app.log"
        async with Sink() as sink:
            well = failed = 0
            env = {"SHIPPER_METRICS_INTERVAL": "1"}
            for run in range(3):
                life = sidecar(tmp_path / "host", sink.url, f"{log}*", flags=[log_config(tmp_path)], **env)
                await life.start()
                await life.up()
                for part in range(2):
                    if (
                        run
                    ):  # the writer throws away the log before the last one, and what nobody looked at is gone with it
                        await until(partial(counted, sink, well, failed), "what was written has been counted")
                    more = await write(log, 1000 * run + 100 * part, 100, rotate=100)
                    well, failed = well + more[0], failed + more[1]
                if run < 2:
                    await life.kill()
                    continue
                assert await life.terminate() == 0, life.said()
            assert counted(sink, well, failed), last_numbers(sink)

    asyncio.run(main())


def last_numbers(sink: Sink) -> dict[tuple[str, ...], float]:
    """The last value of each request series that came."""
    found: dict[tuple[str, ...], tuple[int, float]] = {}
    for request in sink.kept():
        if request.signal is not Signal.METRICS:
            continue
        for point in points(request.body):
            if point.name.startswith("shipper.request") and not point.message.flags:
                key = tuple(point.labels.values())
                found[key] = max(found.get(key, (0, 0.0)), (point.time_ns, point.value))
    return {key: value for key, (_, value) in found.items()}


def test_a_life_that_ends_says_so_in_numbers_and_a_run_that_ends_does_not(tmp_path: Path) -> None:
    """The stream of the end is written once, is no part of the account, and has every series that was shipped."""

    async def main(ephemeral: str) -> list[Any]:
        async with Sink() as sink:
            env = {**OWN, "SHIPPER_DRAIN_EPHEMERAL": ephemeral}
            async with sidecar(tmp_path / f"host-{ephemeral}", sink.url, **env) as life:
                await life.up()
                await until(lambda: sink.kept(), "it is born")
                assert await life.terminate() == 0, life.said()
            came = [
                point for request in sink.kept() if request.signal is Signal.METRICS for point in points(request.body)
            ]
            farewell = [json.loads(line) for request in sink.kept() for line in request.lines() if '"ended_ns"' in line]
            assert all(stream["id"] != "metrics-life" for stream in farewell[-1]["streams"])
            return came

    stays = asyncio.run(main("false"))
    assert not any(point.message.flags for point in stays)
    ends = asyncio.run(main("true"))
    lived = {(point.name, *point.labels.items()) for point in ends if not point.message.flags}
    ended = {(point.name, *point.labels.items()) for point in ends if point.message.flags}
    assert lived == ended
    last = max(point.time_ns for point in ends if not point.message.flags)
    assert {point.time_ns for point in ends if point.message.flags} == {last + 1_000_000}
    farewells = {
        point.labels["outcome"]: point.value for point in ends if point.time_ns == last and "farewells" in point.name
    }
    assert farewells == {"drained": 1, "expired": 0}


def test_numbers_of_hosts_and_gateways_are_replayed_and_still_add_up(tmp_path: Path) -> None:
    """In the second archive the first gateway's own numbers are here, and what it carried is not asked of it."""

    async def main() -> None:
        ports = {name: free_port() for name in ("one", "two")}
        async with gateway(tmp_path / "one", ports["one"], **OWN) as first:
            await listening(ports["one"])
            env = {**OWN, "SHIPPER_DRAIN_EPHEMERAL": "true"}
            async with sidecar(tmp_path / "moved", f"http://127.0.0.1:{ports['one']}", **env) as life:
                await life.up()
                assert await life.terminate() == 0, life.said()
            assert await first.terminate() == 0, first.said()
        async with gateway(tmp_path / "two", ports["two"], **OWN) as second:
            await listening(ports["two"])
            for _ in range(2):
                arguments = ("replay", str(tmp_path / "one/archive"), "--to", f"http://127.0.0.1:{ports['two']}")
                answer = await asyncio.to_thread(shipper, *arguments)
                assert answer.returncode == 0, answer.stdout + answer.stderr
            assert await second.terminate() == 0, second.said()

    asyncio.run(main())
    there, here = audit(tmp_path / "one/archive"), audit(tmp_path / "two/archive")
    assert host(here, "moved")["counts"] == host(there, "moved")["counts"]
    carried = [row for row in here["lives"] if row["role"] == "gateway" and row["notes"]]
    (row,) = carried
    assert "about another archive" in row["notes"][0]
    assert [stream["id"] for stream in row["streams"]] == ["metrics"]
