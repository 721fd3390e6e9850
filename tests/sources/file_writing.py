"""A log under random writing, rotation and deletion, with a tailer that comes and goes: what histories of lives are built on."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.sources.file_history import HOLD, NAME, History, unlinked
from tests.sources.file_kit import Tail, tailing

__all__ = ["HOLD", "NAME", "Writing"]


class Writing(History):
    """One service with a rotated log, a tailer that comes and goes, a destination that may be blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, BinaryIO] = {}

    def tailing(self) -> AbstractAsyncContextManager[Tail]:
        return tailing(self.logs, NAME + "*", sink=self.sink, hold=HOLD)

    def writers(self) -> list[BinaryIO]:
        return [*self.files.values(), *self.old]

    @initialize()
    def begin(self) -> None:
        self.start()

    def file(self) -> BinaryIO:
        if NAME not in self.files:
            self.files[NAME] = (self.logs / NAME).open("ab", buffering=0)
        return self.files[NAME]

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

    @rule()
    def write_part_of_a_line(self) -> None:
        self.begin_line(self.file(), self.line())

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
        for file in [file for file in self.old if unlinked(file)]:
            self.old.remove(file)  # what is written to a deleted file that nobody has open is gone with the writer
            self.close(file)
        self.read()
        assert self.tail is not None
        self.do(self.tail.source._write_down())
        self.stop()

    @precondition(lambda self: self.tail is None)
    @rule()
    def tailer_is_started(self) -> None:
        self.start()

    # The oracle

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert not self.sink.lost
        whole = Counter(text for text in self.arrived() if text in set(self.expected))
        assert all(count == 1 for count in whole.values())

    def teardown(self) -> None:
        try:
            self.everything_closed()
            assert sorted(self.arrived()) == sorted(self.expected)
            self.nothing_is_lost_or_doubled()
        finally:
            self.tidy()
