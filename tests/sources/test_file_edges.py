"""The edges of file systems: what links, mounts, names, limits and clocks do to files that are followed."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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


# Links and directories


def test_the_data_link_of_a_kubernetes_volume_is_switched(tmp_path: Path) -> None:
    """Case 24, T-41: when ``..data`` is switched to another directory, the old file is read to its end, then the new one."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        for name in ("..one", "..two"):
            (logs / name).mkdir()
        (logs / "..data").symlink_to("..one")
        (logs / "app.log").symlink_to("..data/app.log")
        append(logs / "..one/app.log", numbered(0, 10))
        async with tailing(logs, "app.log", sink=sink) as tail:
            await tail.lines(10)
            append(logs / "..one/app.log", numbered(10, 15))
            append(logs / "..two/app.log", numbered(15, 20))
            (logs / "..new").symlink_to("..two")
            os.rename(logs / "..new", logs / "..data")
            await tail.pass_time(16)
            await tail.lines(20)
            append(logs / "..two/app.log", numbered(20, 25))
            await tail.lines(25)
        assert sink.bodies == names(0, 25)
        assert len(sink.at) == 2
        assert not sink.lost

    asyncio.run(main())


def test_a_container_is_restarted(tmp_path: Path) -> None:
    """Case 24: /var/log/containers links to /var/log/pods, whose file the runtime rotates and replaces; each line comes once."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        pod = logs / "pods/ns_pod_uid/web"
        pod.mkdir(parents=True)
        (logs / "containers").mkdir()
        append(pod / "0.log", numbered(0, 10))
        link = logs / "containers/pod_ns_web-1234.log"
        link.symlink_to(pod / "0.log")
        async with tailing(logs, "containers/*.log", sink=sink, format="plain") as tail:
            await tail.lines(10)
            append(pod / "0.log", numbered(10, 12))
            os.rename(pod / "0.log", pod / "0.log.20260101-000000")
            append(pod / "0.log", numbered(12, 20))
            await tail.pass_time(16)
            await tail.lines(20)
            append(pod / "1.log", numbered(20, 30))
            link.unlink()
            (logs / "containers/pod_ns_web-5678.log").symlink_to(pod / "1.log")
            await tail.lines(30)
        assert sink.bodies == names(0, 30)
        assert not sink.lost

    asyncio.run(main())


def test_links_that_lead_nowhere_and_in_circles(tmp_path: Path) -> None:
    """T-41: dangling links, links to themselves and loops of directories are survived; what a link leads to later is read."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        (logs / "deep").mkdir(parents=True)
        (logs / "deep/loop").symlink_to("..")
        (logs / "self.log").symlink_to("self.log")
        (logs / "later.log").symlink_to("deep/not-yet")
        append(logs / "deep/a.log", numbered(0, 10))
        async with tailing(logs, "**/*.log", sink=sink) as tail:
            await tail.lines(10)
            (logs / "deep/not-yet").write_bytes(numbered(10, 20))
            await tail.pass_time(16)
            await tail.lines(20)
            (logs / "later.log").unlink()
            await tail.pass_time(2)
        assert sink.bodies == names(0, 20)

    asyncio.run(main())


def test_a_second_name_and_a_move_to_another_directory(tmp_path: Path) -> None:
    """Case 25: a hard link, and a move across directories of the pattern, change nothing: one stream, each line once."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        for name in ("one", "two"):
            (logs / name).mkdir(parents=True)
        append(logs / "one/a.log", numbered(0, 10))
        async with tailing(logs, "*/*.log", sink=sink) as tail:
            await tail.lines(10)
            os.link(logs / "one/a.log", logs / "two/b.log")
            append(logs / "two/b.log", numbered(10, 20))
            await tail.lines(20)
            (logs / "one/a.log").unlink()
            append(logs / "two/b.log", numbered(20, 25))
            await tail.lines(25)
            os.rename(logs / "two/b.log", logs / "one/c.log")
            append(logs / "one/c.log", numbered(25, 30))
            await tail.lines(30)
            await tail.pass_time(2)
        async with tailing(logs, "*/*.log", sink=sink) as tail:
            await tail.pass_time(2)
        assert sink.bodies == names(0, 30)
        assert len(sink.at) == 1

    asyncio.run(main())


@pytest.mark.parametrize("gone", ["deleted", "renamed"])
def test_a_directory_goes_and_comes_back(tmp_path: Path, gone: str) -> None:
    """T-44: what was not read in a directory that is deleted or renamed is read from its descriptors; its successor is followed."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(open=False)
        (logs / "app").mkdir(parents=True)
        append(logs / "app/a.log", numbered(0, 10))
        async with tailing(logs, "app/*.log", sink=sink) as tail:
            await tail.until(lambda: sink.streams)
            if gone == "deleted":
                (logs / "app/a.log").unlink()
                (logs / "app").rmdir()
            else:
                os.rename(logs / "app", logs / "app.old")
            await tail.settle()
            (logs / "app").mkdir()
            append(logs / "app/a.log", numbered(10, 20))
            await tail.pass_time(2)
            sink.take_all()
            await tail.lines(20)
        assert sink.bodies == names(0, 20)
        assert not sink.lost

    asyncio.run(main())


# Names


def test_the_longest_and_the_strangest_names(tmp_path: Path) -> None:
    """Case 27: names of 255 bytes, with newlines and bytes that are no UTF-8, are followed, shown, and known after a restart."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        strange = [
            b"x" * 251 + b".log",
            b"with\nnewline.log",
            b"\xff\xfe\x80.log",
            b" .log",
            b"'\"$`;.log",
            "é😀.log".encode(),
        ]
        for number, name in enumerate(strange):
            with open(os.fsencode(logs) + b"/" + name, "wb") as out:
                out.write(numbered(number * 10, number * 10 + 10))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(60)
            await tail.pass_time(1)
        for number, name in enumerate(strange):
            with open(os.fsencode(logs) + b"/" + name, "ab") as out:
                out.write(numbered(100 + number, 101 + number))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(66)
        assert sorted(sink.bodies) == sorted([*names(0, 60), *names(100, 106)])
        assert len(sink.at) == 6
        assert {line.scope["log.file.name"] for line in sink.lines} >= {"\\xff\\xfe\\x80.log", "with\nnewline.log"}

    asyncio.run(main())


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


# Limits


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
