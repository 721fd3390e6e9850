"""A running OTLP receiver with its spools and ledger, for the tests of the receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import aiohttp

from shipper.clock import Clock, SystemClock
from shipper.config import Role
from shipper.contracts import Batch, Signal, Stream, StreamKind
from shipper.events import Reporter
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp.decode import records
from shipper.otlp.encode import LineEncoder, resource, scope
from shipper.sources.listen import ListenSettings
from shipper.sources.otlp import OtlpLimits, OtlpReceiver
from shipper.sources.otlp_labels import Labels
from shipper.spool import Frame, FrameHeader, Fsync, Spool, SpoolStream

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
ENCODER = LineEncoder(resource({"service.name": "shop"}), scope("test"))


def logs(*lines: str) -> bytes:
    """An ExportLogsServiceRequest."""
    return ENCODER.encode([line.encode() for line in lines], 1)


def listing(life: str, *batches: str) -> dict[str, str]:
    """The headers of a Shipper."""
    return {**PROTOBUF, "Shipper-Life": life, "Shipper-Batches": ",".join(batches)}


@dataclass
class RecordingHub:
    """A hub that remembers what it was told."""

    added: list[Stream] = field(default_factory=list)
    woken: list[Stream] = field(default_factory=list)

    def add(self, stream: Stream) -> None:
        self.added.append(stream)

    def ready(self, stream: Stream) -> None:
        self.woken.append(stream)

    def finished(self, stream: Stream) -> None:
        raise AssertionError("a receiver's streams never end")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Gateway:
    """Everything there is to look at."""

    receiver: OtlpReceiver
    hub: RecordingHub
    spools: Mapping[Signal, Spool]
    ledger: LedgerThread
    report: Reporter
    url: str
    session: aiohttp.ClientSession

    async def post(
        self,
        body: bytes | BinaryIO,
        headers: Mapping[str, str] = PROTOBUF,
        path: str = "/v1/logs",
        method: str = "POST",
    ) -> Answer:
        async with self.session.request(method, self.url + path, data=body, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    def frames(self, signal: Signal = Signal.LOGS) -> list[Frame]:
        spool = self.spools[signal]
        found: list[Frame] = []
        at = spool.first()
        while frames := spool.frames(at, 1 << 20):
            found += frames
            at = frames[-1].end
        return found

    def headers(self) -> list[FrameHeader]:
        return [FrameHeader.decode(frame.header) for frame in self.frames()]

    def lines(self) -> list[object]:
        """The bodies of all log records in the spool, in order."""
        return [record.body for frame in self.frames() for record in records(Signal.LOGS, frame.payload)]

    def batch(self, signal: Signal = Signal.LOGS) -> Batch:
        """Everything spooled of a signal, as one batch of the stream."""
        stream = self.receiver.streams[signal]
        batch = stream.cut(stream.start, stream.start, 1 << 30, 0)
        assert batch is not None
        return batch

    def refused(self, cause: str) -> float:
        return float(self.report.metrics.refused.labels("otlp", cause)._value.get())

    def duplicates(self) -> float:
        return float(self.report.metrics.duplicates.labels("otlp")._value.get())


@asynccontextmanager
async def gateway(
    directory: Path,
    *,
    listen: ListenSettings | None = None,
    limits: OtlpLimits | None = None,
    max_bytes: int = 1 << 28,
    life: str = "gateway-life",
    clock: Clock | None = None,
    grpc: ListenSettings | None = None,
    role: Role = "gateway",
    labels: Labels | None = None,
) -> AsyncIterator[Gateway]:
    """Start a receiver on a free port; on leaving, stop it and close everything, as a sidecar does."""
    clock = clock or SystemClock()
    report = Reporter(clock)
    spools = {
        signal: Spool.open(
            directory / signal.value,
            name=f"otlp-{signal}",
            fsync=Fsync.ALWAYS,
            segment_bytes=min(16 << 20, max_bytes),
            max_bytes=max_bytes,
            report=report,
        )
        for signal in Signal
    }
    ledger = LedgerThread(Ledger.open(directory / "ledger.db", report=report))
    hub = RecordingHub()
    streams = {
        signal: SpoolStream(
            spool, id=f"otlp-{signal}", signal=signal, kind=StreamKind.DATA, life=life, name=f"otlp {signal}"
        )
        for signal, spool in spools.items()
    }
    receiver = OtlpReceiver(
        listen or ListenSettings(port=0),
        grpc,
        hub=hub,
        streams=streams,
        ledger=ledger,
        life=life,
        clock=clock,
        report=report,
        limits=limits,
        role=role,
        labels=labels,
    )
    try:
        await receiver.start()
        _, port = receiver.addresses[0]
        scheme = "https" if listen and listen.cert else "http"
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            yield Gateway(receiver, hub, spools, ledger, report, f"{scheme}://127.0.0.1:{port}", session)
    finally:
        await receiver.aclose()
        await ledger.aclose()
        for spool in spools.values():
            spool.close()
