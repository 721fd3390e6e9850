"""What the archive exporter writes: objects a Collector can read, and range lists an audit can rely on."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
import re
import time
import zlib
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Batch, Cut, ExporterContext, Request, Signal
from shipper.errors import ConfigError, Retryable, Unusable
from shipper.fleet import store
from shipper.fleet.archive import Archive
from shipper.ids import uuid7
from shipper.otlp import decode
from shipper.otlp.encode import export_logs, log_record, resource, scope
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper_exporters.archive import ArchiveExporter, ArchiveSettings
from tests.exporters.fake_s3 import BUCKET, FakeS3
from tests.fleet.archives import SECOND, Writer, batch, gateway_batch

COLLECTOR_KEY = re.compile(
    r"year=\d{4}/month=\d\d/day=\d\d/hour=\d\d/minute=\d\d/(logs|traces|metrics)_[0-9a-f-]{36}\.binpb(\.gz)?"
)


def exporter(**settings: object) -> ArchiveExporter:
    """An exporter with these settings."""
    return ArchiveExporter("archive", ArchiveSettings(**settings), ExporterContext(FakeClock(), "life", 1, "test"))  # type: ignore[arg-type]


def send(one: ArchiveExporter, *batches: Batch) -> None:
    """Send the batches as one request."""
    request = Request(uuid7(START_WALL_NS), batches[0].signal, batches)
    asyncio.run(one.send(one.prepare(request), Deadline(FakeClock())))


def timed(time_ns: int, observed_ns: int) -> Batch:
    """A batch of one record that carries a time of its own."""
    record = log_record(time_ns=time_ns, observed_ns=observed_ns, body="x")
    payload = export_logs(resource({}), scope("s"), [record])
    return Batch("life", "s", Signal.LOGS, Cut(0, 9, 0, 9, 1, observed_ns), payload)


def test_object_is_the_requests_put_together(tmp_path: Path) -> None:
    """An object is one gzip of the concatenated payloads, which is itself a valid request, under a key of the Collector's form."""
    writer = Writer(tmp_path)
    batches = batch("a", 0, 3), batch("b", 5, 6)
    writer.put(*batches)
    (path,) = writer.objects()
    content = gzip.decompress(path.read_bytes())
    assert content == batches[0].payload + batches[1].payload
    assert [str(record.body).split()[0] for record in decode.records(Signal.LOGS, content)] == ["a", "a", "a", "b"]
    assert COLLECTOR_KEY.fullmatch(str(path.relative_to(tmp_path)))


def test_range_list_says_which_bytes_are_whose(tmp_path: Path) -> None:
    """A range list names each batch with life, stream, range, records, and the checksum of its bytes in the unpacked object."""
    writer = Writer(tmp_path)
    writer.put(batch("a", 0, 3), batch("b", 5, 6))
    (listing,) = (json.loads(path.read_bytes()) for path in writer.range_lists())
    content = gzip.decompress((tmp_path / listing["object"]).read_bytes())
    assert listing["size"] == len(content)
    assert listing["written_ns"] == writer.clock.wall_ns()
    rows = [(row["life"], row["stream"], row["start"], row["end"], row["records"]) for row in listing["batches"]]
    assert rows == [("life-a", "f1", 0, 60, 3), ("life-b", "f1", 100, 120, 1)]
    for row in listing["batches"]:
        assert zlib.crc32(content[row["offset"] : row["offset"] + row["length"]]) == row["crc32"]


def test_hosts_inside_of_a_gateways_batch_are_listed_as_their_own(tmp_path: Path) -> None:
    """Of a gateway's batch each host's part is listed; bytes of strangers in between are listed as the gateway's own."""
    writer = Writer(tmp_path)
    whole = gateway_batch([batch("a", 0, 2), batch("x", 0, 4), batch("b", 0, 3)])
    mixed = Batch(
        whole.life, whole.stream, whole.signal, whole.cut, whole.payload, members=(whole.members[0], whole.members[2])
    )
    writer.put(batch("direct", 0, 1), mixed)
    (listing,) = (json.loads(path.read_bytes()) for path in writer.range_lists())
    rows = [(row["life"], row["records"], row.get("via", "")) for row in listing["batches"]]
    assert rows == [
        ("life-direct", 1, ""),
        ("life-a", 2, mixed.key),
        ("life-gateway", 4, mixed.key),
        ("life-b", 3, mixed.key),
    ]
    content = gzip.decompress((tmp_path / listing["object"]).read_bytes())
    for row in listing["batches"]:
        assert zlib.crc32(content[row["offset"] : row["offset"] + row["length"]]) == row["crc32"]


def test_repeat_overwrites_the_same_object(tmp_path: Path) -> None:
    """A request sent again, also much later, leaves the same two files with the same object bytes."""
    writer = Writer(tmp_path)
    request_id = uuid7(START_WALL_NS)
    writer.put(batch("a", 0, 3), request_id=request_id)
    before = [path.read_bytes() for path in writer.objects()]
    writer.clock.advance(7200)
    writer.put(batch("a", 0, 3), request_id=request_id)
    assert [path.read_bytes() for path in writer.objects()] == before
    assert len(writer.range_lists()) == 1


@pytest.mark.parametrize(
    ("time_ns", "observed_ns", "minute"),
    [
        (START_WALL_NS - 120 * SECOND, START_WALL_NS, START_WALL_NS - 120 * SECOND),
        (0, START_WALL_NS, START_WALL_NS),
    ],
)
def test_path_is_the_minute_of_the_oldest_record(tmp_path: Path, time_ns: int, observed_ns: int, minute: int) -> None:
    """The folder is the minute (UTC) of the oldest record: its own time, else when it was observed."""
    writer = Writer(tmp_path)
    writer.put(timed(START_WALL_NS + 600 * SECOND, 0), timed(time_ns, observed_ns))
    (path,) = writer.objects()
    folder = time.strftime("year=%Y/month=%m/day=%d/hour=%H/minute=%M", time.gmtime(minute / 1e9))
    assert str(path.relative_to(tmp_path).parent) == folder


