"""What is said of what could not be proved or sent: by the sidecar's own account, and by the audit."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shipper.testing.sink import Sink, accept, never, refuse
from tests.e2e.kit import audit, data_lines, free_port, gateway, host, listening, shipper, sidecar, statements, until

GATEWAY = "0190bbbb-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("gateway_life", "settings", "trusted"),
    [("", {}, False), ("", {"SHIPPER_OTLP_TRUST_LOCAL": "true"}, True), (GATEWAY, {}, True)],
    ids=["a relay", "a relay that is trusted by configuration", "a gateway"],
)
def test_the_account_says_whether_a_destination_proves_anything(
    tmp_path: Path, gateway_life: str, settings: dict[str, str], trusted: bool
) -> None:
    """What listens on this host is a relay that proves nothing, unless it is a gateway or the configuration trusts it."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\n")
        async with Sink(gateway=gateway_life) as sink, sidecar(tmp_path / "host", sink.url, log, **settings) as process:
            await until(lambda: data_lines(sink) == ["one"], "the line arrives")
            assert await process.terminate() == 0, process.said()
            (stream,) = statements(sink)[-1]["streams"]
            assert stream["destinations"]["primary"]["trusted"] is trusted

    asyncio.run(story())


def test_what_is_deleted_or_rotated_away_in_an_outage_arrives_afterwards(tmp_path: Path) -> None:
    """Files deleted, renamed out of the pattern or created and unlinked while the destination is down are still shipped."""

    async def story() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        for name in ("deleted", "renamed"):
            (logs / f"{name}.log").write_text(f"{name} 1\n")
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, logs / "*.log") as process:
            await until(lambda: len(data_lines(sink)) == 2, "the first lines arrive")
            await sink.go_down()
            for name in ("deleted", "renamed"):
                with open(logs / f"{name}.log", "a") as out:
                    out.write(f"{name} 2\n")
            (logs / "brief.log").write_text("brief 1\n")
            await until(lambda: backlog(process.directory) == 28, "all of it is seen")
            (logs / "deleted.log").unlink()
            (logs / "brief.log").unlink()
            (logs / "renamed.log").rename(tmp_path / "elsewhere")
            with open(tmp_path / "elsewhere", "a") as out:
                out.write("renamed 3\n")
            await sink.come_up()
            expected = {"deleted 1", "deleted 2", "renamed 1", "renamed 2", "renamed 3", "brief 1"}
            await until(lambda: set(data_lines(sink)) == expected, "everything arrives")
            assert await process.terminate() == 0, process.said()
            assert len(data_lines(sink)) == 6
            assert "before every destination had them" not in process.said()

    asyncio.run(story())


def backlog(directory: Path) -> int:
    """Bytes that ``shipper status`` says are not acknowledged."""
    said = shipper("status", f"--state-dir={directory / 'state'}").stdout
    return int(said.partition("backlog ")[2].partition(" ")[0].replace(",", "") or 0)


def test_unread_bytes_that_somebody_truncates_are_named_by_range(tmp_path: Path) -> None:
    """Bytes destroyed while no sidecar ran are said with file and range, and are in the farewell as lost, not as sent."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("first\n")
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: data_lines(sink) == ["first"], "the first line arrives")
                await sink.go_down()
                with open(log, "a") as out:
                    out.write("never sent\n")
                await until(lambda: backlog(process.directory) == 11, "it is seen")
                await process.kill()
            log.write_text("again\n")
            await sink.come_up()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: "again" in data_lines(sink), "the new content arrives")
                assert await process.terminate() == 0, process.said()
                assert f"{log}" in process.said()
            assert data_lines(sink) == ["first", "again"]
            accounts = [stream["destinations"]["primary"] for stream in statements(sink)[-1]["streams"]]
            assert [account["lost_ranges"] for account in accounts if account["lost_ranges"]] == [[[6, 17]]]

    asyncio.run(story())


def test_what_an_expired_drain_left_is_what_the_audit_finds_missing(tmp_path: Path) -> None:
    """The farewell of a drain that ran out of time names exactly the ranges that the audit then reports as missing."""

    async def story() -> list[dict[str, Any]]:
        log, port = tmp_path / "app.log", free_port()
        log.write_text("".join(f"line {number}\n" for number in range(100)))
        async with Sink() as sink:
            sink.judge = lambda request: refuse(503) if b"last word" in request.body else accept()
            async with sidecar(
                tmp_path / "host", sink.url, log, flags=["--ephemeral"], SHIPPER_DRAIN_DEADLINE="1500ms"
            ) as process:
                await until(lambda: len(data_lines(sink)) == 100, "the first lines arrive")
                with open(log, "a") as out:
                    out.write("".join(f"last word {number}\n" for number in range(50)))
                assert await process.terminate() == 3, process.said()
            farewell = statements(sink)[-1]
            assert farewell["outcome"] == "expired"
            async with gateway(tmp_path / "gateway", port) as receiver:
                await listening(port)
                await pass_on(sink, port)
                assert await receiver.terminate() == 0, receiver.said()
        left: list[dict[str, Any]] = farewell["left"]
        assert [(gap["destination"], gap["start"], gap["end"]) for gap in left] == [
            ("primary", 790, log.stat().st_size)
        ]
        return left

    left = asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive", expected_status=1), "host")
    missing = [(stream["id"], *gap) for stream in life["streams"] for gap in stream["missing_ranges"]]
    assert missing == [(gap["stream"], gap["start"], gap["end"]) for gap in left]


async def pass_on(sink: Sink, port: int) -> None:
    """Bring what a sink kept to a gateway, as it came."""
    async with aiohttp.ClientSession() as session:
        for request in sink.kept():
            wanted = ("Content-Type", "Content-Encoding", "Shipper-Life", "Shipper-Batches")
            headers = {name: request.headers[name] for name in wanted if name in request.headers}
            async with session.post(f"http://127.0.0.1:{port}/v1/logs", data=request.wire, headers=headers) as answer:
                assert answer.status == 200


def test_an_endpoint_that_never_answers_is_given_up_and_tried_again(tmp_path: Path) -> None:
    """A request without an answer ends at its time-out, which is said, and the same lines arrive with the next."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("one\n")
        async with Sink() as sink:
            sink.script(never(), never())
            settings = {"SHIPPER_OTLP_TIMEOUT": "200ms"}
            async with sidecar(tmp_path / "host", sink.url, log, **settings) as process:
                await until(lambda: data_lines(sink) == ["one"], "the line arrives")
                assert "no answer" in process.said()
                assert await process.terminate() == 0, process.said()
                assert "Traceback" not in process.said()

    asyncio.run(story())


def test_unreadable_and_vanishing_files_stop_nobody(tmp_path: Path) -> None:
    """A file that cannot be opened, a FIFO in a file's place and files that vanish at once: the others are read."""

    async def story() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        os.mkfifo(logs / "pipe.log")
        (logs / "loop.log").symlink_to(logs / "loop.log")
        (logs / "dir.log").mkdir()
        (logs / "good.log").write_text("good\n")
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, logs / "*.log") as process:
            await process.up()
            for number in range(50):
                (logs / f"brief{number}.log").touch()
                (logs / f"brief{number}.log").unlink()
            (logs / "late.log").write_text("late\n")
            await until(lambda: set(data_lines(sink)) == {"good", "late"}, "both lines arrive")
            assert await process.terminate() == 0, process.said()
            assert "pipe.log" in process.said()
            assert "Traceback" not in process.said()

    asyncio.run(story())
