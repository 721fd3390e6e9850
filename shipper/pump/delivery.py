"""One committed request from its first attempt to its end: every answer has its consequence here, and none is lost.

An acknowledged one is settled, a refused one is divided until only what the destination does not take is left of it, and that
is set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shipper.contracts import Accepted
from shipper.errors import Rejected, TooLarge
from shipper.events import PartialSuccess
from shipper.ledger import Ledger
from shipper.pump.aside import Aside
from shipper.pump.attempts import Attempts
from shipper.pump.division import Division
from shipper.pump.gather import Parcel
from shipper.pump.lane import Piece
from shipper.pump.recall import GaveWay
from shipper.pump.reread import Rereading
from shipper.pump.tools import Done, Tools
from shipper.pump.workbench import InHand

SEVERAL_OFFENDERS = 32  # see `_Trial`


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


class Courier:
    """Delivers the requests of one destination. ``done`` is called, on the event loop, for whatever is settled."""

    def __init__(self, tools: Tools, done: Callable[[Done], None]) -> None:
        self._tools = tools
        self._done = done
        self._name = tools.name
        self._division = Division(tools)
        rereading = Rereading(tools, self._division, done)
        self._attempts = Attempts(tools, rereading)
        self._aside = Aside(tools, rereading, done)

    async def deliver(self, parcel: Parcel, hand: InHand) -> list[Parcel]:
        """Return when every piece of ``parcel`` is settled. What is in ``hand`` is let go, and read again where that is needed.

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
                answer = await self._attempts.until_answered(current, hand)
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
            await self._aside.put(offender, "too_large" if isinstance(answer, TooLarge) else "rejected", str(answer))
        return []

    async def divide(self, parcel: Parcel, parts: Sequence[list[Piece]]) -> list[Parcel]:
        """Requests of their own in place of one that the destination has nothing of; together they are the same ranges."""
        return await self._division.divide(parcel, parts)

    async def _acknowledge(self, parcel: Parcel, answer: Accepted) -> None:
        if not parcel.pieces:  # all of it was gone when it was to be read again
            return
        rejected = max(0, min(answer.rejected, parcel.records))
        if rejected:
            self._tools.report(PartialSuccess(self._name, rejected, answer.message))
        await self._tools.books.call(_acknowledge, self._name, parcel.id, rejected, answer.keep)
        data = sum(piece.cut.records for piece in parcel.pieces if piece.lane.counts)
        self._done(Done(parcel.pieces, True, max(0, data - rejected)))

    async def _smaller(self, parcel: Parcel, answer: TooLarge | Rejected, trial: _Trial) -> list[Parcel]:
        """The halves to try next; none when there are none or it would not help."""
        if isinstance(answer, TooLarge) and parcel.records > 1:
            self._tools.sizing.too_large(parcel.raw)
        if isinstance(answer, TooLarge) or (answer.isolate and not trial.hopeless):
            return await self._division.halve(parcel)
        return []


def _acknowledge(
    ledger: Ledger, destination: str, request: str, rejected: int, keep: Mapping[bytes, bytes | None]
) -> None:
    """The cursor and what the exporter keeps move together."""
    with ledger.transaction():
        ledger.acknowledge(destination, request, rejected)
        if keep:
            ledger.keep(destination, keep)
