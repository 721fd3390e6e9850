"""Copied and truncated: which file repeats another, and where the bytes are that the truncation destroyed."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.sources.file_kit import Sink, tailing


def numbered(first: int, last: int, width: int = 0) -> bytes:
    """Lines with the numbers of [first, last)."""
    return b"".join(b"line %d%s\n" % (number, b"." * width) for number in range(first, last))


def names(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last)]


def by_number(bodies: list[str]) -> list[str]:
    return sorted(bodies, key=lambda body: int(body.rstrip(".").split()[1]))


@pytest.mark.parametrize("size", ["below", "equal", "above"])
def test_truncated_after_everything_was_read(tmp_path: Path, size: str) -> None:
    """Case 12: truncated in place, and by the next look below, at or above the old size: the new content is read whole."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            path = logs / "a.log"
            path.write_bytes(numbered(10, 50))
            await tail.lines(40)
            before = path.stat().st_size
            content = numbered(50, {"below": 60, "equal": 90, "above": 99}[size])
            assert (size == "equal") == (len(content) == before)
            with path.open("r+b", buffering=0) as file:
                file.truncate(0)
                file.write(content)
            await tail.until(lambda: len(tail.sink.streams) == 2)
            await tail.lines(40 + content.count(b"\n"))
            assert tail.sink.bodies == names(10, 50 + content.count(b"\n"))
            assert len(tail.sink.ended) == 1
            assert not tail.sink.lost

    asyncio.run(main())


def test_truncated_while_the_tailer_looks_away(tmp_path: Path) -> None:
    """Case 12: without notification, a regrown file is told by the bytes before the position when it is read."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, limits={"notify": False}) as tail:
            path = logs / "a.log"
            path.write_bytes(numbered(10, 50))
            await tail.pass_time(2)
            assert tail.sink.bodies == names(10, 50)
            with path.open("r+b", buffering=0) as file:
                file.truncate(0)
                file.write(numbered(50, 99))
            await tail.pass_time(2)
            await tail.until(lambda: len(tail.sink.streams) == 2)
            assert tail.sink.bodies == names(10, 99)

    asyncio.run(main())


@pytest.mark.parametrize("pattern", ["a.log", "a.log*"])
@pytest.mark.parametrize("regrown", [0, 5, 2000])
def test_copied_and_truncated_with_unread_bytes(tmp_path: Path, pattern: str, regrown: int) -> None:
    """Case 13: what was not read when a file was truncated is read from its copy, in or out of the pattern, and only once."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, pattern, sink=Sink(limit=500)) as tail:
            path = logs / "a.log"
            path.write_bytes(numbered(0, 100))
            await tail.lines(100)
            tail.sink.open = False
            with path.open("ab", buffering=0) as file:
                file.write(numbered(100, 1000))
                await tail.until(lambda: tail.file("a.log").size == path.stat().st_size)
                shutil.copyfile(path, logs / "a.log.1")
                os.truncate(path, 0)
                file.write(numbered(1000, 1000 + regrown))
                await tail.until(lambda: tail.sink.ended)
                await tail.until(lambda: len(tail.sink.streams) == 2 or not regrown)
                tail.sink.take_all()
                assert tail.sink.bodies == names(0, 1000 + regrown)
                file.write(numbered(1000 + regrown, 1001 + regrown))
                await tail.lines(1001 + regrown)
            await tail.pass_time(3)
            assert not tail.sink.lost
            assert len(tail.sink.bodies) == 1001 + regrown

    asyncio.run(main())


def test_copy_holds_more_than_was_seen(tmp_path: Path) -> None:
    """Case 52: lines written after the last look and before the copy was made are read from the copy, too."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "a.log*", limits={"notify": False}) as tail:
            path = logs / "a.log"
            path.write_bytes(numbered(0, 10))
            await tail.pass_time(2)
            with path.open("ab", buffering=0) as file:
                file.write(numbered(10, 30))
                shutil.copyfile(path, logs / "a.log.1")
                os.truncate(path, 0)
                file.write(numbered(30, 33))
            await tail.pass_time(2)
            await tail.lines(33)
            await tail.pass_time(2)
            assert by_number(tail.sink.bodies) == names(0, 33)
            assert not tail.sink.lost

    asyncio.run(main())


def test_truncated_with_unread_bytes_and_no_copy(tmp_path: Path) -> None:
    """Case 13: when there is no copy the exact range is given up once, and said; the new content is read."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            path = logs / "a.log"
            path.write_bytes(numbered(0, 10))
            await tail.lines(10)
            first = tail.file("a.log")
            tail.sink.open = False
            with path.open("ab", buffering=0) as file:
                file.write(numbered(10, 20))
                await tail.until(lambda: first.size == len(numbered(0, 20)))
                os.truncate(path, 0)
                file.write(numbered(20, 25))
                await tail.until(lambda: len(tail.sink.streams) == 2)
            tail.sink.take_all()
            assert tail.sink.lost == [(first.id, len(numbered(0, 10)), len(numbered(0, 20)))]
            assert tail.sink.bodies == names(0, 10) + names(20, 25)
            assert len(tail.report.problems("truncated")) == 1

    asyncio.run(main())


