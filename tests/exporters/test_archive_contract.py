"""The archive exporter passes the suite that every exporter has to pass, on a bucket and in a directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.fleet.archive import Archive
from shipper.fleet.layout import decode_range_list
from shipper.otlp import decode
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.archive import ArchiveExporter, ArchiveSettings
from tests.exporters.fake_s3 import BUCKET, FakeS3


def _lines(archive: Archive, data: bytes) -> tuple[str, ...]:
    pieces = archive.pieces(decode_range_list(data))
    return tuple(str(record.body) for piece in pieces for record in decode.records(Signal.LOGS, piece.payload))


class DirectoryDestination(Destination):
    """A directory; misconfigured when a file stands in its place."""

    def __init__(self, root: Path) -> None:
        self._root = root / "archive"

    def exporter(self, context: ExporterContext) -> Exporter:
        return ArchiveExporter("archive", ArchiveSettings(url=str(self._root)), context)

    async def healthy(self) -> None:
        if self._root.is_file():
            self._root.unlink()

    async def failing(self, fault: Fault) -> None:
        assert fault is Fault.MISCONFIGURED
        self._root.write_text("not a directory")

    async def stored(self) -> Sequence[Held]:
        archive = Archive.open(str(self._root))
        lists = sorted((self._root / "shipper/ranges").iterdir())
        return [Held(path.stem, _lines(archive, path.read_bytes())) for path in lists]


class TestArchiveInDirectory(ExporterContract):
    """The suite, on a real file system."""

    faults = frozenset({Fault.MISCONFIGURED})

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        root = tempfile.mkdtemp()
        try:
            yield DirectoryDestination(Path(root))
        finally:
            shutil.rmtree(root)


class BucketDestination(Destination):
    """A bucket service on a real socket."""

    def __init__(self, service: FakeS3) -> None:
        self._service = service
        self._options = service.options

    def exporter(self, context: ExporterContext) -> Exporter:
        settings = ArchiveSettings(url=f"s3://{BUCKET}/pre", options=self._options)
        return ArchiveExporter("archive", settings, context)

    async def healthy(self) -> None:
        self._service.mend()
        await self._service.come_up()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._service.go_down()
        else:
            self._service.fault = fault

    async def stored(self) -> Sequence[Held]:
        with tempfile.TemporaryDirectory() as root:
            for key, data in self._service.objects.items():
                path = Path(root, key)
                os.makedirs(path.parent, exist_ok=True)
                path.write_bytes(data)
            archive = Archive.open(f"{root}/pre" if self._service.objects else root)
            lists = sorted(key for key in self._service.objects if "/shipper/ranges/" in key)
            return [Held(key, _lines(archive, self._service.objects[key])) for key in lists]


class TestArchiveInBucket(ExporterContract):
    """The suite, over HTTP through obstore."""

    # obstore does not show Retry-After; S3 names a wrong request, not wrong content
    faults = frozenset(Fault) - {Fault.BUSY, Fault.REFUSING}

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with FakeS3() as service:
            yield BucketDestination(service)
