"""The stdout exporter passes the suite that every exporter has to pass, on a real pipe."""

from __future__ import annotations

import hashlib
import os
import select
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.stdout import StdoutExporter, StdoutSettings
from tests.exporters.otlp_lines import lines_of


class PipeDestination(Destination):
    """A pipe with a reader that can stop reading, or go away."""

    def __init__(self) -> None:
        self._reading = threading.Event()
        self._gate = threading.Lock()
        self._got = bytearray()
        self._read, self._write = os.pipe()
        self._reader = threading.Thread(target=self._run)
        self._reading.set()
        self._reader.start()
        self._asked = 0

    def exporter(self, context: ExporterContext) -> Exporter:
        class Piped(StdoutExporter):
            descriptor = self._write
            most = 1 << 20  # so that a request is one line

        return Piped("stdout", StdoutSettings(), context)

    async def healthy(self) -> None:
        self._reading.set()

    async def failing(self, fault: Fault) -> None:
        assert fault in (Fault.STUCK, Fault.SLOW)
        with self._gate:
            self._reading.clear()
        os.set_blocking(self._write, False)
        try:
            while True:
                os.write(self._write, b"\n" * 4096)
        except BlockingIOError:
            os.set_blocking(self._write, True)

    async def stored(self) -> Sequence[Held]:
        lines = [line for line in self._all().splitlines() if line.startswith(b"{")]
        return [Held(hashlib.sha256(line).hexdigest(), lines_of(Signal.LOGS, line)) for line in lines]

    def close(self) -> None:
        self._reading.set()
        os.close(self._write)
        self._reader.join()

    def _run(self) -> None:
        while True:
            select.select([self._read], [], [])
            self._reading.wait()
            with self._gate:
                if not self._reading.is_set():
                    continue
                data = os.read(self._read, 1 << 16)
                self._got += data
            if not data:
                os.close(self._read)
                return

    def _all(self) -> bytes:
        """What came so far, once the pipe is empty."""
        self._asked += 1
        mark = b"# %d\n" % self._asked
        os.write(self._write, mark)
        while True:
            with self._gate:
                if self._got.endswith(mark):
                    return bytes(self._got)


class TestStdoutExporter(ExporterContract):
    """The suite with logs."""

    faults = frozenset({Fault.STUCK, Fault.SLOW})

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        pipe = PipeDestination()
        try:
            yield pipe
        finally:
            pipe.close()
