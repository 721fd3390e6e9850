"""Logs that are deleted or truncated in an outage, and the sidecar killed or stopped on top of that: real processes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from shipper.testing.sink import Sink
from tests.e2e.kit import data_lines, sidecar, statements, until

LINES = [f"line {number:05d} {'x' * 100}" for number in range(20_000)]
TEXT = "".join(f"{line}\n" for line in LINES)


def held(host: Path) -> int:
    """Bytes in the copies that a sidecar has made."""
    return sum(path.stat().st_size for path in (host / "state" / "held").glob("file-*") if "." not in path.name)


def test_what_is_deleted_or_truncated_in_an_outage_survives_a_kill(tmp_path: Path) -> None:
    """With the destination down, one log deleted and one truncated in place, and the sidecar killed: each line arrives once."""

    async def story() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        gone, shared = logs / "gone.log", logs / "shared.log"
        gone.write_text("gone\n")
        shared.write_text("shared before\n")
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, logs / "*.log") as process:
                await until(lambda: len(data_lines(sink)) == 2, "the first lines arrive")
                os.truncate(shared, 0)
                shared.write_text("shared after\n")
                await until(lambda: len(data_lines(sink)) == 3, "the line behind the truncation arrives")
                await sink.go_down()
                for log in (gone, shared):
                    with open(log, "a") as out:
                        out.write(TEXT)
                await asyncio.to_thread(os.sync)
                gone.unlink()
                await until(lambda: held(tmp_path / "host") >= 2 * len(TEXT), "both are read ahead")
                await process.kill()
            os.truncate(shared, 0)
            await sink.come_up()
            async with sidecar(tmp_path / "host", sink.url, logs / "*.log") as process:
                await until(lambda: len(data_lines(sink)) >= 3 + 2 * len(LINES), "everything arrives")
                assert await process.terminate() == 0, process.said()
            arrived = sorted(data_lines(sink))
            assert arrived == sorted(["gone", "shared before", "shared after", *LINES, *LINES])
            assert "before every destination had them" not in process.said()
            assert not list((tmp_path / "host" / "state" / "held").glob("file-*"))
            assert all(
                figures["read"] == figures["acknowledged"]
                for stream in statements(sink)[-1]["streams"]
                for figures in stream["destinations"].values()
            )

    asyncio.run(story())


def test_a_stop_in_an_outage_keeps_what_was_deleted(tmp_path: Path) -> None:
    """A log deleted while the destination is down is shipped after the sidecar was stopped and started again."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("first\n")
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, SHIPPER_DRAIN_DEADLINE="2s") as process:
                await until(lambda: data_lines(sink) == ["first"], "the first line arrives")
                await sink.go_down()
                with open(log, "a") as out:
                    out.write(TEXT)
                log.unlink()
                assert await process.terminate() == 3, process.said()
            await sink.come_up()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: len(data_lines(sink)) > len(LINES), "everything arrives")
                assert await process.terminate() == 0, process.said()
            assert sorted(data_lines(sink)) == ["first", *LINES]  # a drain without time for all sends last words first

    asyncio.run(story())


def test_what_is_given_up_for_want_of_space_is_counted(tmp_path: Path) -> None:
    """Beyond held_max the oldest of a deleted log is given up: said, and in the account by cause; what is newer arrives."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("first\n")
        settings = {"SHIPPER_FILE_LIMITS_HELD_MAX": str(1 << 20)}
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, **settings) as process:
                await until(lambda: data_lines(sink) == ["first"], "the first line arrives")
                await sink.go_down()
                with open(log, "a") as out:
                    out.write(TEXT)
                log.unlink()
                await until(lambda: "was deleted" in process.said(), "what fits is kept")
                await process.kill()  # and with it what it had in memory of what it was about to send
            await sink.come_up()
            async with sidecar(tmp_path / "host", sink.url, log, **settings) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
            arrived = data_lines(sink)
            missing = [line for line in LINES if line not in set(arrived)]
            (stream,) = statements(sink)[-1]["streams"]
            (figures,) = stream["destinations"].values()
            lost = sum(end - start for start, end in figures["lost_ranges"])
            assert lost == sum(len(line) + 1 for line in missing) >= len(TEXT) - (1 << 20)
            assert LINES[-1] in arrived
            assert len(arrived) == 1 + len(LINES) - len(missing)

    asyncio.run(story())
