"""Compressed files: read when nobody has read them, left alone when somebody has, never trusted to be whole."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
from pathlib import Path

import pytest

from tests.sources.file_kit import Sink, Tail, decode, tailing


def numbered(start: int, end: int) -> bytes:
    return b"".join(b"line %d of the log%s\n" % (n, b"." * (n % 7 * 10)) for n in range(start, end))


def names(start: int, end: int) -> list[str]:
    return numbered(start, end).decode().split("\n")[:-1]


def noise(lines: int) -> bytes:
    """Text that does not become much smaller."""
    rng = random.Random(1)
    return b"".join(b"%d %x\n" % (n, rng.getrandbits(400)) for n in range(lines))


def put(path: Path, data: bytes) -> None:
    """As a compressor does: the file grows under its final name."""
    with open(path, "wb") as out:
        out.write(data)


async def settled(tail: Tail) -> None:
    """Everything compressed is measured, and read or known."""
    await tail.settle()
    await tail.until(lambda: not tail.source._table.packed.waiting)
    await tail.source.settled()


@pytest.mark.parametrize("members", [1, 3])
def test_never_read_before(tmp_path: Path, members: int) -> None:
    """Case 17, T-32: a compressed file that matches is read, of however many members, at the start and later."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        parts = [gzip.compress(numbered(n * 100, n * 100 + 100)) for n in range(members)]
        put(logs / "app.log.2.gz", b"".join(parts))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(members * 100)
            put(logs / "app.log.1.gz", gzip.compress(numbered(500, 600)))
            await tail.lines(members * 100 + 100)
            await settled(tail)
            assert sink.bodies == names(0, members * 100) + names(500, 600)
            assert not tail.source._pool._open
        async with tailing(logs, sink=sink) as tail:
            await settled(tail)
            assert len(sink.bodies) == members * 100 + 100
        assert not sink.lost

    asyncio.run(main())


def test_positions_are_offsets_in_the_text(tmp_path: Path) -> None:
    """Case 17, T-50: after a kill in the middle of a compressed file, reading goes on in its text where it stopped."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(limit=64 << 10)
        logs.mkdir()
        text = noise(30_000)
        put(logs / "app.log.gz", gzip.compress(text, 1))
        sink.open = False
        async with tailing(logs, sink=sink) as tail:
            await tail.until(lambda: sink.streams)
            (stream,) = sink.streams.values()
            assert stream.frontier() == len(text)
            batch = stream.cut(0, 0, sink.limit, 1)
            assert batch is not None
            sink.open = True
            for _ in range(7):
                at, resume = sink.at[stream.id]
                batch = stream.cut(at, resume, sink.limit, len(sink.batches) + 1)
                assert batch is not None
                assert stream.reread(batch.cut).payload == batch.payload
                sink.batches.append(batch)
                sink.last[stream.id] = batch.cut
                sink.at[stream.id] = (batch.cut.end, batch.cut.next_resume)
            sink.open = False
            stopped, last = sink.at[stream.id][0], batch
        assert text[:stopped].count(b"\n") < 30_000
        async with tailing(logs, sink=sink) as tail:
            await tail.until(lambda: sink.streams)
            await settled(tail)
            (stream,) = sink.streams.values()
            assert stream.reread(last.cut).payload == last.payload
            sink.take_all()
        assert [line.encode() for line in sink.bodies] == text[stopped:].split(b"\n")[:-1]
        assert not sink.lost

    asyncio.run(main())


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_compressed_after_it_was_read(tmp_path: Path, pattern: str) -> None:
    """Case 17, T-31: what was read before it was compressed is not read again, at once or rotations later, nor after a restart."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        for run in range(2):
            async with tailing(logs, pattern, sink=sink) as tail:
                for turn in range(3):
                    first = (run * 3 + turn) * 100
                    put(logs / "app.log", numbered(first, first + 100))
                    await tail.lines(first + 100)
                    for number in (3, 2, 1):
                        old = logs / f"app.log.{number}.gz"
                        if old.exists():
                            old.rename(logs / f"app.log.{number + 1}.gz")
                    (logs / "app.log").rename(logs / "app.log.1")
                    await tail.settle()
                    put(logs / "app.log.1.gz", gzip.compress((logs / "app.log.1").read_bytes()))
                    os.utime(logs / "app.log.1.gz", (1, 1))
                    (logs / "app.log.1").unlink()
                    await settled(tail)
                await tail.pass_time(2)
            if run == 0:  # rotated once more while nobody looks
                (logs / "app.log.4.gz").unlink(missing_ok=True)
        assert sink.bodies == names(0, 600)
        assert not sink.lost

    asyncio.run(main())


