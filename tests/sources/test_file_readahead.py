"""What only a descriptor still holds, or the next truncation destroys, is read ahead while no destination takes anything."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest

from shipper.ledger import Ledger, LedgerThread
from shipper.sources.file import borders
from shipper.sources.file.known import KnownFiles
from shipper.sources.file.settings import FileGroup, FileSettings, HeldSpace
from tests.sources.file_held_kit import LINES, SIZE, TEXT, deleted, kept, limits, truncated_before, unread
from tests.sources.file_kit import DESTINATION, Sink, tailing


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """Where it is read ahead to."""
    return tmp_path / "held"


def test_a_deleted_file_survives_a_kill(tmp_path: Path, held: Path) -> None:
    """A file deleted in an outage is read to its end by the next run: each line once, in order, in the same stream."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(8)
            assert [path.stat().st_size for path in kept(held)] == [SIZE + 6]
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            sink.take_all()
            assert sink.bodies == ["first", *LINES]
            assert len({line.stream for line in sink.lines}) == 1
            assert not sink.lost
            await tail.pass_time(2)
            assert not kept(held)
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)):
            assert len(sink.lines) == len(LINES) + 1

    asyncio.run(story())


def test_a_deleted_file_gives_its_space_back(tmp_path: Path, held: Path) -> None:
    """Once all of a deleted file is kept its descriptor is closed, and the run itself reads on from what is kept."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(3)
            assert list(deleted(str(log)))
            assert not kept(held)
            await tail.pass_time(5)
            assert not list(deleted(str(log)))
            sink.take_all()
            assert sink.bodies == ["first", *LINES]
            await tail.pass_time(2)
            assert not kept(held)
            assert not list(deleted(str(held)))

    asyncio.run(story())


def test_the_same_cut_reads_the_same_bytes_from_what_is_kept(tmp_path: Path, held: Path) -> None:
    """A range that was cut from the file is read again from the copy byte for byte."""

    async def story() -> None:
        sink = Sink(limit=300_000)
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await unread(tail)
            stream = tail.file("app.log")
            cuts, at = [], 6
            while (batch := stream.cut(at, at, 300_000, 7)) is not None:
                cuts.append(batch)
                at = batch.cut.end
            log.unlink()
            await tail.pass_time(8)
            assert stream.path.startswith(str(held))
            for batch in cuts:
                assert stream.reread(batch.cut).payload == batch.payload
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)):
            (again,) = sink.streams.values()
            for batch in cuts:
                assert again.reread(batch.cut).payload == batch.payload

    asyncio.run(story())


def test_a_writer_that_goes_on_after_the_deletion_is_followed(tmp_path: Path, held: Path) -> None:
    """As long as somebody writes into a deleted file it is held open and read ahead as it grows; then it is let go."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await unread(tail)
            with open(log, "a") as writer:
                log.unlink()
                await tail.pass_time(8)
                assert list(deleted(str(log)))
                writer.write("later\n")
                writer.flush()
                await tail.pass_time(2)
                assert [path.stat().st_size for path in kept(held)] == [SIZE + 12]
                writer.write("last\n")
            await tail.pass_time(3)
            assert not list(deleted(str(log)))
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)):
            sink.take_all()
            assert sink.bodies == ["first", *LINES, "later", "last"]

    asyncio.run(story())


def test_a_log_that_is_truncated_in_place_is_read_ahead(tmp_path: Path, held: Path) -> None:
    """Of a file that was truncated once, what is unread survives the next truncation, though nobody made a copy."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await truncated_before(tail)
            assert len(kept(held)) == 1
            os.truncate(log, 0)
            with open(log, "a") as out:
                out.write("after\n")
            await tail.settle()
            sink.take_all()
            assert sorted(sink.bodies) == sorted(["before", "first", *LINES, "after"])
            assert not sink.lost

    asyncio.run(story())


def test_truncated_while_stopped(tmp_path: Path, held: Path) -> None:
    """What a run read ahead of a file that is truncated in place is there for the next run, also when that finds another."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await truncated_before(tail)
        os.truncate(log, 0)
        log.write_text("after\n")
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)):
            sink.take_all()
            assert sorted(sink.bodies) == sorted(["before", "first", *LINES, "after"])
            assert not sink.lost

    asyncio.run(story())