def test_a_batch_in_flight_is_read_again_from_the_copy(tmp_path: Path) -> None:
    """Case 13: a batch that was cut before the truncation and must be sent again comes from the copy, byte for byte."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "a.log") as tail:
            path = logs / "a.log"
            path.write_bytes(numbered(0, 50))
            await tail.lines(50)
            (batch,) = tail.sink.batches
            stream = tail.file("a.log")
            stream.released_to = 0
            shutil.copyfile(path, logs / "a.log-20261123")
            os.truncate(path, 0)
            assert stream.reread(batch.cut) == batch

    asyncio.run(main())


@pytest.mark.parametrize("wait", [True, False])
def test_a_copy_in_the_pattern_is_not_a_new_file(tmp_path: Path, wait: bool) -> None:
    """Case 13: a copy of a followed file, noticed before or after the original is truncated, adds no line."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log*") as tail:
            path = logs / "app.log"
            for turn in range(3):
                with path.open("ab", buffering=0) as file:
                    file.write(numbered(turn * 10, turn * 10 + 10))
                await tail.lines(turn * 10 + 10)
                for number in range(turn, 0, -1):
                    (logs / f"app.log.{number}").rename(logs / f"app.log.{number + 1}")
                shutil.copyfile(path, logs / "app.log.1")
                if wait:
                    await tail.settle()
                    await tail.pass_time(3)
                os.truncate(path, 0)
                if wait:
                    await tail.settle()
            await tail.pass_time(40)
            assert tail.sink.bodies == names(0, 30)
            assert not tail.sink.lost

    asyncio.run(main())


def test_files_that_begin_alike_are_both_read(tmp_path: Path) -> None:
    """T-39: two files with the same first lines, also with names that look like rotation, are both read whole."""

    async def main() -> None:
        logs = tmp_path / "logs"
        header = b"# a header line that all of these files share " + b"-" * 2000 + b"\n"
        async with tailing(logs, "*.log*") as tail:
            files = [(logs / name).open("ab", buffering=0) for name in ("app.log", "app.log.1", "other.log")]
            for file in files:
                file.write(header)
                await tail.settle()
            for index, file in enumerate(files):
                file.write(numbered(index * 100, index * 100 + 5))
                await tail.settle()
            await tail.pass_time(3)
            for file in files:
                file.close()
            assert len(tail.sink.streams) == 3
            for index, name in enumerate(("app.log", "app.log.1", "other.log")):
                assert tail.sink.of(tail.file(name).id)[1:] == names(index * 100, index * 100 + 5)

    asyncio.run(main())


def test_twins_are_read_in_the_end(tmp_path: Path) -> None:
    """T-39: a file that says exactly what another says is waited for a moment only, and never forgotten at the end."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            (logs / "one.log").write_bytes(numbered(0, 50))
            await tail.lines(50)
            (logs / "two.log").write_bytes(numbered(0, 50))
            await tail.settle()
            await tail.pass_time(3)
            await tail.lines(100)
            (logs / "three.log").write_bytes(numbered(0, 50))
            await tail.settle()
            tail.source.stop_reading()
            await tail.source.settled()
            await tail.lines(150)
            assert len(tail.sink.streams) == 3

    asyncio.run(main())


def test_truncated_and_regrown_with_the_same_bytes_before_the_position(tmp_path: Path) -> None:
    """Case 12: where lines repeat, so that the bytes before the position are the same, the beginning of the file tells."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "a.log") as tail:
            path = logs / "a.log"
            path.write_bytes(numbered(1, 2) + b"same\n" * 500)
            await tail.lines(501)
            with path.open("r+b", buffering=0) as file:
                shutil.copyfile(path, logs / "a.log.1")
                file.truncate(0)
                file.write(numbered(2, 3) + b"same\n" * 600)
            await tail.lines(1102)
            assert [body for body in tail.sink.bodies if body != "same"] == names(1, 3)
            assert not tail.sink.lost

    asyncio.run(main())


