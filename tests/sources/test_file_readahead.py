"""What only a descriptor still holds, or the next truncation destroys, is read ahead while no destination takes anything."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import RangeGone
from shipper.ledger import Ledger, LedgerThread
from shipper.sources.file import borders
from shipper.sources.file.known import KnownFiles
from shipper.sources.file.settings import FileGroup, FileSettings, HeldSpace
from tests.sources.file_kit import DESTINATION, Sink, Tail, tailing

LINES = [f"line {number:06d} {'x' * 80}" for number in range(20_000)]  # about two megabytes
TEXT = "".join(f"{line}\n" for line in LINES)
SIZE = len(TEXT)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """Where it is read ahead to."""
    return tmp_path / "held"


def kept(held: Path) -> list[Path]:
    """The copies there are."""
    return sorted(path for path in held.glob("*") if "." not in path.name) if held.exists() else []


def limits(held: Path, **more: Any) -> dict[str, Any]:
    """Settings for it; the file system may be as full as it likes."""
    return {"held": HeldSpace(str(held), **{"keep_free": 0.0, **more})}


def deleted(path: str) -> Iterator[str]:
    """Open descriptors of this process whose file of that name has no name any more."""
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if target == f"{path} (deleted)":
            yield number


async def unread(tail: Tail, text: str = TEXT) -> Path:
    """A file of which one line was taken before the destination went away."""
    log = tail.directory / "app.log"
    log.write_text("first\n")
    await tail.lines(1)
    tail.sink.open = False
    with open(log, "a") as out:
        out.write(text)
    await tail.settle()
    return log


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
            log = tail.directory / "app.log"
            log.write_text("before\n")
            await tail.lines(1)
            os.truncate(log, 0)
            log.write_text("first\n")
            await tail.lines(2)
            sink.open = False
            with open(log, "a") as out:
                out.write(TEXT)
            await tail.settle()
            await tail.pass_time(8)
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
            log = tail.directory / "app.log"
            log.write_text("before\n")
            await tail.lines(1)
            os.truncate(log, 0)
            log.write_text("first\n")
            await tail.lines(2)
            sink.open = False
            with open(log, "a") as out:
                out.write(TEXT)
            await tail.settle()
            await tail.pass_time(8)
        os.truncate(log, 0)
        log.write_text("after\n")
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held)):
            sink.take_all()
            assert sorted(sink.bodies) == sorted(["before", "first", *LINES, "after"])
            assert not sink.lost

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


@pytest.mark.parametrize("restart", [False, True])
def test_the_oldest_is_given_up_when_there_is_no_more_room(tmp_path: Path, held: Path, restart: bool) -> None:
    """More than may be held loses its oldest lines, whole ones, as one range that is told; the rest arrives."""

    async def story() -> None:
        sink = Sink()
        room = limits(held, max_bytes=1 << 20)
        async with tailing(tmp_path / "log", sink=sink, limits=room) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(8)
            (copy,) = kept(held)
            assert copy.stat().st_blocks * 512 <= (1 << 20) + (128 << 10)
            assert not list(deleted(str(log)))
            assert tail.report.problems("held-full")
            if not restart:
                sink.take_all()
        if restart:
            async with tailing(tmp_path / "log", sink=sink, limits=room):
                sink.take_all()
        ((_, start, end),) = sink.lost
        assert start == 6 + 10 * len(LINES[0] + "\n")  # what a file begins with is kept with it
        assert SIZE // 2 < end < SIZE * 3 // 4
        assert (end - 6) % len(LINES[0] + "\n") == 0
        assert sink.bodies == ["first", *LINES[:10], *LINES[(end - 6) // len(LINES[0] + "\n") :]]

    asyncio.run(story())


def test_a_range_that_was_cut_and_then_given_up_is_told_as_gone(tmp_path: Path, held: Path) -> None:
    """What was on its way when it was given up is never sent again as if nobody had written there; what is kept is."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held, max_bytes=1 << 20)) as tail:
            log = await unread(tail)
            stream = tail.file("app.log")
            cuts, at = [], 6
            while (batch := stream.cut(at, at, 300_000, 7)) is not None:
                cuts.append(batch)
                at = batch.cut.end
            log.unlink()
            await tail.pass_time(8)
            (gap,) = stream.content.gaps
            text, behind = stream.text(0, 1 << 20)
            assert behind == gap[0]
            assert text.splitlines()[-1] == LINES[9].encode()
            with pytest.raises(RangeGone):
                stream.text(behind, 1 << 20)
            for batch in cuts:
                if batch.cut.start < gap[1] and gap[0] < batch.cut.end:
                    with pytest.raises(RangeGone):
                        stream.reread(batch.cut)
                else:
                    assert stream.reread(batch.cut).payload == batch.payload
            assert cuts[0].cut.start < gap[1] < cuts[-1].cut.start

    asyncio.run(story())


def test_a_group_may_rather_hold_on(tmp_path: Path, held: Path) -> None:
    """With ``when_full: block`` nothing is given up: what does not fit stays in the deleted file, held by its descriptor."""

    async def story() -> None:
        sink = Sink()
        room = limits(held, max_bytes=1 << 20)
        async with tailing(tmp_path / "log", sink=sink, limits=room, when_full="block") as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(8)
            assert list(deleted(str(log)))
            assert tail.report.problems("held-full")
            sink.take_all()
            assert sink.bodies == ["first", *LINES]
            assert not sink.lost

    asyncio.run(story())


def test_a_nearly_full_disk_is_left_alone(tmp_path: Path, held: Path) -> None:
    """Where the file system has less room than is to be left, nothing is read ahead; that is said, and nothing is lost by it."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, limits=limits(held, keep_free=1.0)) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.pass_time(8)
            assert sum(path.stat().st_size for path in kept(held)) <= 4096
            assert tail.report.problems("held-full")
            sink.take_all()
            assert sink.bodies == ["first", *LINES]

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
