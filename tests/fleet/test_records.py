"""Reading records back out of an archive: each once, in order, only those wanted, safe to look at."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Batch, Cut, ExporterContext, Request, Signal, StreamKind
from shipper.fleet import archive as reading
from shipper.fleet.archive import Archive, Damage, damage_lines
from shipper.fleet.generations import generations
from shipper.fleet.lines import line
from shipper.fleet.records import Selection, loose, pieces, select
from shipper.fleet.store import StoreUnavailable, StoreUnusable
from shipper.ids import uuid7
from shipper.otlp import decode
from shipper.otlp.encode import export_logs, log_record, scope
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper_exporters.archive import ArchiveExporter, ArchiveSettings
from tests.exporters.fake_s3 import BUCKET, FakeS3
from tests.fleet.archives import SECOND, Writer, batch, claims, host_resource, statement


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """An empty archive."""
    return Writer(tmp_path)


def bodies(writer: Writer, selection: Selection | None = None) -> list[str]:
    """What `shipper cat` would print of logs."""
    archive = Archive.open(str(writer.root))
    wanted = selection or Selection()
    damage: list[Damage] = []
    found = [
        str(record.body).strip()
        for piece in pieces(archive, archive.index(), wanted, kinds=[StreamKind.DATA], damaged=damage.append)
        if (payload := select(piece.signal, piece.payload, wanted, piece.entry.life))
        for record in decode.records(piece.signal, payload)
    ]
    assert not damage
    return found


def metrics(values: list[tuple[str, int]]) -> bytes:
    """A metrics request: (name, number of points) each."""
    request = decode.parse(Signal.METRICS, b"")
    inner = request.resource_metrics.add().scope_metrics.add()
    for name, points in values:
        metric = inner.metrics.add(name=name, unit="1")
        for at in range(points):
            metric.gauge.data_points.add(time_unix_nano=START_WALL_NS + at * SECOND, as_int=at)
    return bytes(request.SerializeToString())


def test_each_record_once_in_the_order_of_its_stream(writer: Writer) -> None:
    """Duplicates are left out, and a batch that was written early is printed after those that come before it."""
    writer.put(batch("a", 4, 6), batch("b", 0, 1))
    writer.put(batch("a", 0, 2), batch("a", 2, 4))
    writer.put(batch("a", 2, 4), batch("b", 1, 2))
    assert bodies(writer) == [f"a line {n}" for n in range(6)] + ["b line 0", "b line 1"]


def test_accounts_are_not_printed(writer: Writer) -> None:
    """Births, accounts and farewells are not what people look for."""
    writer.put(statement("a", "birth", 1), batch("a", 0, 1))
    assert bodies(writer) == ["a line 0"]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(host="b"), ["b line 0"]),
        (Selection(release="2.0"), ["b line 0"]),
        (Selection(generation="g1"), ["a line 0", "a line 1"]),
        (Selection(life="life-a"), ["a line 0", "a line 1"]),
        (Selection(life="-b"), ["b line 0"]),
        (Selection(service="x"), []),
        (Selection(signal=Signal.TRACES), []),
        (Selection(since_ns=START_WALL_NS + 1), ["b line 0"]),
        (Selection(until_ns=START_WALL_NS + 1), ["a line 0", "a line 1"]),
        (Selection(since_ns=START_WALL_NS + 9 * 3600 * SECOND), []),
    ],
)
def test_only_what_is_wanted(writer: Writer, selection: Selection, expected: list[str]) -> None:
    """Records are chosen by host, release, generation, service, life, signal and time."""
    other = batch("b", 0, 1, release="2.0", generation="g2")
    later = Cut(0, 20, 0, 20, 1, START_WALL_NS + SECOND)
    record = log_record(time_ns=START_WALL_NS + SECOND, observed_ns=0, body="b line 0")
    payload = export_logs(host_resource("b", "2.0", "g2"), scope("file"), [record])
    writer.put(batch("a", 0, 2), Batch(other.life, other.stream, Signal.LOGS, later, payload))
    assert bodies(writer, selection) == expected


def test_part_of_a_payload(writer: Writer) -> None:
    """Of a payload the wanted records are kept with their envelopes; of a metric all points or none."""
    payload = metrics([("early", 2), ("both", 9), ("none", 0), ("late", 9)])
    part = select(Signal.METRICS, payload, Selection(since_ns=START_WALL_NS + 5 * SECOND))
    assert [record.name for record in decode.records(Signal.METRICS, part)] == ["both"] * 9 + ["late"] * 9
    assert select(Signal.METRICS, payload, Selection(host="x")) == b""
    assert select(Signal.METRICS, payload, Selection()) is payload


def test_undamaged_copies_are_read_instead(writer: Writer) -> None:
    """Where a batch is damaged, sound duplicates of it or of its parts are read; what is gone is said once."""
    writer.put(batch("a", 0, 4))
    writer.put(batch("a", 0, 2))
    writer.put(batch("a", 4, 5))
    writer.objects()[0].unlink()
    archive = Archive.open(str(writer.root))
    damage: list[Damage] = []
    found = list(pieces(archive, archive.index(), Selection(), kinds=[StreamKind.DATA], damaged=damage.append))
    assert [(piece.entry.start, piece.entry.end) for piece in found] == [(0, 40), (80, 100)]
    assert [one.problem.split(":")[0] for one in damage] == ["life-a/f1 [0, 80)"]


def test_objects_of_a_collector_are_read(writer: Writer) -> None:
    """Objects that no range list names are read too, protobuf or JSON, with several gzip members or none."""
    payload = batch("a", 0, 2).payload
    folder = writer.root / "year=2026/month=01/day=02/hour=03/minute=04"
    folder.mkdir(parents=True)
    (folder / "fleet_logs_aB3dE6gH9.binpb.gz").write_bytes(gzip.compress(payload) + gzip.compress(payload))
    (folder / "logs_aB3dE6gH8.json").write_bytes(decode.to_json(Signal.LOGS, payload))
    (folder / "logs_torn.binpb.gz").write_bytes(gzip.compress(payload)[:-9])
    (folder / "README.txt").write_text("something else")
    archive = Archive.open(str(writer.root))
    damage: list[Damage] = []
    found = list(loose(archive, archive.index(), Selection(), damage.append))
    assert [one.found.records if one.found else 0 for one in found] == [4, 2]
    assert [(one.key[-18:], one.problem) for one in damage] == [("logs_torn.binpb.gz", "the gzip data ends early")]


def test_unpacking_is_bounded(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that unpacks to more than it may is damage, not a full memory."""
    monkeypatch.setattr(reading, "MAX_OBJECT_BYTES", 1000)
    folder = writer.root / "x"
    folder.mkdir()
    (folder / "logs_bomb.binpb.gz").write_bytes(gzip.compress(b"\0" * 10_000_000))
    archive = Archive.open(str(writer.root))
    assert archive.loose(archive.index().unlisted[0]).problem == "unpacks to more than 1000 bytes"


