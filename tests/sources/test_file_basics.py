"""Tailing files that are only appended to: what comes, when, and what is said of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.sources.file_kit import Sink, tailing


def test_lines_bursts_and_a_large_write(tmp_path: Path) -> None:
    """Case 1: lines appended one by one, in bursts and in one write of 40 MB all come once and in order."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        expected = []
        async with tailing(path.parent) as tail:
            with path.open("ab", buffering=0) as file:
                for number in range(20):
                    file.write(b"single %d\n" % number)
                    expected.append(f"single {number}")
                    await tail.lines(len(expected))
                for burst in range(5):
                    for number in range(50):
                        file.write(b"burst %d %d\n" % (burst, number))
                        expected.append(f"burst {burst} {number}")
                    await asyncio.sleep(0)
                large = [f"large {number:06d} " + "x" * 385 for number in range(100_000)]
                file.write("".join(line + "\n" for line in large).encode())
            await tail.lines(len(expected) + len(large))
            assert tail.sink.bodies == expected + large
            assert len(tail.sink.streams) == 1
            (line, *_) = tail.sink.lines
            assert line.scope == {"log.file.path": str(path), "log.file.name": "a.log"}

    asyncio.run(main())


def test_a_lone_line_is_ready_without_waiting(tmp_path: Path) -> None:
    """Case 1: a lone line is cut although no time passes at all on the clock the tailer waits by."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        async with tailing(path.parent) as tail:
            path.write_bytes(b"hello\n")
            await tail.lines(1)
            assert tail.sink.bodies == ["hello"]

    asyncio.run(main())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_unfinished_line_is_sent_after_its_hold_and_not_again(tmp_path: Path, end: str) -> None:
    """Case 1: a last line without its end is held, sent once, and not again when the end comes."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        async with tailing(path.parent, hold=0.5) as tail:
            with path.open("ab", buffering=0) as file:
                file.write(b"whole\nhal")
                await tail.lines(1)
                await tail.clock.run(0.4)
                file.write(b"f")
                await tail.until(lambda: tail.file("a.log").size == 10)
                await tail.clock.run(0.4)
                assert tail.sink.bodies == ["whole"]
                await tail.clock.run(0.2)
                assert tail.sink.bodies == ["whole", "half"]
                assert tail.sink.lines[1].attributes == {"shipper.line.incomplete": True}
                file.write(end.encode())
                await tail.until(lambda: tail.file("a.log").idle)
                file.write(b"next\n")
                await tail.lines(3)
            await tail.clock.run(5)
            assert tail.sink.bodies == ["whole", "half", "next"]
            assert tail.sink.lines[2].attributes == {}

    asyncio.run(main())


def test_a_line_written_in_pieces(tmp_path: Path) -> None:
    """Case 2: a line cut anywhere, also inside a character and between CR and LF, comes as one line."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        text = "grüße an €uch\r\n".encode()
        async with tailing(path.parent) as tail:
            with path.open("ab", buffering=0) as file:
                for cut in range(1, len(text)):
                    file.write(text[:cut])
                    await tail.settle()
                    file.write(text[cut:])
                    await tail.lines(cut)
            assert set(tail.sink.bodies) == {"grüße an €uch"}
            assert all(not line.attributes for line in tail.sink.lines)

    asyncio.run(main())


def test_a_hundred_megabytes_without_a_newline(tmp_path: Path) -> None:
    """Case 4: a line of 100 MB is shipped in marked parts of the limit, a part at a time, and the next line is whole."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        size = 100 << 20
        async with tailing(path.parent, sink=Sink(limit=256 << 10)) as tail:
            with path.open("ab", buffering=0) as file:
                for _ in range(100):
                    file.write(b"x" * (1 << 20))
                    await asyncio.sleep(0)
                file.write(b"end\nnext\n")
            await tail.until(lambda: tail.sink.bodies[-1:] == ["next"])
            assert sum(len(line.body) for line in tail.sink.lines[:-1]) == size + 3
            assert max(len(batch.payload) for batch in tail.sink.batches) < 2 << 20
            parts = [line.attributes["shipper.line.part"] for line in tail.sink.lines[:-1]]
            assert parts == list(range(101))
            assert [line.attributes["shipper.line.last"] for line in tail.sink.lines[:-1]] == [False] * 100 + [True]
            assert tail.sink.lines[-1].attributes == {}

    asyncio.run(main())


