"""Files of containerd and CRI-O: two streams a file, parts of lines joined, through rotations, restarts and kills."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.sources.file.stream import FileStream
from tests.sources.file_kit import Sink, Tail, tailing


def at(second: int) -> str:
    """A time as containerd writes it."""
    return f"2026-11-23T02:{second // 60:02d}:{second % 60:02d}.000000001Z"


def out(text: str, tag: str = "F", second: int = 0) -> bytes:
    """A line of the file, for stdout."""
    return f"{at(second)} stdout {tag} {text}\n".encode()


def err(text: str, tag: str = "F", second: int = 0) -> bytes:
    """A line of the file, for stderr."""
    return f"{at(second)} stderr {tag} {text}\n".encode()


def append(path: Path, data: bytes) -> None:
    """Write at the end, as runtimes do."""
    with open(path, "ab") as file:
        file.write(data)


def bodies(tail: Tail | Sink, output: str) -> list[str]:
    """What arrived of one output."""
    sink = tail.sink if isinstance(tail, Tail) else tail
    return [line.body for line in sink.lines if line.stream.endswith(f"-{output}")]


def test_two_outputs_are_two_streams_with_times_and_their_name(tmp_path: Path) -> None:
    """What a container wrote to stdout and to stderr arrives in two streams, each line as it wrote it, with its time and output."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        path = logs / "0.log"
        path.write_bytes(out("one") + err("bad", second=1) + out("two", second=2) + out("", second=3))
        async with tailing(logs, "*.log") as tail:
            await tail.lines(4)
            assert bodies(tail, "stdout") == ["one", "two", ""]
            assert bodies(tail, "stderr") == ["bad"]
            assert {line.scope["log.iostream"] for line in tail.sink.lines} == {"stdout", "stderr"}
            append(path, err("again"))
            await tail.lines(5)
            assert bodies(tail, "stderr") == ["bad", "again"]
            assert all(position == path.stat().st_size for position, _ in tail.sink.at.values())

    asyncio.run(main())


def test_parts_of_a_line_are_joined_by_output(tmp_path: Path) -> None:
    """Parts of lines of both outputs, mixed with each other, arrive as the lines they are parts of."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log") as tail:
            path = logs / "0.log"
            path.write_bytes(out("a", "P") + err("x", "P") + out("b", "P:t"))
            await tail.settle()
            assert tail.sink.lines == []
            append(path, err("y") + out("c") + out("d", "F:tag:more"))
            await tail.lines(3)
            assert bodies(tail, "stdout") == ["abc", "d"]
            assert bodies(tail, "stderr") == ["xy"]
            assert all(not line.attributes for line in tail.sink.lines)

    asyncio.run(main())


def test_a_line_without_its_last_part_is_sent_after_its_hold(tmp_path: Path) -> None:
    """A container that dies after a part of a line: what there is arrives, marked, though the other output goes on."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log", hold=0.5) as tail:
            path = logs / "0.log"
            path.write_bytes(out("last words", "P"))
            for number in range(8):
                await tail.clock.run(0.2)
                append(path, err(str(number)))
                await tail.settle()
                await tail.lines(number + 1)
            assert bodies(tail, "stdout") == ["last words"]
            (words,) = [line for line in tail.sink.lines if line.stream.endswith("stdout")]
            assert words.attributes == {"shipper.line.incomplete": True}
            append(path, out("after all"))
            await tail.until(lambda: len(bodies(tail, "stdout")) == 2)
            assert tail.sink.lines[-1].body == "after all"
            assert tail.sink.lines[-1].attributes == {"shipper.line.continued": True}

    asyncio.run(main())


def test_a_restart_goes_on_for_both(tmp_path: Path) -> None:
    """Killed while each output stood elsewhere, the next run reads both on, and takes the file for what it was."""

    async def main() -> None:
        logs = tmp_path / "logs"
        sink = Sink()
        async with tailing(logs, "*.log", sink=sink) as tail:
            path = logs / "0.log"
            path.write_bytes(out("a") + err("x") + out("b", "P"))
            await tail.lines(2)
        append(path, err("y") + out("c") + b"not in the format\n")
        async with tailing(logs, "*.log", sink=sink, format="plain") as tail:
            await tail.lines(5)
            assert bodies(tail, "stdout") == ["a", "bc", "not in the format"]
            assert bodies(tail, "stderr") == ["x", "y"]
            assert len(sink.streams) == 2
            assert sink.lines[-1].attributes == {"shipper.container.unparsed": True}

    asyncio.run(main())