def test_compressed_at_once_with_unread_bytes(tmp_path: Path) -> None:
    """T-31: renamed, compressed and deleted before it was read: it is read from its descriptor, and the archive adds nothing."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(open=False)
        async with tailing(logs, "app.log*", sink=sink) as tail:
            put(logs / "app.log", numbered(0, 1000))
            await tail.settle()
            (logs / "app.log").rename(logs / "app.log.1")
            put(logs / "app.log.1.gz", gzip.compress(numbered(0, 1000)))
            (logs / "app.log.1").unlink()
            await settled(tail)
            sink.take_all()
            await tail.pass_time(2)
        assert sink.bodies == names(0, 1000)
        assert not sink.lost

    asyncio.run(main())


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
@pytest.mark.parametrize("grown", [0, 50])
def test_compressed_while_stopped(tmp_path: Path, pattern: str, grown: int) -> None:
    """Case 16, T-22: rotated and compressed while nobody looked, what was not read of it is read from the archive, in its stream."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(limit=2000)
        logs.mkdir()
        put(logs / "app.log", numbered(0, 200))
        sink.open = False
        async with tailing(logs, pattern, sink=sink) as tail:
            await tail.until(lambda: sink.streams)
            (stream,) = sink.streams.values()
            sink.limit = 3000
            at, resume = sink.at[stream.id]
            batch = stream.cut(at, resume, sink.limit, 1)
            assert batch is not None
            sink.lines += decode(batch)
            sink.batches.append(batch)
            sink.last[stream.id] = batch.cut
            sink.at[stream.id] = (batch.cut.end, batch.cut.next_resume)
            await tail.source._write_down()
        assert 0 < len(sink.bodies) < 200
        put(logs / "app.log.2.gz", gzip.compress(numbered(0, 200 + grown)))
        put(logs / "app.log", numbered(1000, 1010))
        sink.open = True
        async with tailing(logs, pattern, sink=sink) as tail:
            await tail.lines(210 + grown)
            await settled(tail)
        assert sorted(sink.bodies) == sorted(names(0, 200 + grown) + names(1000, 1010))
        assert sink.of(stream.id) == names(0, 200 + grown)
        assert not sink.lost

    asyncio.run(main())


def test_compressed_and_read_before_the_state_was_written(tmp_path: Path) -> None:
    """T-51: killed right after a compressed file was read, before anything said which file that was, it is not read again."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        put(logs / "app.log.gz", gzip.compress(numbered(0, 300)))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(300)
            await settled(tail)
        async with tailing(logs, sink=sink) as tail:
            await settled(tail)
        assert sink.bodies == names(0, 300)

    asyncio.run(main())


def test_still_being_written(tmp_path: Path) -> None:
    """Case 17: a compressed file is left alone while its compressor has it open, and read when it is whole."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        async with tailing(logs, sink=sink) as tail:
            data = gzip.compress(numbered(0, 3000))
            with open(logs / "app.log.gz", "wb", buffering=0) as out:
                for at in range(0, len(data), 1000):
                    out.write(data[at : at + 1000])
                    await tail.settle()
                await tail.pass_time(7)
                assert not sink.bodies
                assert tail.source._table.packed.waiting
            await tail.lines(3000)
            assert sink.bodies == names(0, 3000)
            assert not tail.report.problems("damaged")

    asyncio.run(main())


