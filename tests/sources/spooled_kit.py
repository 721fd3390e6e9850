"""Receivers that make their own records, with real spools and sockets, and a look at what lies in the spools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from shipper.clock import Clock, SystemClock
from shipper.contracts import Signal, Stream, StreamKind
from shipper.events import Reporter
from shipper.otlp.encode import AttributeValue
from shipper.sources.forward.handshake import Secrets
from shipper.sources.forward.settings import ForwardSettings
from shipper.sources.forward.source import ForwardReceiver
from shipper.sources.listen import ListenSettings
from shipper.sources.syslog.settings import SyslogSettings
from shipper.sources.syslog.source import SyslogReceiver
from shipper.spool import Fsync, Spool, SpoolStream
from shipper.spool.policy import Policy

LIFE = "0198c0de-0000-7000-8000-000000000001"
HOST: Mapping[str, AttributeValue] = {"service.name": "shop", "shipper.host": "web-1", "shipper.life.id": LIFE}
PATIENCE = 20.0  # a bound for a loaded machine, never a measure


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
class Record:
    """One LogRecord with what is around it, in plain Python values."""

    body: Any
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str
    time: int
    observed: int
    severity: int
    severity_text: str
    trace_id: str
    span_id: str
    event: str


def plain(value: AnyValue) -> Any:
    """An AnyValue as Python has it."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "kvlist_value":
            return attributes_of(value.kvlist_value.values)
        case "array_value":
            return [plain(item) for item in value.array_value.values]
        case kind:
            return getattr(value, kind)


def attributes_of(pairs: Any) -> dict[str, Any]:
    """Attributes as a dict; a key that comes twice is a fault."""
    found: dict[str, Any] = {}
    pair: KeyValue
    for pair in pairs:
        assert pair.key not in found, pair.key
        found[pair.key] = plain(pair.value)
    return found


def payloads(spool: Spool) -> list[bytes]:
    """What the frames of a spool hold."""
    found: list[bytes] = []
    at = spool.first()
    while frames := spool.frames(at, 1 << 22):
        found += [frame.payload for frame in frames]
        at = frames[-1].end
    return found


def records_in(spool: Spool) -> list[Record]:
    """All log records in a spool, in order."""
    found: list[Record] = []
    for payload in payloads(spool):
        for outer in ExportLogsServiceRequest.FromString(payload).resource_logs:
            resource = attributes_of(outer.resource.attributes)
            for inner in outer.scope_logs:
                for log in inner.log_records:
                    found.append(
                        Record(
                            plain(log.body),
                            attributes_of(log.attributes),
                            resource,
                            inner.scope.name,
                            log.time_unix_nano,
                            log.observed_time_unix_nano,
                            log.severity_number,
                            log.severity_text,
                            log.trace_id.hex(),
                            log.span_id.hex(),
                            log.event_name,
                        )
                    )
    return found


def spans_in(spool: Spool) -> list[tuple[dict[str, Any], Any]]:
    """All spans in a spool with their resource."""
    return [
        (attributes_of(outer.resource.attributes), span)
        for payload in payloads(spool)
        for outer in ExportTraceServiceRequest.FromString(payload).resource_spans
        for inner in outer.scope_spans
        for span in inner.spans
    ]


async def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of ``condition``; fails with ``what``."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (value := condition()):  # noqa: ASYNC110 - what is waited for is a socket's other end
                await asyncio.sleep(0.005)
            return value
    except TimeoutError:
        raise AssertionError(f"this did not happen within {PATIENCE} s: {what}") from None


def counted(counter: Any, *labels: str) -> float:
    """What a counter of the report stands at."""
    return float(counter.labels(*labels)._value.get())


