"""Open requests that are not under way: called back for something worth more, or left by an earlier run while value decides.

They are sent again unchanged; only of one that the destination certainly has nothing of, the ranges with errors and the last
words may go first, as requests of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from shipper.contracts import Limits
from shipper.errors import RangeGone
from shipper.intervals import IntervalSet
from shipper.pump.gather import Parcel
from shipper.pump.lane import Piece
from shipper.pump.value import BLOCK, Values

FINE = 2 * BLOCK  # bytes: a range with an error that is not larger is not divided any more


class PutBack:
    """In the order in which they were committed."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._parcels: list[Parcel] = []
        self._looked_at: tuple[int, int] | None = None  # how much was found, and how much was put back by then
        self._came = 0

    def __bool__(self) -> bool:
        return bool(self._parcels)

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Take them in."""
        self._parcels.extend(parcels)
        self._parcels.sort(key=lambda parcel: parcel.id)  # UUIDv7: by time
        self._came += 1

    def next(self) -> Parcel | None:
        """The oldest, taken out."""
        return self._parcels.pop(0) if self._parcels else None

    def precious(self) -> Parcel | None:
        """The oldest that holds what is worth more than the rest, as far as that is known; taken out."""
        now = (self._values.changes, self._came)
        if not self._parcels or self._looked_at == now:
            return None
        errors, valuable = self._errors(), self.valuable()
        for parcel in self._parcels:
            # Last words alone are not worth a whole request that has to go as it is.
            if any(map(valuable if parcel.unsent else errors, parcel.pieces)):
                self._parcels.remove(parcel)
                return parcel
        self._looked_at = now
        return None

    def valuable(self) -> Callable[[Piece], bool]:
        """Says of a piece whether errors were found in it until now, or it holds its stream's last words."""
        errors = self._errors()
        return lambda piece: piece.cut.end > piece.lane.stream.frontier() - BLOCK or errors(piece)

    def _errors(self) -> Callable[[Piece], bool]:
        found: dict[str, IntervalSet] = {}

        def holds(piece: Piece) -> bool:
            stream = piece.lane.stream.id
            if stream not in found:
                found[stream] = IntervalSet(self._values.of(stream))
            return bool(found[stream].overlaps(piece.cut.start, piece.cut.end))

        return holds


async def sift(pieces: Iterable[Piece], wanted: Callable[[Piece], bool]) -> tuple[list[Piece], list[Piece]]:
    """The same ranges in finer cuts: those that are ``wanted``, and the others."""
    precious: list[Piece] = []
    rest: list[Piece] = []
    stack = [*pieces][::-1]
    while stack:
        piece = stack.pop()
        if not wanted(piece):
            rest.append(piece)
        elif (halves := _halves(piece)) is not None:
            stack.extend(reversed(halves))
            await asyncio.sleep(0)  # half a megabyte is read for it
        else:
            precious.append(piece)
    return precious, rest


def _halves(piece: Piece) -> list[Piece] | None:
    """None where it is fine enough, or cannot be divided."""
    if piece.cut.end - piece.cut.start <= FINE:
        return None
    try:
        cuts = piece.lane.stream.halve(piece.cut)
    except (RangeGone, OSError):
        return None  # whoever reads it for sending finds out, and knows what to do
    return None if cuts is None else [Piece(piece.lane, cut, piece.since) for cut in cuts]


def portions(pieces: Sequence[Piece], limits: Limits, most: float) -> list[list[Piece]]:
    """``pieces`` in requests of at most ``most`` source bytes each, or of one piece."""
    made: list[list[Piece]] = []
    size = 0.0
    for piece in pieces:
        length = piece.cut.end - piece.cut.start
        if not made or len(made[-1]) >= limits.max_batches or size + length > most:
            made.append([])
            size = 0.0
        made[-1].append(piece)
        size += length
    return made
