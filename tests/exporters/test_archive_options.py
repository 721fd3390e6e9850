"""What an archive can be told about its objects: parts, writing once, storage class, encryption, Parquet beside them."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pyarrow import parquet

from shipper.clock import Deadline
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.errors import ConfigError, Retryable
from shipper.fleet.archive import Archive
from shipper.fleet.directory import Directory
from shipper.fleet.store import StoreUnusable, open_store
from shipper.otlp.scan import scan
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.odd import odd_payloads
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._archive.parquet import encode_table
from shipper_exporters.archive import ArchiveExporter, ArchiveSettings
from tests.exporters.fake_s3 import BUCKET, FakeS3


def exporter(**settings: object) -> ArchiveExporter:
    context = ExporterContext(FakeClock(), LIFE, 1, "Shipper/test")
    return ArchiveExporter("archive", ArchiveSettings(**settings), context)  # type: ignore[arg-type]


async def send(one: ArchiveExporter, request: Request) -> None:
    await one.send(one.prepare(request), Deadline(FakeClock()))


def in_bucket(scenario: Callable[[FakeS3], Awaitable[None]]) -> FakeS3:
    bucket = FakeS3()

    async def main() -> None:
        async with bucket:
            await scenario(bucket)

    asyncio.run(main())
    return bucket


def test_a_large_object_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object over a limit is uploaded in parts, and is one object when all are there."""
    monkeypatch.setattr("shipper.fleet.bucket.PARTS_FROM", 256 << 10)
    monkeypatch.setattr("shipper.fleet.bucket.PART", 128 << 10)
    line = os.urandom(100 << 10).hex()

    async def scenario(bucket: FakeS3) -> None:
        one = exporter(url=f"s3://{BUCKET}", options=bucket.options, compression="none")
        prepared = one.prepare(log_request(log_batch([line] * 3)))
        await one.send(prepared, Deadline(FakeClock()))
        assert bucket.objects[prepared.body.key] == prepared.body.data

    bucket = in_bucket(scenario)
    assert bucket.most_parts == 5
    assert len(bucket.puts) == 2
    assert not bucket.parts


def test_an_object_that_is_there_is_not_written_again() -> None:
    """With write_once a repeat changes nothing and is acknowledged, so that a bucket may forbid overwriting."""

    async def scenario(bucket: FakeS3) -> None:
        request = log_request(log_batch(["a"]))
        for _ in range(2):  # the second as after a crash
            await send(exporter(url=f"s3://{BUCKET}", options=bucket.options, write_once=True), request)

    assert len(in_bucket(scenario).puts) == 2


def test_in_a_directory_too(tmp_path: Path) -> None:
    """The same in a directory."""
    request = log_request(log_batch(["a"]))
    one = exporter(url=str(tmp_path), write_once=True)
    asyncio.run(send(one, request))
    files = {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()}
    asyncio.run(send(exporter(url=str(tmp_path), write_once=True), request))
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()} == files


def test_storage_class_and_encryption_are_asked_for() -> None:
    """Objects get the storage class; range lists, which are read often, do not; both are encrypted as told."""
    encryption = {"server_side_encryption": "aws:kms", "sse_kms_key_id": "arn:key"}

    async def scenario(bucket: FakeS3) -> None:
        options = {**bucket.options, **encryption}
        one = exporter(url=f"s3://{BUCKET}", options=options, storage_class="STANDARD_IA")
        await send(one, log_request(log_batch(["a"])))

    bucket = in_bucket(scenario)
    object_, ranges = (bucket.headers[key] for key in bucket.puts)
    assert object_["x-amz-storage-class"] == "STANDARD_IA"
    assert "x-amz-storage-class" not in ranges
    for headers in (object_, ranges):
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "arn:key"


def test_a_directory_has_no_storage_class(tmp_path: Path) -> None:
    """A storage class for a directory is a mistake that is said."""
    with pytest.raises(ConfigError, match="storage_class"):
        exporter(url=str(tmp_path), storage_class="COLD")


def test_an_option_that_no_bucket_has_is_said() -> None:
    """What is an option of connections ends nothing with a panic of the library below."""
    with pytest.raises(ConfigError, match="allow_http is no option of a bucket"):
        exporter(url="s3://b", options={"allow_http": "true"})
    with pytest.raises(StoreUnusable, match="timeout is no option of a bucket"):
        open_store("gs://b", {"timeout": "5s"})


