"""Random histories of writing, rotating, compressing, linking, moving, deleting, truncating and restarting, against the one
thing that matters: every line once and in order; where nobody could have read one before it was destroyed, it is counted.

A long search: ``python -m tests.sources.test_file_model EXAMPLES STEPS``.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shipper.sources.file import FileGroup
from tests.sources.file_history import HOLD, NAME, History, unlinked
from tests.sources.file_kit import Tail, tailing

PATTERNS = (f"{NAME}*", f"moved/{NAME}*", "links/*.log")
DESCRIPTORS = 8  # where there are few: idle files are closed, and opened again


class World(History):
    """A service with a rotated log, one behind a link that is switched, a tailer that comes and goes, and a destination."""

    format: ClassVar[Literal["auto", "plain"]] = "plain"

    def __init__(self) -> None:
        super().__init__()
        for name in ("moved", "links", "pods"):
            (self.logs / name).mkdir()
        self.few = False  # descriptors; then everything is read at once, or they would all be needed
        self.file: BinaryIO | None = None  # of the log under its name
        self.pod: BinaryIO | None = None  # of the file that the link leads to
        self.deleted: set[str] = set()  # lines that only an open descriptor leads to
        self.risked: set[str] = set()  # lines that were destroyed while nobody looked, or that a kill cut off
        self.counted: set[str] = set()  # lines that were destroyed after they were seen
        self.beyond: set[BinaryIO] = set()  # writers of files that nobody can open: see `lose_sight_of`

    @initialize(few=st.booleans())
    def begin(self, few: bool) -> None:
        self.few = few
        self.start()

    def tailing(self) -> AbstractAsyncContextManager[Tail]:
        group = FileGroup(tuple(str(self.logs / pattern) for pattern in PATTERNS), hold=HOLD, format=self.format)
        limits = {"max_open_files": DESCRIPTORS if self.few else 1000, "rescan_interval": 2.0}
        return tailing(self.logs, groups=(group,), sink=self.sink, limits=limits)

    async def _unpacked(self) -> None:
        assert self.tail is not None
        packed, running = self.tail.source._table.packed, self.tail
        await running.until(lambda: not packed.waiting or not self.sink.open)
        await running.source.settled()

    def read(self) -> None:
        super().read()
        if self.tail is not None:
            self.do(self._unpacked())
            self.do(self.take_all())

    def log(self) -> BinaryIO:
        if self.file is None:
            self.file = (self.logs / NAME).open("ab", buffering=0)
        return self.file

    def rotated(self, *, packed: bool = False) -> list[Path]:
        """What was rotated, and moved, compressed or not."""
        found = [*self.logs.glob(NAME + ".*"), *self.logs.glob("moved/*")]
        return sorted(path for path in found if (path.suffix == ".gz") == packed)

    def unread(self, path: Path) -> set[str]:
        """The lines of a file that have not arrived."""
        return self.lines_in(path).intersection(self.expected).difference(self.arrived())

    def lines_in(self, path: Path) -> set[str]:
        """The lines of a file, as they are expected to arrive."""
        return set(path.read_bytes().decode().split("\n"))

    # What the services do

    @rule(count=st.integers(1, 40))
    def write(self, count: int) -> None:
        for _ in range(count):
            self.end_line(self.log(), self.line())

    @precondition(lambda self: self.pod is not None)
    @rule(count=st.integers(1, 20))
    def write_behind_the_link(self, count: int) -> None:
        assert self.pod is not None
        for _ in range(count):
            self.end_line(self.pod, self.line())

    @precondition(lambda self: self.old)
    @rule(count=st.integers(1, 3))
    def old_writers_go_on(self, count: int) -> None:
        for file in self.old:
            for _ in range(count):
                self.end_line(file, self.line())

    def end_line(self, file: BinaryIO, text: bytes) -> None:
        super().end_line(file, text)
        self.written(file, self.expected[-1])

    def written(self, file: BinaryIO, line: str) -> None:
        if self.unreachable(file):
            self.deleted.add(line)
        if file in self.beyond:
            self.risked.add(line)

    def unreachable(self, file: BinaryIO) -> bool:
        """Whether only descriptors lead to a file: it was deleted, or the link leads elsewhere now."""
        path = os.readlink(f"/proc/self/fd/{file.fileno()}")
        return unlinked(file) or ("/pods/" in path and file is not self.pod)

    @rule()
    def write_part_of_a_line(self) -> None:
        self.begin_line(self.log(), self.line())

    def writers(self) -> list[BinaryIO]:
        return [file for file in (self.file, self.pod, *self.old) if file is not None]

    # Rotation

    @precondition(lambda self: self.file is not None)
    @rule(goes_on=st.booleans())
    def rotate_by_renaming(self, goes_on: bool) -> None:
        assert self.file is not None
        self.shift()
        (self.logs / NAME).rename(self.logs / (NAME + ".1"))
        if goes_on:
            self.old.append(self.file)
        else:
            self.close(self.file)
        self.file = None

    @precondition(lambda self: self.file is not None)
    @rule()
    def rotate_by_copying(self) -> None:
        self.finish_lines()
        self.shift()
        shutil.copyfile(self.logs / NAME, self.logs / (NAME + ".1"))
        os.truncate(self.logs / NAME, 0)

    def shift(self) -> None:
        for number in range(99, 0, -1):
            for ending in ("", ".gz"):
                path = self.logs / f"{NAME}.{number}{ending}"
                if path.exists():
                    path.rename(self.logs / f"{NAME}.{number + 1}{ending}")

    @precondition(lambda self: self.rotated())
    @rule(which=st.integers(0, 5), seen_half=st.booleans())
    def compress(self, which: int, seen_half: bool) -> None:
        path = self.rotated()[which % len(self.rotated())]
        if any(os.path.samestat(os.fstat(file.fileno()), path.stat()) for file in self.writers()):
            return  # what a writer still writes is not in the compressed file: nobody does that
        data = gzip.compress(path.read_bytes(), 1)
        with open(f"{path}.gz", "wb", buffering=0) as out:
            out.write(data[: len(data) // 2])
            if seen_half:
                self.noticed()
            out.write(data[len(data) // 2 :])
        shutil.copystat(path, f"{path}.gz")
        path.unlink()

    @precondition(lambda self: self.rotated() and self.tail is not None)
    @rule(which=st.integers(0, 5))
    def move_to_another_directory(self, which: int) -> None:
        self.noticed()  # a copy that was moved away before anybody saw it is a new file
        path = self.rotated()[which % len(self.rotated())]
        self.number += 1
        path.rename(self.logs / "moved" / f"{NAME}.{self.number}")

    @precondition(lambda self: 0 < len(self.rotated()) < 6 and self.tail is not None)
    @rule(which=st.integers(0, 5))
    def give_a_second_name(self, which: int) -> None:
        self.noticed()
        path = self.rotated()[which % len(self.rotated())]
        self.number += 1
        os.link(path, self.logs / "moved" / f"{NAME}.link-{self.number}")

    @precondition(lambda self: self.tail is not None)
    @rule(goes_on=st.booleans())
    def switch_the_link(self, goes_on: bool) -> None:
        self.noticed()
        self.number += 1
        path = self.logs / "pods" / f"{self.number}.log"
        (self.logs / "links/new").symlink_to(path)
        old, self.pod = self.pod, path.open("ab", buffering=0)
        if old is not None:
            self.deleted |= self.lines_in(Path(os.readlink(self.logs / "links/app.log")))
        os.rename(self.logs / "links/new", self.logs / "links/app.log")
        if old is not None and goes_on:
            self.noticed()
            self.old.append(old)
        elif old is not None:
            self.close(old)

    # Destruction

    @precondition(lambda self: self.tail is not None)
    @rule(number=st.integers(0, 3))
    def delete(self, number: int) -> None:
        path = self.logs / (f"{NAME}.{number}" if number else NAME)
        self.read() if path.suffix == ".gz" else self.noticed()
        if path.exists():
            self.deleted |= self.unread(path)
            self.lose_sight_of(path)
            path.unlink()
        if not number and self.file is not None:
            self.close(self.file)
            self.file = None

    def lose_sight_of(self, path: Path) -> None:
        """A file that was closed for want of descriptors, all of it read, is deleted: what its writer goes on to write there
        no process but that one can ever see.
        """
        assert self.tail is not None
        status = path.stat()
        followed = self.tail.source._table.of((status.st_dev, status.st_ino))
        writers = {file for file in self.writers() if os.path.samestat(os.fstat(file.fileno()), status)}
        if writers and status.st_nlink == 1 and (followed is None or followed.fd < 0):
            assert self.few
            self.beyond |= writers

    @precondition(lambda self: self.file is not None)
    @rule(size=st.sampled_from(["nothing", "less", "equal", "more"]), read_before=st.booleans())
    def truncate(self, size: str, read_before: bool) -> None:
        assert self.file is not None
        self.finish_lines()
        path = self.logs / NAME
        if read_before and self.tail is not None:
            self.read()
        self.noticed()
        (self.risked if self.tail is None else self.counted).update(self.unread(path))
        before = path.stat().st_size
        os.truncate(path, 0)
        if size != "nothing" and before:
            self.regrow(before, size)
        self.noticed()

    def regrow(self, before: int, size: str) -> None:
        """Write until the file is shorter than before, as long, or longer."""
        file = self.log()
        while size == "more" or before - os.fstat(file.fileno()).st_size > 700:
            self.end_line(file, self.line())
            if size == "more" and os.fstat(file.fileno()).st_size > before:
                return
        left = before - os.fstat(file.fileno()).st_size
        text = self.line()
        if size == "equal" and left > len(text):
            self.end_line(file, text.ljust(left - 1, b"."))

    @precondition(lambda self: self.tail is None and self.file is not None)
    @rule(count=st.integers(1, 20))
    def delete_and_create_while_nobody_looks(self, count: int) -> None:
        assert self.file is not None
        path = self.logs / NAME
        self.finish_lines()
        self.risked |= self.unread(path)
        self.close(self.file)
        path.unlink()  # the next file may get the same inode
        self.file = None
        self.write(count)

    @rule()
    def old_writers_end(self) -> None:
        while self.old:
            self.close(self.old.pop())

    def close(self, file: BinaryIO) -> None:
        if file.fileno() in self.unfinished:
            self.written(file, self.unfinished[file.fileno()].decode())
        super().close(file)

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
        self.sink.open = self.few or not blocked
        if self.sink.open:
            self.do(self.take_all())

    @precondition(lambda self: self.tail is not None)
    @rule(in_peace=st.booleans())
    def tailer_is_killed(self, in_peace: bool) -> None:
        """In peace: after it has read and written down everything; else in the middle of what it was doing."""
        assert self.tail is not None
        for file in self.old:
            if self.unreachable(file):
                self.close(file)  # what is written to a file that nobody has open is gone with the writer
        self.old = [file for file in self.old if not file.closed]
        if in_peace:
            self.read()
            self.do(self.tail.source._write_down())
        self.risked |= self.deleted.difference(self.arrived())
        self.stop()

    @precondition(lambda self: self.tail is None)
    @rule()
    def tailer_is_started(self) -> None:
        self.start()

    # The oracle

    @invariant()
    def nothing_is_doubled_and_nothing_given_up_that_was_there(self) -> None:
        assert not self.sink.lost or self.risked or self.counted
        expected = set(self.expected)
        whole = Counter(text for text in self.arrived() if text in expected)
        assert all(count == 1 for count in whole.values())

    def teardown(self) -> None:
        try:
            self.everything_closed()
            self.nothing_is_doubled_and_nothing_given_up_that_was_there()
            arrived = set(self.arrived())
            missing = set(self.expected) - arrived
            assert missing <= self.risked | self.counted
            cut_off = arrived - set(self.expected)  # of a line that was destroyed after its beginning was sent
            assert all(any(each.startswith(text) for each in missing) for text in cut_off)
            destroyed = sum(len(text) + 1 for text in missing - self.risked) - sum(map(len, cut_off))
            assert destroyed <= sum(end - start for _, start, end in self.sink.lost)
        finally:
            self.tidy()


def _settings(examples: int, steps: int, *, search: bool = False) -> settings:
    """The suite looks at the same histories each time: what only a search finds is no fault of the change at hand.

    To search, give numbers to this file as a program; it draws new histories each time.
    """
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not search,
        suppress_health_check=list(HealthCheck),
    )


TestWorld = World.TestCase
TestWorld.__doc__ = (
    """Cases 10-18, 21, 24, 25, 30, 33: in any order, each line comes once and in order, or its loss is counted."""
)
TestWorld.settings = _settings(40, 20)

if __name__ == "__main__":
    run_state_machine_as_test(World, settings=_settings(int(sys.argv[1]), int(sys.argv[2]), search=True))
