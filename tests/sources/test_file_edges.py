"""The edges of file systems: what mounts, clocks and strange contents do to files that are followed."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from shipper.ledger import Ledger
from shipper.sources.file import FileGroup
from tests.sources.file_kit import Sink, tailing


def numbered(start: int, end: int) -> bytes:
    return b"".join(b"line %d of the log\n" % n for n in range(start, end))


def names(start: int, end: int) -> list[str]:
    return [f"line {n} of the log" for n in range(start, end)]


def append(path: Path, data: bytes) -> None:
    with open(path, "ab") as out:
        out.write(data)


# Mounts


def test_a_stale_handle_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 26, T-46: when a network file system has forgotten a descriptor, the file is opened again at its position."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        stale: set[int] = set()
        real = os.pread

        def pread(fd: int, size: int, position: int) -> bytes:
            if fd in stale:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return real(fd, size, position)

        monkeypatch.setattr("shipper.sources.file.handles.os.pread", pread)
        real_close, real_fstat = os.close, os.fstat

        def close(fd: int) -> None:
            stale.discard(fd)
            real_close(fd)

        def fstat(fd: int) -> os.stat_result:
            if fd in stale:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return real_fstat(fd)

        monkeypatch.setattr("shipper.sources.file.handles.os.close", close)
        monkeypatch.setattr("shipper.sources.file.handles.os.fstat", fstat)
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(10)
            stale.update(file.fd for file in tail.source._table)
            append(logs / "a.log", numbered(10, 20))
            await tail.lines(20)
            assert not tail.report.problems("unreadable")
        assert sink.bodies == names(0, 20)
        assert len(sink.at) == 1
        assert not sink.lost

    asyncio.run(main())


def test_the_device_has_another_number_after_a_remount(tmp_path: Path) -> None:
    """Case 26: after a remount under another device number, files in their places are known by what they hold."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        for number in range(5):
            append(logs / f"{number}.log", numbered(number * 100, number * 100 + 10))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(50)
            await tail.pass_time(1)
            await tail.ledger.call(_remounted)
        for number in range(5):
            append(logs / f"{number}.log", numbered(number * 100 + 10, number * 100 + 20))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(100)
            await tail.pass_time(2)
        assert len(sink.at) == 5
        assert len(sink.bodies) == len(set(sink.bodies)) == 100
        assert not sink.lost

    asyncio.run(main())


def _remounted(ledger: Ledger) -> None:
    for row in ledger.streams():
        ledger.put_stream(replace(row, meta={**row.meta, "dev": row.meta["dev"] + 7}))


# Age and order


def test_old_files_are_ignored_until_something_is_appended(tmp_path: Path) -> None:
    """T-48: of a file that is older than ignore_older when it is first seen only what is appended is read."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        now = 1_000_000
        for name, age in (("old.log", 7200), ("young.log", 60)):
            append(logs / name, numbered(age, age + 5))
        group = FileGroup((str(logs / "*.log"),), ignore_older=3600.0)
        async with tailing(logs, groups=(group,), sink=sink) as tail:
            now = tail.clock.wall_ns() / 1e9
            await tail.lines(10)
        assert len(sink.bodies) == 10
        sink = Sink()
        (tmp_path / "ledger.db").unlink()
        for name, age in (("old.log", 7200), ("young.log", 60)):
            os.utime(logs / name, (now - age, now - age))
        async with tailing(logs, groups=(group,), sink=sink) as tail:
            await tail.lines(5)
            assert sink.bodies == names(60, 65)
            append(logs / "old.log", numbered(1, 3))
            await tail.lines(7)
        assert sink.bodies == names(60, 65) + names(1, 3)
        assert not sink.lost

    asyncio.run(main())


def test_the_oldest_is_read_first(tmp_path: Path) -> None:
    """T-15: of several files that are new, the one that was written to first comes first."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        for number, name in enumerate(("app.log.3", "app.log.1", "app.log.2", "app.log")):
            append(logs / name, numbered(number, number + 1))
            os.utime(logs / name, (1000 + number, 1000 + number))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(4)
        assert sink.bodies == names(0, 4)

    asyncio.run(main())


