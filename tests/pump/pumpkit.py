"""What pump tests share: a stream in memory, an exporter that follows a script, a ledger without a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

import msgspec

from shipper.clock import Deadline
from shipper.contracts import (
    Accepted,
    Batch,
    Cut,
    Exporter,
    ExporterContext,
    Limits,
    Prepared,
    Request,
    Signal,
    Stream,
    StreamKind,
)
from shipper.errors import RangeGone
from shipper.events import Metrics, Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, LedgerThread, StreamRow
from shipper.pump import Hub, Pump
from shipper.testing.clock import FakeClock

LIFE = "0190aaaa-0000-7000-8000-000000000001"
P = ParamSpec("P")
T = TypeVar("T")


class MemoryStream(Stream):
    """Lines in memory; one line is one record, one that begins with '#' is filtered. ``destroyed`` can no longer be read."""

    def __init__(self, id: str, data: bytes = b"", *, signal: Signal = Signal.LOGS, kind: StreamKind = StreamKind.DATA):
        self.id = id
        self.name = f"/logs/{id}"
        self.signal = signal
        self.kind = kind
        self.start = 0
        self.data = bytearray(data)
        self.destroyed = IntervalSet()
        self.released_to = 0
        self.ended = False
        self.seen: list[tuple[int, float]] = []
        self.cuts = 0

    def frontier(self) -> int:
        return len(self.data)

    @property
    def finished(self) -> bool:
        return self.ended

    def first_seen(self, position: int) -> float | None:
        return next((at for size, at in self.seen if size >= position), None)

    def released(self, below: int) -> None:
        assert below >= self.released_to, "what is let go never comes back"
        self.released_to = below

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        return self._cut(at, limit, len(self.data), observed_ns)

    def _cut(self, at: int, limit: int, bound: int, observed_ns: int) -> Batch | None:
        self.cuts += 1
        limit = min(limit, bound - at)
        for start, end in self.destroyed.overlaps(at, at + limit):
            if start <= at:
                raise RangeGone(self.id, at, end, "it was truncated")
            limit = start - at
        end = self.data.rfind(b"\n", at, at + limit) + 1
        if end <= at:
            end = self.data.find(b"\n", at, bound) + 1
        return self._batch(at, end, observed_ns) if end > at else None

    def reread(self, cut: Cut) -> Batch:
        assert cut.start >= self.released_to, "read again after it was let go"
        for start, end in self.destroyed.overlaps(cut.start, cut.end):
            raise RangeGone(self.id, start, end, "it was truncated")
        return self._batch(cut.start, cut.end, cut.observed_ns)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        middle = (cut.start + cut.end) // 2
        border = self.data.find(b"\n", middle, cut.end - 1) + 1 or self.data.rfind(b"\n", cut.start, middle) + 1
        if not cut.start < border < cut.end:
            return None
        return (
            self._batch(cut.start, border, cut.observed_ns).cut,
            self._batch(border, cut.end, cut.observed_ns).cut,
        )

    def _batch(self, start: int, end: int, observed_ns: int) -> Batch:
        lines = bytes(self.data[start:end]).splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(b"#")]
        cut = Cut(start, end, start, end, len(kept), observed_ns, filtered=len(lines) - len(kept))
        return Batch(LIFE, self.id, self.signal, cut, b"".join(kept), self.kind)


class ForgetfulStream(MemoryStream):
    """One of which what was let go is gone: a fallback that stands by again may ask for it."""

    def reread(self, cut: Cut) -> Batch:
        if cut.start < self.released_to:
            raise RangeGone(self.id, cut.start, cut.end, "it was let go")
        return super().reread(cut)


class ValuedStream(ForgetfulStream):
    """One that can also be cut out of order; what holds the word ``poison`` or ``bad`` is worth most."""

    def border(self, position: int) -> int | None:
        return self.data.rfind(b"\n", 0, position) + 1

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        found = []
        at = self.border(start) or 0
        while at < (self.border(end) or 0):
            behind = self.data.find(b"\n", at) + 1
            if b"poison" in self.data[at:behind] or b"bad" in self.data[at:behind]:
                found.append((at, behind))
            at = behind
        return found

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        return self._cut(at, limit, end, observed_ns)


Answer = Callable[[Prepared, Deadline], Awaitable[Accepted]]


async def healthy(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take everything at once."""
    return Accepted()


@dataclass
class Got:
    """What one batch was when the destination took it."""

    request: str
    key: str
    payload: bytes


class NoSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The scripted exporter has no options."""


class ScriptedExporter(Exporter):
    """Answers as ``answer`` says; remembers every attempt and what was accepted."""

    Settings: ClassVar[type[Any]] = NoSettings

    def __init__(self, name: str = "dest", settings: Any = None, context: ExporterContext | None = None) -> None:
        self.name = name
        self.limits = Limits()
        self.answer: Answer = healthy
        self.attempts: list[Prepared] = []
        self.got: list[Got] = []
        self.at_once = 0
        self.most_at_once = 0
        self.has: Mapping[str, IntervalSet] | None = None
        self.prepare_fails = 0

    def prepare(self, request: Request) -> Prepared:
        if self.prepare_fails:
            self.prepare_fails -= 1
            raise RuntimeError("a bug in prepare")
        assert request.batches
        assert all(batch.payload for batch in request.batches)
        body = [Got(request.id, batch.key, batch.payload) for batch in request.batches]
        return Prepared(request.id, request.signal, body, request.raw_bytes // 4 or 1)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        self.attempts.append(prepared)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = await self.answer(prepared, deadline)
        finally:
            self.at_once -= 1
        self.got.extend(prepared.body)
        return answer

    async def known(self, life: str) -> Mapping[str, IntervalSet] | None:
        return self.has

    def lines(self) -> list[bytes]:
        """Every line that was accepted, in order of arrival."""
        return [line for got in self.got for line in got.payload.splitlines()]


def lines_of(prepared: Prepared) -> list[bytes]:
    """All lines of a request."""
    return [line for got in prepared.body for line in got.payload.splitlines()]


class InlineLedger:
    """A real ledger called on the loop itself, so that a fake clock never waits for a thread. ``fails`` goes first."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.fails: list[Exception] = []
        self.calls: list[str] = []

    async def call(self, fn: Callable[Concatenate[Ledger, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)
        self.calls.append(fn.__name__)
        return fn(self.ledger, *args, **kwargs)


class MemoryQuarantine:
    """Keeps batches in a list; ``fails`` errors are raised first."""

    def __init__(self) -> None:
        self.kept: list[tuple[Batch, str, str, str]] = []
        self.fails: list[Exception] = []

    def put(self, batch: Batch, destination: str, reason: str, status: str, name: str = "") -> str:
        if self.fails:
            raise self.fails.pop(0)
        assert name == f"/logs/{batch.stream}", "as people know it"
        self.kept.append((batch, destination, reason, status))
        return f"q{len(self.kept)}"

    def holds(self, destination: str, key: str) -> bool:
        return any(batch.key == key and to == destination for batch, to, *_ in self.kept)

    def lines(self) -> list[bytes]:
        return [line for batch, *_ in self.kept for line in batch.payload.splitlines()]


@dataclass
class Host:
    """A hub, a ledger, and as many pumps as wanted; a crash is leaving `running` and entering it again."""

    directory: Path
    clock: FakeClock = field(default_factory=FakeClock)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.report = Reporter(self.clock, self.metrics)
        self.ledger = InlineLedger(Ledger.open(self.directory / "ledger.db", report=self.report))
        self.quarantine = MemoryQuarantine()
        self.streams: dict[str, MemoryStream] = {}
        self.new_run()

    def new_run(self) -> None:
        """Forget everything that is not in the ledger."""
        self.hub = Hub(cast(LedgerThread, self.ledger), clock=self.clock, report=self.report)

    def pump(self, exporter: Exporter, **options: Any) -> Pump:
        options.setdefault("random", Random(1))
        return Pump(
            exporter,
            self.hub,
            cast(LedgerThread, self.ledger),
            life=LIFE,
            clock=self.clock,
            report=self.report,
            quarantine=self.quarantine,
            **options,
        )

    def add(self, stream: MemoryStream) -> MemoryStream:
        self.streams[stream.id] = stream
        self.ledger.ledger.put_stream(StreamRow(stream.id, stream.kind, stream.signal, "memory", stream.name, 0))
        self.hub.add(stream)
        return stream

    def write(self, stream: MemoryStream, data: bytes) -> None:
        stream.data += data
        stream.seen.append((len(stream.data), self.clock.monotonic()))
        self.hub.ready(stream)

    @asynccontextmanager
    async def running(self, *pumps: Pump) -> AsyncIterator[None]:
        """The pumps at work; they are killed at the end, whatever they are at."""
        tasks = [asyncio.create_task(pump.run()) for pump in pumps]
        try:
            await self.clock.settle()
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if not isinstance(result, asyncio.CancelledError):
                raise result

    async def drained(self, pump: Pump, seconds: float = 3600, **options: Any) -> bool:
        """Let time jump until the pump is idle."""
        async with self.clock.autojump():
            return await pump.wait_idle(Deadline.after(self.clock, seconds), **options)

    def close(self) -> None:
        self.ledger.ledger.close()
