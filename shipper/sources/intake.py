"""From a request's bytes to the spool, once: checking them, leaving out what was stored before, and remembering.

A batch is known by (life, stream, positions). The frame in the spool says which batches it holds, and is the truth;
the ledger's intervals are an index over the frames, brought up to date at start, so that losing the index's last
moments loses nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from shipper.clock import Clock
from shipper.contracts import Member, Signal, StreamKind
from shipper.errors import MalformedOtlp, SpoolFull, StateError
from shipper.events import DuplicateRecords, Problem, Received, RecordsRefused, Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp import decode
from shipper.sources.listing import Listed, Origin, check_listed
from shipper.sources.otlp_check import Held, checked
from shipper.sources.otlp_salvage import salvage
from shipper.sources.refusal import bad, later
from shipper.spool import FrameHeader, Spool

KEPT_NS = 7 * 86_400 * 1_000_000_000  # how long a life's intervals are remembered after its last sign
_INLINE = 1 << 20  # bodies below this are written on the event loop: a thread's hop would cost more
_INDEX_BYTES = 16 << 20  # of a spool without batches of other hosts, between two notes of how far it is indexed
_REINDEX_BYTES = 4 << 20

Row = tuple[str, str, int, int, int]  # life, stream, start, end, received_ns


class Intake:
    """Stores requests of all three signals, each signal in a spool of its own."""

    def __init__(
        self,
        name: str,
        spools: Mapping[Signal, Spool],
        ledger: LedgerThread,
        clock: Clock,
        report: Reporter,
        put_on: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """``put_on``: puts something on every resource of a request that is sound; may raise a `Refusal`."""
        self._put_on = put_on
        self._name = name
        self._spools = spools
        self._ledger = ledger
        self._clock = clock
        self._report = report
        self._busy: dict[tuple[str, str], list[tuple[int, int, asyncio.Future[None]]]] = {}
        self._indexed = {signal: IntervalSet() for signal in spools}
        self._noted: dict[Signal, int] = {}  # how far it is indexed, as the ledger knows it
        self._unindexed: list[Row] = []  # in the spool, but the ledger could not be written

    async def start(self) -> None:
        """Bring the index up to date with the frames in the spools.

        Raises `StateError` when the ledger cannot be used, `SpoolFull` when a spool was set back and cannot be moved on.
        """
        for signal, spool in self._spools.items():
            indexed = await self._ledger.call(Ledger.spool_indexed, spool.name)
            spool.skip_to(indexed)  # cursors stand there, or before
            at = max(indexed, spool.first())
            while frames := spool.frames(at, _REINDEX_BYTES):
                rows: list[Row] = []
                for frame in frames:
                    rows += self._rows_of(frame.header, spool.name)
                at = frames[-1].end
                await self._ledger.call(_index, rows, spool.name, at)
            self._indexed[signal].add(0, max(at, spool.frontier()))
            self._noted[signal] = at

    async def take(self, signal: Signal, body: bytes, origin: Origin) -> int:
        """Store what is new in ``body``; return when it is durable: how many records were left out as they are broken.

        Raises a `Refusal`: 400 when the bytes are not what they claim to be, 503 when they cannot be stored now.
        """
        now = self._clock.wall_ns()
        if not origin.batches:
            return await self._take_unlisted(signal, body, origin, now)
        try:
            held = await check_listed(signal, body, origin)
        except MalformedOtlp as error:
            raise bad("malformed", str(error)) from error
        async with self._claimed(origin):
            kept = await self._new(origin)
            if kept:
                await self._keep(signal, body, origin, kept, held, now)
        return 0

    async def _take_unlisted(self, signal: Signal, body: bytes, origin: Origin, now: int) -> int:
        """Take what a sender that is no Shipper sends: of it a broken record costs only itself."""
        rejected = 0
        try:
            held = await checked(signal, body)
        except MalformedOtlp as error:
            saved = await asyncio.to_thread(salvage, signal, body)
            if saved is None:
                raise bad("malformed", str(error)) from error
            body, held, rejected = saved
            self._report(RecordsRefused(self._name, "malformed", rejected, str(error)))
        if held.records:
            body = body if self._put_on is None else self._put_on(body)
            header = FrameHeader(held.records, held.units, self._observed(origin, now))
            span = await self._store(signal, body, header)
            if span[1] - self._noted.get(signal, 0) >= _INDEX_BYTES or self._unindexed:
                await self._remember(signal, span, [], "", now)
            self._report(Received(self._name, signal.value, held.records))
        return rejected

    async def close(self) -> None:
        """Note how far the spools are indexed. Raises `StateError`."""
        for signal, spool in self._spools.items():
            await self._ledger.call(Ledger.set_spool_indexed, spool.name, self._indexed[signal].prefix(0))

    async def forget_old(self) -> None:
        """Forget the intervals of lives that gave no sign for seven days. Raises `StateError`."""
        await self._ledger.call(Ledger.forget_accepted, self._clock.wall_ns() - KEPT_NS)

    async def known(self, life: str) -> Mapping[str, IntervalSet]:
        """What was accepted of a life, by stream. Raises `StateError`."""
        found = await self._ledger.call(Ledger.accepted_streams, life)
        for owner, stream, start, end, _ in self._unindexed:
            if owner == life:
                found.setdefault(stream, IntervalSet()).add(start, end)
        return found

    async def _keep(
        self, signal: Signal, body: bytes, origin: Origin, kept: Sequence[Listed], held: Sequence[Held], now: int
    ) -> None:
        """Put batches in one frame, and into the index."""
        members: list[Member] = []
        offset = 0
        for batch in kept:
            members.append(
                Member(
                    origin.life,
                    batch.stream,
                    batch.start,
                    batch.end,
                    batch.records,
                    offset,
                    batch.length,
                    now,
                    batch.kind,
                )
            )
            offset += batch.length
        records = sum(batch.records for batch in kept)
        if len(kept) < len(origin.batches):
            body = b"".join(body[batch.offset : batch.offset + batch.length] for batch in kept)
        units = sum(found.units for batch, found in zip(origin.batches, held, strict=True) if batch in kept)
        header = FrameHeader(records, units, self._observed(origin, now), members=tuple(members))
        span = await self._store(signal, body, header)
        rows = [_row(member) for member in members]
        ended = signal is Signal.LOGS and self._says_farewell(body, members)
        await self._remember(signal, span, rows, origin.life if ended else "", now)
        self._report(Received(self._name, signal.value, records))

    async def _store(self, signal: Signal, body: bytes, header: FrameHeader) -> tuple[int, int]:
        spool = self._spools[signal]
        encoded = header.encode()
        try:
            if len(body) < _INLINE:
                span = spool.append(encoded, body)
            else:
                span = await asyncio.to_thread(spool.append, encoded, body)
            await spool.durable(span[1])
        except SpoolFull as error:
            raise later("full", str(error)) from error
        except StateError as error:
            raise later("disk", str(error)) from error
        self._indexed[signal].add(*span)
        return span

    async def _remember(self, signal: Signal, span: tuple[int, int], rows: list[Row], ended: str, now: int) -> None:
        """Index what is in the spool. It is safe there, so a ledger that cannot be written is no reason to refuse."""
        unindexed, self._unindexed = self._unindexed, []
        rows = unindexed + rows
        position = self._indexed[signal].prefix(0)
        try:
            await self._ledger.call(_index, rows, self._spools[signal].name, position, ended, now)
            self._noted[signal] = position
        except StateError as error:
            self._unindexed += rows
            self._indexed[signal].remove(*span)
            self._report(
                Problem("ledger", f"{self._name}: accepted batches are not yet in the ledger: {error}", self._name)
            )

    async def _new(self, origin: Origin) -> list[Listed]:
        """The batches that are not stored yet, or not wholly."""
        streams = sorted({batch.stream for batch in origin.batches})
        try:
            known = await self._ledger.call(_accepted, origin.life, streams)
        except StateError as error:
            raise later("ledger", str(error)) from error
        for life, stream, start, end, _ in self._unindexed:
            if life == origin.life and stream in known:
                known[stream].add(start, end)
        kept: list[Listed] = []
        for batch in origin.batches:
            have = known[batch.stream]
            if have.covers(batch.start, batch.end):
                self._report(DuplicateRecords(self._name, batch.records, stored=False))
                continue
            if have.overlaps(batch.start, batch.end):
                self._report(DuplicateRecords(self._name, batch.records, stored=True))
            have.add(batch.start, batch.end)
            kept.append(batch)
        return kept

    @asynccontextmanager
    async def _claimed(self, origin: Origin) -> AsyncIterator[None]:
        """Wait until no other request carries any of these batches, then keep others waiting until the outcome.

        All are claimed at once and nothing is held while waiting, so two requests never wait for each other.
        """
        while others := self._carriers(origin):
            await asyncio.wait(others)
        done = asyncio.get_running_loop().create_future()
        entries = [((origin.life, b.stream), (b.start, b.end, done)) for b in origin.batches]
        for key, entry in entries:
            self._busy.setdefault(key, []).append(entry)
        try:
            yield
        finally:
            done.set_result(None)
            for key, entry in entries:
                self._busy[key].remove(entry)
                if not self._busy[key]:
                    del self._busy[key]

    def _carriers(self, origin: Origin) -> set[asyncio.Future[None]]:
        return {
            done
            for batch in origin.batches
            for start, end, done in self._busy.get((origin.life, batch.stream), ())
            if start < batch.end and batch.start < end
        }

    def _observed(self, origin: Origin, now: int) -> int:
        """When the oldest record was first seen; a sender whose clock is ahead does not make it the future."""
        return min(origin.observed_ns or now, now)

    def _says_farewell(self, body: bytes, members: Sequence[Member]) -> bool:
        """True when one of the batches ends its life."""
        return any(
            _ends_life(body[member.offset : member.offset + member.length])
            for member in members
            if member.kind is StreamKind.LIFE
        )

    def _rows_of(self, header: bytes, spool: str) -> list[Row]:
        try:
            return [_row(member) for member in FrameHeader.decode(header).members]
        except ValueError as error:
            self._report(Problem("spool_header", f"spool {spool}: a frame's header is not understood: {error}", spool))
            return []


def _accepted(ledger: Ledger, life: str, streams: Sequence[str]) -> dict[str, IntervalSet]:
    return {stream: ledger.accepted(life, stream) for stream in streams}


def _index(ledger: Ledger, rows: Sequence[Row], spool: str, position: int, ended: str = "", now: int = 0) -> None:
    for row in rows:
        ledger.add_accepted(*row)
    if ended:
        ledger.life_ended(ended, now)
    ledger.set_spool_indexed(spool, position)


def _row(member: Member) -> Row:
    return (member.life, member.stream, member.start, member.end, member.received_ns)


def _ends_life(data: bytes) -> bool:
    for record in decode.records(Signal.LOGS, data):
        if record.event_name != "shipper.farewell" or not isinstance(record.body, str):
            continue
        try:
            said = json.loads(record.body)
        except ValueError:
            continue  # it is stored as it is; whoever reads the account will say so
        if isinstance(said, dict) and said.get("ends_life") is True:
            return True
    return False
