"""A log under random writing, rotation and deletion, with a tailer that comes and goes: what histories of lives are built on."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import BinaryIO

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.sources.file_kit import Sink, Tail, tailing

NAME = "app.log"
HOLD = 0.5


class Writing(RuleBasedStateMachine):
    """One service with a rotated log, a tailer that comes and goes, a destination that may be blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="tail-"))
        self.logs = self.root / "logs"
        self.logs.mkdir()
        self.loop = asyncio.new_event_loop()
        self.sink = Sink(limit=4096)
        self.files: dict[str, BinaryIO] = {}
        self.old: list[BinaryIO] = []
        self.unfinished: dict[int, bytes] = {}  # by descriptor
        self.expected: list[str] = []
        self.number = 0
        self.running: AbstractAsyncContextManager[Tail] | None = None
        self.tail: Tail | None = None

    # Plumbing

    def do(self, coroutine: object) -> object:
        return self.loop.run_until_complete(coroutine)  # type: ignore[arg-type]

    @initialize()
    def begin(self) -> None:
        self.start()

    def start(self) -> None:
        self.running = tailing(self.logs, NAME + "*", sink=self.sink, hold=HOLD)
        self.tail = self.do(self.running.__aenter__())  # type: ignore[assignment]

    def stop(self) -> None:
        assert self.running is not None
        self.do(self.running.__aexit__(None, None, None))
        self.running = self.tail = None

    def noticed(self) -> None:
        """The tailer, if it runs, has seen everything up to now."""
        if self.tail is not None:
            self.do(self.tail.settle())

    def read(self) -> None:
        self.noticed()
        self.do(self.take_all())

    async def take_all(self) -> None:
        self.sink.take_all()

    def file(self) -> BinaryIO:
        if NAME not in self.files:
            self.files[NAME] = (self.logs / NAME).open("ab", buffering=0)
        return self.files[NAME]

    def line(self) -> bytes:
        self.number += 1
        return b"line %d of the log" % self.number + b"." * (self.number % 7 * 40)

    # What the service does

    @rule(count=st.integers(1, 40))
    def write(self, count: int) -> None:
        for _ in range(count):
            self.end_line(self.file(), self.line())

    @rule(count=st.integers(1, 3))
    def old_writer_goes_on(self, count: int) -> None:
        for file in self.old:
            for _ in range(count):
                self.end_line(file, self.line())

    def end_line(self, file: BinaryIO, text: bytes) -> None:
        begun = self.unfinished.pop(file.fileno(), b"")
        file.write(text + b"\n")
        self.expected.append((begun + text).decode())

    @rule()
    def write_part_of_a_line(self) -> None:
        text = self.line()
        file = self.file()
        self.unfinished[file.fileno()] = self.unfinished.get(file.fileno(), b"") + text
        file.write(text)

    def finish_lines(self) -> None:
        for file in [*self.files.values(), *self.old]:
            if file.fileno() in self.unfinished:
                self.end_line(file, b" end")

    @precondition(lambda self: NAME in self.files)
    @rule(goes_on=st.booleans())
    def rotate_by_renaming(self, goes_on: bool) -> None:
        self.shift()
        (self.logs / NAME).rename(self.logs / (NAME + ".1"))
        file = self.files.pop(NAME)
        if goes_on:
            self.old.append(file)
        else:
            self.close(file)

    @precondition(lambda self: NAME in self.files)
    @rule()
    def rotate_by_copying(self) -> None:
        self.finish_lines()
        self.shift()
        shutil.copyfile(self.logs / NAME, self.logs / (NAME + ".1"))
        os.truncate(self.logs / NAME, 0)

    @precondition(lambda self: NAME in self.files and self.tail is not None)
    @rule()
    def truncate_after_all_was_read(self) -> None:
        self.finish_lines()
        self.read()
        os.truncate(self.logs / NAME, 0)

    def shift(self) -> None:
        for number in range(99, 0, -1):
            if (self.logs / f"{NAME}.{number}").exists():
                (self.logs / f"{NAME}.{number}").rename(self.logs / f"{NAME}.{number + 1}")

    @precondition(lambda self: self.tail is not None)
    @rule(number=st.integers(0, 3))
    def delete(self, number: int) -> None:
        path = self.logs / (f"{NAME}.{number}" if number else NAME)
        self.noticed()
        if path.exists():
            path.unlink()
        if not number and NAME in self.files:
            self.close(self.files.pop(NAME))

    @rule()
    def old_writers_end(self) -> None:
        while self.old:
            self.close(self.old.pop())

    def close(self, file: BinaryIO) -> None:
        begun = self.unfinished.pop(file.fileno(), b"")
        if begun:
            self.expected.append(begun.decode())
        file.close()

    # What happens around it

    @precondition(lambda self: self.tail is not None)
    @rule()
    def tailer_looks(self) -> None:
        self.noticed()

    @precondition(lambda self: self.tail is not None)
    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        assert self.tail is not None
        self.do(self.tail.pass_time(seconds))

    @rule(blocked=st.booleans())
    def destination_is(self, blocked: bool) -> None:
        self.sink.open = not blocked
        if not blocked:
            self.do(self.take_all())

    @precondition(lambda self: self.tail is not None)
    @rule()
    def tailer_is_killed(self) -> None:
        for file in [file for file in self.old if not os.fstat(file.fileno()).st_nlink]:
            self.old.remove(file)  # what is written to a deleted file that nobody has open is gone with the writer
            self.close(file)
        self.read()
        self.do(self.tail.source._write_down())  # type: ignore[union-attr]
        self.stop()

    @precondition(lambda self: self.tail is None)
    @rule()
    def tailer_is_started(self) -> None:
        self.start()

    # The oracle

    def arrived(self) -> list[str]:
        lines: dict[str, list[str]] = {}
        for line in self.sink.lines:
            mine = lines.setdefault(line.stream, [])
            if line.attributes.get("shipper.line.continued"):
                mine[-1] += line.body
            else:
                mine.append(line.body)
        for mine in lines.values():
            numbers = [int(text.split()[1]) for text in mine]
            assert numbers == sorted(numbers), "a stream is out of order"
        return [text for mine in lines.values() for text in mine]

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert not self.sink.lost
        whole = Counter(text for text in self.arrived() if text in set(self.expected))
        assert all(count == 1 for count in whole.values())

    def teardown(self) -> None:
        try:
            if self.tail is None:
                self.start()
            for file in [*self.files.values(), *self.old]:
                self.close(file)
            assert self.tail is not None
            self.read()
            self.do(self.tail.pass_time(3))
            self.read()
            assert sorted(self.arrived()) == sorted(self.expected)
            self.nothing_is_lost_or_doubled()
        finally:
            if self.running is not None:
                self.stop()
            self.loop.close()
            shutil.rmtree(self.root)
