"""However a container's file is cut, each output arrives as it was written, and a range gives the same bytes again."""

from __future__ import annotations

import itertools
import json
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from prometheus_client import Gauge

from shipper.contracts import Batch, Cut
from shipper.otlp.encode import resource
from shipper.shape import Multiline
from shipper.shape.containers import FORMATS, OUTPUTS
from shipper.sources.file import FileGroup
from shipper.sources.file.content import Content
from shipper.sources.file.handles import Descriptors, TailedFile
from shipper.sources.file.kind import Kind, Surroundings, ids_of, make_content
from shipper.sources.file.stream import FileStream
from shipper.testing.clock import FakeClock

LIMITS = [64, 100, 4096]
RULES = {
    "lines": None,
    "start": Multiline.of("start", "^x", max_lines=4, max_bytes=80),
    "indent": Multiline.of("indent", max_lines=4, max_bytes=100),
}
TEXT = st.one_of(
    st.sampled_from(
        ["x", "x begins", " at somewhere", "", "plain", "stdout F stderr P", 'a "quoted" \\ text', "é" * 30]
    ),
    st.integers(1, 300).map(lambda size: "ab" * size),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20),
)
WRITTEN = st.lists(
    st.tuples(st.sampled_from(OUTPUTS), TEXT, st.lists(st.integers(1, 60), max_size=3), st.booleans()), max_size=30
)
"""Output, line, sizes of its parts, and whether something of the other output may come between them."""


def cri(output: str, part: bytes, *, last: bool) -> bytes:
    """A line of the file."""
    tag = "F" if last else "P"
    return f"2026-11-23T02:00:00.123456789Z {output} {tag} ".encode() + part + b"\n"


def docker(output: str, part: bytes, *, last: bool) -> bytes:
    """A line of the file. Docker cuts at bytes, too, but never leaves half a character in its JSON."""
    line = {"log": part.decode() + ("\n" if last else ""), "stream": output, "time": "2026-11-23T02:00:00.12Z"}
    return json.dumps(line, ensure_ascii=len(part) % 2 == 0, separators=(",", ":")).encode() + b"\n"


WRITERS = {"cri": cri, "docker": docker}


def file_of(name: str, written: list[tuple[str, str, list[int], bool]]) -> tuple[bytes, dict[str, list[str]]]:
    """The file, and the lines of each output."""
    data, lines, later = b"", {output: [] for output in OUTPUTS}, b""
    for output, text, sizes, mixed in written:
        lines[output].append(text)
        raw = text.encode() if name == "cri" else text
        parts = []
        for size in sizes:
            if len(raw) > size:
                parts.append(raw[:size])
                raw = raw[size:]
        encoded = [part if isinstance(part, bytes) else part.encode() for part in [*parts, raw]]
        made = [WRITERS[name](output, part, last=part is encoded[-1]) for part in encoded]
        if mixed and len(made) > 1 and not later:
            foreign = OUTPUTS[output == OUTPUTS[0]]
            lines[foreign].append("between")
            made[1:1] = [WRITERS[name](foreign, b"between", last=True)]
        data += b"".join(made)
    return data, lines


def content_of(directory: str, data: bytes, name: str, limit: int, rule: Multiline | None) -> Content:
    """A content on a real file, which nobody appends to any more."""
    path = os.path.join(directory, "0.log")
    Path(path).write_bytes(data)
    status = os.stat(path)
    file = TailedFile(Descriptors(8, Gauge("open", "open", registry=None)), (status.st_dev, status.st_ino), path)
    group = FileGroup((path,), max_line_bytes=limit, hold=1000.0, multiline=rule)
    kind = Kind(FORMATS[name])
    around = Surroundings("life", resource({}), FakeClock(), lambda content: None, lambda content: None)
    content = make_content(ids_of("f", kind), path, 0, group, kind, around)
    content.begin(file, len(data), data[:1024], 0.0)
    return content


def cut_all(stream: FileStream, limits: list[int]) -> list[Batch]:
    """Cut from the beginning to the end; once nothing comes, nothing is held any longer."""
    batches, at, resume, turn = [], stream.start, stream.start, 0
    while at < stream.size:
        batch = stream.cut(at, resume, limits[turn % len(limits)], turn + 1)
        turn += 1
        if batch is None:
            assert not stream.content.closing
            stream.close_events()
            continue
        assert batch.cut.start == at < batch.cut.end
        batches.append(batch)
        at, resume = batch.cut.end, batch.cut.next_resume
    stream.reopen()
    return batches


def lines_of(batches: list[Batch]) -> list[bytes]:
    """The lines that records are or are parts of."""
    found: list[bytes] = []
    for batch in batches:
        message = ExportLogsServiceRequest.FromString(batch.payload)
        records = [r for res in message.resource_logs for s in res.scope_logs for r in s.log_records]
        assert len(records) == batch.cut.records
        for record in records:
            attributes = {attribute.key: attribute.value for attribute in record.attributes}
            assert len(attributes) == len(record.attributes)
            original = attributes.get("log.record.original")
            body = original.bytes_value if original is not None else record.body.string_value.encode()
            parts = body.split(b"\n")
            if "shipper.line.continued" in attributes:
                found[-1] += parts.pop(0)
            found += parts
    return found


