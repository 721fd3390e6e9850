"""What a person or a scraper asks of a running sidecar: metrics, status, drain."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp

from shipper.testing.sink import Sink, accept, refuse
from tests.e2e.kit import Shipper, data_lines, free_port, shipper, sidecar, statements, until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(port: int) -> Samples:
    """What a scraper sees: value by name and labels."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    found: Samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line).groups()  # type: ignore[union-attr]
            found[name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels or ""))] = float(value)
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """One sample's value; 0 when it is not there."""
    return samples.get((name, frozenset(labels.items())), 0.0)


async def ask(process: Shipper, *arguments: str) -> Any:
    """A verb for the sidecar ``process``, beside it."""
    return await asyncio.to_thread(shipper, *arguments, f"--state-dir={process.directory / 'state'}")


def test_metrics_of_a_real_sidecar(tmp_path: Path) -> None:
    """Exposure, age of the oldest, backlog by stream, acknowledged, retried, quarantined and the state are there, and true."""

    async def story() -> None:
        log, slow, port = tmp_path / "app.log", tmp_path / "slow.log", free_port()
        log.write_text("one\ntwo\nPOISON\n")
        async with Sink() as sink:
            sink.judge = lambda request: refuse(400, "no poison") if b"POISON" in request.body else accept()
            sink.script(refuse(503, retry_after="0"))
            listen = f"127.0.0.1:{port}"
            async with sidecar(
                tmp_path / "host", sink.url, log, slow, SHIPPER_ADMIN_LISTEN=listen, SHIPPER_DRAIN_DEADLINE="1500ms"
            ) as process:
                await until(lambda: "kept in quarantine" in process.said(), "the poison is set aside")
                await until(lambda: len(data_lines(sink)) == 2, "the others arrive")
                await asyncio.to_thread(settled, process)
                seen = await scrape(port)
                to = {"destination": "primary"}
                assert value(seen, "shipper_acknowledged_records_total", **to) == 2
                assert value(seen, "shipper_quarantined_records_total", cause="rejected", **to) == 1
                assert value(seen, "shipper_retried_requests_total", cause="http_503", **to) == 1
                assert value(seen, "shipper_exposure_seconds_count", **to) >= 1
                assert value(seen, "shipper_exposure_seconds_bucket", le="+Inf", **to) >= 1
                assert value(seen, "shipper_oldest_unacknowledged_seconds", **to) == 0
                assert value(seen, "shipper_drain_state", state="running") == 1
                assert value(seen, "shipper_drain_state", state="draining") == 0

                await sink.go_down()
                slow.write_text("x" * 99 + "\n")
                await until(lambda: "cannot connect" in process.said(), "the destination is seen to be down")
                seen = await scrape(port)
                backlogs = {dict(labels)["stream"]: size for (name, labels), size in seen.items() if "backlog" in name}
                assert sum(backlogs.values()) == 100
                assert len([size for size in backlogs.values() if size]) == 1
                assert value(seen, "shipper_oldest_unacknowledged_seconds", **to) > 0
                assert value(seen, "shipper_retried_requests_total", cause="connection", **to) >= 1
                assert await process.terminate() == 3

    asyncio.run(story())


def settled(process: Shipper) -> None:
    """Wait until ``shipper status`` says that nothing is left."""
    while "backlog 0 bytes" not in shipper("status", f"--state-dir={process.directory / 'state'}").stdout:
        assert process.alive()


def test_status_for_people_and_machines(tmp_path: Path) -> None:
    """State, life, labels; what each destination has, has not, refused, and why it fails; --json; nobody there is said."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\nPOISON\n")
        async with Sink() as sink:
            sink.judge = lambda request: refuse(400, "no poison") if b"POISON" in request.body else accept()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: "kept in quarantine" in process.said(), "the poison is set aside")
                await asyncio.to_thread(settled, process)
                said = (await ask(process, "status")).stdout
                assert re.match(r"sidecar running, life [0-9a-f-]{36} run 1, host host\n", said)
                assert "release=1.2.3" in said
                assert f"primary: OTLP/HTTP to {sink.url} (a local relay: what it has is not proved)" in said
                assert "backlog 0 bytes, oldest unacknowledged 0.000 s, acknowledged 1 records" in said
                assert re.search(r"exposure p50 [\d.]+ ms, p99", said)
                assert "quarantined 1" in said
                machine = (await ask(process, "status", "--json")).stdout
                assert '"state": "running"' in machine
                sink.judge = lambda request: refuse(401, "no such token")
                log.write_text("one\nPOISON\nthree\n")
                await until(lambda: "cannot be used as it is set up" in process.said(), "it is said that it is refused")
                said = (await ask(process, "status")).stdout
                assert f"cannot be used as it is set up: {sink.url}/v1/logs answered 401" in said
                sink.judge = lambda request: accept()
                assert await process.terminate() == 0
            nobody = await ask(process, "status")
            assert nobody.returncode == 1
            assert "no sidecar runs here" in nobody.stderr
            assert "Traceback" not in nobody.stderr

    asyncio.run(story())


def test_drain_by_hand(tmp_path: Path) -> None:
    """``shipper drain`` waits until the sidecar has sent everything; both end with status 0, and the farewell names the reason."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\n")
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log) as process:
            await process.up()
            answer = await ask(process, "drain", "--deadline", "20s")
            assert (answer.returncode, answer.stdout) == (0, "drained, nothing left\n"), answer.stderr
            assert await process.ended() == 0
            assert data_lines(sink) == ["one"]
            assert statements(sink)[-1]["reason"] == "shipper drain"

    asyncio.run(story())


def test_drain_by_hand_expires_with_status_3(tmp_path: Path) -> None:
    """With the destination gone, ``shipper drain`` ends at its deadline with status 3, and says what is left."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("12345\n")
        async with Sink() as sink:
            await sink.go_down()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await process.up()
                answer = await ask(process, "drain", "--deadline", "1s")
                assert answer.returncode == 3, answer.stderr
                assert answer.stdout == "expired, left: 6 bytes for primary\n"
                assert await process.ended() == 3

    asyncio.run(story())


def test_a_drain_under_way_takes_a_new_deadline(tmp_path: Path) -> None:
    """``--no-wait`` returns at once; a second ``shipper drain`` joins the drain under way and moves its deadline."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\n")
        async with Sink() as sink:
            await sink.go_down()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await process.up()
                first = await ask(process, "drain", "--deadline", "1h", "--no-wait")
                assert (first.returncode, first.stdout) == (0, "draining\n"), first.stderr
                assert "sidecar draining" in (await ask(process, "status")).stdout
                second = await ask(process, "drain", "--deadline", "500ms")
                assert second.returncode == 3, second.stderr
                assert await process.ended() == 3

    asyncio.run(story())


def test_a_wrong_deadline_is_one_sentence(tmp_path: Path) -> None:
    """A deadline that is no duration, or none at all, is refused without stopping anything."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.touch()
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log) as process:
            await process.up()
            for wrong in ("soon", "0s"):
                answer = await ask(process, "drain", "--deadline", wrong)
                assert answer.returncode != 0
                assert "Traceback" not in answer.stderr
                assert "deadline" in answer.stderr or wrong in answer.stderr
            assert "sidecar running" in (await ask(process, "status")).stdout

    asyncio.run(story())
