"""Bytes that nobody wrote: holes, room that was reserved, and what a writer overwrites in place."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.events import Skipped
from shipper.sources.file.nulls import RUN, gap, gap_at, written
from tests.sources.file_kit import Sink, Tail, tailing


def numbered(start: int, end: int) -> bytes:
    return b"".join(b"line %d of the log\n" % n for n in range(start, end))


def names(start: int, end: int) -> list[str]:
    return [f"line {n} of the log" for n in range(start, end)]


def skipped(tail: Tail) -> int:
    """How many bytes were said to be skipped."""
    return sum(event.end - event.start for event in tail.report.said if isinstance(event, Skipped))


@pytest.mark.parametrize("size", [100, 5000, 3 << 20, 40 << 20])
@pytest.mark.parametrize("whole", [True, False])
def test_a_hole_is_skipped_and_counted(tmp_path: Path, size: int, whole: bool) -> None:
    """Case 8: a writer that seeks leaves a hole; lines before and behind it arrive, the hole is no line and is counted."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        before = numbered(0, 10) + (b"" if whole else b"and half a line")
        with open(logs / "a.log", "wb") as out:
            out.write(before)
            out.seek(len(before) + size)
            out.write(numbered(10, 20))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(20 if whole else 21)
            assert skipped(tail) == size
            assert tail.report.metrics.registry.get_sample_value(
                "shipper_skipped_bytes_total", {"cause": "gap"}
            ) == float(size)
        assert sink.bodies == names(0, 10) + ([] if whole else ["and half a line"]) + names(10, 20)
        assert not sink.lost
        for batch in sink.batches:
            assert all(stream.reread(batch.cut).payload == batch.payload for stream in sink.streams.values())

    asyncio.run(main())


def test_a_hole_after_a_restart_in_the_middle_of_it(tmp_path: Path) -> None:
    """Cases 8 and 30: positions inside a hole are positions like any other."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(open=False)
        logs.mkdir()
        with open(logs / "a.log", "wb") as out:
            out.write(numbered(0, 10))
            out.seek(10 << 20)
            out.write(numbered(10, 20))
        async with tailing(logs, sink=sink) as tail:
            await tail.until(lambda: sink.streams)
            (stream,) = sink.streams.values()
            for _ in range(4):
                at, resume = sink.at[stream.id]
                batch = stream.cut(at, resume, 1 << 20, 1)
                assert batch is not None
                sink.batches.append(batch)
                sink.last[stream.id] = batch.cut
                sink.at[stream.id] = (batch.cut.end, batch.cut.next_resume)
            assert 1 << 20 < sink.at[stream.id][0] < 5 << 20
        async with tailing(logs, sink=sink) as tail:
            await tail.until(lambda: sink.streams)
            sink.take_all()
        assert sink.bodies == names(10, 20)
        assert not sink.lost

    asyncio.run(main())


def test_a_stale_offset_after_a_truncation(tmp_path: Path) -> None:
    """T-27: a writer that goes on at its old offset after copytruncate leaves a hole at the beginning; its lines arrive."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        async with tailing(logs, sink=sink) as tail:
            with open(logs / "a.log", "wb", buffering=0) as out:
                out.write(numbered(0, 1000))
                await tail.lines(1000)
                os.truncate(logs / "a.log", 0)
                await tail.settle()
                out.write(numbered(1000, 1010))
                await tail.lines(1010)
                out.write(numbered(1010, 1020))
                await tail.lines(1020)
            assert skipped(tail) == len(numbered(0, 1000))
        assert sink.bodies == names(0, 1020)
        assert not sink.lost

    asyncio.run(main())


