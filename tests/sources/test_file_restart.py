"""Restarts: what was read is not read again, what happened meanwhile is found out, and state that lies is not believed."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from shipper.ledger import Ledger
from shipper.sources.file import rotation
from shipper.sources.file.identity import Key
from shipper.sources.file.recovery import _key_at
from shipper.sources.file.rotation import siblings
from tests.sources.file_kit import Sink, tailing
from tests.sources.test_file_rotation import names, numbered


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_resumes_where_the_destination_stands(tmp_path: Path) -> None:
    """Cases 30 and 31: after a kill, reading goes on where the destination acknowledged, in the same stream."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        for turn in range(4):
            append(logs / "a.log", numbered(turn * 10, turn * 10 + 10))
            async with tailing(logs, sink=sink) as tail:
                await tail.lines(turn * 11 + 10)
                append(logs / "a.log", b"half")
                await tail.until(lambda: tail.file("a.log").content.unfinished)
                await tail.pass_time(1)
            append(logs / "a.log", b"\n")
        assert [body for body in sink.bodies if body != "half"] == names(0, 40)
        assert sink.bodies.count("half") == 4
        assert len(sink.at) == 1

    asyncio.run(main())


def test_a_listing_that_lacks_a_file_which_is_being_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory read in the middle of renames may lack a file; it is looked for again, not taken for deleted and new."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(10)
        (logs / "a.log").rename(logs / "a.log.1")
        looks = 0

        def blind_at_first(path: str) -> Key | None:
            nonlocal looks
            looks += 1
            return _key_at(path) if looks > 3 else None

        def lacking_at_first(path: str, among: Iterable[str]) -> Any:
            return siblings(path, among) if looks > 3 else []

        def empty_at_first(directory: str) -> set[str]:
            return rotation.names(directory) if looks > 3 else set()

        monkeypatch.setattr("shipper.sources.file.recovery._key_at", blind_at_first)
        monkeypatch.setattr("shipper.sources.file.recovery.names", empty_at_first)
        monkeypatch.setattr("shipper.sources.file.copies.siblings", lacking_at_first)
        append(logs / "a.log.1", numbered(10, 20))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(20)
            await tail.pass_time(2)
        assert sink.bodies == names(0, 20)
        assert len(sink.at) == 1

    asyncio.run(main())


def test_a_scan_that_misses_a_file_which_was_just_renamed(tmp_path: Path) -> None:
    """When the event of a rename is still under way, an open file is known by the name that the kernel has for it."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            append(logs / "a.log", numbered(0, 10))
            await tail.lines(10)
            (logs / "a.log").rename(logs / "a.log.1")
            for _ in tail.source._table.scan([]):
                pass
            append(logs / "a.log.1", numbered(10, 20))
            await tail.lines(20)
            await tail.pass_time(2)
            assert tail.sink.bodies == names(0, 20)
            assert len(tail.sink.at) == 1

    asyncio.run(main())


@pytest.mark.parametrize("pattern", ["a.log", "a.log*"])
def test_renamed_while_stopped(tmp_path: Path, pattern: str) -> None:
    """T-22: a file renamed while the tailer was down is read to its end, in the pattern or beside it, then the new one."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        async with tailing(logs, pattern, sink=sink) as tail:
            await tail.lines(10)
        append(logs / "a.log", numbered(10, 20))
        (logs / "a.log").rename(logs / "a.log.1")
        append(logs / "a.log", numbered(20, 30))
        async with tailing(logs, pattern, sink=sink) as tail:
            await tail.lines(30)
            await tail.pass_time(2)
        assert sink.bodies == names(0, 30)
        assert not sink.lost
        async with tailing(logs, pattern, sink=sink) as tail:
            await tail.pass_time(2)
        assert sink.bodies == names(0, 30)

    asyncio.run(main())


@pytest.mark.parametrize("pattern", ["a.log", "a.log*"])
@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("regrown", [5, 60])
def test_truncated_while_stopped(tmp_path: Path, pattern: str, copied: bool, regrown: int) -> None:
    """T-29: truncated while the tailer was down, also regrown beyond the position: unread bytes come from the copy or are lost."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 20))
        async with tailing(logs, pattern, sink=sink) as tail:
            await tail.lines(20)
            (stream,) = sink.at
            sink.open = False
            append(logs / "a.log", numbered(20, 40))
            await tail.until(lambda: tail.file("a.log").size == len(numbered(0, 40)))
            await tail.source._write_down()
        if copied:
            shutil.copyfile(logs / "a.log", logs / "a.log.1")
        os.truncate(logs / "a.log", 0)
        append(logs / "a.log", numbered(40, 40 + regrown))
        sink.open = True
        for _ in range(2):
            async with tailing(logs, pattern, sink=sink) as tail:
                await tail.until(lambda: f"line {39 + regrown}" in sink.bodies)
                await tail.pass_time(2)
            if copied:
                assert sink.bodies == names(0, 40 + regrown)
                assert not sink.lost
            else:
                assert sink.bodies == names(0, 20) + names(40, 40 + regrown)
                assert sink.lost == [(stream, len(numbered(0, 20)), len(numbered(0, 40)))]

    asyncio.run(main())


def test_deleted_while_stopped(tmp_path: Path) -> None:
    """Case 33: a file that was deleted while the tailer was down is reported with what was not read of it."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(10)
            (stream,) = sink.at
            sink.open = False
            append(logs / "a.log", numbered(10, 12))
            await tail.until(lambda: tail.file("a.log").size == len(numbered(0, 12)))
            await tail.source._write_down()
        (logs / "a.log").unlink()
        sink.open = True
        async with tailing(logs, sink=sink) as tail:
            await tail.until(lambda: stream in sink.ended)
            assert sink.lost == [(stream, len(numbered(0, 10)), len(numbered(0, 12)))]

    asyncio.run(main())


