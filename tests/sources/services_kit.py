"""Services as the sidecar sees them: real directories, segments written by hand, a lock held by a process that can be killed."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shipper.contracts import Batch, Cut, Signal, Stream
from shipper.errors import RangeGone
from shipper.events import Event, Problem, Reporter, ServiceLoss
from shipper.handoff.frame import Kind, pack, pack_resource
from shipper.handoff.hello import Hello
from shipper.handoff.places import ALIVE, segment_name
from shipper.handoff.prepare import prepare_root
from shipper.handoff.table import FIRST, SIZE, SLOT, header
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp.decode import Record, records
from shipper.otlp.encode import key_value, log_record, scope
from shipper.otlp.wire import field as wire_field
from shipper.otlp.wire import fixed64_field, text, varint_field
from shipper.sources.services.settings import ServiceSettings
from shipper.sources.services.source import ServiceSource
from shipper.testing.clock import START_WALL_NS, FakeClock

DESTINATION = "sink"
BOOT = "5e2d4b5a-0000-4000-8000-000000000001"
LIFE = "0189aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"
PATIENCE = 20.0  # of real time: only a test that has failed waits so long
MARGIN = 1 << 20
HOST: dict[str, Any] = {"service.name": "host-service", "service.version": "9.9", "shipper.life.id": LIFE}
_HOLD = "import fcntl,sys\nf=open(sys.argv[1],'r+b')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint(flush=True)\nsys.stdin.read()"


def attributes(**pairs: Any) -> bytes:
    """Encoded Resource.attributes; an underscore in a name is a dot."""
    return b"".join(wire_field(1, key_value(key.replace("_", "."), value)) for key, value in pairs.items())


def span(trace: int, number: int, name: str = "work", error: bool = False) -> bytes:
    """The content of a Span."""
    ids = wire_field(1, trace.to_bytes(16, "big")) + wire_field(2, number.to_bytes(8, "big"))
    times = fixed64_field(7, START_WALL_NS) + fixed64_field(8, START_WALL_NS + 5)
    status = wire_field(15, varint_field(3, 2)) if error else b""
    return ids + wire_field(5, text(name)) + varint_field(6, 2) + times + status


class Service:
    """A process that hands over. `die` ends it as SIGKILL does."""

    def __init__(self, root: Path, *, pid: int = 100, boot: str = BOOT, service: str = "checkout", lives: bool = True):
        name = f"p{pid}-{os.urandom(8).hex()}"
        hidden = root / f".{name}"
        hidden.mkdir(mode=0o770)
        self.directory = root / name
        self.boot = boot
        self.service = service
        self.pid = pid
        self.open: dict[str, tuple[int, Path]] = {}
        self.seqs: dict[str, int] = {}
        self._holder: subprocess.Popen[bytes] | None = None
        alive = hidden / ALIVE
        alive.write_bytes(header() + bytes(SIZE - len(header())))
        if lives:
            self._holder = subprocess.Popen(
                [sys.executable, "-S", "-E", "-c", _HOLD, str(alive)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert self._holder.stdout is not None
            self._holder.stdout.readline()
        hidden.rename(self.directory)

    def frame(self, signal: str, kind: Kind, body: bytes = b"", **head: Any) -> bytes:
        """A frame with the next number of the series; nothing is written."""
        seq = self.seqs.get(signal, 0)
        self.seqs[signal] = seq + 1
        return pack(kind, seq, body, time_ns=START_WALL_NS + seq, **head)

    def begin(self, signal: str, base: int = 0) -> None:
        """A segment with what stands at its beginning."""
        path = self.directory / segment_name(signal, base)
        hello = Hello(signal, base, self.seqs.get(signal, 0), boot=self.boot, pid=self.pid, service=self.service)
        stated = attributes(service_name=self.service, team="blue")
        content = self.frame(signal, Kind.HEAD, hello.body())
        content += self.frame(
            signal, Kind.RESOURCE, pack_resource(stated, attributes(service_version="guess", x="1")), resource=1
        )
        content += self.frame(signal, Kind.SCOPE, scope("lib", "1"), scope=1)
        content += self.frame(signal, Kind.ROUTE, b"/pay", route=1)
        hidden = path.with_name("." + path.name)
        hidden.write_bytes(content)
        hidden.rename(path)
        self.open[signal] = (base, path)

    def raw(self, signal: str, data: bytes) -> None:
        """Append bytes to the current segment."""
        if signal not in self.open:
            self.begin(signal)
        with self.open[signal][1].open("ab") as file:
            file.write(data)

    def log(self, *bodies: str, resource: int = 1, **head: Any) -> None:
        """Log records."""
        if "logs" not in self.open:
            self.begin("logs")
        for body in bodies:
            content = log_record(time_ns=START_WALL_NS, observed_ns=START_WALL_NS, body=body)
            self.raw("logs", self.frame("logs", Kind.LOG, content, resource=resource, scope=1, severity=9, **head))

    def span(self, trace: int, number: int, *, error: bool = False, duration_ns: int = 5) -> None:
        """A server span."""
        if "traces" not in self.open:
            self.begin("traces")
        flags = 2 | (8 if error else 0)
        self.raw(
            "traces",
            self.frame(
                "traces",
                Kind.SPAN,
                span(trace, number, error=error),
                flags=flags,
                resource=1,
                scope=1,
                route=1,
                trace=trace,
                duration_ns=duration_ns,
            ),
        )

    def opened(self, slot: int, trace: int, number: int, *, ending: int = -1, name: str = "running") -> None:
        """A span that begins and does not end."""
        data = SLOT.pack(
            ending + 1, trace.to_bytes(16, "big"), number.to_bytes(8, "big"), bytes(8), 1, 1, 2, len(name), name.encode(),
            START_WALL_NS - 1000,
        )  # fmt: skip
        with (self.directory / ALIVE).open("r+b") as file:
            file.seek(FIRST + slot * SLOT.size)
            file.write(data)

    def rotate(self, signal: str, *, seal: bool = True) -> None:
        """Go on in the next segment."""
        base, path = self.open[signal]
        following = base + path.stat().st_size + MARGIN
        self.begin(signal, following)
        if seal:
            with path.open("ab") as file:
                file.write(self.frame(signal, Kind.SEAL, trace=following))

    def segments(self) -> list[str]:
        """Names of its segments."""
        return sorted(path.name for path in self.directory.glob("*.seg")) if self.directory.exists() else []

    def die(self) -> None:
        """As SIGKILL ends it."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            for pipe in (self._holder.stdin, self._holder.stdout):
                assert pipe is not None
                pipe.close()
            self._holder = None