class SlowStore(Directory):
    """Takes so many bytes a second, and keeps none."""

    def __init__(self, root: str, clock: FakeClock, rate: int) -> None:
        super().__init__(root, create=True)
        self._clock = clock
        self._rate = rate

    async def put(self, key: str, data: bytes, *, once: bool = False, storage_class: str = "") -> None:
        await self._clock.sleep(len(data) / self._rate)


@pytest.mark.parametrize(("rate", "arrives"), [(1 << 17, True), (1 << 15, False)])
def test_a_large_object_over_a_slow_link(tmp_path: Path, rate: int, arrives: bool) -> None:
    """An upload has the time that its size needs, down to a megabit a second, and is not given up for ever again."""
    clock = FakeClock()
    context = ExporterContext(clock, LIFE, 1, "Shipper/test")
    one = ArchiveExporter("archive", ArchiveSettings(url=str(tmp_path), compression="none"), context)
    one._store = SlowStore(str(tmp_path), clock, rate)
    prepared = one.prepare(log_request(log_batch(["x" * (1 << 20)] * 20)))

    async def sent() -> Accepted:
        async with clock.autojump():
            return await one.send(prepared, Deadline(clock))

    if arrives:
        assert asyncio.run(sent()) == Accepted()
    else:
        with pytest.raises(Retryable, match="in time"):
            asyncio.run(sent())


def table(root: Path) -> list[dict[str, object]]:
    (found,) = root.glob("parquet/**/*.parquet")
    rows: list[dict[str, object]] = parquet.read_table(io.BytesIO(found.read_bytes())).to_pylist()
    return rows


def test_logs_as_a_table(tmp_path: Path) -> None:
    """Beside the object lies a table of its records, with columns for what is filtered by and maps for the rest."""
    batches = (log_batch(["a", "b"], stream="x"), log_batch(["c"], stream="y"))
    asyncio.run(send(exporter(url=str(tmp_path), parquet=True), log_request(*batches)))
    rows = table(tmp_path)
    assert [row["body"] for row in rows] == ["a", "b", "c"]
    assert [(row["batch"], row["number"]) for row in rows] == [
        (batches[0].key, 0),
        (batches[0].key, 1),
        (batches[1].key, 0),
    ]
    assert rows[0]["service"] == "test"
    assert rows[0]["resource"] == [("service.name", "test")]


def test_metrics_as_a_table(tmp_path: Path) -> None:
    """Data points are rows with their value."""
    batch = log_batch(["m"], signal=Signal.METRICS)
    asyncio.run(send(exporter(url=str(tmp_path), parquet=True), log_request(batch)))
    (row,) = table(tmp_path)
    assert (row["name"], row["value"], row["attributes"]) == ("line", 1.0, [("line", "m")])


def test_tables_are_no_objects_to_an_audit(tmp_path: Path) -> None:
    """Whoever reads the archive sees its objects and range lists, not the copies."""
    asyncio.run(send(exporter(url=str(tmp_path), parquet=True), log_request(log_batch(["a"]))))
    archive = Archive.open(str(tmp_path), {})
    index = archive.index()
    assert (len(index.lists), index.unlisted, index.damage) == (1, (), ())


@pytest.mark.parametrize("signal", Signal)
def test_odd_records_as_a_table(signal: Signal) -> None:
    """Numbers and times that columns have no room for keep no object from being written."""
    for payload in odd_payloads(signal):
        records = scan(signal, payload).records
        batch = Batch(LIFE, "odd", signal, Cut(0, 9, 0, 9, records, START_WALL_NS), payload)
        rows = parquet.read_table(io.BytesIO(encode_table(log_request(batch))))
        assert rows.num_rows == records


def test_without_the_extra_it_says_what_to_install() -> None:
    """Where pyarrow is missing, the error names the extra that brings it, before anything is sent."""
    code = (
        "import sys; sys.modules['pyarrow.parquet'] = None\n"
        "from shipper_exporters._archive.parquet import require\n"
        "try: require()\n"
        "except Exception as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ephemeral-shipper[parquet]" in ran.stdout
