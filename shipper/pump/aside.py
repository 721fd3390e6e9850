"""The end of a request that its destination will never take: kept in quarantine, or counted as lost when there is no room.

It is over only when the batches are on disk; while the disk is full that is waited for, and the request stays open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shipper.contracts import Batch
from shipper.errors import QuarantineFull, ShipperError
from shipper.events import Problem, Quarantined
from shipper.ledger import Ledger
from shipper.pump.backoff import Backoff
from shipper.pump.gather import Parcel
from shipper.pump.lane import Piece
from shipper.pump.reread import Rereading
from shipper.pump.tools import Done, Tools


class Aside:
    """Sets the requests of one destination aside. ``done`` is called for what was."""

    def __init__(self, tools: Tools, rereading: Rereading, done: Callable[[Done], None]) -> None:
        self._tools = tools
        self._rereading = rereading
        self._done = done

    async def put(self, parcel: Parcel, cause: str, reason: str) -> None:
        """Return when every piece of ``parcel`` is settled. ``cause`` is a fixed word, ``reason`` what the destination said."""
        name = self._tools.name
        backoff = Backoff(self._tools.random, first=1.0)
        no_room: list[tuple[Piece, str]] = []
        batches = await self._rereading.batches(parcel)
        for piece, batch in zip(tuple(parcel.pieces), batches, strict=True):
            if not batch.payload:
                continue
            try:
                where = await self._keep(batch, piece.lane.stream.name, cause, reason, backoff)
            except QuarantineFull as error:
                no_room.append((piece, f"{reason}; {error}"))
            else:
                self._tools.report(Quarantined(name, batch.key, batch.cut.records, cause, reason, where))
        if no_room:
            await self._rereading.give_up(parcel, no_room, "quarantine_full")
        if parcel.pieces:
            await self._tools.books.call(Ledger.settle, name, parcel.id, "quarantined", cause)
            self._done(Done(parcel.pieces, False))

    async def _keep(self, batch: Batch, stream: str, cause: str, reason: str, backoff: Backoff) -> str:
        """Keep a batch of ``stream``, by its name; waits while the disk is full.

        Raises `QuarantineFull`: its own limit does not go away by waiting.
        """
        loop = asyncio.get_running_loop()
        put, name = self._tools.quarantine.put, self._tools.name
        while True:
            try:
                return await loop.run_in_executor(self._tools.threads, put, batch, name, reason, cause, stream)
            except QuarantineFull:
                raise
            except (OSError, ShipperError) as error:
                self._tools.report(
                    Problem("quarantine", f"cannot set aside what {name} refused, kept pending: {error}")
                )
            await self._tools.gate.pause(backoff)
