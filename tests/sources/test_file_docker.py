"""Files of Docker's json-file driver: escapes, parts of 16 KiB, what log options add, and a half-written end."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.sources.file import FileGroup
from tests.sources.file_kit import Sink, Tail, tailing

ID = "c0ffee" * 10 + "c0de"


def entry(log: str, stream: str = "stdout", **more: object) -> bytes:
    """A line of the file, as Docker writes it."""
    line = {"log": log, "stream": stream, **more, "time": "2026-11-23T02:00:00.1234Z"}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def append(path: Path, data: bytes) -> None:
    """Write at the end, as Docker does."""
    with open(path, "ab") as file:
        file.write(data)


def bodies(tail: Tail, output: str) -> list[str]:
    """What arrived of one output."""
    return [line.body for line in tail.sink.lines if line.stream.endswith(f"-{output}")]


def test_escapes_times_and_outputs(tmp_path: Path) -> None:
    """What a container wrote arrives as it wrote it, whatever JSON had to escape, with Docker's time and the output."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        texts = ['{"a":"b\\n"}', "tab\t é \U0001f600", "\x1b[31mred\x1b[0m", "", "ends\\"]
        (logs / "a-json.log").write_bytes(b"".join(entry(text + "\n") for text in texts) + entry("bad\n", "stderr"))
        async with tailing(logs, "*.log") as tail:
            await tail.lines(6)
            assert bodies(tail, "stdout") == texts
            assert bodies(tail, "stderr") == ["bad"]
            message = ExportLogsServiceRequest.FromString(tail.sink.batches[0].payload)
            (record, *_) = message.resource_logs[0].scope_logs[0].log_records
            assert record.time_unix_nano == 1795399200_123400000

    asyncio.run(main())


def test_parts_without_a_line_end_are_joined(tmp_path: Path) -> None:
    """A line that Docker cut at 16 KiB arrives as one, also when the other output came between its parts."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log") as tail:
            path = logs / "a-json.log"
            path.write_bytes(entry("a" * 16384) + entry("between\n", "stderr"))
            await tail.until(lambda: bodies(tail, "stderr"))
            assert bodies(tail, "stdout") == []
            append(path, entry("b" * 16384) + entry("c\n"))
            await tail.lines(2)
            assert bodies(tail, "stdout") == ["a" * 16384 + "b" * 16384 + "c"]

    asyncio.run(main())


def test_a_half_written_end_waits_and_is_told_at_the_end(tmp_path: Path) -> None:
    """Half a line of JSON is no line yet; when nothing more can come, it arrives as it is and is marked."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, "*.log") as tail:
            path = logs / "a-json.log"
            whole = entry("second\n")
            path.write_bytes(entry("first\n") + whole[:20])
            await tail.lines(1)
            await tail.pass_time(3)
            assert bodies(tail, "stdout") == ["first"]
            append(path, whole[20:] + entry("third\n")[:-12])
            await tail.lines(2)
            tail.source.close_events()
            await tail.lines(3)
            assert bodies(tail, "stdout") == ["first", "second", entry("third\n")[:-12].decode()]
            assert tail.sink.lines[-1].attributes == {
                "shipper.container.unparsed": True,
                "shipper.line.incomplete": True,
            }

    asyncio.run(main())