def test_rotation_keeps_both_streams_to_their_end(tmp_path: Path) -> None:
    """The kubelet renames the file and the runtime goes on in a new one: four streams, of which two end."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log*") as tail:
            path = logs / "0.log"
            path.write_bytes(out("a") + err("x"))
            await tail.lines(2)
            os.rename(path, logs / "0.log.20260101-120000")
            path.write_bytes(out("b", "P"))
            append(logs / "0.log.20260101-120000", err("y"))
            append(path, err("z") + out("c"))
            await tail.lines(5)
            assert bodies(tail, "stdout") == ["a", "bc"]
            assert sorted(bodies(tail, "stderr")) == ["x", "y", "z"]
            os.unlink(logs / "0.log.20260101-120000")
            await tail.until(lambda: len(tail.sink.ended) == 2)
            assert len(tail.sink.streams) == 4

    asyncio.run(main())


def test_what_is_not_in_the_format_is_counted_once(tmp_path: Path) -> None:
    """Lines that a runtime did not write are passed on as they are, marked, and counted, however often they are read."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log", format="cri") as tail:
            (logs / "0.log").write_bytes(out("a") + b"odd\n2026-11-23T02:00:00Z stdwhat F b\n" + err("c"))
            await tail.lines(4)
            assert bodies(tail, "stdout") == ["a", "odd", "2026-11-23T02:00:00Z stdwhat F b"]
            for batch in tail.sink.batches:
                assert tail.sink.streams[batch.stream].reread(batch.cut) == batch
            counted = tail.report.metrics.unparsed.labels("file", "not cri")
            assert counted._value.get() == 2

    asyncio.run(main())


class Reading:
    """Reads the text of all streams, as whoever counts requests in logs does."""

    def __init__(self) -> None:
        self.at: dict[str, int] = {}
        self.text: dict[str, bytes] = {}

    def wants(self, path: str) -> bool:
        return True

    def add(self, stream: FileStream) -> None:
        self.at[stream.output], self.text[stream.output] = stream.start, b""
        self.ready(stream)

    def ready(self, stream: FileStream) -> None:
        text, self.at[stream.output] = stream.text(self.at[stream.output], 1 << 20)
        self.text[stream.output] += text
        stream.measured(self.at[stream.output])

    def finished(self, stream: FileStream) -> None:
        self.ready(stream)


def test_who_counts_reads_the_container_s_lines(tmp_path: Path) -> None:
    """Requests are looked for in what the container wrote, whole lines of each output, not in what the runtime made of it."""

    async def main() -> None:
        logs = tmp_path / "logs"
        reading = Reading()
        async with tailing(logs, "*.log", consumer=reading) as tail:
            path = logs / "0.log"
            path.write_bytes(out("GET /a") + err("x") + out("GET ", "P"))
            await tail.until(lambda: reading.text.get("stderr") == b"x\n")
            assert reading.text["stdout"] == b"GET /a\n"
            append(path, out("/b") + err("y"))
            await tail.until(lambda: reading.text["stderr"] == b"x\ny\n")
            assert reading.text["stdout"] == b"GET /a\nGET /b\n"
            await tail.until(lambda: tail.file("0.log").content.idle)

    asyncio.run(main())


def test_a_range_of_the_other_output_is_proved_without_records(tmp_path: Path) -> None:
    """Bytes that hold nothing of an output are read for it all the same; its batch has the resource, and no record."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "0.log").write_bytes(out("a") * 3)
        async with tailing(logs, "*.log") as tail:
            await tail.lines(3)
            await tail.until(lambda: len(tail.sink.batches) == 2)
            (empty,) = [batch for batch in tail.sink.batches if batch.stream.endswith("stderr")]
            assert (empty.cut.start, empty.cut.end, empty.cut.consumed) == (0, len(out("a")) * 3, 0)
            assert len(ExportLogsServiceRequest.FromString(empty.payload).resource_logs) == 1

    asyncio.run(main())


def test_a_file_that_is_nearly_a_container_s_is_said_to_be_read_as_text(tmp_path: Path) -> None:
    """Outside the places of runtimes, one strange line among a container's makes a file plain: said once for each, over restarts."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        logs.mkdir()
        strange, plain = logs / "strange.log", logs / "plain.log"
        strange.write_bytes(out("one") + b"strange\n" + out("two"))
        plain.write_bytes(b"a\nb\nc\n" + out("pasted") * 9)
        async with tailing(logs, "*.log", sink=sink) as tail:
            await tail.lines(15)
            append(strange, out("three"))
            await tail.lines(16)
            (said,) = tail.report.problems("format")
            assert "strange.log" in said
            assert "files[].format: cri" in said
            await tail.source._write_down()
        async with tailing(logs, "*.log", sink=sink) as tail:
            append(strange, out("four"))
            await tail.lines(17)
            assert not tail.report.problems("format")
        assert "strange" in sink.bodies

    asyncio.run(main())
