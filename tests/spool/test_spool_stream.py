"""Frames as batches: joined, split at records, and the same again on every rereading."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from shipper.clock import SystemClock
from shipper.contracts import Batch, Member, Signal, StreamKind
from shipper.errors import RangeGone
from shipper.events import Reporter
from shipper.intervals import IntervalSet
from shipper.otlp.decode import records
from shipper.otlp.encode import LineEncoder, resource, scope
from shipper.otlp.splice import take
from shipper.spool import FrameHeader, Fsync, Spool, SpoolStream

ENCODER = LineEncoder(resource({"service.name": "shop"}), scope("test"))


def open_spool(directory: Path) -> Spool:
    return Spool.open(
        directory,
        name="t",
        fsync=Fsync.NEVER,
        segment_bytes=2000,
        max_bytes=1 << 24,
        report=Reporter(SystemClock()),
    )


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = open_spool(tmp_path)
    yield spool
    spool.close()


def stream_of(spool: Spool, signal: Signal = Signal.LOGS) -> SpoolStream:
    return SpoolStream(spool, id="otlp", signal=signal, kind=StreamKind.DATA, life="mine", name="otlp")


def put(spool: Spool, lines: list[str], life: str = "", observed_ns: int = 5) -> tuple[int, int]:
    """One frame without members."""
    payload = ENCODER.encode([line.encode() for line in lines], 1)
    return spool.append(FrameHeader(len(lines), len(lines), observed_ns, life).encode(), payload)


def put_members(spool: Spool, groups: dict[str, list[str]]) -> tuple[int, int]:
    """One frame with one batch of each host; a batch's positions are 100 to 100 + 10 a line."""
    members: list[Member] = []
    payload = b""
    for life, lines in groups.items():
        data = ENCODER.encode([line.encode() for line in lines], 1)
        end = 100 + 10 * len(lines)
        members.append(Member(life, "file", 100, end, len(lines), len(payload), len(data), 7))
        payload += data
    count = sum(map(len, groups.values()))
    return spool.append(FrameHeader(count, count, 5, members=tuple(members)).encode(), payload)


def lines_of(data: bytes) -> list[object]:
    return [record.body for record in records(Signal.LOGS, data)]


def cut_all(stream: SpoolStream, limit: int) -> list[Batch]:
    batches: list[Batch] = []
    at = stream.start
    while batch := stream.cut(at, at, limit, 99):
        assert batch.cut.start == at == batch.cut.resume
        assert batch.cut.next_resume == batch.cut.end
        batches.append(batch)
        at = batch.cut.end
    assert at == stream.frontier()
    return batches


def test_frames_are_joined_up_to_the_limit(spool: Spool) -> None:
    """A batch holds whole frames as long as they fit, stamped with the time of the oldest."""
    spans = [put(spool, [f"line {n}"], observed_ns=10 - n) for n in range(3)]
    stream = stream_of(spool)
    (batch,) = cut_all(stream, 10_000)
    assert lines_of(batch.payload) == ["line 0", "line 1", "line 2"]
    assert (batch.cut.start, batch.cut.end, batch.cut.records) == (spans[0][0], spans[2][1], 3)
    assert (batch.cut.observed_ns, batch.key) == (8, f"mine/otlp/0-{spans[2][1]}")
    assert [b.cut.records for b in cut_all(stream, spans[1][1])] == [2, 1]
    assert stream.cut(stream.frontier(), stream.frontier(), 10, 0) is None


def test_frames_of_different_lives_are_not_joined(spool: Spool) -> None:
    """What an earlier life left is shipped under its name, in batches of its own."""
    put(spool, ["a"], life="earlier")
    put(spool, ["b"])
    assert [batch.life for batch in cut_all(stream_of(spool), 10_000)] == ["earlier", "mine"]


def test_members_are_rebased_to_the_joined_payload(spool: Spool) -> None:
    """In a batch of several frames each member still says which bytes it is."""
    put_members(spool, {"a": ["a1", "a2"], "b": ["b1"]})
    put(spool, ["nobody's"])
    put_members(spool, {"c": ["c1"]})
    (batch,) = cut_all(stream_of(spool), 10_000)
    assert {m.life: lines_of(batch.payload[m.offset : m.offset + m.length]) for m in batch.members} == {
        "a": ["a1", "a2"],
        "b": ["b1"],
        "c": ["c1"],
    }


def test_a_large_frame_is_split_along_its_members(spool: Spool) -> None:
    """Parts of a frame carry the members they hold; one that is split itself is passed on in shares."""
    groups = {"a": [f"a{n}" for n in range(4)], "b": [f"b{n}" for n in range(40)], "c": ["c0"]}
    put_members(spool, groups)
    batches = cut_all(stream_of(spool), 300)
    assert len(batches) > 3
    assert all(len(batch.payload) <= 300 for batch in batches)
    shares: dict[str, IntervalSet] = {}
    found: dict[str, list[object]] = {}
    for batch in batches:
        assert sum(m.records for m in batch.members) == batch.cut.records == len(lines_of(batch.payload))
        for m in batch.members:
            part = batch.payload[m.offset : m.offset + m.length]
            assert not shares.setdefault(m.life, IntervalSet()).overlaps(m.start, m.end)
            shares[m.life].add(m.start, m.end)
            found.setdefault(m.life, []).extend(lines_of(part))
    assert found == groups
    assert {life: held.pairs() for life, held in shares.items()} == {
        "a": [(100, 140)],
        "b": [(100, 500)],
        "c": [(100, 110)],
    }


