"""Random histories over several lives of one host: every line arrives once, and in the life that wrote it where that can be known."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, LedgerThread
from shipper.shape import Multiline
from shipper.sources.file import FileGroup, FileSettings, borders
from shipper.sources.file.borders import event_border
from shipper.sources.file.handles import Descriptors, TailedFile
from shipper.sources.file.known import KnownFiles
from shipper.testing.clock import FakeClock
from tests.sources.file_kit import DESTINATION, Reports, Sink, tailing
from tests.sources.file_writing import HOLD, NAME, Writing

AGO = 100  # seconds before the boot at which what the earlier life wrote was last changed


class Earlier:
    """A life that has ended: its ledger on the disk, and the destination's view of it."""

    def __init__(self, ledger: Path, sink: Sink, logs: Path) -> None:
        self.ledger = ledger
        self.sink = sink
        self.clock = FakeClock()
        self.report = Reports(self.clock)
        self.settings = FileSettings((FileGroup((str(logs / (NAME + "*")),), hold=HOLD),))

    def draw(self, boot_ns: int, told: dict[str, IntervalSet] | None = None) -> str:
        """Draw the borders as they are now."""
        ledger = Ledger.open(self.ledger, report=self.report)
        try:
            return borders.draw(
                ledger, self.settings, told or {}, born_ns=1, boot_ns=boot_ns, clock=self.clock, report=self.report
            )
        finally:
            ledger.close()

    async def ship(self) -> None:
        """Everything of it that is on the disk."""
        ledger = LedgerThread(Ledger.open(self.ledger, report=self.report))
        known = KnownFiles(
            self.settings,
            hub=self.sink,
            ledger=ledger,
            life="earlier",
            resource=b"",
            destinations=(DESTINATION,),
            clock=self.clock,
            report=self.report,
        )
        await known.open()
        self.sink.take_all()
        await known.aclose()
        await ledger.aclose()
        self.sink.streams.clear()


class Rebooting(Writing):
    """The service, its log and its tailer die at once, now and then, and another life begins on the same disk."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Earlier] = []
        self.over: list[Sink] = []
        self.deleted = False
        self.mark = 0  # lines expected when the present life began
        self.certain: list[tuple[Sink, set[str]]] = []  # lines that must have arrived in that life

    @rule(read=st.booleans(), noted=st.booleans(), late=st.integers(0, 3))
    def power_is_cut(self, read: bool, noted: bool, late: int) -> None:
        """``late``: lines that the next boot's service writes before its tailer starts."""
        if self.tail is None:
            self.start()
        assert self.tail is not None
        if late and self.unfinished:
            self.finish_lines()  # who wrote a line that was torn and then appended to, nobody can tell
            self.read()
        open_files = [*self.files.values(), *self.old]
        if self.deleted or any(not os.fstat(file.fileno()).st_nlink for file in open_files):
            self.noticed()
            self.do(self.tail.pass_time(2))
            self.deleted = False
            read = True  # what only a descriptor holds goes with the power, and is lost rightly
        if read:
            self.read()
        if noted:
            self.noticed()
        self.do(self.tail.source._write_down())  # as every second; a copy noticed since is not known to be one
        for file in open_files:
            self.close(file)
        self.files.clear()
        self.old.clear()
        arrived = set(self.arrived())
        written = {line for line in self.expected[self.mark :] if line not in arrived}
        self.mark = len(self.expected)
        self.sink.open = False  # what it takes while we stop would not be in the ledger
        self.stop()
        boot_ns = time.time_ns()
        for path in self.logs.iterdir():
            os.utime(path, ns=(boot_ns - AGO * 10**9,) * 2)
        if late:
            self.write(late)
        self.next_life(boot_ns - AGO * 10**9 // 2)
        if not late:
            self.certain.append((self.waiting[-1].sink, written))

    def next_life(self, boot_ns: int) -> None:
        number = len(self.over)
        moved = self.root / f"ledger-{number}.db"
        for companion in ("-wal", "-shm", ""):
            path = self.root / f"ledger.db{companion}"
            if path.exists():
                path.rename(f"{moved}{companion}")
        earlier = Earlier(moved, self.sink, self.logs)
        drawn = earlier.draw(boot_ns)
        assert earlier.draw(0) == drawn, "a border is drawn once"
        self.waiting.append(earlier)
        self.over.append(self.sink)
        for kept in (self.sink.streams, self.sink.last, self.sink.finished_now):
            kept.clear()
        self.sink = Sink(limit=4096)
        ledger = Ledger.open(self.root / "ledger.db", report=earlier.report)
        borders.take(ledger, str(number), drawn)
        borders.take(ledger, str(number), drawn)
        ledger.close()
        self.start()

    @precondition(lambda self: self.waiting)
    @rule()
    def the_oldest_remains_are_shipped(self) -> None:
        self.do(self.waiting.pop(0).ship())

    def ship_all(self) -> None:
        while self.waiting:
            self.the_oldest_remains_are_shipped()

    def delete(self, number: int) -> None:
        self.ship_all()  # nobody holds the files of those that still wait
        self.deleted = True
        super().delete(number)

    def truncate_after_all_was_read(self) -> None:
        self.ship_all()
        super().truncate_after_all_was_read()

    delete = precondition(lambda self: self.tail is not None)(rule(number=st.integers(0, 3))(delete))
    truncate_after_all_was_read = precondition(lambda self: NAME in self.files and self.tail is not None)(
        rule()(truncate_after_all_was_read)
    )

    # The oracle

    def arrived(self) -> list[str]:
        return [line for sink in [*self.over, self.sink] for line in self.arrived_in(sink)]

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        for sink in self.over:
            assert not sink.lost
        super().nothing_is_lost_or_doubled()

    def teardown(self) -> None:
        self.ship_all()
        for sink, lines in self.certain:
            assert lines <= set(self.arrived_in(sink)), "what was written before the end is the earlier life's"
        super().teardown()

    def arrived_in(self, sink: Sink) -> list[str]:
        present, self.sink = self.sink, sink
        try:
            return super().arrived()
        finally:
            self.sink = present


TestRebooting = Rebooting.TestCase
TestRebooting.__doc__ = (
    """In any order of writing, rotating, power cuts and adoptions, every byte has one owner, and arrives."""
)
TestRebooting.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    ("content", "low", "size", "rule", "border"),
    [
        (b"one\ntwo\nthree\n", 0, 8, None, 8),
        (b"one\ntwo\nthree\n", 0, 10, None, 8),  # the line that was torn goes with what completes it
        (b"one\ntwo\nthree\n", 6, 7, None, 6),  # but never below what was cut
        (b"one two three", 0, 5, None, 0),
        (b"A\n b\nC\n d\nE\n", 0, 8, "indent", 5),  # C goes on behind the size that was seen
        (b"A\n b\nC\n d\nE\n", 0, 10, "indent", 10),
    ],
)
def test_the_border_lies_between_two_events(
    tmp_path: Path, content: bytes, low: int, size: int, rule: Any, border: int
) -> None:
    """The last event border at or below the size that was seen; an event is never cut in two by it."""
    path = tmp_path / "log"
    path.write_bytes(content)
    status = path.stat()
    pool = Descriptors(4, Reports(FakeClock()).metrics.open_files)
    file = TailedFile(pool, (status.st_dev, status.st_ino), str(path))
    multiline = None if rule is None else Multiline.of(rule)
    assert event_border(file, low, size, multiline) == border
    pool.close_all()


