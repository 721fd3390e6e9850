"""What links, directories and names do to files that are followed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

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