@contextmanager
def services(root: Path) -> Iterator[Callable[..., Service]]:
    """Makes services and ends those that still live."""
    prepare_root(str(root))
    made: list[Service] = []

    def make(**options: Any) -> Service:
        made.append(Service(root, **options))
        return made[-1]

    try:
        yield make
    finally:
        for service in made:
            service.die()


@dataclass
class Sink:
    """A hub with one destination behind it. While ``open`` it takes everything at once and acknowledges it."""

    open: bool = True
    limit: int = 1 << 20
    streams: dict[str, Stream] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    lost: list[tuple[str, int, int, int]] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    at: dict[str, int] = field(default_factory=dict)
    unsaved: list[Batch] = field(default_factory=list)
    given_up: list[tuple[str, int, int, int]] = field(default_factory=list)

    def add(self, stream: Stream) -> None:
        assert stream.id not in self.streams, f"{stream.id} was announced twice"
        self.streams[stream.id] = stream
        self.at.setdefault(stream.id, stream.start)
        if self.at[stream.id] > stream.start:
            stream.released(self.at[stream.id])
        self.ready(stream)

    def ready(self, stream: Stream) -> None:
        assert stream.id in self.streams, f"{stream.id} is ready but was not announced"
        if self.open:
            self.take(stream)

    def finished(self, stream: Stream) -> None:
        assert stream.finished
        self.over.append(stream.id)
        self.ready(stream)

    def take(self, stream: Stream) -> None:
        """Cut all that is due."""
        while True:
            at = self.at[stream.id]
            try:
                batch = stream.cut(at, at, self.limit, START_WALL_NS)
            except RangeGone as gone:
                assert (gone.start, gone.end > at) == (at, True)  # noqa: PT017
                self.lost.append((stream.id, gone.start, gone.end, gone.records))
                self.given_up.append(self.lost[-1])
                self.at[stream.id] = gone.end
                stream.released(gone.end)
                continue
            if batch is None:
                return
            assert (batch.cut.start, batch.cut.resume) == (at, at)
            assert batch.cut.end > at
            assert stream.reread(batch.cut) == batch
            self.batches.append(batch)
            self.unsaved.append(batch)
            self.at[stream.id] = batch.cut.end
            stream.released(batch.cut.end)

    def take_all(self) -> None:
        """Open, and catch up."""
        self.open = True
        for stream in list(self.streams.values()):
            self.take(stream)

    def records(self, signal: Signal = Signal.LOGS) -> list[Record]:
        """All records of a signal, in the order of arrival."""
        found = []
        for batch in self.batches:
            if batch.signal is signal:
                more = list(records(signal, batch.payload))
                assert len(more) == batch.cut.records
                found += more
        return found

    @property
    def bodies(self) -> list[str]:
        """The texts of all log records."""
        return [str(record.body) for record in self.records()]


