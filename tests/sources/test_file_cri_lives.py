"""Containers' files over several lives, lost ledgers, links and limits: both streams keep to what is theirs."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, LedgerThread
from shipper.shape import Multiline
from shipper.sources.file import FileGroup, FileSettings, borders
from shipper.sources.file.known import KnownFiles
from shipper.testing.clock import FakeClock
from tests.sources.file_kit import DESTINATION, Reports, Sink, tailing

UID = "0a1b2c3d-1111-2222-3333-444455556666"
ID = "0123456789abcdef" * 4


def out(text: str, tag: str = "F") -> bytes:
    """A line of the file, for stdout."""
    return f"2026-11-23T02:00:00.000000001Z stdout {tag} {text}\n".encode()


def err(text: str, tag: str = "F") -> bytes:
    """A line of the file, for stderr."""
    return f"2026-11-23T02:00:00.000000001Z stderr {tag} {text}\n".encode()


def append(path: Path, data: bytes) -> None:
    """Write at the end, as runtimes do."""
    with open(path, "ab") as file:
        file.write(data)


def bodies(sink: Sink, output: str) -> list[str]:
    """What arrived of one output."""
    return [line.body for line in sink.lines if line.stream.endswith(f"-{output}")]


def test_a_later_life_ships_the_rest_of_both_and_reads_on(tmp_path: Path) -> None:
    """After a power cut, what the earlier life had seen of both outputs is its own; the next life has what lies behind, once."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        path = logs / "0.log"
        path.write_bytes(out("a") + err("x"))
        sink = Sink()
        async with tailing(logs, "*.log", sink=sink) as tail:
            await tail.lines(2)
            sink.open = False
            append(path, out("b") + err("y") + out("c"))
            await tail.settle()
            await tail.source._write_down()
        (tmp_path / "ledger.db").rename(tmp_path / "earlier.db")
        append(path, err("of the next life") + out("d"))

        clock = FakeClock()
        report = Reports(clock)
        settings = FileSettings((FileGroup((str(logs / "*.log"),)),))
        ledger = Ledger.open(tmp_path / "earlier.db", report=report)
        drawn = borders.draw(ledger, settings, {}, born_ns=1, boot_ns=0, clock=clock, report=report)
        assert borders.draw(ledger, settings, {}, born_ns=1, boot_ns=0, clock=clock, report=report) == drawn
        ledger.close()
        thread = LedgerThread(Ledger.open(tmp_path / "earlier.db", report=report))
        known = KnownFiles(
            settings,
            hub=sink,
            ledger=thread,
            life="earlier",
            resource=b"",
            destinations=(DESTINATION,),
            clock=clock,
            report=report,
        )
        await known.open()
        assert len(sink.streams) == 2
        sink.take_all()
        await known.aclose()
        await thread.aclose()
        assert bodies(sink, "stdout") == ["a", "b", "c"]
        assert bodies(sink, "stderr") == ["x", "y"]

        ledger = Ledger.open(tmp_path / "ledger.db", report=report)
        borders.take(ledger, "earlier", drawn)
        ledger.close()
        later = Sink()
        async with tailing(logs, "*.log", sink=later) as tail:
            await tail.lines(2)
        assert bodies(later, "stdout") == ["d"]
        assert bodies(later, "stderr") == ["of the next life"]

    asyncio.run(main())


def test_a_file_that_no_ledger_knows_is_the_earlier_lifes_with_both_outputs(tmp_path: Path) -> None:
    """Written in the earlier life's time and never seen by it: both of its streams end where the file does."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log"):
            pass
        (logs / "0.log").write_bytes(out("a") + err("x"))
        clock = FakeClock()
        report = Reports(clock)
        settings = FileSettings((FileGroup((str(logs / "*.log"),)),))
        ledger = Ledger.open(tmp_path / "ledger.db", report=report)
        boot_ns = time.time_ns() + 10**9
        borders.draw(ledger, settings, {}, born_ns=1, boot_ns=boot_ns, clock=clock, report=report)
        rows = [row for row in ledger.streams() if row.source == "file"]
        size = (logs / "0.log").stat().st_size
        assert sorted((row.id[-6:], row.size, row.finished) for row in rows) == [
            ("stderr", size, True),
            ("stdout", size, True),
        ]
        ledger.close()

    asyncio.run(main())


def test_without_a_ledger_the_stream_that_is_behind_decides() -> None:
    """What a destination has of both outputs is not read again; what it has of one only, is."""
    base = f"file-1-2-10-{'a' * 12}"
    told = {f"{base}-stdout": IntervalSet([(0, 100)]), f"{base}-stderr": IntervalSet([(0, 60)])}
    assert '"files": [[1, 2, 60, 16, "aaaaaaaaaaaa"]]' in borders.told_only(told)


def test_ids_are_recognised_where_the_ledger_was_lost(tmp_path: Path) -> None:
    """A destination that remembers one of the streams gives both their names back."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "0.log").write_bytes(out("a") + err("x"))
        async with tailing(logs, "*.log") as tail:
            await tail.lines(2)
            names = set(tail.sink.streams)
        for leftover in tmp_path.glob("ledger.db*"):
            leftover.unlink()
        append(logs / "0.log", out("b"))
        async with tailing(logs, "*.log", remembered=sorted(names)[:1]) as tail:
            await tail.lines(3)
            assert set(tail.sink.streams) == names

    asyncio.run(main())


