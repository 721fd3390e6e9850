"""What random histories of logs share: a service that writes, a tailer that comes and goes, and what arrived by the end."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, BinaryIO

from hypothesis.stateful import RuleBasedStateMachine

from tests.sources.file_kit import Sink, Tail

NAME = "app.log"
HOLD = 0.5


class History(RuleBasedStateMachine):
    """A directory of logs, who writes them, a destination, and everything that is expected there. The rules are others'."""

    tailing: Callable[[], AbstractAsyncContextManager[Tail]]  # a run of the tailer; who has the rules defines it
    writers: Callable[[], list[BinaryIO]]  # everything that is written to; likewise

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory(prefix="tail-")  # gone with the process at the latest
        self.root = Path(self._directory.name)
        self.logs = self.root / "logs"
        self.logs.mkdir()
        self.loop = asyncio.new_event_loop()
        self.sink = Sink(limit=4096)
        self.old: list[BinaryIO] = []  # writers that go on with what was rotated
        self.unfinished: dict[int, bytes] = {}  # by descriptor
        self.expected: list[str] = []
        self.number = 0
        self.running: AbstractAsyncContextManager[Tail] | None = None
        self.tail: Tail | None = None

    # The tailer

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def start(self) -> None:
        self.running = self.tailing()
        self.tail = self.do(self.running.__aenter__())

    def stop(self) -> None:
        assert self.running is not None
        self.do(self.running.__aexit__(None, None, None))
        self.running = self.tail = None

    def noticed(self) -> None:
        """The tailer, if it runs, has seen everything up to now."""
        if self.tail is not None:
            self.do(self.tail.settle())

    def read(self) -> None:
        """And the destination has it."""
        self.noticed()
        self.do(self.take_all())

    async def take_all(self) -> None:
        self.sink.take_all()

    # The service

    def line(self) -> bytes:
        self.number += 1
        return b"line %d of the log" % self.number + b"." * (self.number % 7 * 40)

    def end_line(self, file: BinaryIO, text: bytes) -> None:
        begun = self.unfinished.pop(file.fileno(), b"")
        file.write(text + b"\n")
        self.expected.append((begun + text).decode())

    def begin_line(self, file: BinaryIO, text: bytes) -> None:
        self.unfinished[file.fileno()] = self.unfinished.get(file.fileno(), b"") + text
        file.write(text)

    def finish_lines(self) -> None:
        for file in self.writers():
            if file.fileno() in self.unfinished:
                self.end_line(file, b" end")

    def close(self, file: BinaryIO) -> None:
        begun = self.unfinished.pop(file.fileno(), b"")
        if begun:
            self.expected.append(begun.decode())
        file.close()

    # The end

    def arrived(self) -> list[str]:
        """All lines, once they were found to be in order in each stream."""
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

    def everything_closed(self) -> None:
        """All writers have ended, and the tailer has had all the time that it wants."""
        if self.tail is None:
            self.start()
        for file in self.writers():
            self.close(file)
        assert self.tail is not None
        self.read()
        self.do(self.tail.pass_time(3))
        self.read()

    def tidy(self) -> None:
        """Leave nothing behind."""
        if self.running is not None:
            self.stop()
        self.loop.close()
        self._directory.cleanup()


def unlinked(file: BinaryIO) -> bool:
    """Whether an open file has no name any more."""
    return not os.fstat(file.fileno()).st_nlink