class Reports(Reporter):
    """Remembers what was said."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, logger=logging.getLogger("test"))
        self.said: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.said.append(event)
        super().__call__(event)

    def problems(self, kind: str) -> list[str]:
        """The messages of one kind of problem."""
        return [event.message for event in self.said if isinstance(event, Problem) and event.kind == kind]

    def losses(self) -> dict[str, int]:
        """What services lost, by cause."""
        found: dict[str, int] = {}
        for event in self.said:
            if isinstance(event, ServiceLoss):
                found[event.cause] = found.get(event.cause, 0) + event.records
        return found


class Following:
    """One run of a `ServiceSource`."""

    def __init__(self, root: Path, sink: Sink, clock: FakeClock, consumer: Any, settings: dict[str, Any]) -> None:
        self.root = root
        self.sink = sink
        self.clock = clock
        self.report = Reports(clock)
        self.ledger = LedgerThread(Ledger.open(root.parent / "ledger.db", report=self.report))
        self.source = ServiceSource(
            ServiceSettings(**{"root": str(root), "aside": str(root.parent / "set-aside"), **settings}),
            hub=sink,
            ledger=self.ledger,
            life=LIFE,
            boot=BOOT,
            attributes=HOST,
            labels={"service": "host-service"},
            clock=clock,
            report=self.report,
            consumer=consumer,
        )
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run until everything there is at the start was found."""
        self.task = asyncio.create_task(self.source.run())
        waiting = asyncio.create_task(self.source.settled())
        await asyncio.wait({self.task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE)
        if self.task.done():
            self.task.result()
        await waiting

    async def crash(self) -> None:
        """End as a kill would: nothing more is written but what the destination acknowledged."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        self.source._watcher.close()
        for name, start, end, records_ in self.sink.given_up:
            await self.ledger.call(Ledger.give_up, DESTINATION, name, start, end, records_, "gone")
        for batch in self.sink.unsaved:
            await self.ledger.call(_acknowledge, batch.stream, batch.cut)
        for name in self.sink.over:
            if name in self.sink.streams and self.sink.at[name] >= self.sink.streams[name].frontier():
                await self.ledger.call(Ledger.retire, name)  # as the real hub does
        self.sink.over.clear()
        self.sink.unsaved.clear()
        self.sink.given_up.clear()
        self.sink.streams.clear()
        await self.ledger.aclose()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for an effect."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert self.task is not None
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.001)

    async def second(self) -> None:
        """Let a second pass, and what is done every second be done."""
        await self.clock.until_sleeping()
        await self.clock.run(1)
        await self.source.settled()
        await self.clock.until_sleeping()

    async def bodies(self, count: int) -> list[str]:
        """Wait until so many log records arrived; their texts."""
        await self.until(lambda: len(self.sink.bodies) >= count)
        return self.sink.bodies


def _acknowledge(ledger: Ledger, stream: str, cut: Cut) -> None:
    request = f"{stream}-{cut.end}"
    signal = Signal(stream.rpartition(".")[2])
    ledger.commit(DESTINATION, request, signal, [(stream, cut)], "")
    ledger.acknowledge(DESTINATION, request)


@asynccontextmanager
async def following(
    root: Path, sink: Sink | None = None, *, clock: FakeClock | None = None, consumer: Any = None, **settings: Any
) -> AsyncIterator[Following]:
    """A running source; leaving ends it as a kill would."""
    run = Following(root, sink or Sink(), clock or FakeClock(), consumer, settings)
    await run.start()
    try:
        yield run
    finally:
        await run.crash()