def test_a_link_and_what_it_leads_to_are_one_file_and_say_all_of_it(tmp_path: Path) -> None:
    """``/var/log/containers`` and ``/var/log/pods``: read once, as what both names tell, in place of the sidecar's own pod."""

    async def main() -> None:
        logs = tmp_path / "log"
        directory = logs / "pods" / f"shop_web-5d8c_{UID}" / "app"
        directory.mkdir(parents=True)
        (logs / "containers").mkdir()
        (directory / "2.log").write_bytes(out("a"))
        (logs / "containers" / f"web-5d8c_shop_app-{ID}.log").symlink_to(directory / "2.log")
        async with tailing(logs, ("containers/*.log", "pods/*/*/*.log")) as tail:
            await tail.lines(1)
            await tail.settle()
            assert tail.sink.bodies == ["a"]
            (batch,) = [batch for batch in tail.sink.batches if batch.cut.records]
            message = ExportLogsServiceRequest.FromString(batch.payload)
            found = {a.key: a.value for a in message.resource_logs[0].resource.attributes}
            assert found["k8s.pod.uid"].string_value == UID
            assert found["k8s.container.restart_count"].int_value == 2
            assert found["container.id"].string_value == ID

    asyncio.run(main())


def test_a_line_over_the_limit_is_shipped_in_parts(tmp_path: Path) -> None:
    """Parts of a line are joined up to the limit, and one that the runtime did not cut is cut."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        parts = [letter * 40 for letter in "abcdef"]
        data = b"".join(out(part, "P") for part in parts) + out("end") + err("x" * 250)
        (logs / "0.log").write_bytes(data)
        async with tailing(logs, "*.log", max_line_bytes=100) as tail:
            await tail.until(lambda: len("".join(tail.sink.bodies)) >= 240 + 3 + 250)
            assert "".join(bodies(tail.sink, "stdout")) == "".join(parts) + "end"
            assert "".join(bodies(tail.sink, "stderr")) == "x" * 250
            assert max(map(len, tail.sink.bodies)) <= 120
            long = [line for line in tail.sink.lines if line.stream.endswith("stdout")]
            assert [line.attributes.get("shipper.line.last") for line in long] == [False, False, False, None]
            assert [line.attributes.get("shipper.line.continued") for line in long] == [None, True, True, True]

    asyncio.run(main())


def test_events_are_joined_for_each_output(tmp_path: Path) -> None:
    """A stack trace on stderr is one record though stdout speaks between its lines, and its time is that of its first line."""

    async def main() -> None:
        logs = tmp_path / "logs"
        rule = Multiline.of("indent", timeout=0.5)
        async with tailing(logs, "*.log", multiline=rule) as tail:
            path = logs / "0.log"
            path.write_bytes(err("Error") + out("hello") + err("  at a", "P") + out("again") + err(" and b"))
            await tail.settle()
            for _ in range(4):
                await tail.clock.run(0.4)
                append(path, out("more"))
                await tail.settle()
            await tail.until(lambda: bodies(tail.sink, "stderr"))
            assert bodies(tail.sink, "stderr") == ["Error\n  at a and b"]
            assert bodies(tail.sink, "stdout")[:2] == ["hello", "again"]

    asyncio.run(main())


def test_a_copy_of_a_container_s_file_adds_nothing(tmp_path: Path) -> None:
    """Rotated by copying and truncating: what was not read comes from the copy, for both outputs, and nothing comes twice."""

    async def main() -> None:
        logs = tmp_path / "logs"
        sink = Sink()
        async with tailing(logs, "*.log*", sink=sink) as tail:
            path = logs / "0.log"
            path.write_bytes(out("a") + err("x"))
            await tail.lines(2)
            sink.open = False
            append(path, out("b") + err("y"))
            await tail.settle()
            (logs / "0.log.1").write_bytes(path.read_bytes())
            os.truncate(path, 0)
            await tail.settle()
            append(path, out("c"))
            await tail.settle()
            sink.take_all()
            await tail.lines(5)
            await tail.settle()
            assert bodies(sink, "stdout") == ["a", "b", "c"]
            assert bodies(sink, "stderr") == ["x", "y"]
            assert not sink.lost

    asyncio.run(main())
