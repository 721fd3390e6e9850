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
from typing import Any, BinaryIO

import pytest

from tests.sources.file_kit import GUARD_SECONDS, Sink, Tail, decode, tailing


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
            async with asyncio.timeout(GUARD_SECONDS):
                while len(sink.bodies) < 30 * 40 and not sink.lost:  # what is compressed is measured in a thread
                    await tail.pass_time(1)
            assert not sink.lost
        assert sorted(sink.bodies) == sorted(text for n in range(30) for text in names(n * 100, n * 100 + 40))

    asyncio.run(main())


def taken(logs: Path) -> list[BinaryIO]:
    """Logs of which each has to be held open, as it is written to without having a name; as many as there are descriptors."""
    files = [open(logs / f"held-{number}.log", "ab", buffering=0) for number in range(8)]  # noqa: SIM115
    for number, file in enumerate(files):
        file.write(numbered(1000 + number, 1001 + number))
    return files


async def all_taken(tail: Tail, files: list[BinaryIO]) -> None:
    """Every descriptor that the tailer may have is needed."""
    await tail.until(lambda: len(tail.sink.streams) >= len(files))
    for file in files:
        os.unlink(file.name)
    await tail.settle()


@pytest.mark.parametrize("seen", [False, True], ids=["never opened", "closed to make room"])
def test_a_link_is_switched_while_its_file_cannot_be_opened(tmp_path: Path, seen: bool) -> None:
    """Cases 24, 45: the file that a link led to is read to its end where it lies, once there is a descriptor for it."""

    async def main() -> None:
        logs, pods, sink = tmp_path / "logs", tmp_path / "pods", Sink()
        logs.mkdir()
        pods.mkdir()
        (pods / "1.log").touch()
        (logs / "link.log").symlink_to(pods / "1.log")
        with open(pods / "1.log", "ab", buffering=0) as writer:
            if seen:
                writer.write(numbered(0, 5))
            async with tailing(logs, "*.log", sink=sink, limits={"max_open_files": 8}) as tail:
                await tail.lines(5 if seen else 0)
                files = taken(logs)
                await all_taken(tail, files)
                writer.write(numbered(5, 10))
                await tail.settle()
                append(pods / "2.log", numbered(50, 60))
                (logs / "new").symlink_to(pods / "2.log")
                os.rename(logs / "new", logs / "link.log")
                await tail.settle()
                writer.write(numbered(10, 15))
                await tail.pass_time(2)
                for file in files:
                    file.close()
                await tail.pass_time(3)
                writer.write(numbered(15, 20))
                await tail.pass_time(3)
                found = [body for body in sink.bodies if int(body.split()[1]) < 1000]
                assert sorted(found) == sorted(names(0 if seen else 5, 20) + names(50, 60))
                assert not sink.lost

    asyncio.run(main())


def test_a_file_that_is_deleted_before_it_can_be_opened_is_counted(tmp_path: Path) -> None:
    """Case 45: nobody could read it, so its bytes are lost; they are a range of a stream of their own, told as every loss is."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        async with tailing(logs, "*.log", sink=sink, limits={"max_open_files": 8}) as tail:
            files = taken(logs)
            await all_taken(tail, files)
            append(logs / "short.log", numbered(0, 10))
            await tail.settle()
            (logs / "short.log").unlink()
            await tail.settle()
            await tail.pass_time(1)
            for file in files:
                file.close()
            await tail.pass_time(3)
            ((stream, start, end),) = sink.lost
            assert (start, end) == (0, len(numbered(0, 10)))
            assert stream in sink.ended
            assert len(sink.bodies) == 8

    asyncio.run(main())


def test_a_copy_is_not_new_because_its_original_cannot_be_looked_at(tmp_path: Path) -> None:
    """Cases 13, 45: a copy that can be opened before the truncated log can waits until that was looked at."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        (logs / "moved").mkdir(parents=True)
        append(logs / "app.log", numbered(0, 30))
        async with tailing(logs, ("*.log*", "moved/*"), sink=sink, limits={"max_open_files": 8}) as tail:
            await tail.lines(30)
            files = taken(logs)
            await all_taken(tail, files)
            for number in range(3):
                (logs / "app.log.1").write_bytes((logs / "app.log").read_bytes())
                os.truncate(logs / "app.log", 0)
                await tail.settle()
                (logs / "app.log.1").rename(logs / f"moved/app.log.{number}")
                append(logs / "app.log", numbered(100 * number + 100, 100 * number + 130))
                await tail.settle()
            for file in files:
                file.close()
            await tail.pass_time(6)
            found = [body for body in sink.bodies if int(body.split()[1]) < 1000]
            assert sorted(found) == sorted(names(0, 30) + names(100, 130) + names(200, 230) + names(300, 330))

    asyncio.run(main())


def test_the_log_and_its_copy_have_other_names_by_the_time_they_can_be_opened(tmp_path: Path) -> None:
    """Cases 13, 16, 45: copied, truncated and renamed twice before anybody could look: what was read is not read again."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        path = logs / "app.log"
        with open(path, "ab", buffering=0) as writer:
            writer.write(numbered(0, 5))
            async with tailing(logs, ("app.log*", "held*"), sink=sink, limits={"max_open_files": 8}) as tail:
                await tail.lines(5)
                files = taken(logs)
                await all_taken(tail, files)
                (logs / "app.log.2").write_bytes(path.read_bytes())
                os.truncate(path, 0)
                path.rename(logs / "app.log.1")
                writer.write(numbered(5, 10))  # as long as before
                await tail.settle()
                (logs / "app.log.2").rename(logs / "app.log.3")
                (logs / "app.log.1").rename(logs / "app.log.2")
                await tail.settle()
                for file in files:
                    file.close()
                await tail.pass_time(4)
                assert sorted(sink.bodies[13:]) == names(5, 10)
                assert len(sink.bodies) == 18
                assert not sink.lost

    asyncio.run(main())