def test_the_inode_of_a_copy_is_used_again(tmp_path: Path) -> None:
    """Case 18: a new file that gets the inode of a deleted copy, longer or shorter than that, is read from its beginning."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*") as tail:
            total = 0
            for turn, count in enumerate((3, 30)):
                path = logs / "a.log"
                path.write_bytes(numbered(total, total + 10))
                total += 10
                await tail.lines(total)
                shutil.copyfile(path, logs / "a.log.1")
                os.truncate(path, 0)
                await tail.settle()
                assert len(tail.sink.bodies) == total
                (logs / "a.log.1").unlink()
                (logs / f"b{turn}.log").write_bytes(numbered(total, total + count))
                total += count
                await tail.lines(total)
            assert tail.sink.bodies == names(0, total)
            assert not tail.sink.lost

    asyncio.run(main())


def test_a_first_read_of_a_file_that_was_copied_and_has_grown_past_what_was_seen_of_it(tmp_path: Path) -> None:
    """Nothing was read before, so only its beginning tells that the file holds other lines now; those seen are in the copy."""

    async def main() -> None:
        path = tmp_path / "a.log"
        async with tailing(tmp_path, "a.log*", sink=Sink(open=False)) as tail:
            with path.open("ab", buffering=0) as log:
                log.write(numbered(0, 2))
                await tail.settle()
                shutil.copyfile(path, tmp_path / "a.log.1")
                os.truncate(path, 0)
                log.write(numbered(2, 9))
                tail.sink.take_all()
                await tail.lines(9)
            assert by_number(tail.sink.bodies) == names(0, 9)
            assert not tail.sink.lost

    asyncio.run(main())


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.parametrize("unread", [False, True], ids=["read", "unread"])
def test_a_copy_that_is_moved_before_it_was_seen(tmp_path: Path, stopped: bool, unread: bool) -> None:
    """Cases 13, 25: a copy that was moved to another directory at once is known by its name and content: read on, never again."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        (logs / "moved").mkdir(parents=True)
        path = logs / "a.log"
        path.write_bytes(numbered(0, 100))

        def rotate() -> None:
            shutil.copyfile(path, logs / "a.log.1")
            os.truncate(path, 0)
            (logs / "a.log.1").rename(logs / "moved" / "a.log.7")

        async with tailing(logs, ("a.log*", "moved/*"), sink=sink) as tail:
            await tail.lines(100)
            sink.open = not unread
            with path.open("ab", buffering=0) as file:
                file.write(numbered(100, 200))
            if not unread:
                await tail.lines(200)
            await tail.settle()
            await tail.source._write_down()
            if not stopped:
                rotate()
                await tail.settle()
                await tail.pass_time(3)
                sink.take_all()
        if stopped:
            rotate()
        sink.open = True
        async with tailing(logs, ("a.log*", "moved/*"), sink=sink) as tail:
            await tail.pass_time(3)
        assert sink.bodies == names(0, 200)
        assert not sink.lost

    asyncio.run(main())


@pytest.mark.parametrize("unread", [False, True], ids=["read", "unread"])
def test_a_copy_is_made_over_the_one_before(tmp_path: Path, unread: bool) -> None:
    """Cases 13, 18: ``cp`` writes the copy into the inode of an older one that is followed still: each line once, none lost."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        path, copy = logs / "a.log", logs / "a.log.1"
        copy.write_bytes(numbered(0, 50))
        path.write_bytes(numbered(50, 80))
        async with tailing(logs, "a.log*", sink=sink) as tail:
            await tail.lines(80)
            for turn in range(1, 4):
                sink.open = not unread
                with path.open("ab", buffering=0) as file:
                    file.write(numbered(turn * 100, turn * 100 + 50))
                await tail.settle()
                copy.write_bytes(path.read_bytes())
                os.truncate(path, 0)
                await tail.settle()
                await tail.pass_time(2)
                sink.take_all()
        wanted = names(0, 80) + [name for turn in range(1, 4) for name in names(turn * 100, turn * 100 + 50)]
        assert by_number(sink.bodies) == wanted
        assert not sink.lost

    asyncio.run(main())