def halved(stream: FileStream, cut: Cut) -> list[Batch]:
    """A cut, halved as often as it can be."""
    halves = stream.halve(cut)
    if halves is None:
        return [stream.reread(cut)]
    first, second = halves
    assert first.start == cut.start
    assert first.end == second.start
    assert second.end == cut.end
    assert first.records + second.records == cut.records
    assert first.records
    assert second.records
    return [*halved(stream, first), *halved(stream, second)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None)
@given(written=WRITTEN, limits=st.lists(st.integers(1, 400), min_size=1, max_size=4), most=st.sampled_from(LIMITS))
def test_each_output_arrives_as_it_was_written(
    name: str, rule: str, written: list[tuple[str, str, list[int], bool]], limits: list[int], most: int
) -> None:
    """Whatever the cuts, re-reads and halves: every line of each output, in order, each byte once."""
    data, lines = file_of(name, written)
    if not data:
        return
    with tempfile.TemporaryDirectory() as directory:
        content = content_of(directory, data, name, most, RULES[rule])
        try:
            for stream in content.streams:
                batches = cut_all(stream, limits)
                expected = [line.encode() for line in lines[stream.output]]
                assert lines_of(batches) == expected
                for batch in batches:
                    assert stream.reread(batch.cut) == batch
                    assert lines_of_some(halved(stream, batch.cut)) == lines_of_some([batch])
        finally:
            assert content.file is not None
            content.file.pool.close_all()


def lines_of_some(batches: list[Batch]) -> list[bytes]:
    """The same where the first may go on with what is not seen."""
    first = Batch("life", "f", batches[0].signal, Cut(0, 0, 0, 0, 1, 0), b"")
    return lines_of([_with_a_line(first), *batches])


def _with_a_line(batch: Batch) -> Batch:
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "before"
    return Batch(batch.life, batch.stream, batch.signal, batch.cut, message.SerializeToString())


JUNK = st.one_of(
    st.binary(max_size=200).map(lambda data: data.replace(b"\0", b"")),
    st.sampled_from(
        [
            b"2026-11-23T02:00:00.5Z stdout F ok\n",
            b"2026-11-23T02:00:00.5Z stdout P part\n",
            b"2026-11-23T02:00:00.5Z stderr P part\n",
            b"2026-99-23T02:00:00.5Z stdout F no such day\n",
            b"2026-11-23T02:00:00.5Z stdout",
            b'{"log":"text\\n","stream":"stdout","time":"2026-11-23T02:00:00Z"}\n',
            b'{"log":"te\\ud800xt","stream":"stdout"}\n',
            b'{"log":"half","stream":"stdo',
            b'{"log":3,"stream":"stdout"}\n',
            b"[" * 2000 + b"\n",
            b"\n",
            b"\r\n",
            b"x" * 3000,
        ]
    ),
)


@pytest.mark.parametrize("rule", [None, "indent"])
@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None)
@given(junk=st.lists(JUNK, max_size=12), limits=st.lists(st.integers(1, 400), min_size=1, max_size=4))
def test_any_bytes_are_passed_on(name: str, rule: str | None, junk: list[bytes], limits: list[int]) -> None:
    """Whatever stands in a file, nothing is raised, ranges give the same bytes again, and what is not in the format arrives."""
    data = b"".join(junk)
    if not data:
        return
    with tempfile.TemporaryDirectory() as directory:
        content = content_of(directory, data, name, 64, RULES[rule] if rule else None)
        try:
            arrived = b""
            for stream in content.streams:
                batches = cut_all(stream, limits)
                for batch in batches:
                    assert stream.reread(batch.cut) == batch
                    halved(stream, batch.cut)
                for position in range(0, len(data), 37):
                    border = stream.border(position)
                    assert border is None or 0 <= border <= position
                arrived += b"\n".join(lines_of_some(batches)) if batches else b""
            for line in data.split(b"\n"):
                if line.isalnum():  # in neither format
                    assert line in arrived
        finally:
            assert content.file is not None
            content.file.pool.close_all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=40, deadline=None)
@given(written=WRITTEN, places=st.lists(st.floats(0, 1), max_size=5), seed=st.randoms(use_true_random=False))
def test_ranges_out_of_order_hold_the_same_lines(
    name: str, rule: str, written: list[tuple[str, str, list[int], bool]], places: list[float], seed: random.Random
) -> None:
    """Ranges between borders, cut in any order as in a hurried drain, hold together what the file holds."""
    data, lines = file_of(name, written)
    if not data:
        return
    with tempfile.TemporaryDirectory() as directory:
        content = content_of(directory, data, name, 4096, RULES[rule])
        try:
            for stream in content.streams:
                stream.close_events()
                found = {stream.border(int(place * len(data))) for place in places}
                borders = sorted({0, len(data), *(border for border in found if border is not None)})
                ranges = list(itertools.pairwise(borders))
                seed.shuffle(ranges)
                batches = [batch for start, end in ranges for batch in cut_range(stream, start, end)]
                batches.sort(key=lambda batch: batch.cut.start)
                assert lines_of(batches) == [line.encode() for line in lines[stream.output]]
        finally:
            assert content.file is not None
            content.file.pool.close_all()


def cut_range(stream: FileStream, start: int, end: int) -> list[Batch]:
    """Cut one range to its end."""
    batches, at, resume = [], start, start
    while at < end:
        batch = stream.cut_up_to(at, resume, end, 300, 1)
        assert batch is not None
        assert batch.cut.end <= end
        batches.append(batch)
        at, resume = batch.cut.end, batch.cut.next_resume
    return batches
