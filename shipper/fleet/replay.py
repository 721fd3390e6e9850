"""Sends an archive on to another destination, every batch under its own key, so that a gateway knows what it has.

A second replay therefore adds nothing to a gateway. Objects that no range list names have no keys; they get one from
their name, which serves the same end.
"""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from shipper.clock import Clock, Deadline
from shipper.contracts import Batch, Cut, Exporter, Limits, Prepared, Request, Signal, StreamKind
from shipper.errors import Rejected, Retryable, TooLarge
from shipper.fleet.archive import Archive, Damage, Loose, Piece
from shipper.fleet.records import Selection, loose, pieces, select
from shipper.fleet.tally import tally, unit_sizes
from shipper.ids import uuid7
from shipper.otlp import splice
from shipper.pump.backoff import Backoff

GIVE_UP_SECONDS = 300.0  # a destination that takes nothing for so long ends the replay
HELD_BYTES = 32 << 20  # gathered for requests at most, besides those in flight
WAITING = 32  # requests at most that were taken and wait to be acknowledged; their batches are held, too


@dataclass(slots=True)
class Replayed:
    """What became of it, in records; ``damage`` is what could not be read from the archive."""

    requests: int = 0
    records: int = 0
    rejected: int = 0
    refused: int = 0
    refusals: list[str] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Everything that was wanted has been taken."""
        return not (self.rejected or self.refused or self.damage)


async def replay(
    archive: Archive,
    exporter: Exporter,
    selection: Selection,
    clock: Clock,
    *,
    give_up: float = GIVE_UP_SECONDS,
    progress: Callable[[Replayed], None] = lambda _: None,
) -> Replayed:
    """Send the wanted batches through a started exporter; data, accounts and farewells alike.

    With a selection by labels or time, a batch that holds nothing wanted is not sent, and of another only the wanted part
    under a key of its own. Raises `Retryable` when the destination took nothing for ``give_up`` seconds, `Unusable` when
    it is set up wrongly, `StoreUnusable` or `StoreUnavailable` when the archive cannot be read.
    """
    done = Replayed()
    sender = _Sender(exporter, clock, give_up, done, progress)
    gathered = _Gathered(exporter.limits, clock)
    places = _Places(exporter.limits)
    try:
        async with asyncio.TaskGroup() as sends:

            async def begin(request: Request) -> None:
                place = await places.free()
                sends.create_task(sender.send(request, place.taken)).add_done_callback(lambda _: place.leave())

            batches = _batches(archive, selection, done.damage)
            # in a thread: a slow archive must not stall the requests under way
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                for request in gathered.add(batch):
                    await begin(request)
            for request in gathered.rest():
                await begin(request)
    except* Exception as failures:  # the first one says it; the others were cancelled or say the same
        raise failures.exceptions[0] from None
    return done


def _batches(archive: Archive, selection: Selection, damage: list[Damage]) -> Iterator[Batch]:
    index = archive.index()
    damage.extend(index.damage)
    for piece in pieces(archive, index, selection, kinds=StreamKind, damaged=damage.append):
        if batch := _chosen_part(_batch(piece), selection):
            yield batch
    for content in loose(archive, index, selection, damage.append):
        if batch := _chosen_part(_loose_batch(content), selection):
            yield batch


def _batch(piece: Piece) -> Batch:
    entry = piece.entry
    cut = Cut(entry.start, entry.end, entry.start, entry.end, entry.records, entry.received_ns)
    return Batch(entry.life, entry.stream, piece.signal, cut, piece.payload, StreamKind(entry.kind))


def _loose_batch(content: Loose) -> Batch:
    life = str(uuid.uuid5(uuid.NAMESPACE_URL, content.name.key))
    records = content.found.records if content.found else 0
    cut = Cut(0, len(content.payload), 0, len(content.payload), records, 0)
    return Batch(life, "unlisted", content.name.signal, cut, content.payload)


def _chosen_part(batch: Batch, selection: Selection) -> Batch | None:
    payload = select(batch.signal, batch.payload, selection, batch.life)
    if not payload:
        return None
    if payload is batch.payload:
        return batch
    # other bytes must not go under the key of the whole: a gateway would then take it for having the rest, too
    stream = f"{batch.stream}.part-{zlib.crc32(payload):08x}"
    return replace(
        batch, stream=stream, payload=payload, cut=replace(batch.cut, records=tally(batch.signal, payload).records)
    )


class _Gathered:
    """Batches waiting for their requests to be full; a request is of one life and one signal."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._waiting: dict[tuple[str, Signal], list[Batch]] = {}
        self._held = 0

    def add(self, batch: Batch) -> Iterator[Request]:
        """Take one more; the requests that are full by that."""
        key = (batch.life, batch.signal)
        waiting = self._waiting.get(key, [])
        size = sum(len(one.payload) for one in waiting) + len(batch.payload)
        # one that alone is too large still goes: the destination decides, and it is halved if need be
        if waiting and (size > self._limits.max_raw_bytes or len(waiting) >= self._limits.max_batches):
            yield self._request(key)
        self._waiting.setdefault(key, []).append(batch)
        self._held += len(batch.payload)
        while self._held > HELD_BYTES:
            yield self._request(next(iter(self._waiting)))

    def rest(self) -> Iterator[Request]:
        """What is left, full or not."""
        while self._waiting:
            yield self._request(next(iter(self._waiting)))

    def _request(self, key: tuple[str, Signal]) -> Request:
        batches = tuple(self._waiting.pop(key))
        self._held -= sum(len(batch.payload) for batch in batches)
        return Request(uuid7(self._clock.wall_ns()), key[1], batches)