@pytest.mark.parametrize("step", [-3600.0, 3600.0, -1e9])
def test_a_clock_that_steps(tmp_path: Path, step: float) -> None:
    """Case 35, T-49: when the clock of the host steps, and files have times in the past or future, each line comes once."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(10)
            now = max(0.0, tail.clock.wall_ns() / 1e9 + step)
            append(logs / "a.log", numbered(10, 20))
            os.utime(logs / "a.log", (now, now))
            await tail.lines(20)
            os.rename(logs / "a.log", logs / "a.log.1")
            append(logs / "a.log", numbered(20, 30))
            os.utime(logs / "a.log", (now - 10, now - 10) if now > 10 else (0, 0))
            await tail.lines(30)
        append(logs / "a.log", numbered(30, 40))
        os.utime(logs / "a.log", (0, 0))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(40)
            await tail.pass_time(2)
        assert sink.bodies == names(0, 40)
        assert not sink.lost

    asyncio.run(main())


# Encodings, from a file to a record


@pytest.mark.parametrize("encoding", ["utf-16le", "utf-16be"])
def test_a_file_with_the_mark_of_utf_16(tmp_path: Path, encoding: str) -> None:
    """Case 7: a file that begins with UTF-16's mark is read as such, rotated and restarted like any other."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()

        def text(start: int, end: int) -> bytes:
            return "".join(f"línea {n} 😀\r\n" for n in range(start, end)).encode(encoding)

        mark = "\ufeff".encode(encoding)
        async with tailing(logs, "a.log*", sink=sink) as tail:
            for byte in mark + text(0, 1):  # as slow as it can be
                append(logs / "a.log", bytes([byte]))
                await tail.settle()
            await tail.lines(1)
            append(logs / "a.log", text(1, 10))
            await tail.lines(10)
            await tail.pass_time(1)
        append(logs / "a.log", text(10, 20))
        async with tailing(logs, "a.log*", sink=sink) as tail:
            await tail.lines(20)
            os.rename(logs / "a.log", logs / "a.log.1")
            append(logs / "a.log", mark + text(20, 30))
            await tail.lines(30)
        assert sink.bodies == [f"línea {n} 😀" for n in range(30)]
        assert not any(line.attributes for line in sink.lines)
        assert not sink.lost

    asyncio.run(main())


def test_latin_1_by_configuration(tmp_path: Path) -> None:
    """Case 7: what is configured to be Latin-1 is decoded as that, byte by byte."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        append(logs / "a.log", bytes(range(0x20, 0x100)) + b"\n\xff\xfe\n")
        async with tailing(logs, sink=sink, encoding="latin-1") as tail:
            await tail.lines(2)
        assert sink.bodies == [bytes(range(0x20, 0x100)).decode("latin-1"), "ÿþ"]

    asyncio.run(main())


def test_a_file_becomes_a_directory_and_a_pipe(tmp_path: Path) -> None:
    """Case 28: a file that is replaced by a directory or a pipe is read to its end, and nothing is opened that could block."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(open=False)
        logs.mkdir()
        append(logs / "a.log", numbered(0, 10))
        append(logs / "b.log", numbered(10, 20))
        async with tailing(logs, "*.log", sink=sink) as tail:
            await tail.until(lambda: len(sink.streams) == 2)
            (logs / "a.log").unlink()
            (logs / "a.log").mkdir()
            (logs / "b.log").unlink()
            os.mkfifo(logs / "b.log")
            assert stat.S_ISFIFO(os.stat(logs / "b.log").st_mode)
            await tail.pass_time(2)
            sink.take_all()
            await tail.lines(20)
            assert len(tail.report.problems("unreadable")) == 2
        assert sorted(sink.bodies) == sorted(names(0, 20))

    asyncio.run(main())