def test_a_log_that_is_about_to_be_truncated_is_read_ahead_at_once(tmp_path: Path, held: Path) -> None:
    """DESIGN 4: a copy of a log appears beside it: what has waited for 5 s is kept before it is truncated, and the copy taken away."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await unread(tail)
            await tail.pass_time(8)
            assert not kept(held)
            (tail.directory / "app.log.1").write_bytes(log.read_bytes()[:100_000])
            await tail.settle()
            await tail.until(lambda: [path.stat().st_size for path in kept(held)] == [SIZE + 6])
            (tail.directory / "app.log.1").unlink()
            os.truncate(log, 0)
            await tail.pass_time(1)
            assert tail.report.metrics.held_bytes._value.get() == SIZE + 6
            sink.take_all()
            assert sink.bodies == ["first", *LINES]
            assert not sink.lost
            await tail.pass_time(2)
            assert tail.report.metrics.held_bytes._value.get() == 0

    asyncio.run(story())


def test_a_compressed_form_of_what_is_kept_is_not_read_again(tmp_path: Path, held: Path) -> None:
    """A log that is compressed elsewhere and deleted, once it is read from what is kept of it, arrives once."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await unread(tail)
            whole = log.read_bytes()
            log.unlink()
            await tail.pass_time(8)
            assert len(kept(held)) == 1
            (tail.directory / "other.log.2.gz").write_bytes(gzip.compress(whole))
            await tail.pass_time(8)
            sink.take_all()
            assert sink.bodies == ["first", *LINES]

    asyncio.run(story())


def test_nothing_is_copied_while_all_is_well(tmp_path: Path, held: Path) -> None:
    """Deleted and truncated files cost no disk while a destination takes what they hold, nor does a log that just waits."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = tail.directory / "app.log"
            log.write_text("one\n")
            await tail.lines(1)
            os.truncate(log, 0)
            log.write_text("two\n")
            await tail.lines(2)
            await tail.pass_time(8)
            gone = tail.directory / "gone.log"
            gone.write_text("three\n")
            await tail.lines(3)
            gone.unlink()
            sink.open = False
            (tail.directory / "waits.log").write_text(TEXT)
            await tail.settle()
            await tail.pass_time(8)
            assert not kept(held)

    asyncio.run(story())


def test_a_stop_keeps_what_its_descriptors_hold(tmp_path: Path, held: Path) -> None:
    """At an orderly stop what is unread of a deleted file is kept at once, however short the outage was."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.settle()
            await tail.source.aclose()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)):
            sink.take_all()
            assert sink.bodies == ["first", *LINES]

    asyncio.run(story())


def test_what_nobody_waits_for_is_removed_at_a_start(tmp_path: Path, held: Path) -> None:
    """Copies that a killed run left of streams that are done with are removed by the next."""

    async def story() -> None:
        held.mkdir()
        (held / "file-1-2-3-abcdefabcdef").write_text("remains")
        (held / "file-1-2-3-abcdefabcdef.from").write_text("0")
        async with tailing(tmp_path / "log", limits=limits(held)):
            assert not list(held.iterdir())

    asyncio.run(story())


@pytest.mark.parametrize("room", [1 << 30, 1 << 20], ids=["all", "not all"])
def test_what_an_earlier_life_read_ahead_is_shipped_as_its_own(tmp_path: Path, held: Path, room: int) -> None:
    """A deleted file that was read ahead is shipped after a reboot from where the earlier life's state was put."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held, max_bytes=room)) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(8)
            clock, report = tail.clock, tail.report
        moved = tmp_path / "remains" / "held"
        moved.parent.mkdir()
        held.rename(moved)
        group = FileGroup((str(tmp_path / "log" / "*"),))
        settings = FileSettings((group,), held=HeldSpace(str(moved), room, 0.0))
        ledger = Ledger.open(tmp_path / "ledger.db", report=report)
        borders.draw(ledger, settings, {}, born_ns=1, boot_ns=clock.wall_ns(), clock=clock, report=report)
        thread = LedgerThread(ledger)
        known = KnownFiles(
            settings,
            hub=sink,
            ledger=thread,
            life="life",
            resource=b"",
            destinations=(DESTINATION,),
            clock=clock,
            report=report,
        )
        await known.open()
        sink.take_all()
        await known.aclose()
        await thread.aclose()
        lost = sum(end - start for _, start, end in sink.lost)
        assert sum(len(body) + 1 for body in sink.bodies) + lost == SIZE + len("first\n")
        assert bool(lost) == (room < SIZE)
        assert sink.bodies[-1] == LINES[-1]

    asyncio.run(story())