class _Places:
    """For requests: some in flight, and beside them those that were taken and wait to be acknowledged."""

    def __init__(self, limits: Limits) -> None:
        self.in_flight = asyncio.Semaphore(limits.max_in_flight)
        self.all = asyncio.Semaphore(limits.max_in_flight + min(WAITING, limits.max_unacknowledged))

    async def free(self) -> _Place:
        """One, when it is free."""
        await self.all.acquire()
        await self.in_flight.acquire()
        return _Place(self)


class _Place:
    """One request's."""

    def __init__(self, places: _Places) -> None:
        self._places = places
        self._in_flight = True

    def taken(self) -> None:
        """The request holds nobody back any more; it may be said more often than once."""
        if self._in_flight:
            self._in_flight = False
            self._places.in_flight.release()

    def leave(self) -> None:
        """It is over."""
        self.taken()
        self._places.all.release()


class _Sender:
    """Sends requests until they are taken, halving those that are too large or hold something refused."""

    def __init__(
        self, exporter: Exporter, clock: Clock, give_up: float, done: Replayed, progress: Callable[[Replayed], None]
    ) -> None:
        self._exporter = exporter
        self._clock = clock
        self._give_up = give_up
        self._done = done
        self._progress = progress

    async def send(self, request: Request, taken: Callable[[], None]) -> None:
        """Send one request; see `replay` for what it raises. ``taken``: see `Prepared.taken`."""
        try:
            rejected, message = await self._until_acknowledged(request, taken)
        except TooLarge as error:
            await self._in_halves(request, str(error), taken)
        except Rejected as error:
            if error.isolate:
                await self._in_halves(request, str(error), taken)
            else:
                await self._refuse(request, str(error))
        else:
            self._done.requests += 1
            self._done.records += _records(request) - rejected
            self._done.rejected += rejected
            if rejected:
                self._done.refusals.append(message or "partial success")
            self._progress(self._done)

    async def _until_acknowledged(self, request: Request, taken: Callable[[], None]) -> tuple[int, str]:
        prepared: Prepared | None = None

        def let_go() -> None:
            nonlocal prepared
            prepared = None  # so may the exporter have done with what it holds
            taken()

        patience = Deadline.after(self._clock, self._give_up)
        backoff = Backoff(Random())
        while True:
            if prepared is None:
                prepared = await asyncio.to_thread(self._exporter.prepare, request)
                if self._exporter.limits.max_unacknowledged:
                    prepared = replace(prepared, taken=let_go)
            try:
                accepted = await self._exporter.send(prepared, patience)
                return min(accepted.rejected, _records(request)), accepted.message
            except Retryable as error:
                pause = max(error.wait or 0.0, backoff.next())
                if pause >= patience.remaining():
                    raise
                await self._clock.sleep(pause)

    async def _in_halves(self, request: Request, reason: str, taken: Callable[[], None]) -> None:
        batches = request.batches if len(request.batches) > 1 else _halves(request.batches[0])
        if len(batches) < 2:
            await self._refuse(request, reason)
            return
        middle = len(batches) // 2
        for half in (batches[:middle], batches[middle:]):
            await self.send(Request(uuid7(self._clock.wall_ns()), request.signal, tuple(half)), taken)

    async def _refuse(self, request: Request, reason: str) -> None:
        self._done.refused += _records(request)
        self._done.refusals.append(f"{request.batches[0].key}: {reason}")
        self._progress(self._done)


def _halves(batch: Batch) -> Sequence[Batch]:
    """Two batches of half the units. The border inside is the start plus a unit number, the same in every replay.

    So the halves cover the range exactly, and whoever has both has the whole.
    """
    sizes = list(unit_sizes(batch.signal, batch.payload))
    if len(sizes) < 2:
        return [batch]
    middle = len(sizes) // 2
    cut, border = batch.cut, batch.cut.start + middle
    first = replace(cut, end=border, next_resume=border, records=sum(sizes[:middle]))
    second = replace(cut, start=border, resume=border, records=sum(sizes[middle:]))
    return [
        replace(batch, cut=first, payload=splice.take(batch.signal, batch.payload, 0, middle)),
        replace(batch, cut=second, payload=splice.take(batch.signal, batch.payload, middle, len(sizes))),
    ]


def _records(request: Request) -> int:
    return sum(batch.cut.records for batch in request.batches)
