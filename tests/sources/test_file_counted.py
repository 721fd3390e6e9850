"""Files that somebody counts, too: text comes in whole lines, and no file is let go, or over, before all of it is counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shipper.errors import RangeGone
from shipper.sources.file.stream import FileStream
from tests.sources.file_kit import Sink, tailing


class Counter:
    """Reads the text of what it wants. While ``open`` it counts everything at once; positions outlive a crash, as in a ledger."""

    def __init__(self, suffix: str = ".log") -> None:
        self.open = True
        self.positions: dict[str, int] = {}
        self.text = b""
        self.gone: list[tuple[int, int]] = []
        self.over: set[str] = set()
        self.streams: dict[str, FileStream] = {}
        self._suffix = suffix

    def wants(self, path: str) -> bool:
        return path.endswith(self._suffix)

    def add(self, stream: FileStream) -> None:
        if self.wants(stream.name):
            self.streams[stream.id] = stream
            self.positions.setdefault(stream.id, stream.start)
            stream.measured(self.positions[stream.id])
            self.ready(stream)

    def ready(self, stream: FileStream) -> None:
        if self.open and stream.id in self.streams:
            self.read(stream)

    def finished(self, stream: FileStream) -> None:
        if stream.id in self.streams:
            self.over.add(stream.id)
            self.ready(stream)

    def read(self, stream: FileStream) -> None:
        while True:
            at = self.positions[stream.id]
            try:
                text, after = stream.text(at, 1 << 16)
            except RangeGone as gone:
                self.gone.append((gone.start, gone.end))
                text, after = b"", gone.end
            if after == at:
                return
            self.text += text
            self.positions[stream.id] = after
            stream.measured(after)

    def catch_up(self) -> None:
        self.open = True
        for stream in list(self.streams.values()):
            self.read(stream)


def test_text_comes_in_whole_lines(tmp_path: Path) -> None:
    """What has no end yet is not given, but for the end of what never grows again, or in a drain."""

    async def main() -> None:
        logs, counter = tmp_path / "logs", Counter()
        async with tailing(logs, consumer=counter) as tail:
            with (logs / "a.log").open("ab", buffering=0) as file:
                file.write(b"one\ntw")
                await tail.until(lambda: counter.text == b"one\n")
                file.write(b"o\nthree")
                await tail.until(lambda: counter.text == b"one\ntwo\n")
            tail.source.close_events()
            assert counter.text == b"one\ntwo\nthree"

    asyncio.run(main())


def test_a_deleted_file_is_held_until_it_is_counted(tmp_path: Path) -> None:
    """That every destination has it is not enough; and it is over for the ledger only when it is counted."""

    async def main() -> None:
        logs, counter = tmp_path / "logs", Counter()
        async with tailing(logs, consumer=counter) as tail:
            counter.open = False
            (logs / "a.log").write_bytes(b"one\ntwo\n")
            (logs / "b.txt").write_bytes(b"other\n")
            await tail.lines(3)
            first, other = tail.file("a.log"), tail.file("b.txt")
            (logs / "a.log").unlink()
            (logs / "b.txt").unlink()
            await tail.pass_time(6)
            await tail.until(lambda: other.id in tail.sink.ended)
            assert first.id in counter.over
            assert first.id not in tail.sink.ended
            assert not first.idle
            counter.catch_up()
            assert counter.text == b"one\ntwo\n"
            await tail.until(lambda: first.id in tail.sink.ended)
            assert first.idle

    asyncio.run(main())


@pytest.mark.parametrize("counted", [True, False])
def test_after_a_kill_counting_goes_on_in_a_file_that_was_renamed_and_sent(tmp_path: Path, counted: bool) -> None:
    """Every line is counted once, also those of a file whose last line every destination had before the kill."""

    async def main() -> None:
        logs, counter, sink = tmp_path / "logs", Counter(), Sink()
        async with tailing(logs, "*.log*", sink=sink, consumer=counter) as tail:
            counter.open = counted
            (logs / "a.log").write_bytes(b"one\ntwo\n")
            await tail.lines(2)
            (logs / "a.log").rename(logs / "a.log.1")
            (logs / "a.log").write_bytes(b"three\n")
            await tail.lines(3)
            await tail.pass_time(1)
        counter.open, counter.streams = True, {}
        async with tailing(logs, "*.log*", sink=sink, consumer=counter) as tail:
            await tail.until(lambda: len(counter.text) == 14)
            await tail.pass_time(1)
        assert sorted(counter.text.split()) == [b"one", b"three", b"two"]
        assert sink.bodies.count("one") == 1

    asyncio.run(main())


def test_what_was_truncated_before_it_was_counted_is_said_to_be_gone(tmp_path: Path) -> None:
    """Whoever counts goes on behind it."""

    async def main() -> None:
        logs, counter = tmp_path / "logs", Counter()
        async with tailing(logs, consumer=counter) as tail:
            counter.open = False
            (logs / "a.log").write_bytes(b"one\ntwo\n")
            await tail.lines(2)
            (logs / "a.log").write_bytes(b"new\n")
            await tail.lines(3)
            counter.catch_up()
            await tail.until(lambda: counter.text == b"new\n")
            assert counter.gone == [(0, 8)]

    asyncio.run(main())