def test_room_that_was_reserved(tmp_path: Path) -> None:
    """Case 8: a file that is full of NULs from the start is read as it is written, in place and without its size changing."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        (logs / "a.log").write_bytes(bytes(1 << 20))
        async with tailing(logs, sink=sink) as tail:
            await tail.pass_time(2)
            assert not sink.streams
            with open(logs / "a.log", "r+b", buffering=0) as out:
                for start in range(0, 300, 10):
                    out.write(numbered(start, start + 10))
                    await tail.lines(start + 10)
            await tail.pass_time(2)
            assert skipped(tail) == 0
        with open(logs / "a.log", "r+b", buffering=0) as out:
            out.seek(len(numbered(0, 300)))
            out.write(numbered(300, 310))
            out.truncate()
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(310)
        assert sink.bodies == names(0, 310)
        assert len(sink.at) == 1
        assert not sink.lost

    asyncio.run(main())


def test_a_few_nuls_belong_to_their_line(tmp_path: Path) -> None:
    """Case 3, T-09: some NULs in a line are text."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        (logs / "a.log").write_bytes(b"a\0b\n" + bytes(RUN - 1) + b"c\n")
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(2)
            assert skipped(tail) == 0
        assert sink.bodies == ["a\0b", "\0" * (RUN - 1) + "c"]

    asyncio.run(main())


@pytest.mark.parametrize("where", ["beginning", "end"])
def test_overwritten_in_place(tmp_path: Path, where: str) -> None:
    """Case 9: a file that is overwritten without a change of its size is no log; that is said, and what it holds now is read."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        async with tailing(logs, sink=sink) as tail:
            (logs / "a.log").write_bytes(numbered(100, 200))
            await tail.lines(100)
            with open(logs / "a.log", "r+b", buffering=0) as out:
                if where == "end":
                    out.seek(len(numbered(100, 190)))
                out.write(numbered(500, 510))
            await tail.lines(200)
            (said,) = tail.report.problems("overwritten")
            assert "a.log" in said
        text = (logs / "a.log").read_text().split("\n")[:-1]
        assert sink.bodies == names(100, 200) + text

    asyncio.run(main())


def test_overwritten_while_stopped(tmp_path: Path) -> None:
    """T-42, case 33: replaced by other content of the same size while nobody looked, it is read whole."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        (logs / "a.log").write_bytes(numbered(100, 200))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(100)
            await tail.pass_time(1)
        (logs / "a.log").write_bytes(numbered(500, 600))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(200)
        assert sink.bodies == names(100, 200) + names(500, 600)

    asyncio.run(main())


# The search by itself


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(st.tuples(st.integers(0, 4 * RUN), st.sampled_from([b"a", b"ab\n", b"x" * 70])), max_size=5),
    end=st.integers(0, 3 * RUN),
)
def test_where_what_was_written_ends(parts: list[tuple[int, bytes]], end: int) -> None:
    """Only NULs at the very end do not count, and only as many as make a gap."""
    text = b"".join(bytes(count) + word for count, word in parts)
    data = text + bytes(end)

    def read(size: int, position: int) -> bytes:
        return data[position : position + size]

    expected = len(text) if end >= RUN else len(data)
    assert written(read, len(data), 0) == expected


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(st.tuples(st.integers(0, 4 * RUN), st.sampled_from([b"a", b"ab\n", b"x" * 70])), max_size=5),
    start=st.integers(0, 200),
    unit=st.sampled_from([1, 2]),
    more=st.booleans(),
)
def test_a_gap_is_only_what_is_one(parts: list[tuple[int, bytes]], start: int, unit: int, more: bool) -> None:
    """What is found holds nothing but NULs, begins and ends at whole units, and what is left of it is found again."""
    data = b"".join(bytes(count) + word for count, word in parts)
    found = gap(data, start, unit, more=more)
    if found is None:
        longest = max(map(len, re.findall(rb"\0+", data[start:])), default=0)
        assert longest < (2 * RUN if more else RUN) + 2 * unit
        return
    begin, end = found
    assert start <= begin
    assert end - begin >= RUN
    assert (begin - start) % unit == (end - start) % unit == 0
    assert not data[begin:end].strip(b"\0")
    assert gap_at(data, begin)
    if end < len(data):
        rest = data[end:]
        left = len(rest) - len(rest.lstrip(b"\0"))
        assert left < unit or gap_at(data, end)