def test_members_that_fit_are_moved_whole(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Splitting a large frame between its members looks at no record of theirs, so its cost does not grow with each part."""
    put_members(spool, {f"life {number}": [f"line {n}" for n in range(10)] for number in range(50)})
    walks: list[int] = []

    def counted(signal: Signal, data: bytes, first: int, last: int) -> bytes:
        walks.append(len(data))
        return take(signal, data, first, last)

    monkeypatch.setattr("shipper.spool.parts.take", counted)
    batches = cut_all(stream_of(spool), 2000)
    assert len(batches) > 5
    assert sum(len(batch.members) for batch in batches) == 50
    assert not walks


def test_a_single_record_larger_than_the_limit_goes_alone(spool: Spool) -> None:
    """What cannot be split is cut as it is."""
    put(spool, ["small", "x" * 1000, "small again"])
    assert [batch.cut.records for batch in cut_all(stream_of(spool), 100)] == [1, 1, 1]


@settings(max_examples=30, deadline=None)
@given(
    frames=st.lists(st.lists(st.text("ab", max_size=30), min_size=1, max_size=12), min_size=1, max_size=8),
    limit=st.integers(1, 1500),
    members=st.booleans(),
)
def test_every_way_of_cutting_ships_each_record_once(
    tmp_path_factory: pytest.TempPathFactory, frames: list[list[str]], limit: int, members: bool
) -> None:
    """Cuts, rereadings after a restart, and halves of halves hold the same records in the same order."""
    directory = tmp_path_factory.mktemp("spool")
    spool = open_spool(directory)
    for lines in frames:
        _ = put_members(spool, {"a": lines, "b": lines[:1]}) if members else put(spool, lines)
    expected = [line for lines in frames for line in (lines + lines[:1] if members else lines)]
    batches = cut_all(stream_of(spool), limit)
    spool.close()

    spool = open_spool(directory)
    stream = stream_of(spool)
    assert [line for batch in batches for line in lines_of(batch.payload)] == expected
    assert [stream.reread(batch.cut) for batch in batches] == batches
    single: list[object] = []
    queue = [batch.cut for batch in batches]
    while queue:
        cut = queue.pop(0)
        halves = stream.halve(cut)
        if halves is None:
            assert cut.records == 1
            single += lines_of(stream.reread(cut).payload)
            continue
        assert (halves[0].start, halves[0].end, halves[1].end) == (cut.start, halves[1].start, cut.end)
        assert halves[0].records + halves[1].records == cut.records
        queue[:0] = halves
    assert single == expected
    spool.close()


def test_metrics_are_split_at_metrics_and_counted_in_data_points(spool: Spool) -> None:
    """A metric stays whole; records are its data points."""
    message = ExportMetricsServiceRequest()
    scope_metrics = message.resource_metrics.add().scope_metrics.add()
    for points in (1, 5, 2):
        metric = scope_metrics.metrics.add(name=f"m{points}")
        for n in range(points):
            metric.gauge.data_points.add(as_int=n)
    spool.append(FrameHeader(8, 3, 5).encode(), message.SerializeToString())
    stream = stream_of(spool, Signal.METRICS)
    (batch,) = cut_all(stream, 10_000)
    halves = stream.halve(batch.cut)
    assert halves is not None
    assert [half.records for half in halves] == [1, 7]
    assert [b.cut.records for b in cut_all(stream, 40)] == [1, 5, 2]


def test_ranges_that_are_gone_are_named(spool: Spool, tmp_path: Path) -> None:
    """Released or lost ranges raise `RangeGone` up to where reading can go on; nothing is silently skipped."""
    spans = [put(spool, ["x" * 900]) for _ in range(6)]
    stream = stream_of(spool)
    first = stream.cut(0, 0, 1000, 0)
    assert first is not None
    stream.released(spans[2][1])
    with pytest.raises(RangeGone) as gone:
        stream.cut(0, 0, 1000, 0)
    assert (gone.value.start, gone.value.end) == (0, spans[3][0])
    for again in (stream.reread, stream.halve):
        with pytest.raises(RangeGone):
            again(first.cut)
    path = tmp_path / f"{spans[4][0]:020d}.spool"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(RangeGone) as gone:
        stream.cut(spans[4][0], 0, 1000, 0)
    assert (gone.value.start, gone.value.end) == (spans[4][0], spans[5][0])


def test_a_frame_that_no_shipper_wrote_is_given_up_alone(spool: Spool) -> None:
    """A header that is not understood costs its frame, named by range, and nothing else."""
    start, end = spool.append(b"not JSON", b"payload")
    put(spool, ["good"])
    stream = stream_of(spool)
    with pytest.raises(RangeGone) as gone:
        stream.cut(0, 0, 1000, 0)
    assert (gone.value.start, gone.value.end) == (start, end)
    good = stream.cut(end, end, 1000, 0)
    assert good is not None
    assert lines_of(good.payload) == ["good"]


def test_a_frame_without_records_keeps_its_members(spool: Spool) -> None:
    """A range in which every record was filtered still arrives as a range."""
    member = Member("a", "file", 0, 50, 0, 0, 0, 7)
    spool.append(FrameHeader(0, 0, 5, members=(member,)).encode(), b"")
    (batch,) = cut_all(stream_of(spool), 100)
    assert (batch.payload, batch.cut.records, batch.members) == (b"", 0, (member,))
    assert stream_of(spool).reread(batch.cut) == batch
    assert stream_of(spool).halve(batch.cut) is None
