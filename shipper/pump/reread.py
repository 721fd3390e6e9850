"""The bytes of a request once more, after they were let go: read again from its streams, and what is gone there is counted.

A stream that cannot be read now is waited for. What its file, or the spool, does not have any more can never be sent: it
leaves the request, so that the rest of it can go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shipper.contracts import Batch
from shipper.errors import RangeGone
from shipper.events import Dropped, Problem
from shipper.ledger import Ledger
from shipper.pump.backoff import Backoff
from shipper.pump.division import Division
from shipper.pump.gather import Parcel
from shipper.pump.lane import Piece
from shipper.pump.tools import Done, Tools
from shipper.pump.workbench import Place


class Rereading:
    """Of the requests of one destination. ``done`` is called for what leaves them."""

    def __init__(self, tools: Tools, division: Division, done: Callable[[Done], None]) -> None:
        self._tools = tools
        self._division = division
        self._done = done

    async def batches(self, parcel: Parcel) -> list[Batch]:
        """The batches of ``parcel``, see `each`."""
        batches: list[Batch] = []

        async def take(batch: Batch) -> None:
            batches.append(batch)

        await self.each(parcel, take)
        return batches

    async def each(self, parcel: Parcel, take: Callable[[Batch], Awaitable[None]], place: Place | None = None) -> None:
        """Hand over the batches of ``parcel``, byte for byte; pieces that are gone leave it and are counted.

        After a restart with other settings a range may hold other records than when it was cut: then the books follow. ``place``:
        others may have it while a stream is waited for.
        """
        now: list[Piece] = []
        gone: list[tuple[Piece, str]] = []
        for piece in parcel.pieces:
            try:
                batch = await self._reread(piece, place)
            except RangeGone as error:
                gone.append((piece, error.reason))
            else:
                now.append(Piece(piece.lane, batch.cut, piece.since))
                await take(batch)
                del batch  # or this frame would keep the bytes
            await asyncio.sleep(0)  # four megabytes at one go would make everybody else wait
        aside = [piece for piece, _ in gone if self._tools.quarantine.holds(self._tools.name, self._key(piece))]
        if aside:
            dead = await self._division.take_out(parcel, aside)
            await self._tools.books.call(Ledger.settle, self._tools.name, dead, "quarantined", "earlier_run")
            self._done(Done(aside, False))
        if lost := [(piece, reason) for piece, reason in gone if piece not in aside]:
            await self.give_up(parcel, lost, "gone" if self._tools.owed else "not_needed")
        if now != list(parcel.pieces):
            await self._division.reshape(parcel, now)

    async def give_up(self, parcel: Parcel, why: list[tuple[Piece, str]], cause: str) -> None:
        """Take pieces out of ``parcel`` and count them as dropped; ``cause`` is a fixed word.

        Where nothing is owed it is no loss: nobody lets go of what a destination lacks that it is owed to.
        """
        lost = [piece for piece, _ in why]
        dead = await self._division.take_out(parcel, lost)
        await self._tools.books.call(Ledger.settle, self._tools.name, dead, "dropped", cause)
        for piece, reason in why if self._tools.owed else ():
            name, records = piece.lane.stream.name, piece.cut.records
            self._tools.report(Dropped(self._tools.name, name, self._key(piece), records, cause, reason))
        self._done(Done(lost, False))

    async def _reread(self, piece: Piece, place: Place | None) -> Batch:
        backoff = Backoff(self._tools.random, first=1.0)
        while True:
            if piece.lane.retired:  # of one that stood by meanwhile
                cut, name = piece.cut, piece.lane.stream.id
                raise RangeGone(name, cut.start, cut.end, "every destination that it was for is done with it")
            try:
                return piece.lane.stream.reread(piece.cut)
            except OSError as error:
                name = piece.lane.stream.name
                self._tools.report(Problem("read", f"{name} cannot be read now, tried again: {error}", name))
            if place is not None:
                place.leave()
            await self._tools.gate.pause(backoff)
            if place is not None:
                await place.enter()

    def _key(self, piece: Piece) -> str:
        return f"{self._tools.life}/{piece.lane.stream.id}/{piece.cut.start}-{piece.cut.end}"
