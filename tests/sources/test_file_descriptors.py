"""Fewer descriptors than files, or none: files wait, and nothing is decided about what could not be looked into."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sources.file_kit import Sink, decode, tailing


def numbered(start: int, end: int) -> bytes:
    return b"".join(b"line %d of the log\n" % n for n in range(start, end))


def names(start: int, end: int) -> list[str]:
    return [f"line {n} of the log" for n in range(start, end)]


def append(path: Path, data: bytes) -> None:
    with open(path, "ab") as out:
        out.write(data)


def test_the_host_has_no_descriptors_left(tmp_path: Path) -> None:
    """Case 45, T-47: when the process may open nothing more, files wait, that is said, and each is read when it may again."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        async with tailing(logs, sink=sink) as tail:
            append(logs / "first.log", numbered(0, 10))
            await tail.lines(10)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            used = max(map(int, os.listdir("/proc/self/fd")))
            filler: list[int] = []
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
                filler += _fill()
                for number in (1, 2, 3):
                    os.close(filler.pop())
                    append(logs / f"{number}.log", numbered(number * 10, number * 10 + 10))
                    filler += _fill()
                os.close(filler.pop())
                append(logs / "first.log", numbered(100, 110))
                filler += _fill()
                await tail.settle()
                await tail.lines(20)
                assert sink.bodies == names(0, 10) + names(100, 110)
                assert tail.report.problems("descriptors")
            finally:
                for fd in filler:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await tail.pass_time(2)
            await tail.lines(50)
        assert sorted(sink.bodies) == sorted(names(0, 40) + names(100, 110))
        assert not sink.lost

    asyncio.run(main())


def _fill() -> list[int]:
    """Take all descriptors there are."""
    gc.collect()
    taken = []
    while True:
        try:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            return taken


def test_more_files_than_descriptors_all_growing(tmp_path: Path) -> None:
    """T-47: with far more files than descriptors, all of them written to in turn, each line of each comes once."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        for number in range(60):
            append(logs / f"{number}.log", numbered(number * 1000, number * 1000 + 1))
        async with tailing(logs, sink=sink, limits={"max_open_files": 8}) as tail:
            await tail.lines(60)
            for turn in range(1, 6):
                for number in range(60):
                    append(logs / f"{number}.log", numbered(number * 1000 + turn, number * 1000 + turn + 1))
                await tail.lines(60 * (turn + 1))
            assert len(tail.source._pool._open) <= 8
        assert len(set(sink.bodies)) == len(sink.bodies) == 360

    asyncio.run(main())


def test_unreadable_after_a_restart_with_unread_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 28, T-56: what was not read of a file that cannot be opened for a while after a restart is not given up."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(limit=100)
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        real: Callable[..., int] = os.open
        refused = False

        def guarded(path: Any, *args: Any) -> int:
            if refused and str(path).endswith("a.log"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return real(path, *args)

        monkeypatch.setattr("shipper.sources.file.handles.os.open", guarded)
        sink.open = False
        async with tailing(logs, sink=sink) as tail:
            await tail.until(lambda: sink.streams)
            (stream,) = sink.streams.values()
            batch = stream.cut(0, 0, 100, 1)
            assert batch is not None
            sink.at[stream.id] = (batch.cut.end, batch.cut.next_resume)
            sink.last[stream.id] = batch.cut
            first = batch.cut.records
            await tail.source._write_down()
        refused, sink.open = True, True
        async with tailing(logs, sink=sink) as tail:
            await tail.pass_time(2)
            sink.take_all()
            assert not sink.lost
            with pytest.raises(OSError, match="cannot be read yet"):
                sink.streams[stream.id].reread(batch.cut)
            refused = False
            await tail.pass_time(2)
            await tail.lines(10 - first)
        assert sink.bodies == names(first, 10)
        assert not sink.lost

    asyncio.run(main())


def test_a_copy_that_cannot_be_looked_into_yet(tmp_path: Path) -> None:
    """Case 45, T-47: what is unread of a log that was truncated is in its copies; while none of them can be opened it waits."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(open=False)
        logs.mkdir()
        for number in range(8):
            append(logs / f"{number}.log", numbered(number * 100, number * 100 + 20))
        async with tailing(logs, "*.log", sink=sink, limits={"max_open_files": 8}) as tail:
            await tail.until(lambda: len(sink.streams) == 8)
            for number in range(4):
                (logs / f"{number}.log.1").write_bytes((logs / f"{number}.log").read_bytes())
                os.truncate(logs / f"{number}.log", 0)
            await tail.pass_time(2)
            sink.take_all()
            await tail.pass_time(3)
            sink.take_all()
            assert not sink.lost
            assert not tail.report.problems("truncated")
        assert sorted(sink.bodies) == sorted(text for n in range(8) for text in names(n * 100, n * 100 + 20))

    asyncio.run(main())


def test_compressed_while_stopped_and_more_than_can_be_opened(tmp_path: Path) -> None:
    """Cases 17, 45: after a restart each of many rotated logs is found in its compressed form, a few at a time."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(open=False, limit=400)
        logs.mkdir()
        for number in range(30):
            append(logs / f"app.log.{number}", numbered(number * 100, number * 100 + 40))
        async with tailing(logs, sink=sink) as tail:
            await tail.until(lambda: len(sink.streams) == 30)
            for stream in sink.streams.values():  # a part of each arrives
                batch = stream.cut(0, 0, 400, 1)
                assert batch is not None
                sink.batches.append(batch)
                sink.lines += decode(batch)
                sink.last[stream.id] = batch.cut
                sink.at[stream.id] = (batch.cut.end, batch.cut.next_resume)
            await tail.source._write_down()
        for number in range(30):
            path = logs / f"app.log.{number}"
            (logs / f"app.log.{number}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        sink.open = True
        async with tailing(logs, sink=sink, limits={"max_open_files": 8}) as tail:
            for _ in range(20):
                await tail.pass_time(1)
            assert not sink.lost
        assert sorted(sink.bodies) == sorted(text for n in range(30) for text in names(n * 100, n * 100 + 40))

    asyncio.run(main())