def test_a_line_for_people() -> None:
    """A line has time, severity, host, release and body; control characters cannot reach a terminal."""
    record = log_record(time_ns=1_700_000_000_123_456_789, observed_ns=0, severity=17, body="a\x1b[31m\tb\nc")
    (one,) = decode.records(Signal.LOGS, export_logs(host_resource("h"), scope("s"), [record]))
    assert line(one) == "2023-11-14T22:13:20.123456Z ERROR h 1.0 a\\x1b[31m\tb\\nc"
    record = log_record(time_ns=0, observed_ns=0, severity=0, body="some time")
    (one,) = decode.records(Signal.LOGS, export_logs(host_resource("h"), scope("s"), [record]))
    assert line(one) == "- -     h 1.0 some time"
    error = {"exception.type": "KeyError", "exception.message": "'x'", "shipper.exception.fingerprint": "v1-0f"}
    record = log_record(time_ns=START_WALL_NS, observed_ns=1, body="failed", severity=17, attributes=error)
    (one,) = decode.records(Signal.LOGS, export_logs(host_resource("h"), scope("s"), [record]))
    assert line(one).endswith(" h 1.0 failed (KeyError: 'x' v1-0f)")
    record = log_record(time_ns=1, observed_ns=1, body=None, attributes={"entries": 5}, event_name="cache.warmed")
    (one,) = decode.records(Signal.LOGS, export_logs(host_resource("h"), scope("s"), [record]))
    assert line(one).endswith(' h 1.0 cache.warmed {"entries": 5}')
    (point,) = decode.records(Signal.METRICS, metrics([("load", 1)]))
    assert line(point) == "2023-11-14T22:13:20.000000Z POINT - - load 0 1 {}"


