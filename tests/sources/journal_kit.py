"""A journal under test: real files, written by systemd's own programs, and a source that reads them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.contracts import Batch
from shipper.ledger import Ledger, LedgerThread
from shipper.sources.journal.settings import JournalSettings
from shipper.sources.journal.source import JournalSource
from shipper.testing.clock import FakeClock
from tests.sources.file_kit import Line, Reports, Sink, _acknowledge

__all__ = ["BOOT", "OTHER_BOOT", "Line", "Sink"]

REMOTE = Path("/lib/systemd/systemd-journal-remote")
JOURNALD = Path("/lib/systemd/systemd-journald")
PATIENCE = 20.0
BOOT, OTHER_BOOT = "b" * 32, "c" * 32

needs_remote = pytest.mark.skipif(not REMOTE.exists(), reason="needs Debian's systemd-journal-remote")
needs_journald = pytest.mark.skipif(
    os.geteuid() != 0
    or not JOURNALD.exists()
    or not shutil.which("journalctl")
    or not Path("/etc/machine-id").exists(),
    reason="needs root, systemd and a machine id",
)

Entry = Mapping[str, str | bytes | list[str | bytes]]


def exported(entry: Entry, number: int, boot: str = BOOT) -> bytes:
    """An entry in the journal export format (systemd.io/JOURNAL_EXPORT_FORMATS)."""
    out = [
        f"__REALTIME_TIMESTAMP={1_700_000_000_000_000 + number}\n".encode(),
        f"__MONOTONIC_TIMESTAMP={1_000_000 + number}\n".encode(),
        f"_BOOT_ID={boot}\n".encode(),
    ]
    for name, given in entry.items():
        for value in given if isinstance(given, list) else [given]:
            raw = value.encode() if isinstance(value, str) else value
            if isinstance(value, str) and "\n" not in value:
                out.append(name.encode() + b"=" + raw + b"\n")
            else:
                out.append(name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n")
    return b"".join(out) + b"\n"


def write(
    path: Path,
    entries: Iterable[Entry | str],
    *,
    first: int = 1,
    boot: str = BOOT,
    compress: bool = True,
    compact: bool = True,
) -> None:
    """Append entries to a journal file, as systemd does it; text is a message alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(
        exported({"MESSAGE": entry} if isinstance(entry, str) else entry, first + at, boot)
        for at, entry in enumerate(entries)
    )
    done = subprocess.run(
        [REMOTE, f"--output={path}", f"--compress={compress}", "--split-mode=none", "-"],
        input=data,
        capture_output=True,
        check=False,
        env={**os.environ, "SYSTEMD_JOURNAL_COMPACT": str(int(compact))},
    )
    assert done.returncode == 0, done.stderr.decode()


class Journald:
    """systemd's own daemon, with a namespace to itself."""

    def __init__(self) -> None:
        self.namespace = f"shipper-test-{uuid.uuid4().hex[:12]}"
        machine = Path("/etc/machine-id").read_text().strip()
        self.directory = Path(f"/var/log/journal/{machine}.{self.namespace}")
        self.run = Path(f"/run/systemd/journal.{self.namespace}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes messages."""
        self._process = subprocess.Popen(
            [JOURNALD, self.namespace], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert time.monotonic() < deadline, "journald is not up"
            time.sleep(0.01)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            try:
                client.connect(str(self.run / "socket"))
            except OSError:
                return False
        return bool(list(self.directory.glob("*.journal")))

    def log(self, *messages: str | bytes, **fields: str) -> None:
        """Write messages by its native protocol, each with these fields."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(str(self.run / "socket"))
            for message in messages:
                raw = message.encode() if isinstance(message, str) else message
                data = b"MESSAGE\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
                client.sendall(data + "".join(f"{name}={value}\n" for name, value in fields.items()).encode())

    def control(self, *arguments: str) -> None:
        """``journalctl`` on it; --rotate and --sync return when that is done."""
        subprocess.run(["journalctl", f"--namespace={self.namespace}", *arguments], check=True, capture_output=True)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None


@contextmanager
def journald() -> Iterator[Journald]:
    """A daemon that is gone afterwards, with all it wrote."""
    daemon = Journald()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(daemon.directory, ignore_errors=True)
        shutil.rmtree(daemon.run, ignore_errors=True)


def records(batch: Batch) -> list[LogRecord]:
    """The records of a batch as OpenTelemetry's own library reads them."""
    request = ExportLogsServiceRequest.FromString(batch.payload)
    found = [record for one in request.resource_logs for scope in one.scope_logs for record in scope.log_records]
    assert len(found) == batch.cut.records
    return found


def attributes(record: LogRecord) -> dict[str, Any]:
    """Its attributes; each key once."""
    keys = [pair.key for pair in record.attributes]
    assert len(keys) == len(set(keys)), keys
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in record.attributes}


@dataclass
class Reading:
    """A run of a source; ``sink`` holds what was cut."""

    source: JournalSource
    sink: Sink
    clock: FakeClock
    report: Reports
    ledger: LedgerThread
    task: asyncio.Task[None] | None = None
    records: list[LogRecord] = field(default_factory=list)

    async def look(self) -> list[str]:
        """Have it look at everything; all texts so far."""
        await self.source.settled()
        self.source.look()
        await self.source.settled()
        return self.sink.bodies

    async def until(self, count: int, beginning: str = "") -> list[str]:
        """Look until so many texts are there that begin so; what else there is does not count."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [body for body in await self.look() if body.startswith(beginning)]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)

    def found(self) -> list[LogRecord]:
        """All records so far."""
        return [record for batch in self.sink.batches for record in records(batch)]

    async def end(self) -> None:
        """End as a kill would: the ledger has only what was acknowledged."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        for name, cut in self.sink.last.items():
            await self.ledger.call(_acknowledge, name, cut)
        self.sink.last.clear()
        self.sink.streams.clear()
        self.sink.finished_now.clear()
        self.source._files.close()
        await self.ledger.aclose()


@asynccontextmanager
async def reading(
    state: Path, *places: Path, sink: Sink | None = None, clock: FakeClock | None = None, **settings: Any
) -> AsyncIterator[Reading]:
    """A source on directories, with its ledger in ``state``."""
    clock = clock or FakeClock()
    sink = sink or Sink()
    report = Reports(clock)
    ledger = LedgerThread(Ledger.open(state / "ledger.db", report=report))
    made = JournalSettings(directories=tuple(map(str, places)), nested=True, **settings)
    source = JournalSource(made, hub=sink, ledger=ledger, life="life", clock=clock, report=report)
    run = Reading(source, sink, clock, report, ledger)
    run.task = asyncio.create_task(source.run())
    waiting = asyncio.create_task(source.settled())
    await asyncio.wait({run.task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
    if run.task.done():
        run.task.result()
    await waiting
    try:
        yield run
    finally:
        await run.end()