def test_something_is_appended(tmp_path: Path) -> None:
    """T-32: of a member appended to a compressed file that was read only that is new, also after a restart."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        path = logs / "app.log.gz"
        put(path, gzip.compress(numbered(0, 100)))
        for start in (100, 200, 300):
            async with tailing(logs, sink=sink) as tail:
                await tail.lines(start)
                await settled(tail)
                with open(path, "ab") as out:
                    out.write(gzip.compress(numbered(start, start + 50)))
                await tail.lines(start + 50)
                await settled(tail)
            with open(path, "ab") as out:
                out.write(gzip.compress(numbered(start + 50, start + 100)))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(400)
            await settled(tail)
        assert sink.bodies == names(0, 400)
        assert not sink.lost

    asyncio.run(main())


@pytest.mark.parametrize("harm", ["cut", "flipped", "trailing"])
def test_a_damaged_archive(tmp_path: Path, harm: str) -> None:
    """T-33: of a truncated or corrupt file what can be read is read; the rest is counted once, and named."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        text = noise(20_000)
        data = bytearray(gzip.compress(text, 1))
        if harm == "cut":
            del data[len(data) // 2 :]
        elif harm == "flipped":
            data[len(data) // 2 : len(data) // 2 + 100] = b"\xff" * 100
        else:
            data += b"this is no gzip file"
        logs.mkdir()
        put(logs / "app.log.gz", data)
        async with tailing(logs, sink=sink) as tail:
            await tail.settle()
            await tail.pass_time(7)
            await settled(tail)
            (said,) = tail.report.problems("damaged")
            assert "app.log.gz is damaged" in said
        got = "\n".join(sink.bodies).encode()
        sound = len(text) - 2 if harm == "trailing" else int(0.4 * len(text))  # what is flipped shows only later
        assert got[:sound] == text[:sound]
        if harm == "cut":
            assert not sink.lost
        else:
            ((_, start, end),) = sink.lost
            assert len(got) <= start <= len(got) + 1
            assert 0 < end - start <= len(data) if harm == "flipped" else end - start == 20
        async with tailing(logs, sink=sink) as tail:
            await tail.pass_time(7)
            await settled(tail)
        assert "\n".join(sink.bodies).encode() == got

    asyncio.run(main())


def test_what_is_called_compressed_and_is_not(tmp_path: Path) -> None:
    """A name says nothing: plain text in a .gz is read as it is, and a compressed file under any name is unpacked."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        put(logs / "plain.gz", numbered(0, 10))
        put(logs / "packed.log", gzip.compress(numbered(10, 20)))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(20)
            await settled(tail)
        assert sorted(sink.bodies) == sorted(names(0, 20))

    asyncio.run(main())


def test_archives_that_begin_alike(tmp_path: Path) -> None:
    """T-39: two compressed files with the same first lines are two files, and both are read whole."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        header = b"# a header that all of them have\n" * 60
        for number in range(3):
            put(logs / f"app.log.{number}.gz", gzip.compress(header + numbered(number * 10, number * 10 + 10)))
        async with tailing(logs, sink=sink) as tail:
            await tail.lines(3 * 70)
            await settled(tail)
        assert len(sink.bodies) == 3 * 70
        assert {*names(0, 30)} < {*sink.bodies}

    asyncio.run(main())


def test_many_are_read_a_few_at_a_time_and_oldest_first(tmp_path: Path) -> None:
    """T-15, T-47: of many compressed files only so many are read at once, the oldest first, until there is room for the next."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink(open=False)
        logs.mkdir()
        for number in range(40):
            put(logs / f"app.log.{number}.gz", gzip.compress(numbered(number * 10, number * 10 + 10)))
            os.utime(logs / f"app.log.{number}.gz", (1000 - number, 1000 - number))
        async with tailing(logs, sink=sink) as tail:
            await tail.until(lambda: len(sink.streams) == 16)
            await tail.pass_time(2)
            assert len(sink.streams) == 16
            assert [stream.name.split(".")[-2] for stream in sink.streams.values()] == [
                str(n) for n in range(39, 23, -1)
            ]
            sink.open = True
            sink.take_all()
            await tail.lines(400)
            await settled(tail)
        assert sorted(sink.bodies) == sorted(names(0, 400))

    asyncio.run(main())


# The reader by itself
