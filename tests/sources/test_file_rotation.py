"""Rotation: renamed, deleted, replaced; every line once and in order, or counted as lost."""

from __future__ import annotations

import asyncio
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


@pytest.mark.parametrize("target", ["a.log.1", "elsewhere/a.log", "../outside.log"])
@pytest.mark.parametrize("pattern", ["*.log", "*.log*"])
def test_renamed_and_written_to_for_a_while(tmp_path: Path, target: str, pattern: str) -> None:
    """Cases 10, 11 and 15: a renamed file is read as long as its writer goes on, in or out of the pattern, then let go."""

    async def main() -> None:
        logs = tmp_path / "logs"
        (logs / "elsewhere").mkdir(parents=True)
        async with tailing(logs, pattern) as tail:
            old = (logs / "a.log").open("ab", buffering=0)
            old.write(numbered(0, 3))
            await tail.lines(3)
            first = tail.file("a.log")
            (logs / "a.log").rename(logs / target)
            new = (logs / "a.log").open("ab", buffering=0)
            new.write(numbered(100, 102))
            await tail.lines(5)
            old.write(numbered(3, 5))
            await tail.lines(7)
            assert tail.sink.of(first.id) == names(0, 5)
            old.close()
            await tail.pass_time(2)
            wanted = target == "a.log.1" and pattern == "*.log*"
            await tail.until(lambda: wanted or first.id in tail.sink.ended)
            new.write(numbered(102, 103))
            await tail.lines(8)
            assert tail.sink.of(tail.file("a.log").id) == names(100, 103)
            new.close()
            assert not tail.sink.lost

    asyncio.run(main())


def test_renamed_with_unread_bytes(tmp_path: Path) -> None:
    """Cases 10 and 11: what a blocked destination has not taken yet is read from the renamed file later."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "a.log", sink=Sink(open=False)) as tail:
            (logs / "a.log").write_bytes(numbered(0, 1000))
            await tail.until(lambda: tail.sink.streams)
            (logs / "a.log").rename(tmp_path / "gone.log")
            (logs / "a.log").write_bytes(numbered(1000, 1010))
            await tail.until(lambda: len(tail.sink.streams) == 2)
            await tail.until(lambda: tail.sink.ended)
            (tmp_path / "gone.log").unlink()
            await tail.pass_time(3)
            tail.sink.take_all()
            assert tail.sink.bodies == names(0, 1010)
            assert not tail.sink.lost
            await tail.pass_time(2)
            assert tail.report.metrics.open_files._value.get() == 1

    asyncio.run(main())


def test_deleted_with_unread_bytes(tmp_path: Path) -> None:
    """Case 14: a deleted file is read from its descriptor to its end, then its descriptor is given back."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, sink=Sink(open=False)) as tail:
            with (logs / "a.log").open("ab", buffering=0) as file:
                file.write(numbered(0, 500))
                await tail.until(lambda: tail.sink.streams)
                (logs / "a.log").unlink()
                file.write(numbered(500, 1000))
                await tail.until(lambda: tail.sink.streams and not (logs / "a.log").exists())
                await tail.pass_time(2)
                assert not tail.sink.ended
                file.write(b"last words")
            await tail.until(lambda: tail.sink.ended)
            tail.sink.take_all()
            assert tail.sink.bodies == [*names(0, 1000), "last words"]
            assert not tail.sink.lost
            await tail.pass_time(2)
            assert tail.report.metrics.open_files._value.get() == 0

    asyncio.run(main())


def test_files_that_live_for_an_instant(tmp_path: Path) -> None:
    """Case 14: a file that is created, written and deleted while its writer still has it is read."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            for number in range(20):
                path = logs / f"{number}.log"
                with path.open("ab", buffering=0) as file:
                    await tail.settle()
                    file.write(numbered(number, number + 1))
                    path.unlink()
            await tail.lines(20)
            assert by_number(tail.sink.bodies) == names(0, 20)
            await tail.until(lambda: len(tail.sink.ended) == 20)

    asyncio.run(main())


def test_deleted_and_created_again_with_the_same_first_lines(tmp_path: Path) -> None:
    """Case 18: a file created anew under the same name, perhaps with the same inode and the same beginning, is read whole."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            for turn in range(5):
                (logs / "a.log").write_bytes(numbered(0, 3))
                await tail.lines(3 * (turn + 1))
                (logs / "a.log").unlink()
                await tail.until(lambda turn=turn: len(tail.sink.ended) == turn + 1)
                await tail.settle()
            assert tail.sink.bodies == names(0, 3) * 5
            assert len(set(tail.sink.ended)) == 5

    asyncio.run(main())


def test_replaced_by_renaming_over_it(tmp_path: Path) -> None:
    """Case 21: a file that an editor replaces by renaming a new one over it is another file; both are read."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log") as tail:
            (logs / "a.log").write_bytes(numbered(0, 3))
            await tail.lines(3)
            (logs / ".a.tmp").write_bytes(numbered(3, 6))
            (logs / ".a.tmp").rename(logs / "a.log")
            await tail.lines(6)
            assert tail.sink.bodies == names(0, 6)
            await tail.until(lambda: len(tail.sink.ended) == 1)

    asyncio.run(main())


def test_rotation_many_times_a_second_under_load(tmp_path: Path) -> None:
    """Case 15: rotated again and again while written to, with rotated names in the pattern, no line is missed or doubled."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "app.log*") as tail:
            number = 0
            for _ in range(12):
                with (logs / "app.log").open("ab", buffering=0) as file:
                    for _ in range(40):
                        file.write(numbered(number, number + 25))
                        number += 25
                        await asyncio.sleep(0)
                    for old in range(4, 0, -1):
                        if (logs / f"app.log.{old}").exists():
                            (logs / f"app.log.{old}").rename(logs / f"app.log.{old + 1}")
                    (logs / "app.log").rename(logs / "app.log.1")
                    file.write(numbered(number, number + 10))
                    number += 10
                await asyncio.sleep(0.01)  # lets the tailer in, as another process would have it
            await tail.lines(number)
            await tail.pass_time(20)
            assert by_number(tail.sink.bodies) == names(0, number)
            for stream in tail.sink.streams:
                assert tail.sink.of(stream) == by_number(tail.sink.of(stream))

    asyncio.run(main())
