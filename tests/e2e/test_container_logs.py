"""A container's file through a real sidecar: killed in the middle, rotated by the kubelet, proved by the audit."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.testing.sink import Sink
from tests.e2e.kit import audit, data_lines, free_port, gateway, host, listening, shipper, sidecar, statements, until

UID = "0a1b2c3d-1111-2222-3333-444455556666"


def line(output: str, text: str, tag: str = "F") -> str:
    """A line of the file."""
    return f"2026-11-23T02:00:00.000000001Z {output} {tag} {text}\n"


def log_in(directory: Path) -> Path:
    """Where the kubelet has a container's log."""
    path = directory / "pods" / f"shop_web-1_{UID}" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    return path


def append(path: Path, *lines: str) -> None:
    """Write at the end."""
    with path.open("a") as file:
        file.write("".join(lines))


def test_both_outputs_arrive_once_whatever_happens_to_the_sidecar(tmp_path: Path) -> None:
    """Killed while a line of stdout is in parts, started again, rotated, stopped: every line once, and the account says so."""

    async def story() -> None:
        log = log_in(tmp_path)
        tail = str(tmp_path / "pods/*/*/*.log*")
        append(log, line("stdout", "one"), line("stderr", "bad"), line("stdout", "tw", "P"))
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, tail, SHIPPER_FILES_HOLD="60s") as process:
                await until(lambda: sorted(data_lines(sink)) == ["bad", "one"], "what is whole arrives")
                await process.kill()
            append(log, line("stderr", "worse"), line("stdout", "o"))
            log.rename(log.with_name("0.log.20260101-120000"))
            append(log, line("stdout", "three"))
            async with sidecar(tmp_path / "host", sink.url, tail, SHIPPER_FILES_HOLD="60s") as process:
                await until(lambda: len(data_lines(sink)) == 5, "the rest arrives")
                append(log, line("stdout", "last", "P"))
                assert await process.terminate() == 0, process.said()
            assert sorted(data_lines(sink)) == ["bad", "last", "one", "three", "two", "worse"]
            farewell = statements(sink)[-1]
            figures = [figure for stream in farewell["streams"] for figure in stream["destinations"].values()]
            assert sum(figure["acknowledged"] for figure in figures) == 6
            assert all(figure["unread"] == 0 for figure in figures)

    asyncio.run(story())


def test_the_audit_proves_both_streams(tmp_path: Path) -> None:
    """A gateway has all ranges of both streams, those without a record of their own too, and each record knows its pod."""

    async def story() -> None:
        log, port = log_in(tmp_path), free_port()
        append(log, *(line("stdout", f"line {number}") for number in range(500)), line("stderr", "only one"))
        async with gateway(tmp_path, port) as server:
            await listening(port)
            url = f"http://127.0.0.1:{port}"
            async with sidecar(tmp_path / "host", url, log, SHIPPER_DRAIN_EPHEMERAL="true") as process:
                await until((tmp_path / "host/state/admin.sock").exists, "the sidecar runs")
                assert await process.terminate() == 0, process.said()
            assert await server.terminate() == 0, server.said()
        life = host(audit(tmp_path / "archive"), "host")
        counts = life["counts"]
        assert (counts["archived"], counts["missing"], counts["duplicates"]) == (501, 0, 0)
        records = shipper("cat", str(tmp_path / "archive"), "--json").stdout
        assert records.count("only one") == 1
        assert UID in records

    asyncio.run(story())