def test_replaced_by_an_equal_file_while_stopped(tmp_path: Path) -> None:
    """Case 26: the same content under another inode (a move to another volume, a restored backup) is the same stream."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(10)
        shutil.copyfile(logs / "a.log", tmp_path / "aside")
        (logs / "a.log").unlink()
        (logs / "other").touch()  # takes the inode that became free
        shutil.copyfile(tmp_path / "aside", logs / "a.log")
        append(logs / "a.log", numbered(10, 15))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(15)
            append(logs / "a.log", numbered(15, 16))
            await tail.lines(16)
        assert sink.bodies == names(0, 16)
        assert len(sink.at) == 1

    asyncio.run(main())


def test_other_content_of_the_same_size_while_stopped(tmp_path: Path) -> None:
    """Case 33: other content in the same inode, even of the same size, is a new stream and read whole."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(10, 20))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(10)
        with (logs / "a.log").open("r+b") as file:
            file.write(numbered(20, 30))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(20)
        assert sink.bodies == names(10, 30)

    asyncio.run(main())


def test_inode_and_beginning_reused_after_the_stream_was_retired(tmp_path: Path) -> None:
    """Case 18: an id that a retired stream of this life had is never given again, whatever inode and first line are."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        for turn in range(3):
            append(logs / "a.log", numbered(0, 3))
            async with tailing(logs, sink=sink) as tail:
                await tail.lines(3 * (turn + 1))
                (logs / "a.log").unlink()
                await tail.until(lambda turn=turn: len(sink.ended) == turn + 1)
                await tail.settle()
                await tail.ledger.call(Ledger.retire, sink.ended[-1])
        assert sink.bodies == names(0, 3) * 3
        assert len(set(sink.ended)) == 3

    asyncio.run(main())


def test_ledger_lost(tmp_path: Path) -> None:
    """Case 32: with the ledger gone, files are recognised by the ids a destination remembers, however they have grown."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 3))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(3)
        (stream,) = sink.at
        for name in os.listdir(tmp_path):
            if name.startswith("ledger"):
                (tmp_path / name).unlink()
        append(logs / "a.log", numbered(3, 900))
        append(logs / "b.log", numbered(0, 3))
        fresh = Sink()
        async with tailing(logs, sink=fresh, remembered=[stream, "journal", "file-0-0-0-000000000000"]) as tail:
            await tail.lines(903)
            assert stream in fresh.at
            assert len(fresh.at) == 2
            assert fresh.of(stream) == names(0, 900)

    asyncio.run(main())


def test_a_known_copy_is_known_after_a_restart(tmp_path: Path) -> None:
    """Case 13: a copy left over from before a restart is not read as new, but what is appended to it is."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        async with tailing(logs, "a.log*", sink=sink) as tail:
            await tail.lines(10)
            shutil.copyfile(logs / "a.log", logs / "a.log.1")
            await tail.settle()
            os.truncate(logs / "a.log", 0)
            append(logs / "a.log", numbered(10, 15))
            await tail.lines(15)
            await tail.pass_time(2)
        for _ in range(2):
            async with tailing(logs, "a.log*", sink=sink) as tail:
                await tail.pass_time(2)
        assert sink.bodies == names(0, 15)
        append(logs / "a.log.1", b"late\n")
        async with tailing(logs, "a.log*", sink=sink) as tail:
            await tail.lines(16)
        assert sink.bodies == [*names(0, 15), "late"]

    asyncio.run(main())


def test_unreadable_at_the_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 28: a known file that cannot be opened after a restart is waited for, not given up, and continues its stream."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(10)
        append(logs / "a.log", numbered(10, 15))
        real_open = os.open
        refused = True

        def guarded(path: object, *args: int) -> int:
            if refused and str(path).endswith("a.log"):
                raise PermissionError(13, "Permission denied", path)
            return real_open(path, *args)  # type: ignore[arg-type]

        monkeypatch.setattr("shipper.sources.file.handles.os.open", guarded)
        async with tailing(logs, sink=sink) as tail:
            await tail.pass_time(2)
            assert sink.bodies == names(0, 10)
            refused = False
            await tail.pass_time(2)
            await tail.lines(15)
        assert sink.bodies == names(0, 15)
        assert not sink.lost
        assert len(sink.at) == 1

    asyncio.run(main())
