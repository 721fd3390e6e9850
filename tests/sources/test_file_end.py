"""How tailing ends: the last look, writers that are still there, lines without an end; and the bounds it keeps to."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import LedgerFull
from shipper.ledger import Ledger
from shipper.sources.file import FileGroup
from shipper.sources.file.lease import has_writers
from tests.sources.file_kit import Sink, tailing
from tests.sources.test_file_rotation import names, numbered

HELD_OPEN = "import sys; f = open(sys.argv[1], 'ab', buffering=0); print(flush=True); sys.stdin.readline()"


def test_the_kernel_tells_whether_there_are_writers(tmp_path: Path) -> None:
    """A lease shows a writer in this or another process, and none once it is gone; nobody is kept from writing."""
    path = tmp_path / "a.log"
    path.write_bytes(b"x")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert has_writers(fd) is False
        with path.open("ab"):
            assert has_writers(fd) is True
        command = [sys.executable, "-c", HELD_OPEN, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert has_writers(fd) is True
            other.communicate(b"\n")
        assert has_writers(fd) is False
        assert fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK
    finally:
        os.close(fd)


def test_no_lease_means_it_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses a lease for another reason than a writer, the answer is that nobody knows."""

    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shipper.sources.file.lease.fcntl.fcntl", refuse)
    assert has_writers(0) is None


def test_silent_once_the_writers_are_gone_and_all_is_seen(tmp_path: Path) -> None:
    """Case 47: while anybody has a file open for writing it is not silent, however long nothing comes."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            with (logs / "a.log").open("ab", buffering=0) as file:
                file.write(b"1\n")
                await tail.lines(1)
                await tail.pass_time(5)
                assert not tail.source.silent(0.25)
                file.write(b"2\n")
            assert not tail.source.silent(0.25)  # a script that opens its log for each line may open it again
            await tail.pass_time(1)
            assert tail.source.silent(0.25)
            assert tail.sink.bodies == ["1", "2"]

    asyncio.run(main())


def test_silent_by_quiet_time_where_writers_cannot_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 47: without leases, silence is that nothing came for the quiet time."""

    async def main() -> None:
        logs = tmp_path / "logs"
        monkeypatch.setattr("shipper.sources.file.source.has_writers", lambda fd: None)
        async with tailing(logs) as tail:
            with (logs / "a.log").open("ab", buffering=0) as file:
                file.write(b"1\n")
                await tail.lines(1)
                assert not tail.source.silent(0.25)
                await tail.clock.run(0.2)
                file.write(b"2\n")
                await tail.lines(2)
                await tail.clock.run(0.2)
                assert not tail.source.silent(0.25)
                await tail.clock.run(0.1)
                assert tail.source.silent(0.25)

    asyncio.run(main())


def test_the_last_look_finds_what_exists_and_nothing_later(tmp_path: Path) -> None:
    """A stop ships what is there at that moment, also in files no event told of yet, and not what comes afterwards."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            with (logs / "a.log").open("ab", buffering=0) as file:
                file.write(b"1\n")
                await tail.lines(1)
                (logs / "b.log").write_bytes(b"2\n")
                file.write(b"3\nhalf")
                tail.source.stop_reading()
                file.write(b" too late\n")
                (logs / "c.log").write_bytes(b"too late\n")
                await tail.source.settled()
                tail.source.close_events()
                await tail.settle()
                await tail.pass_time(2)
            assert sorted(tail.sink.bodies) == ["1", "2", "3", "half"]
            assert tail.sink.lines[-1].attributes == {"shipper.line.incomplete": True}
            assert all(s.frontier() == tail.sink.at[s.id][0] for s in tail.sink.streams.values())
        async with tailing(logs, sink=tail.sink) as again:
            await again.lines(6)
            assert sorted(again.sink.bodies)[-2:] == ["half", "too late"]
            assert " too late" in again.sink.bodies

    asyncio.run(main())


def test_held_lines_are_due_at_the_end(tmp_path: Path) -> None:
    """Case 36: at the end of a drain an unfinished line is sent at once, whatever its hold."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, hold=3600) as tail:
            (logs / "a.log").write_bytes(b"half a \xe2\x82")
            await tail.until(lambda: tail.sink.streams)
            assert not tail.sink.lines
            tail.source.close_events()
            assert tail.sink.bodies == ["half a \ufffd"]
            assert tail.source.silent(0)

    asyncio.run(main())


