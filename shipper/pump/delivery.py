"""One committed request from its first attempt to its end: every answer has its consequence here, and none is lost.

The bytes of a request are let go as soon as the exporter has prepared them; whatever is needed again later (halves, a
quarantined batch) is read again from its stream, which gives the same bytes.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Protocol

from shipper.clock import Clock
from shipper.contracts import Accepted, Batch, Cut, Exporter, Prepared, Request
from shipper.errors import (
    DeliveryError,
    QuarantineFull,
    RangeGone,
    Rejected,
    Retryable,
    ShipperError,
    TooLarge,
    Unusable,
)
from shipper.events import Dropped, PartialSuccess, Problem, Quarantined, Reporter, Retried
from shipper.ids import uuid7
from shipper.ledger import Ledger
from shipper.pump.backoff import LONGEST, UNREACHABLE, UNUSABLE_FIRST, Backoff
from shipper.pump.books import Books
from shipper.pump.gate import Gate
from shipper.pump.gather import Parcel, Sizing
from shipper.pump.health import Health
from shipper.pump.lane import Piece
from shipper.pump.recall import GaveWay
from shipper.pump.window import Window

INLINE_BYTES = 64 << 10  # up to this a request is prepared at once: a hop to a thread would take longer
SEVERAL_OFFENDERS = 32  # see `_Trial`
_STATUS = re.compile(
    r"\b(?:answered|HTTP|status)(?: code)? ([1-5]\d\d)\b", re.IGNORECASE
)  # not just any number: a port, an address


class QuarantineStore(Protocol):
    """Where refused batches are kept; `shipper.pump.quarantine.Quarantine` is the real one."""

    def put(self, batch: Batch, destination: str, reason: str, status: str) -> str:
        """Keep a batch durably; its id.

        Raises OSError or `ShipperError` when that is impossible now, `QuarantineFull` when waiting does not help.
        """

    def holds(self, destination: str, key: str) -> bool:
        """Whether a batch was set aside already, perhaps by a run that died before it could write that down."""


@dataclass(frozen=True, slots=True)
class Done:
    """Pieces that need nothing more from this destination; ``acknowledged`` false: set aside or given up.

    ``records``: how many data records the destination has now.
    """

    pieces: Sequence[Piece]
    acknowledged: bool
    records: int = 0


@dataclass(slots=True)
class _Trial:
    """Bounds the search for offenders in one request.

    With k offenders, halving is refused 2k - 1 times more often than accepted. Past a limit on that difference the
    content as a whole is what the destination does not take, and further halving would only be a flood of requests.
    """

    refused: int = 0
    accepted: int = 0

    @property
    def hopeless(self) -> bool:
        return self.refused - self.accepted > SEVERAL_OFFENDERS


@dataclass(frozen=True, slots=True)
class Tools:
    """What a courier works with, shared by everything that belongs to one destination."""

    exporter: Exporter
    books: Books
    gate: Gate
    window: Window
    health: Health
    sizing: Sizing
    quarantine: QuarantineStore
    threads: ThreadPoolExecutor
    clock: Clock
    report: Reporter
    random: Random
    life: str


class _ExporterFailed(Exception):
    """An exporter raised what it must not raise; the text says what."""


@contextmanager
def _exporter_at_work() -> Iterator[None]:
    """Around calls into an exporter: a bug there must lose nothing, a bug of ours must surface."""
    try:
        yield
    except DeliveryError:
        raise
    except Exception as error:
        raise _ExporterFailed(f"{type(error).__name__}: {error}") from error


class Courier:
    """Delivers the requests of one destination. ``done`` is called, on the event loop, for whatever is settled."""

    def __init__(self, tools: Tools, done: Callable[[Done], None]) -> None:
        self._tools = tools
        self._done = done
        self._name = tools.exporter.name
        self._outcomes = tools.report.metrics.requests

    async def deliver(self, parcel: Parcel, batches: list[Batch]) -> list[Parcel]:
        """Return when every piece of ``parcel`` is settled. ``batches`` is emptied; empty: they are read again.

        What is given back was called back, and is still open.
        """
        trial = _Trial()
        offenders: list[
            tuple[Parcel, TooLarge | Rejected]
        ] = []  # set aside last: that may have to wait for a full disk
        stack = [parcel]
        while stack:
            current = stack.pop()
            try:
                answer = await self._until_answered(current, batches)
            except GaveWay:
                return [current, *reversed(stack), *(offender for offender, _ in offenders)]
            if isinstance(answer, Accepted):
                trial.accepted += 1
                self._tools.sizing.accepted(current.raw)
                await self._acknowledge(current, answer)
                continue
            trial.refused += isinstance(answer, Rejected)
            halves = await self._smaller(current, answer, trial)
            stack.extend(reversed(halves))
            if not halves:
                offenders.append((current, answer))
        for offender, answer in offenders:
            await self._quarantine(offender, "too_large" if isinstance(answer, TooLarge) else "rejected", str(answer))
        return []

    async def divide(self, parcel: Parcel, parts: Sequence[list[Piece]]) -> list[Parcel]:
        """Requests of their own in place of one that the destination has nothing of; together they are the same ranges."""
        return await self._replace(parcel, parts)

    async def _until_answered(self, parcel: Parcel, batches: list[Batch]) -> Accepted | TooLarge | Rejected:
        """Send the same again until there is an answer about this request (and not about the destination)."""
        backoff = parcel.backoff = parcel.backoff or Backoff(self._tools.random)
        prepared: Prepared | None = None
        while True:
            try:
                async with parcel.recall.waiting():
                    await self._tools.gate.rest(backoff)
                if prepared is None:
                    prepared = await self._prepare(parcel, batches)
                    if prepared is None:
                        return Accepted()
                answer = await self._attempt(parcel, prepared)
            except (TooLarge, Rejected) as error:
                self._tools.health.answered()
                self._count("too_large" if isinstance(error, TooLarge) else "rejected")
                return error
            except Retryable as error:
                self._retry_later(error, backoff)
            except Unusable as error:
                self._hold_unusable(error, backoff)
            except _ExporterFailed as error:
                self._survive(error, backoff)
            else:
                self._tools.health.answered()
                self._count("partial" if answer.rejected else "accepted")
                return answer

    async def _prepare(self, parcel: Parcel, batches: list[Batch]) -> Prepared | None:
        """The exporter's form of the request; None when there is nothing to send in it."""
        if not batches:
            batches = await self._read_again(parcel)
        full = tuple(batch for batch in batches if self._is_sent(batch))
        batches.clear()
        if not full:
            return None
        request = Request(parcel.id, parcel.signal, full)
        raw = parcel.raw = request.raw_bytes
        exporter = self._tools.exporter
        if raw <= INLINE_BYTES:
            with _exporter_at_work():
                prepared = exporter.prepare(request)
        else:
            loop = asyncio.get_running_loop()
            async with parcel.recall.waiting():
                with _exporter_at_work():
                    prepared = await loop.run_in_executor(self._tools.threads, exporter.prepare, request)
        source = sum(batch.cut.end - batch.cut.start for batch in full)
        self._tools.sizing.measured(source=source, raw=raw, wire=prepared.wire_bytes)
        return prepared

    def _is_sent(self, batch: Batch) -> bool:
        """A batch without records goes only where ranges are proved; to others it would be an empty request."""
        exporter = self._tools.exporter
        return bool(batch.payload) and (batch.cut.records > 0 or exporter.keeps_accounts or not exporter.accounts_known)

    async def _attempt(self, parcel: Parcel, prepared: Prepared) -> Accepted:
        gate, window, clock = self._tools.gate, self._tools.window, self._tools.clock
        async with parcel.recall.waiting():
            await self._turn()
        with window.sending():
            began = clock.monotonic()
            unsent, parcel.unsent = parcel.unsent, False
            try:
                with _exporter_at_work(), self._tools.health.attempt():
                    answer = await self._tools.exporter.send(prepared, gate.deadline)
            except Retryable as error:
                parcel.unsent = unsent and error.unsent
                if is_throttling(error):
                    told = error.wait is not None
                    window.mercy(prepared.request_id, began, gate.capped(LONGEST), told=told)
                raise
            window.answered(clock.monotonic() - began)
        return answer

    async def _turn(self) -> None:
        """Wait until the next attempt may begin, which has to be at once then."""
        gate, window = self._tools.gate, self._tools.window
        while gate.wait() > 0 or window.wait() > 0:
            await gate.passed()
            await window.admits()

    def _retry_later(self, error: Retryable, backoff: Backoff) -> None:
        cause = cause_of(error)
        self._tools.health.failed()
        self._count("retryable")
        self._tools.report(Retried(self._name, cause, str(error)))
        if error.wait is not None:
            self._tools.gate.hold(error.wait, self._tools.gate.capped(backoff.next()))
        else:
            self._tools.gate.plan(backoff, UNREACHABLE if cause == "connection" else math.inf)

    def _hold_unusable(self, error: Unusable, backoff: Backoff) -> None:
        self._tools.health.failed(unusable=True)
        self._count("unusable")
        self._tools.report(
            Problem("destination-unusable", f"{self._name} cannot be used as it is set up: {error}", self._name)
        )
        slow = Backoff(self._tools.random, first=UNUSABLE_FIRST, floor=0.8)
        slow.attempts = backoff.attempts
        self._tools.gate.hold(self._tools.gate.capped(slow.next()))
        backoff.attempts = slow.attempts

    def _survive(self, error: _ExporterFailed, backoff: Backoff) -> None:
        self._tools.health.failed(unusable=True)
        self._count("failed")
        self._tools.report(
            Problem("exporter-bug", f"the exporter of {self._name} failed in a way it should not: {error}", self._name)
        )
        slow = Backoff(self._tools.random, first=UNUSABLE_FIRST, longest=2 * LONGEST, floor=0.8)
        slow.attempts = backoff.attempts
        self._tools.gate.plan(slow)
        backoff.attempts, backoff.until = slow.attempts, slow.until

    async def _acknowledge(self, parcel: Parcel, answer: Accepted) -> None:
        if not parcel.pieces:  # all of it was gone when it was to be read again
            return
        rejected = max(0, min(answer.rejected, parcel.records))
        if rejected:
            self._tools.report(PartialSuccess(self._name, rejected, answer.message))
        await self._tools.books.call(Ledger.acknowledge, self._name, parcel.id, rejected)
        data = sum(piece.cut.records for piece in parcel.pieces if piece.lane.counts)
        self._done(Done(parcel.pieces, True, max(0, data - rejected)))

    async def _smaller(self, parcel: Parcel, answer: TooLarge | Rejected, trial: _Trial) -> list[Parcel]:
        """The halves to try next; none when there are none or it would not help."""
        if isinstance(answer, TooLarge) and parcel.records > 1:
            self._tools.sizing.too_large(parcel.raw)
        if isinstance(answer, TooLarge) or (answer.isolate and not trial.hopeless):
            return await self._halves(parcel)
        return []

    async def _halves(self, parcel: Parcel) -> list[Parcel]:
        """Two parcels in place of one, in the books first; none when it is a single record."""
        if len(parcel.pieces) > 1:
            middle = len(parcel.pieces) // 2
            parts = [parcel.pieces[:middle], parcel.pieces[middle:]]
        else:
            (piece,) = parcel.pieces
            try:
                cuts = piece.lane.stream.halve(piece.cut)
            except RangeGone:
                return [parcel]  # reading it again says so too, and gives it up
            if cuts is None:
                return []
            parts = [[Piece(piece.lane, cut, piece.since)] for cut in cuts]
        return await self._replace(parcel, parts)

    async def _replace(self, parcel: Parcel, parts: Sequence[list[Piece]]) -> list[Parcel]:
        now = self._tools.clock.wall_ns()
        parcels = [Parcel(uuid7(now), parcel.signal, pieces, parcel.began) for pieces in parts]
        for part in parcels:
            part.recall, part.unsent = parcel.recall, parcel.unsent
        rows: list[tuple[str, list[tuple[str, Cut]]]] = [(p.id, [piece.key for piece in p.pieces]) for p in parcels]
        await self._tools.books.call(Ledger.replace, self._name, parcel.id, rows)
        return parcels

    async def _quarantine(self, parcel: Parcel, cause: str, reason: str) -> None:
        backoff = Backoff(self._tools.random, first=1.0)
        no_room: list[tuple[Piece, str]] = []
        batches = await self._read_again(parcel)
        for piece, batch in zip(tuple(parcel.pieces), batches, strict=True):
            if not batch.payload:
                continue
            try:
                where = await self._put_aside(batch, cause, reason, backoff)
            except QuarantineFull as error:
                no_room.append((piece, f"{reason}; {error}"))
            else:
                self._tools.report(Quarantined(self._name, batch.key, batch.cut.records, cause, reason, where))
        if no_room:
            await self._give_up(parcel, no_room, "quarantine_full")
        if parcel.pieces:
            await self._tools.books.call(Ledger.settle, self._name, parcel.id, "quarantined", cause)
            self._done(Done(parcel.pieces, False))

    async def _put_aside(self, batch: Batch, cause: str, reason: str, backoff: Backoff) -> str:
        """Keep a batch; waits while the disk is full. Raises `QuarantineFull`: its own limit does not go away by waiting."""
        loop = asyncio.get_running_loop()
        put = self._tools.quarantine.put
        while True:
            try:
                return await loop.run_in_executor(self._tools.threads, put, batch, self._name, reason, cause)
            except QuarantineFull:
                raise
            except (OSError, ShipperError) as error:
                self._tools.report(
                    Problem("quarantine", f"cannot set aside what {self._name} refused, kept pending: {error}")
                )
            await self._tools.gate.pause(backoff)

    async def _read_again(self, parcel: Parcel) -> list[Batch]:
        """The batches of ``parcel``, byte for byte; pieces that are gone leave it and are counted.

        After a restart with other settings a range may hold other records than when it was cut: then the books follow.
        """
        batches: list[Batch] = []
        gone: list[tuple[Piece, str]] = []
        for piece in parcel.pieces:
            try:
                batches.append(await self._reread(piece))
            except RangeGone as error:
                gone.append((piece, error.reason))
            await asyncio.sleep(0)  # four megabytes at one go would make everybody else wait
        aside = [piece for piece, _ in gone if self._tools.quarantine.holds(self._name, self._key(piece))]
        if aside:
            dead = await self._take_out(parcel, aside)
            await self._tools.books.call(Ledger.settle, self._name, dead, "quarantined", "earlier_run")
            self._done(Done(aside, False))
        if lost := [(piece, reason) for piece, reason in gone if piece not in aside]:
            await self._give_up(parcel, lost, "gone")
        now = [Piece(piece.lane, batch.cut, piece.since) for piece, batch in zip(parcel.pieces, batches, strict=True)]
        if now != list(parcel.pieces):
            (shaped,) = await self._replace(parcel, [now])
            parcel.id, parcel.pieces = shaped.id, shaped.pieces
        return batches

    async def _reread(self, piece: Piece) -> Batch:
        backoff = Backoff(self._tools.random, first=1.0)
        while True:
            try:
                return piece.lane.stream.reread(piece.cut)
            except OSError as error:
                name = piece.lane.stream.name
                self._tools.report(Problem("read", f"{name} cannot be read now, tried again: {error}", name))
            await self._tools.gate.pause(backoff)

    async def _give_up(self, parcel: Parcel, why: list[tuple[Piece, str]], cause: str) -> None:
        """Take pieces out of ``parcel`` and count them as dropped; ``cause`` is a fixed word."""
        lost = [piece for piece, _ in why]
        dead = await self._take_out(parcel, lost)
        await self._tools.books.call(Ledger.settle, self._name, dead, "dropped", cause)
        for piece, reason in why:
            name, records = piece.lane.stream.name, piece.cut.records
            self._tools.report(Dropped(self._name, name, self._key(piece), records, cause, reason))
        self._done(Done(lost, False))

    async def _take_out(self, parcel: Parcel, pieces: list[Piece]) -> str:
        """Take ``pieces`` out of ``parcel``; the id of the request that holds them now, for it to be settled."""
        kept = [piece for piece in parcel.pieces if piece not in pieces]
        if not kept:
            parcel.pieces = []
            return parcel.id
        # Other bytes need another name: a destination may have the whole under the old one.
        rest, out = await self._replace(parcel, [kept, pieces])
        parcel.id, parcel.pieces = rest.id, rest.pieces
        return out.id

    def _key(self, piece: Piece) -> str:
        return f"{self._tools.life}/{piece.lane.stream.id}/{piece.cut.start}-{piece.cut.end}"

    def _count(self, outcome: str) -> None:
        self._outcomes.labels(self._name, outcome).inc()


def is_throttling(error: Retryable) -> bool:
    """Whether a destination says that it gets too much."""
    return error.wait is not None or cause_of(error) in ("http_429", "http_503")


def cause_of(error: DeliveryError) -> str:
    """A fixed word for a metric label out of what an exporter said."""
    text = str(error)
    status = _STATUS.search(text)
    if status:
        return f"http_{status.group(1)}"
    if re.search(r"time|no answer|deadline", text, re.IGNORECASE):
        return "timeout"
    return "connection" if re.search(r"connect", text, re.IGNORECASE) else "other"
