"""Finding files: patterns, directories that come and go, what is no file, and what may not be read."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from shipper.events import Reporter
from shipper.sources.file import FileGroup
from shipper.sources.file import inotify as ino
from shipper.sources.file.discover import Patterns
from shipper.testing.clock import FakeClock
from tests.sources.file_kit import Sink, tailing

TREE = [
    "app.log",
    "app.log.1",
    "b.txt",
    ".hidden.log",
    "x1.log",
    "x2.log",
    "sub/app.log",
    "sub/deep/deeper/app.log",
    ".git/app.log",
    "white space/näme.log",
]


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        (["*.log"], [], ["app.log", "x1.log", "x2.log"]),
        (["x?.log"], [], ["x1.log", "x2.log"]),
        (["x[!2].log"], [], ["x1.log"]),
        (["*.log*"], ["*.1"], ["app.log", "x1.log", "x2.log"]),
        (["**/*.log"], ["**/deep/**"], ["app.log", "x1.log", "x2.log", "sub/app.log", "white space/näme.log"]),
        (["**/app.log"], [], ["app.log", "sub/app.log", "sub/deep/deeper/app.log"]),
        (["sub/**"], [], ["sub/app.log", "sub/deep/deeper/app.log"]),
        (["*/app.log"], [], ["sub/app.log"]),
        ([".hidden.log", ".*/app.log"], [], [".hidden.log", ".git/app.log"]),
        (["app.log", "sub/app.log", "none/app.log"], [], ["app.log", "sub/app.log"]),
        (["s*/d*/*/app.log"], [], ["sub/deep/deeper/app.log"]),
    ],
)
def test_patterns(tmp_path: Path, include: list[str], exclude: list[str], found: list[str]) -> None:
    """Case 22: stars, double stars, question marks, sets and exclusions mean what a shell user expects."""
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    group = FileGroup(
        tuple(str(tmp_path / each) for each in include),
        tuple(str(tmp_path / each) if "/" in each else each for each in exclude),
    )
    patterns = Patterns([group], Reporter(FakeClock()))
    assert sorted(patterns.walk().files) == sorted(str(tmp_path / each) for each in found)
    for name in TREE:
        assert (patterns.group_of(str(tmp_path / name)) is group) == (name in found)


def test_a_file_belongs_to_the_first_group_that_matches(tmp_path: Path) -> None:
    """Case 24: a file that two patterns match is read once, as the first of them says."""
    (tmp_path / "a.log").touch()
    one, two = FileGroup((str(tmp_path / "a*"),)), FileGroup((str(tmp_path / "*"),))
    patterns = Patterns([one, two], Reporter(FakeClock()))
    assert patterns.walk().files == [str(tmp_path / "a.log")]
    assert patterns.group_of(str(tmp_path / "a.log")) is one


def test_only_directories_that_matter_are_watched(tmp_path: Path) -> None:
    """Case 22: of a path that does not exist yet only the nearest ancestor is watched."""
    (tmp_path / "var" / "log").mkdir(parents=True)
    group = FileGroup((str(tmp_path / "var/log/app/*/x.log"), str(tmp_path / "var/*.log")))
    patterns = Patterns([group], Reporter(FakeClock()))
    assert patterns.walk().directories == {str(tmp_path / "var/log"): False, str(tmp_path / "var"): True}
    (tmp_path / "var/log/app/one").mkdir(parents=True)
    assert patterns.walk().directories == {
        str(tmp_path / "var"): True,
        str(tmp_path / "var/log/app"): False,
        str(tmp_path / "var/log/app/one"): True,
    }


def test_directories_that_appear_move_and_return(tmp_path: Path) -> None:
    """Case 22: directories that appear later, are renamed, deleted and come back are followed without a restart."""

    async def main() -> None:
        root = tmp_path / "root"
        async with tailing(root, "app/**/*.log") as tail:
            (root / "app").mkdir()
            (root / "app" / "a.log").write_bytes(b"1\n")
            await tail.lines(1)
            (root / "app" / "x" / "y").mkdir(parents=True)
            (root / "app" / "x" / "y" / "b.log").write_bytes(b"2\n")
            await tail.lines(2)
            (root / "app" / "x").rename(root / "app" / "z")
            await tail.settle()
            with (root / "app" / "z" / "y" / "b.log").open("ab") as file:
                file.write(b"3\n")
            await tail.lines(3)
            (root / "app").rename(root / "old")
            await tail.settle()
            (root / "app").mkdir()
            (root / "app" / "a.log").write_bytes(b"4\n")
            await tail.lines(4)
            (root / "app" / "a.log").unlink()
            (root / "app").rmdir()
            await tail.settle()
            (root / "app" / "q").mkdir(parents=True)
            (root / "app" / "q" / "a.log").write_bytes(b"5\n")
            await tail.lines(5)
            assert tail.sink.bodies == list("12345")

    asyncio.run(main())


def test_a_lost_event_queue_means_looking_at_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 23: when the kernel drops events, everything is looked at again and nothing is missed."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            (logs / "a.log").write_bytes(b"1\n")
            await tail.lines(1)
            watcher = tail.source._watcher
            with monkeypatch.context() as patch:
                patch.setattr(ino.Inotify, "read", lambda self: (list(_real_read(self)), [(-1, ino.Q_OVERFLOW, "")])[1])
                (logs / "b.log").write_bytes(b"2\n")
                with (logs / "a.log").open("ab") as file:
                    file.write(b"3\n")
                watcher.read()
            await tail.lines(3)
            assert sorted(tail.sink.bodies) == ["1", "2", "3"]
            assert len(tail.report.problems("overflow")) == 1

    _real_read = ino.Inotify.read
    asyncio.run(main())


def test_no_watches_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 23: directories for which the kernel has no watch left are polled, and that is said."""

    def refuse(self: Any, path: str, mask: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    async def main() -> None:
        logs = tmp_path / "logs"
        monkeypatch.setattr(ino.Inotify, "add", refuse)
        async with tailing(logs) as tail:
            (logs / "a.log").write_bytes(b"1\n")
            await tail.pass_time(2)
            await tail.lines(1)
            with (logs / "a.log").open("ab") as file:
                file.write(b"2\n")
            await tail.pass_time(2)
            assert tail.sink.bodies == ["1", "2"]
            assert "max_user_watches" in tail.report.problems("watch")[0]

    asyncio.run(main())


def test_no_inotify_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 23: where no inotify instance can be had, files are polled."""

    def refuse(self: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def main() -> None:
        logs = tmp_path / "logs"
        monkeypatch.setattr(ino.Inotify, "__init__", refuse)
        async with tailing(logs) as tail:
            (logs / "a.log").write_bytes(b"1\n")
            await tail.pass_time(2)
            assert await tail.lines(1) == ["1"]

    asyncio.run(main())


def test_what_is_no_file_is_refused_without_blocking(tmp_path: Path) -> None:
    """Case 28: a pipe, a socket, a device or a directory in a file's place is never opened, and said once."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        os.mkfifo(logs / "pipe.log")
        (logs / "dir.log").mkdir()
        (logs / "null.log").symlink_to("/dev/null")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(logs / "s.log"))
            async with tailing(logs, "*.log") as tail:
                (logs / "a.log").write_bytes(b"1\n")
                await tail.lines(1)
                (logs / "a.log").unlink()
                os.mkfifo(logs / "a.log")
                await tail.settle()
                await tail.pass_time(3)
                (logs / "a.log").unlink()
                (logs / "a.log").write_bytes(b"2\n")
                await tail.lines(2)
                assert tail.sink.bodies == ["1", "2"]
                said = tail.report.problems("unreadable")
                for name in ("pipe.log", "null.log", "s.log", "a.log"):
                    assert any(str(logs / name) in each for each in said)

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_granted_later(tmp_path: Path) -> None:
    """Case 28: a file that may not be read is said once, and read as soon as it may."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "a.log").write_bytes(b"1\n")
        (logs / "a.log").chmod(0)
        async with tailing(logs) as tail:
            assert not tail.sink.streams
            (logs / "a.log").chmod(0o600)
            await tail.lines(1)

    asyncio.run(main())


def test_an_open_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 28: a file that cannot be opened is said once and tried again every second until it can."""

    async def main() -> None:
        logs = tmp_path / "logs"
        refused = True
        real_open = os.open

        def guarded(path: Any, *args: Any, **kwargs: Any) -> int:
            if refused and str(path).endswith("a.log"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return real_open(path, *args, **kwargs)

        monkeypatch.setattr("shipper.sources.file.handles.os.open", guarded)
        async with tailing(logs) as tail:
            await asyncio.to_thread((logs / "b.log").write_bytes, b"b\n")
            fd = real_open(logs / "a.log", os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(fd, b"a\n")
            os.close(fd)
            await tail.lines(1)
            await tail.pass_time(3)
            assert tail.sink.bodies == ["b"]
            assert len(tail.report.problems("unreadable")) == 1
            refused = False
            await tail.pass_time(1)
            assert await tail.lines(2) == ["b", "a"]

    asyncio.run(main())


def test_links_are_followed_and_read_once(tmp_path: Path) -> None:
    """Cases 24 and 25: a link to a file is followed, its target's growth noticed, and one file under many names read once."""

    async def main() -> None:
        logs, store = tmp_path / "logs", tmp_path / "store"
        logs.mkdir()
        store.mkdir()
        (store / "real.log").write_bytes(b"1\n")
        (logs / "link.log").symlink_to(store / "real.log")
        (logs / "again.log").symlink_to(store / "real.log")
        os.link(store / "real.log", logs / "hard.log")
        (logs / "loop.log").symlink_to(logs / "loop.log")
        async with tailing(logs) as tail:
            await tail.lines(1)
            with (store / "real.log").open("ab") as file:
                file.write(b"2\n")
            await tail.lines(2)
            (store / "other.log").write_bytes(b"3\n")
            (logs / "new.log").symlink_to(store / "other.log")
            await tail.lines(3)
            with (store / "other.log").open("ab") as file:
                file.write(b"4\n")
            await tail.lines(4)
            assert tail.sink.bodies == list("1234")
            assert len(tail.sink.streams) == 2

    asyncio.run(main())


def test_any_name_will_do(tmp_path: Path) -> None:
    """Case 27: names with spaces, newlines and bytes that are no UTF-8 are read, and survive a restart."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        sink = Sink()
        wild = [b"a b.log", b"new\nline.log", b"latin-\xe9.log", b"x" * 251 + b".log"]
        paths = [os.path.join(os.fsencode(logs), name) for name in wild]
        for turn in range(2):
            async with tailing(logs, sink=sink) as tail:
                for path in paths:
                    with open(path, "ab") as file:
                        file.write(b"%d\n" % turn)
                await tail.lines(len(wild) * (turn + 1))
        assert sink.bodies == ["0"] * len(wild) + ["1"] * len(wild)

    asyncio.run(main())