def test_an_object_that_holds_much_is_named_once_with_how_much_more() -> None:
    """Of all that is damaged in one object the first is told, then a number; another object has lines of its own."""
    damage = [Damage("a", "one"), Damage("b", "other"), Damage("a", "two"), Damage("a", "three")]
    assert list(damage_lines(damage)) == ["damaged: a: one", "damaged: a: and 2 more", "damaged: b: other"]


def test_generations(writer: Writer) -> None:
    """Generations are listed in the order in which they appeared, with hosts, lives, first and last word, and records."""
    labels = {"host": "b", "release": "2.0", "generation": "g2", "image": "img2"}
    writer.put(statement("b", "birth", 9, labels=labels, born_ns=START_WALL_NS + SECOND), batch("b", 0, 4))
    writer.put(statement("a", "birth", 1), batch("a", 0, 2), statement("c", "account", 5, [claims(0)]))
    rows = generations(str(writer.root))
    assert [(row.generation, row.release, row.image, row.hosts, row.lives, row.records) for row in rows] == [
        ("g1", "1.0", "img", {"a", "c"}, 2, 2),
        ("g2", "2.0", "img2", {"b"}, 1, 4),
    ]
    assert (rows[0].first_ns, rows[0].last_ns) == (START_WALL_NS, START_WALL_NS + 5 * SECOND)


def test_bucket_is_read_as_it_was_written() -> None:
    """What the exporter put below a prefix of a bucket is found there by list and get; other failures are told apart."""

    async def scenario() -> None:
        async with FakeS3() as service:
            url = f"s3://{BUCKET}/pre"
            context = ExporterContext(FakeClock(), "life", 1, "test")
            exporter = ArchiveExporter("x", ArchiveSettings(url=url, options=service.options), context)
            request = Request(uuid7(START_WALL_NS), Signal.LOGS, (batch("a", 0, 3), batch("b", 0, 2)))
            await exporter.send(exporter.prepare(request), Deadline(context.clock))
            await asyncio.to_thread(look, url, service.options)
            service.status = 403
            with pytest.raises(StoreUnusable, match="403"):
                await asyncio.to_thread(look, url, service.options)
            service.status = 503
            with pytest.raises(StoreUnavailable, match="503"):
                await asyncio.to_thread(look, url, service.options)

    def look(url: str, options: dict[str, str]) -> None:
        archive = Archive.open(url, options)
        index = archive.index()
        assert not index.unlisted
        found = pieces(archive, index, Selection(), kinds=[StreamKind.DATA], damaged=lambda _: None)
        assert [(piece.entry.life, piece.entry.records) for piece in found] == [("life-a", 3), ("life-b", 2)]

    asyncio.run(scenario())


def test_a_range_list_cannot_lead_out_of_the_archive(writer: Writer) -> None:
    """An object key with dots does not make a reader open files elsewhere."""
    writer.put(batch("a", 0, 1))
    path = writer.range_lists()[0]
    listing = json.loads(path.read_bytes()) | {"object": "../logs_x.binpb"}
    path.write_text(json.dumps(listing))
    (writer.root.parent / "logs_x.binpb").write_bytes(batch("a", 0, 1).payload)
    index = Archive.open(str(writer.root)).index()
    assert not index.lists
    assert [one.problem for one in index.damage] == ["'../logs_x.binpb' is no object of this archive"]
