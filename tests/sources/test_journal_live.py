"""A real journald: what it writes arrives once, through rotation, vacuuming, and kills; what is lost is told."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.sources.journal_kit import Sink, attributes, journald, needs_journald, reading

pytestmark = needs_journald
LINE = "line "  # not what journald says of itself


def test_what_is_written_arrives_in_order_with_what_journald_knows_of_it(tmp_path: Path) -> None:
    """Messages come in order; body, severity, time and the process are those of the entry."""

    async def run() -> None:
        with journald() as daemon:
            async with reading(tmp_path, daemon.directory) as run:
                daemon.log(
                    *(f"line {n}" for n in range(100)), PRIORITY="3", SYSLOG_IDENTIFIER="checkout", CODE_LINE="7"
                )
                assert await run.until(100, LINE) == [f"line {n}" for n in range(100)]
                record = next(record for record in run.found() if record.body.string_value == "line 99")
                assert (record.severity_number, record.severity_text) == (17, "err")
                found = attributes(record)
                assert found["syslog.appname"] == "checkout"
                assert found["code.line.number"] == 7
                assert found["process.pid"] > 0
                assert found["journald.transport"] == "journal"
                assert record.time_unix_nano > 1_500_000_000 * 10**9

    asyncio.run(run())


def test_rotation_loses_nothing(tmp_path: Path) -> None:
    """What stands in files that were rotated before it was read arrives once and in order."""

    async def run() -> None:
        with journald() as daemon:
            async with reading(tmp_path, daemon.directory) as run:
                for turn in range(4):
                    daemon.log(*(f"line {turn}.{n}" for n in range(50)))
                    daemon.control("--sync")
                    if turn % 2:
                        await run.look()
                    daemon.control("--rotate")
                assert await run.until(200, LINE) == [f"line {turn}.{n}" for turn in range(4) for n in range(50)]
                assert not run.sink.lost

    asyncio.run(run())


def test_what_journald_deletes_unread_is_told_by_range(tmp_path: Path) -> None:
    """journald empties what it deletes: the entries in it are lost, a range says which, and the rest arrives."""

    async def run() -> None:
        with journald() as daemon:
            sink = Sink()
            async with reading(tmp_path, daemon.directory, sink=sink) as run:
                daemon.log("line first")
                await run.until(1, LINE)
                sink.open = False
                for turn in range(4):
                    daemon.log(*(f"line {turn}.{n}" for n in range(50)))
                    daemon.control("--sync")
                    await run.look()
                    daemon.control("--rotate")
                await run.look()
                daemon.control("--vacuum-files=2")
                await run.look()
                sink.take_all()
                arrived = [body for body in sink.bodies if body.startswith(LINE)]
                everything = ["line first", *(f"line {turn}.{n}" for turn in range(4) for n in range(50))]
                assert 1 < len(arrived) < len(everything)
                assert arrived[1:] == everything[len(everything) - len(arrived) + 1 :]
                ((_, start, end),) = sink.lost
                before = [batch for batch in sink.batches if batch.cut.end == start]
                behind = [batch for batch in sink.batches if batch.cut.start == end]
                assert before
                assert behind

    asyncio.run(run())


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_what_is_deleted_between_others_is_told_by_range(tmp_path: Path, stopped: bool) -> None:
    """A file emptied and deleted as journald does it, with older and newer ones left: its numbers are a range, the rest arrives."""

    async def run() -> None:
        with journald() as daemon:
            sink = Sink()
            async with reading(tmp_path, daemon.directory, sink=sink) as run:
                daemon.log("line first")
                await run.until(1, LINE)
                sink.open = False
                files: list[set[Path]] = []
                for turn in range(3):
                    daemon.log(*(f"line {turn}.{n}" for n in range(50)))
                    daemon.control("--sync")
                    await run.look()
                    daemon.control("--rotate")
                    files.append(set(daemon.directory.glob("*@*.journal")))
                await run.look()
                await run.source._books.flush()
                (middle,) = files[1] - files[0]
                if not stopped:
                    os.truncate(middle, 0)
                    middle.unlink()
                    await run.look()
                    sink.take_all()
                    await run.look()
            if stopped:
                middle.unlink()
                sink.open = True
                async with reading(tmp_path, daemon.directory, sink=sink) as run:
                    await run.look()
            arrived = [body for body in sink.bodies if body.startswith(LINE)]
            assert arrived == ["line first", *(f"line {turn}.{n}" for turn in (0, 2) for n in range(50))]
            ((_, start, end),) = sink.lost
            assert 50 <= (end - start) // 1024 < 60  # and what journald says itself
            assert [batch for batch in sink.batches if batch.cut.end == start]
            assert [batch for batch in sink.batches if batch.cut.start == end]

    asyncio.run(run())


def test_a_killed_journald_costs_nothing_that_it_wrote(tmp_path: Path) -> None:
    """After SIGKILL journald sets its file aside and counts anew; every message arrives once."""

    async def run() -> None:
        with journald() as daemon:
            async with reading(tmp_path, daemon.directory) as run:
                for turn in range(3):
                    daemon.log(*(f"line {turn}.{n}" for n in range(20)))
                    daemon.control("--sync")
                    daemon.stop(signal.SIGKILL)
                    daemon.start()
                daemon.log("line last")
                wanted = [f"line {turn}.{n}" for turn in range(3) for n in range(20)] + ["line last"]
                assert sorted(await run.until(len(wanted), LINE)) == sorted(wanted)
                assert not run.sink.lost

    asyncio.run(run())