def test_records_without_any_time_go_by_the_request(tmp_path: Path) -> None:
    """Where no record says when it was, the folder is the minute in which the request was cut, as its id says."""
    writer = Writer(tmp_path)
    writer.put(timed(0, 0), request_id=uuid7(START_WALL_NS - 3600 * SECOND))
    assert "hour=21/minute=13" in str(writer.objects()[0])


def test_settings_shape_the_keys(tmp_path: Path) -> None:
    """Prefix, partition and compression none are honoured, and the range list lies below the prefix."""
    writer = Writer(tmp_path, {"prefix": "/fleet/", "partition": "%Y", "compression": "none"})
    request_id = writer.put(batch("a", 0, 3))
    assert (tmp_path / f"fleet/2023/logs_{request_id}.binpb").read_bytes() == batch("a", 0, 3).payload
    assert (tmp_path / f"fleet/shipper/ranges/{request_id}.json").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://x/y"}, "url"),
        ({"url": "file://elsewhere/y"}, "url"),
        ({"url": "/a", "prefix": "../b"}, "prefix"),
        ({"url": "/a", "partition": "%Y/.."}, "partition"),
        ({"url": "/a", "object_bytes": 1}, "object_bytes"),
        ({"url": "/a", "linger": -1.0}, "linger"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], named: str) -> None:
    """A wrong setting is a `ConfigError` that names it."""
    with pytest.raises(ConfigError) as raised:
        exporter(**settings)
    assert raised.value.path.endswith(named)


@pytest.mark.parametrize(
    ("settings", "trusted"),
    [
        ({"url": "/somewhere"}, False),
        ({"url": "file:///somewhere"}, False),
        ({"url": "/somewhere", "trust_local": True}, True),
        ({"url": "s3://bucket/x"}, True),
        ({"url": "s3://bucket/x", "options": {"endpoint": "http://127.0.0.1:9000"}}, False),
        ({"url": "s3://bucket/x", "options": {"endpoint": "http://localhost:9000"}}, False),
        ({"url": "s3://bucket/x", "options": {"endpoint": "https://minio.example"}}, True),
    ],
)
def test_what_lies_on_this_host_is_not_off_it(settings: dict[str, object], trusted: bool) -> None:
    """A directory or a loopback bucket service dies with the host, so it proves nothing unless somebody says so."""
    assert exporter(**settings).trusted() is trusted


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_a_bucket_service_named_by_the_environment_is_used_and_known_as_local(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint of the usual environment counts as one in the options: plain HTTP works, loopback is not off the host."""

    async def story() -> None:
        async with FakeS3() as service:
            credentials = service.options.copy()
            monkeypatch.setenv(variable, credentials.pop("endpoint"))
            one = exporter(url=f"s3://{BUCKET}/x", options=credentials)
            assert not one.trusted()
            request = Request(uuid7(START_WALL_NS), Signal.LOGS, (batch("a", 0, 3),))
            await one.send(one.prepare(request), Deadline(FakeClock()))
            assert len(service.objects) == 2

    asyncio.run(story())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_full_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where a write fails for want of space nothing half-written is left under a key, and the same request passes later."""
    one = exporter(url=str(tmp_path))

    def fail(_descriptor: int, _data: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "write", fail)
        with pytest.raises(Retryable, match=re.escape(os.strerror(number))):
            send(one, batch("a", 0, 3))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    send(one, batch("a", 0, 3))
    assert len(list(tmp_path.rglob("*.binpb.gz"))) == 1


def test_no_acknowledgement_before_the_range_list(tmp_path: Path) -> None:
    """An object whose range list cannot be written is not acknowledged; the repeat writes both under the same names."""
    one = exporter(url=str(tmp_path))
    request = Request(uuid7(START_WALL_NS), Signal.LOGS, (batch("a", 0, 3),))
    (tmp_path / "shipper").mkdir()
    (tmp_path / "shipper/ranges").write_text("in the way")
    with pytest.raises(Unusable):
        asyncio.run(one.send(one.prepare(request), Deadline(FakeClock())))
    (tmp_path / "shipper/ranges").unlink()
    index = Archive.open(str(tmp_path)).index()
    assert (len(index.lists), len(index.unlisted)) == (0, 1)
    asyncio.run(one.send(one.prepare(request), Deadline(FakeClock())))
    index = Archive.open(str(tmp_path)).index()
    assert (len(index.lists), len(index.unlisted)) == (1, 0)


def test_options_of_another_cloud_are_unusable() -> None:
    """An option that the kind of bucket does not know is a matter of set-up, and the message names it."""
    with pytest.raises(Unusable, match="account_nam"):
        send(exporter(url="s3://bucket", options={"account_nam": "x"}), batch("a", 0, 1))


def test_remains_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    """Temporary files of a writer that was killed long ago go when the next one starts; fresh ones may be somebody's."""
    temporary = tmp_path / "shipper/tmp"
    temporary.mkdir(parents=True)
    (temporary / "old").write_bytes(b"half")
    os.utime(temporary / "old", (1, 1))
    (temporary / "fresh").write_bytes(b"half")
    send(exporter(url=str(tmp_path)), batch("a", 0, 3))
    assert [path.name for path in temporary.iterdir()] == ["fresh"]