@dataclass
class Forward:
    """A forward receiver and everything there is to look at."""

    receiver: ForwardReceiver
    spools: Mapping[Signal, Spool]
    hub: RecordingHub
    report: Reporter

    @property
    def address(self) -> tuple[str, int]:
        return self.receiver.addresses[0]

    def records(self) -> list[Record]:
        return records_in(self.spools[Signal.LOGS])

    def bodies(self) -> list[Any]:
        return [record.body for record in self.records()]

    def refused(self, cause: str) -> float:
        return counted(self.report.metrics.refused, "forward", cause)

    def duplicates(self) -> float:
        return counted(self.report.metrics.duplicates, "forward")

    async def holds(self, count: int) -> list[Record]:
        """The records, once there are so many."""
        received = self.report.metrics.received
        await until(lambda: counted(received, "forward", "logs") >= count, f"{count} records are in the spool")
        return self.records()


def open_spool(directory: Path, name: str, report: Reporter, most: int, policy: Policy = "refuse") -> Spool:
    """A spool as receivers have it."""
    return Spool.open(directory, name=name, fsync=Fsync.NEVER, max_bytes=most, policy=policy, report=report)


def stream_of(spool: Spool, signal: Signal) -> SpoolStream:
    """The stream of a spool."""
    return SpoolStream(spool, id=spool.name, signal=signal, kind=StreamKind.DATA, life=LIFE, name=spool.name)


@asynccontextmanager
async def forward(
    directory: Path,
    *listen: ListenSettings,
    secrets: Secrets | None = None,
    attributes: Mapping[str, AttributeValue] = HOST,
    most: int = 64 << 20,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[Forward]:
    """A forward receiver on loopback, with what it needs in ``directory``."""
    clock = clock or SystemClock()
    report, hub = Reporter(clock), RecordingHub()
    spools = {
        signal: open_spool(directory / signal.value, f"forward-{signal}", report, most)
        for signal in (Signal.LOGS, Signal.TRACES)
    }
    receiver = ForwardReceiver(
        ForwardSettings(listen or (ListenSettings(port=0),), secrets=secrets, **settings),
        spools=spools,
        streams={signal: stream_of(spool, signal) for signal, spool in spools.items()},
        directory=directory,
        attributes=attributes,
        most=most,
        hub=hub,
        clock=clock,
        report=report,
    )
    try:
        await receiver.start()
        yield Forward(receiver, spools, hub, report)
    finally:
        await receiver.aclose()
        for spool in spools.values():
            spool.close()


@dataclass
class Syslog:
    """A syslog receiver and everything there is to look at."""

    receiver: SyslogReceiver
    spool: Spool
    report: Reporter

    @property
    def address(self) -> tuple[str, int]:
        return self.receiver.addresses[0]

    @property
    def udp(self) -> tuple[str, int]:
        return self.receiver.datagram_addresses[0]

    def records(self) -> list[Record]:
        return records_in(self.spool)

    def refused(self, cause: str) -> float:
        return counted(self.report.metrics.refused, "syslog", cause)

    def unparsed(self, cause: str) -> float:
        return counted(self.report.metrics.unparsed, "syslog", cause)

    async def holds(self, count: int) -> list[Record]:
        """The records, once there are so many."""
        received = self.report.metrics.received
        await until(lambda: counted(received, "syslog", "logs") >= count, f"{count} records are in the spool")
        return self.records()


@asynccontextmanager
async def syslog(
    directory: Path,
    *,
    attributes: Mapping[str, AttributeValue] = HOST,
    most: int = 64 << 20,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[Syslog]:
    """A syslog receiver with its spool in ``directory``; by default on UDP and TCP of loopback."""
    clock = clock or SystemClock()
    report = Reporter(clock)
    spool = open_spool(directory / "spool", "syslog-logs", report, most)
    if not settings.keys() & {"udp", "socket", "streams"}:
        settings |= {"udp": ("127.0.0.1", 0), "streams": (ListenSettings(port=0),)}
    receiver = SyslogReceiver(
        SyslogSettings(**settings),
        spool=spool,
        stream=stream_of(spool, Signal.LOGS),
        attributes=attributes,
        most=most,
        hub=RecordingHub(),
        clock=clock,
        report=report,
    )
    try:
        await receiver.start()
        yield Syslog(receiver, spool, report)
    finally:
        await receiver.aclose()
        spool.close()