def test_a_stop_while_starting(tmp_path: Path) -> None:
    """Case 48: a stop that comes before the first look is over takes effect right after it."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "a.log").write_bytes(b"1\n")
        async with tailing(logs, stop_early=True) as tail:
            with (logs / "a.log").open("ab") as file:
                file.write(b"2\n")
            await tail.settle()
            await tail.pass_time(2)
            assert tail.sink.bodies == ["1"]

    asyncio.run(main())


def test_descriptors_are_bounded(tmp_path: Path) -> None:
    """Case 29: many files are followed with few descriptors; those closed while idle go on when something is appended."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        for number in range(200):
            (logs / f"{number}.log").write_bytes(b"first %d\n" % number)
        async with tailing(logs, limits={"max_open_files": 16}) as tail:
            await tail.pass_time(3)
            await tail.lines(200)
            for turn in range(3):
                for number in range(0, 200, 7):
                    with (logs / f"{number}.log").open("ab") as file:
                        file.write(b"again %d %d\n" % (turn, number))
                await tail.lines(200 + 29 * (turn + 1))
            assert len(tail.sink.streams) == 200
            assert tail.report.metrics.open_files._value.get() <= 16
            (logs / "0.log").unlink()
            await tail.until(lambda: len(tail.sink.ended) == 1)
            assert not tail.sink.lost

    asyncio.run(main())


def test_unread_files_are_never_closed_to_make_room(tmp_path: Path) -> None:
    """Case 45: when all descriptors hold unread files, further ones wait, that is said, and none is forgotten."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        for number in range(20):
            (logs / f"{number:02}.log").write_bytes(b"line %d\n" % number)
        async with tailing(logs, sink=Sink(open=False), limits={"max_open_files": 8}) as tail:
            assert len(tail.sink.streams) == 8
            for path in logs.iterdir():
                if path.name < "08.log":
                    path.unlink()
            await tail.settle()
            assert tail.report.problems("descriptors")
            tail.sink.take_all()
            await tail.pass_time(4)
            await tail.lines(20)
            assert sorted(tail.sink.bodies) == sorted(names(0, 20))

    asyncio.run(main())


def test_a_storm_of_writes_wakes_few(tmp_path: Path) -> None:
    """Under load, many writes between two turns of the event loop are one look at the file."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            with (logs / "a.log").open("ab", buffering=0) as file:
                file.write(b"line 0\n")
                await tail.lines(1)
                woken = tail.sink.woken
                for number in range(1, 2000):
                    file.write(b"line %d\n" % number)
                await tail.lines(2000)
            assert tail.sink.bodies == names(0, 2000)
            assert tail.sink.woken - woken < 20

    asyncio.run(main())


def test_a_full_disk_under_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 44: while the ledger cannot be written new files wait, which is said, and follow when it can."""

    async def main() -> None:
        logs = tmp_path / "logs"
        real = Ledger.put_stream
        full = True

        def put_stream(self: Ledger, row: Any) -> None:
            if full:
                raise LedgerFull("no space left on device")
            real(self, row)

        async with tailing(logs) as tail:
            monkeypatch.setattr(Ledger, "put_stream", put_stream)
            (logs / "a.log").write_bytes(numbered(0, 3))
            await tail.until(lambda: tail.report.problems("ledger"))
            assert not tail.sink.streams
            assert not tail.source.silent(0)
            full = False
            await tail.pass_time(2)
            assert await tail.lines(3) == names(0, 3)

    asyncio.run(main())


def test_each_group_has_its_own_hold(tmp_path: Path) -> None:
    """Case 1: a file whose unfinished line is held long does not delay one whose line is due soon."""

    async def main() -> None:
        logs = tmp_path / "logs"
        groups = (
            FileGroup((str(logs / "slow*"),), hold=3600.0),
            FileGroup((str(logs / "fast*"),), hold=0.5),
        )
        async with tailing(logs, groups=groups) as tail:
            (logs / "slow.log").write_bytes(b"slow")
            await tail.until(lambda: len(tail.sink.streams) == 1)
            (logs / "fast.log").write_bytes(b"fast")
            await tail.until(lambda: len(tail.sink.streams) == 2)
            await tail.clock.run(1)
            assert tail.sink.bodies == ["fast"]

    asyncio.run(main())