def test_an_empty_file_has_no_stream_until_it_has_a_byte(tmp_path: Path) -> None:
    """Case 5: an empty file is known but no stream; its first byte makes it one."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        path.parent.mkdir()
        path.touch()
        async with tailing(path.parent) as tail:
            await tail.settle()
            assert not tail.sink.streams
            with path.open("ab", buffering=0) as file:
                file.write(b"x")
                await tail.until(lambda: tail.sink.streams)
                assert not tail.sink.lines
                await tail.clock.run(1)
                assert tail.sink.bodies == ["x"]

    asyncio.run(main())


def test_a_file_that_grows_while_first_read(tmp_path: Path) -> None:
    """Case 5: what is appended between two cuts of the first reading follows on without a gap."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        path.parent.mkdir()
        path.write_bytes(b"".join(b"%d\n" % n for n in range(1000)))
        async with tailing(path.parent, sink=Sink(open=False, limit=100)) as tail:
            stream = tail.file("a.log")
            at = resume = 0
            numbers = []
            with path.open("ab", buffering=0) as file:
                for n in range(1000, 1500):
                    batch = stream.cut(at, resume, 100, 1)
                    assert batch is not None
                    at, resume = batch.cut.end, batch.cut.next_resume
                    numbers.append(batch.cut.records)
                    file.write(b"%d\n" % n)
                    await tail.settle()
                    if at == stream.frontier():
                        break
            tail.sink.take_all()
            assert tail.sink.bodies == [str(n) for n in range(len(tail.sink.bodies))]
            assert len(tail.sink.bodies) > 1000

    asyncio.run(main())


def test_start_at_the_end(tmp_path: Path) -> None:
    """Case 6: with start_at end, what files hold at the first start is skipped; files that appear later are read whole."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "old.log").write_bytes(b"skipped\n")
        async with tailing(logs, start_at="end") as tail:
            (logs / "new.log").write_bytes(b"first of new\n")
            await tail.lines(1)
            with (logs / "old.log").open("ab") as file:
                file.write(b"second of old\n")
            await tail.lines(2)
            assert sorted(tail.sink.bodies) == ["first of new", "second of old"]

    asyncio.run(main())


def test_start_at_the_end_only_at_the_first_start(tmp_path: Path) -> None:
    """Case 6: after a restart, files that appeared in between are read from their beginning all the same."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        sink = Sink()
        (logs / "old.log").write_bytes(b"skipped\n")
        async with tailing(logs, sink=sink, start_at="end"):
            pass
        (logs / "between.log").write_bytes(b"between\n")
        with (logs / "old.log").open("ab") as file:
            file.write(b"appended\n")
        async with tailing(logs, sink=sink, start_at="end") as tail:
            await tail.lines(2)
            assert sorted(sink.bodies) == ["appended", "between"]

    asyncio.run(main())


def test_first_seen_is_when_a_size_was_reached(tmp_path: Path) -> None:
    """Exposure is measured from the moment at which the bytes below a position were first seen."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        async with tailing(path.parent, sink=Sink(open=False)) as tail:
            with path.open("ab", buffering=0) as file:
                file.write(b"one\n")
                await tail.until(lambda: tail.sink.streams)
                stream = tail.file("a.log")
                first = tail.clock.monotonic()
                await tail.clock.run(2)
                file.write(b"two\n")
                await tail.until(lambda: stream.frontier() == 8)
            assert stream.first_seen(1) == stream.first_seen(4) == first
            assert stream.first_seen(5) == stream.first_seen(8) == first + 2
            assert stream.first_seen(9) is None
            stream.released(4)
            assert stream.first_seen(5) == first + 2

    asyncio.run(main())


def test_the_same_cut_is_read_again_byte_for_byte(tmp_path: Path) -> None:
    """Case 30: a batch is built again from its cut alone, and its halves hold the same records."""

    async def main() -> None:
        path = tmp_path / "logs" / "a.log"
        path.parent.mkdir()
        path.write_bytes(b"\xef\xbb\xbffirst\r\nbad \xff\n" + b"y" * 100 + b"\nlast and unfinished")
        async with tailing(path.parent, max_line_bytes=32) as tail:
            await tail.clock.run(1)
            stream = tail.file("a.log")
            assert tail.sink.batches[-1].cut.end == stream.frontier()
            for batch in tail.sink.batches:
                assert stream.reread(batch.cut) == batch
                halves = stream.halve(batch.cut)
                if batch.cut.records > 1:
                    assert halves is not None
                    assert sum(half.records for half in halves) == batch.cut.records
                    assert (halves[0].start, halves[0].end, halves[1].end) == (
                        batch.cut.start,
                        halves[1].start,
                        batch.cut.end,
                    )
                else:
                    assert halves is None

    asyncio.run(main())
