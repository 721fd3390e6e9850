"""Deleted files over a kill, a restart, an upgrade: their descriptors are kept by the service manager, and read on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.events import Reporter, Said
from shipper.notices.fd_store import FdStore
from shipper.testing.clock import FakeClock
from tests.sources.fd_store_kit import FIRST, Keeper
from tests.sources.file_held_kit import LINES, deleted, limits, unread
from tests.sources.file_kit import Sink, Tail, tailing


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """The service manager."""
    made = Keeper(tmp_path / "notify")
    yield made
    made.close()


def store(env: dict[str, str]) -> FdStore:
    return FdStore(env=env, report=Reporter(FakeClock()), first=FIRST)


def said(tail: Tail, words: str) -> list[str]:
    return [event.message for event in tail.report.said if isinstance(event, Said) and words in event.message]


def test_a_deleted_file_outlives_a_kill(tmp_path: Path, keeper: Keeper) -> None:
    """A file deleted unread, and a kill in the same second: the next run reads it to its end, in its stream, and lets go."""

    async def story() -> None:
        sink, kept = Sink(), store(keeper.env())
        async with tailing(tmp_path / "log", sink=sink, store=kept) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.settle()
            kept.settle(10.0)
        assert len(keeper.kept) == 1
        with keeper.handed_over() as env:
            kept = store(env)
            async with tailing(tmp_path / "log", sink=sink, store=kept) as tail:
                assert said(tail, "outlived the run")
                sink.take_all()
                assert sink.bodies == ["first", *LINES]
                assert len({line.stream for line in sink.lines}) == 1
                await tail.pass_time(2)
                kept.put("end", 0)
                kept.settle(10.0)
                assert list(keeper.kept) == ["end"]
                assert not list(deleted(str(log)))
        assert not sink.lost

    asyncio.run(story())


def test_what_is_written_while_nobody_reads_is_read(tmp_path: Path, keeper: Keeper) -> None:
    """The writer of a deleted file goes on during an upgrade: what it writes meanwhile, and afterwards, arrives."""

    async def story() -> None:
        sink, kept = Sink(), store(keeper.env())
        async with tailing(tmp_path / "log", sink=sink, store=kept) as tail:
            log = await unread(tail, "second\n")
            writer = open(log, "a", buffering=1)  # noqa: SIM115
            log.unlink()
            await tail.settle()
            await tail.source.aclose()
        writer.write("while nobody reads\n")
        sink.open = True
        with keeper.handed_over() as env:
            async with tailing(tmp_path / "log", sink=sink, store=store(env)) as tail:
                await tail.lines(3)
                writer.write("afterwards\n")
                await tail.lines(4)
                writer.close()
                await tail.pass_time(2)
                assert sink.ended
        assert sink.bodies == ["first", "second", "while nobody reads", "afterwards"]
        assert not sink.lost

    asyncio.run(story())


def test_a_stop_has_everything_kept_before_it_is_gone(tmp_path: Path, keeper: Keeper) -> None:
    """However many files are deleted at once, when the source is closed all of them are with the service manager."""

    async def story() -> None:
        sink = Sink()
        async with tailing(tmp_path / "log", sink=sink, store=store(keeper.env())) as tail:
            for number in range(60):
                (tail.directory / f"{number}.log").write_text("first\n")
            await tail.lines(60)
            sink.open = False
            for number in range(60):
                with open(tail.directory / f"{number}.log", "a") as out:
                    out.write(f"last of {number}\n")
            await tail.settle()
            for number in range(60):
                (tail.directory / f"{number}.log").unlink()
            await tail.settle()
            await tail.source.aclose()
            assert len(keeper.kept) == 60
        sink.open = True
        with keeper.handed_over() as env:
            async with tailing(tmp_path / "log", sink=sink, store=store(env)):
                assert sorted(sink.bodies[60:]) == sorted(f"last of {number}" for number in range(60))
        assert not sink.lost

    asyncio.run(story())


def test_nothing_is_kept_twice(tmp_path: Path, keeper: Keeper) -> None:
    """What was read ahead whole needs no descriptor: it is taken out of the store, and read from the copy after the restart."""

    async def story() -> None:
        sink, kept, held = Sink(), store(keeper.env()), tmp_path / "held"
        async with tailing(tmp_path / "log", sink=sink, store=kept, limits=limits(held)) as tail:
            log = await unread(tail)
            log.unlink()
            await tail.settle()
            kept.settle(10.0)
            assert len(keeper.kept) == 1
            await tail.pass_time(8)
            kept.put("end", 0)
            kept.settle(10.0)
            assert list(keeper.kept) == ["end"]
        sink.open = True
        async with tailing(tmp_path / "log", sink=sink, store=store(keeper.env()), limits=limits(held)):
            assert sink.bodies == ["first", *LINES]
        assert not sink.lost

    asyncio.run(story())


def test_a_file_that_the_killed_run_could_not_write_down(tmp_path: Path, keeper: Keeper) -> None:
    """A descriptor of which the ledger does not know yet is of a file that nobody read: it is read from its beginning."""
    (tmp_path / "log").mkdir()
    path = tmp_path / "log" / "app.log"
    path.write_text("one\ntwo\n")
    with open(path) as opened:
        status = os.fstat(opened.fileno())
        keeper.keep(f"file-{status.st_dev:x}-{status.st_ino:x}-8-0123456789ab", opened.fileno())
    path.unlink()

    async def story() -> None:
        with keeper.handed_over() as env:
            async with tailing(tmp_path / "log", store=store(env)) as tail:
                assert await tail.lines(2) == ["one", "two"]

    asyncio.run(story())


def test_stale_unknown_and_foreign_descriptors_are_closed_and_said(tmp_path: Path, keeper: Keeper) -> None:
    """What is read to its end, what is no file, and what was never ours: each is closed, said, and taken out of the store."""

    async def story() -> None:
        sink, kept = Sink(), store(keeper.env())
        async with tailing(tmp_path / "log", sink=sink, store=kept) as tail:
            log = await unread(tail, "second\n")
            log.unlink()
            await tail.settle()
            kept.settle(10.0)
            ((name, (fd,)),) = keeper.kept.items()
            still = os.dup(fd)
            sink.take_all()
            await tail.pass_time(2)
        os.mkfifo(tmp_path / "pipe")
        pipe = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        (tmp_path / "other").write_text("not a log of ours\n")
        other = os.open(tmp_path / "other", os.O_RDONLY)
        for known, fd in ((name, still), (name, still), ("file-1-2-3-0123456789ab", pipe), ("http.socket", other)):
            keeper.keep(known, fd)
        for fd in (still, pipe, other):
            os.close(fd)
        with keeper.handed_over() as env:
            kept = store(env)
            async with tailing(tmp_path / "log", sink=sink, store=kept) as tail:
                assert len(tail.report.problems("fd-store")) == 3
                assert said(tail, "nothing of it is unread")
                for number in range(4):
                    with pytest.raises(OSError, match="Bad file descriptor"):
                        os.fstat(FIRST + number)
                kept.put("end", 0)
                kept.settle(10.0)
                assert list(keeper.kept) == ["end"]
        assert sink.bodies == ["first", "second"]

    asyncio.run(story())
