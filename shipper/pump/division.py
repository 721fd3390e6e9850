"""Requests in place of another: what a destination has nothing of may go in other pieces, once the books say so.

Together they are the same ranges as before, and each has a name of its own: under the old one a destination may have the
whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from shipper.contracts import Cut
from shipper.errors import RangeGone
from shipper.ids import uuid7
from shipper.ledger import Ledger
from shipper.pump.gather import Parcel
from shipper.pump.lane import Piece
from shipper.pump.tools import Tools


class Division:
    """Divides the requests of one destination."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def divide(self, parcel: Parcel, parts: Sequence[list[Piece]]) -> list[Parcel]:
        """Requests of their own in place of one, in the books first."""
        now = self._tools.clock.wall_ns()
        parcels = [Parcel(uuid7(now), parcel.signal, pieces, parcel.began) for pieces in parts]
        for part in parcels:
            part.recall, part.unsent = parcel.recall, parcel.unsent
        rows: list[tuple[str, list[tuple[str, Cut]]]] = [(p.id, [piece.key for piece in p.pieces]) for p in parcels]
        await self._tools.books.call(Ledger.replace, self._tools.name, parcel.id, rows)
        return parcels

    async def halve(self, parcel: Parcel) -> list[Parcel]:
        """Two parcels in place of one; none when it is a single record."""
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
        return await self.divide(parcel, parts)

    async def reshape(self, parcel: Parcel, pieces: list[Piece]) -> None:
        """Make ``pieces`` of ``parcel``, where its ranges hold other records than when they were cut."""
        (shaped,) = await self.divide(parcel, [pieces])
        parcel.id, parcel.pieces = shaped.id, shaped.pieces

    async def take_out(self, parcel: Parcel, pieces: list[Piece]) -> str:
        """Take ``pieces`` out of ``parcel``; the id of the request that holds them now, for it to be settled."""
        kept = [piece for piece in parcel.pieces if piece not in pieces]
        if not kept:
            parcel.pieces = []
            return parcel.id
        rest, out = await self.divide(parcel, [kept, pieces])
        parcel.id, parcel.pieces = rest.id, rest.pieces
        return out.id