def written_life(tmp_path: Path, content: bytes, *, seen: int | None = None) -> Earlier:
    """A life that has read and shipped the first ``seen`` bytes of a log, which then got the rest."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / NAME).write_bytes(content[:seen])

    async def live() -> Sink:
        sink = Sink()
        async with tailing(logs, NAME + "*", sink=sink) as tail:
            await tail.settle()
            await tail.source._write_down()
        return sink

    sink = asyncio.run(live())
    (logs / NAME).write_bytes(content)
    return Earlier(tmp_path / "ledger.db", sink, logs)


def own(drawn: str) -> list[int]:
    """How many bytes of each file are not the new life's."""
    return [entry[2] for entry in json.loads(drawn)["files"]]


def test_a_file_that_grew_since_the_boot_is_the_new_lifes_behind_what_was_seen(tmp_path: Path) -> None:
    """Nobody can tell who wrote it; up to what a destination says it has of the earlier life, it is the earlier one's."""
    earlier = written_life(tmp_path, b"one\ntwo\nthree\nfour\n", seen=8)
    [stream] = earlier.sink.at
    assert own(earlier.draw(0, {stream: IntervalSet([(0, 14)])})) == [14]


def test_a_file_untouched_since_the_boot_is_the_earlier_lifes_to_its_end(tmp_path: Path) -> None:
    """What was written between the last look and the end is shipped as the life's that wrote it."""
    earlier = written_life(tmp_path, b"one\ntwo\nthree", seen=8)
    assert own(earlier.draw(time.time_ns() + 10**9)) == [13]
    asyncio.run(earlier.ship())
    assert earlier.sink.bodies == ["one", "two", "three"]


def test_a_power_cut_may_leave_a_file_shorter_than_it_was_seen(tmp_path: Path) -> None:
    """What is gone was shipped, and the new life goes on where the file ends now; nothing is read twice."""
    one = b"x" * 1500 + b"\n"  # more than is needed to recognise a file by its beginning
    earlier = written_life(tmp_path, one + b"two\n")
    (tmp_path / "logs" / NAME).write_bytes(one)
    assert own(earlier.draw(time.time_ns() + 10**9)) == [1501]
    (tmp_path / "logs" / NAME).write_bytes(one + b"of another life\n")
    asyncio.run(earlier.ship())
    assert earlier.sink.bodies == ["x" * 1500, "two"]


def test_a_file_that_was_truncated_and_begun_anew_is_the_lifes_that_did_it(tmp_path: Path) -> None:
    """What an inherited border says of a file holds as long as that still begins so; its new content was written in this life."""
    first = written_life(tmp_path, b"x" * 1500 + b"\n")
    ledger = Ledger.open(tmp_path / "later.db", report=first.report)
    borders.take(ledger, "first", first.draw(time.time_ns() + 10**9))
    ledger.close()
    (tmp_path / "logs" / NAME).write_bytes(b"anew\n")
    later = Earlier(tmp_path / "later.db", Sink(), tmp_path / "logs")
    assert own(later.draw(time.time_ns() + 10**9)) == [5]
    asyncio.run(later.ship())
    assert later.sink.bodies == ["anew"]


def test_without_a_ledger_what_destinations_have_is_not_read_again(tmp_path: Path) -> None:
    """Stream ids carry device, inode and what a file begins with: enough to go on behind what was sent of it."""
    earlier = written_life(tmp_path, b"one\ntwo\n")
    [stream] = earlier.sink.at
    assert own(borders.told_only({stream: IntervalSet([(0, 4), (6, 8)]), "spool.logs": IntervalSet([(0, 9)])})) == [4]
