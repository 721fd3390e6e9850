"""The file exporter passes the suite that every exporter has to pass, on a real file system."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.file import FileExporter, FileSettings
from tests.exporters.otlp_lines import lines_of


class FileDestination(Destination):
    """A directory; misconfigured when a file stands in its place."""

    def __init__(self, root: Path, signal: Signal) -> None:
        self._root = root / "out"
        self._signal = signal

    def exporter(self, context: ExporterContext) -> Exporter:
        return FileExporter("file", FileSettings(path=f"{self._root}/{{signal}}.jsonl"), context)

    async def healthy(self) -> None:
        if self._root.is_file():
            self._root.unlink()

    async def failing(self, fault: Fault) -> None:
        assert fault is Fault.MISCONFIGURED
        self._root.write_text("not a directory")

    async def stored(self) -> Sequence[Held]:
        lines = (self._root / f"{self._signal}.jsonl").read_bytes().splitlines()
        return [Held(hashlib.sha256(line).hexdigest(), lines_of(self._signal, line)) for line in lines]


class TestFileExporter(ExporterContract):
    """The suite with logs."""

    faults: ClassVar[frozenset[Fault]] = frozenset({Fault.MISCONFIGURED})

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        root = tempfile.mkdtemp()
        try:
            yield FileDestination(Path(root), self.signal)
        finally:
            shutil.rmtree(root)


class TestFileExporterWithMetrics(TestFileExporter):
    """The suite with metrics."""

    signal = Signal.METRICS