def test_what_log_options_add_is_on_each_record(tmp_path: Path) -> None:
    """``attrs`` of a line (log options tag, labels, env) are attributes of its record."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "a-json.log").write_bytes(
            entry("one\n", attrs={"tag": "web/1", "region": "eu"}) + entry("two\n") + entry("three", attrs={"tag": "t"})
        )
        async with tailing(logs, "*.log") as tail:
            tail.source.close_events()
            await tail.lines(3)
            assert [line.attributes.get("docker.attrs.tag") for line in tail.sink.lines] == ["web/1", None, "t"]
            assert tail.sink.lines[0].attributes["docker.attrs.region"] == "eu"

    asyncio.run(main())


def test_a_container_is_known_by_its_path_and_what_lies_beside_it(tmp_path: Path) -> None:
    """The container's id, name, image and labels are on its records, in place of those of the host's own container."""

    async def main() -> None:
        logs = tmp_path / ID
        logs.mkdir()
        config = {
            "Name": "/web",
            "Image": "sha256:ab",
            "Config": {"Image": "reg:5000/web:1.2", "Labels": {"team": "x"}},
        }
        (logs / "config.v2.json").write_text(json.dumps(config))
        (logs / f"{ID}-json.log").write_bytes(entry("one\n"))
        sink = Sink()
        for count in (1, 2):  # also when Docker's record is gone at the next start
            async with tailing(logs, "*-json.log", sink=sink) as tail:
                append(logs / f"{ID}-json.log", entry("more\n"))
                await tail.lines(count + 1)
                batch = [batch for batch in sink.batches if batch.cut.records][-1]
                message = ExportLogsServiceRequest.FromString(batch.payload)
                found = {a.key: a.value for a in message.resource_logs[0].resource.attributes}
                assert found["container.id"].string_value == ID
                assert found["container.name"].string_value == "web"
                assert found["container.image.name"].string_value == "reg:5000/web"
                assert found["container.image.tags"].array_value.values[0].string_value == "1.2"
                assert found["container.label.team"].string_value == "x"
            (logs / "config.v2.json").unlink(missing_ok=True)

    asyncio.run(main())


@pytest.mark.parametrize(
    "lines",
    [
        b'{"log":"my own","level":"info"}\n',
        b'{"log":"my own","stream":"stdout","time":"2026-11-23T02:00:00Z","level":"info"}\n',
        b'{"log":"x\\n","stream":"stdout","time":"2026-11-23T02:00:00Z"}\nplain\n',
        b"2026-11-23T02:00:00Z stdout is full\n",
        b"2026-11-23T02:00:00Z stdout F text\nplain\n",
        b"2026-11-23 02:00:00 stdout F text\n",
    ],
)
def test_a_plain_file_is_not_taken_for_a_container_s(tmp_path: Path, lines: bytes) -> None:
    """A file of which only some lines look like a runtime's, or almost, is shipped as it is."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "app.log").write_bytes(lines)
        async with tailing(logs) as tail:
            assert await tail.lines(lines.count(b"\n")) == lines.decode().splitlines()
            assert len(tail.sink.streams) == 1

    asyncio.run(main())


def test_the_first_line_is_waited_for(tmp_path: Path) -> None:
    """While a first line may yet be a runtime's, nothing is decided; a second later it is plain text."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            (logs / "a.log").write_bytes(entry("hello\n")[:30])
            (logs / "b.log").write_bytes(b'{"log":')
            await tail.settle()
            assert not tail.sink.streams
            append(logs / "a.log", entry("hello\n")[30:])
            await tail.until(lambda: bodies(tail, "stdout") == ["hello"])
            await tail.pass_time(3)
            await tail.until(lambda: '{"log":' in tail.sink.bodies)
            assert len(tail.sink.streams) == 3

    asyncio.run(main())


def test_a_run_that_ends_at_once_leaves_nothing_undecided(tmp_path: Path) -> None:
    """What is there when reading stops is shipped, decided or not."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs) as tail:
            (logs / "b.log").write_bytes(b'{"log":')
            await tail.settle()
            tail.source.stop_reading()
            tail.source.close_events()
            await tail.source.settled()
            assert tail.sink.bodies == ['{"log":']

    asyncio.run(main())


def test_the_format_can_be_told(tmp_path: Path) -> None:
    """``format`` says what a file is, whatever it looks like."""

    async def main() -> None:
        logs = tmp_path / "logs"
        logs.mkdir()
        (logs / "plain.log").write_bytes(entry("one\n"))
        (logs / "docker.log").write_bytes(b"odd\n" + entry("two\n"))
        groups = (
            FileGroup((os.path.join(logs, "plain.log"),), format="plain"),
            FileGroup((os.path.join(logs, "docker.log"),), format="docker"),
        )
        async with tailing(logs, groups=groups) as tail:
            await tail.lines(3)
            assert sorted(tail.sink.bodies) == sorted([entry("one\n").decode().rstrip(), "odd", "two"])

    asyncio.run(main())
