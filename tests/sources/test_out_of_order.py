"""Streams cut out of order: whatever goes first, the records are those of a stream cut from its beginning."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from prometheus_client import Gauge

from shipper.contracts import Batch, Signal, Stream, StreamKind
from shipper.events import Reporter
from shipper.handoff.frame import ERROR
from shipper.intervals import IntervalSet
from shipper.otlp.encode import export_logs, log_record, resource, scope
from shipper.shape import Multiline
from shipper.sources.file import FileGroup
from shipper.sources.file.handles import Descriptors, TailedFile
from shipper.sources.file.kind import PLAIN_TEXT, Surroundings, make_content
from shipper.sources.file.severity import tells_of_errors
from shipper.sources.file.stream import FileStream
from shipper.spool import Fsync, Spool, SpoolStream
from shipper.testing.clock import FakeClock
from tests.sources.services_kit import Sink, following, services

LIFE = "0190aaaa-0000-7000-8000-000000000001"
LINE_LIMIT = 64
RULES = {
    "lines": None,
    "start": Multiline.of("start", "^x", max_lines=4, max_bytes=80),
    "indent": Multiline.of("indent", max_lines=4, max_bytes=80),
}
LINES = st.lists(
    st.one_of(
        st.sampled_from([b"x", b"x error", b" at somewhere", b"\tmore", b"", b"plain", b"\xff\xfe", b"ends\r"]),
        st.integers(1, 200).map(lambda size: b"x" * size),
    ),
    min_size=1,
    max_size=60,
)


def file_stream(directory: str, data: bytes, rule: Multiline | None) -> FileStream:
    """A stream on a real file, which nobody appends to any more."""
    path = os.path.join(directory, "app.log")
    Path(path).write_bytes(data)
    status = os.stat(path)
    file = TailedFile(Descriptors(8, Gauge("open", "open", registry=None)), (status.st_dev, status.st_ino), path)
    group = FileGroup((path,), max_line_bytes=LINE_LIMIT, hold=0.0, multiline=rule)
    around = Surroundings(LIFE, resource({}), FakeClock(), lambda content: None, lambda content: None)
    content = make_content({"": "f"}, path, 0, group, PLAIN_TEXT, around)
    content.begin(file, len(data), data[:1024], 0.0)
    (stream,) = content.streams
    stream.close_events()
    return stream


def close(stream: FileStream) -> None:
    """Give its descriptor back."""
    assert stream.content.file is not None
    stream.content.file.pool.close_all()


def records(batches: list[Batch]) -> list[tuple[bytes, list[str]]]:
    """What is in the batches, in the order of positions: bodies, and the names of their attributes."""
    found = []
    for batch in sorted(batches, key=lambda batch: batch.cut.start):
        message = ExportLogsServiceRequest.FromString(batch.payload)
        for record in (r for res in message.resource_logs for s in res.scope_logs for r in s.log_records):
            body = record.body.string_value.encode() or record.body.bytes_value
            found.append((body, sorted(attribute.key for attribute in record.attributes)))
    return found


def in_order(stream: Stream, limit: int) -> list[Batch]:
    """Cut from the beginning to the end."""
    batches, at, resume = [], stream.start, stream.start
    while at < stream.frontier():
        batch = stream.cut(at, resume, limit, 1)
        assert batch is not None
        batches.append(batch)
        at, resume = batch.cut.end, batch.cut.next_resume
    return batches


def out_of_order(stream: Stream, limit: int, dice: Random) -> list[Batch]:
    """Cut as a lane does it: from borders here and there, up to what was taken, until nothing is left."""
    batches: list[Batch] = []
    taken = IntervalSet()
    resumes = {stream.start: stream.start}
    while gaps := taken.missing(stream.start, stream.frontier()):
        start, end = dice.choice(gaps)
        border = stream.border(dice.randrange(start, end)) if dice.random() < 0.7 else None
        at = border if border is not None and border > start else start
        resume = resumes.get(at, at)
        batch = (
            stream.cut_up_to(at, resume, end, limit, 1) if end < stream.frontier() else stream.cut(at, resume, limit, 1)
        )
        assert batch is not None
        assert at == batch.cut.start < batch.cut.end <= end, "it keeps to what was not taken"
        assert stream.reread(batch.cut) == batch
        taken.add(at, batch.cut.end)
        resumes[batch.cut.end] = batch.cut.next_resume
        batches.append(batch)
    return batches


@settings(max_examples=150, deadline=None)
@given(
    lines=LINES,
    rule=st.sampled_from(sorted(RULES)),
    limit=st.sampled_from([70, 150, 4000]),
    seed=st.integers(0, 2**32),
    end=st.sampled_from([b"\n", b""]),
)
def test_a_file_cut_out_of_order_has_the_same_records(
    lines: list[bytes], rule: str, limit: int, seed: int, end: bytes
) -> None:
    """Lines and multiline events are whole and the same, whatever is cut first, and read again they are the same bytes."""
    with tempfile.TemporaryDirectory() as directory:
        stream = file_stream(directory, b"\n".join(lines) + end, RULES[rule])
        expected = records(in_order(stream, 1 << 20))
        assert records(out_of_order(stream, limit, Random(seed))) == expected
        close(stream)


def test_the_ranges_of_a_file_that_hold_errors_are_found() -> None:
    """Of a backlog of many lines, the pieces of 64 KiB with an error are named, from line to line."""
    ordinary, bad = b'{"level":"info","errors":0,"msg":"all is well"}\n', b'{"level":"error","msg":"it broke"}\n'
    data = ordinary * 4000 + bad + ordinary * 4000 + bad
    with tempfile.TemporaryDirectory() as directory:
        stream = file_stream(directory, data, None)
        found = stream.valuable(0, len(data))
        assert len(found) == 2
        for start, end in found:
            assert bad in data[start:end]
            assert end - start < 70_000
            assert start == 0 or data[start - 1 : start] == b"\n"
            assert data[end - 1 : end] == b"\n"
        close(stream)


def test_what_programs_say_when_nothing_is_wrong_is_no_error() -> None:
    """Counters at zero and empty error fields do not make a range valuable; levels and exceptions do."""
    for text in (b"errors=0", b'"error":null', b"no errors", b'"error":""', b"0 errors found", b"all is well"):
        assert not tells_of_errors(b"x " + text + b" y\n"), text
    for text in (b"ERROR x", b'"level":"error"', b"java.lang.IllegalStateException: x", b"panic: y", b"errors=0 FATAL"):
        assert tells_of_errors(b"x " + text + b" y\n"), text


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=20), limit=st.sampled_from([300, 3000]), seed=st.integers()
)
def test_a_spool_cut_out_of_order_has_the_same_records(sizes: list[int], limit: int, seed: int) -> None:
    """Frames, and records of frames that are too large, are cut out of order without one lost or twice."""
    with tempfile.TemporaryDirectory() as directory:
        spool = Spool.open(directory, name="s", fsync=Fsync.NEVER, segment_bytes=4000, report=Reporter(FakeClock()))
        number = 0
        for size in sizes:
            made = [log_record(time_ns=1, observed_ns=1, body=f"r{number + n}") for n in range(size)]
            number += size
            header = b'{"records":%d,"units":%d,"observed":1}' % (size, size)
            spool.append(header, export_logs(resource({}), scope("test"), made))
        stream = SpoolStream(spool, id="s", signal=Signal.LOGS, kind=StreamKind.DATA, life=LIFE, name="s")
        expected = [f"r{n}".encode() for n in range(number)]
        assert [body for body, _ in records(out_of_order(stream, limit, Random(seed)))] == expected
        spool.close()


def test_what_services_hand_over_cut_out_of_order_has_the_same_records(tmp_path: Path) -> None:
    """Over several segments, damage and the end of a dead process, no record is lost or twice, whatever goes first."""

    async def main() -> None:
        sink = Sink(open=False)
        with services(tmp_path / "spool") as service:
            one = service()
            for segment in range(3):
                if segment:
                    one.rotate("logs")
                for number in range(300):
                    one.log(f"{segment} {number} " + "x" * 900, flags=ERROR if number == 5 else 0)
                    if number == 150:
                        one.raw("logs", b"\xf5\x68damage" * 20)
            async with following(tmp_path / "spool", sink) as run:
                await run.until(lambda: any(stream.id.endswith("logs") for stream in sink.streams.values()))
                stream = next(stream for stream in sink.streams.values() if stream.id.endswith("logs"))
                one.die()
                await run.until(lambda: stream.finished)
                expected = [body for body, _ in records(in_order(stream, 1 << 20))]
                assert len(expected) == 900
                for seed in range(10):
                    found = [body for body, _ in records(out_of_order(stream, 40_000, Random(seed)))]
                    assert found == expected, seed
                ranges = stream.valuable(0, stream.frontier())
                held = IntervalSet(ranges)
                for batch in in_order(stream, 1500):
                    if any(body.split()[1] == b"5" for body, _ in records([batch])):
                        assert held.covers(batch.cut.start, batch.cut.end)
                assert sum(end - start for start, end in ranges) < stream.frontier() / 2

    asyncio.run(main())
