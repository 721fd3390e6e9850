"""One request on its way: what was taken is not sent again, only what was not.

A bulk request is taken document by document. Those that the destination had no room for are sent again alone, those that it refuses
are counted, and those that it has already, from an attempt whose answer got lost, are as good as taken.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass

from shipper.contracts import Accepted
from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper_exporters._elasticsearch.bulk import BulkBody, Part
from shipper_exporters._elasticsearch.bulk_answers import STORED, Fate, Outcome

Post = Callable[[bytes, Iterator[tuple[str, str]], int], Awaitable[list[Outcome]]]
"""Sends one body with so many documents of these ids. Raises what `Exporter.send` does."""

Earlier = Callable[[Collection[tuple[str, str]]], Awaitable[Collection[str]]]
"""Which of these (index and id) the destination has where ``create`` would not find them. Raises what `Exporter.send` does."""


@dataclass(slots=True)
class _Leg:
    part: Part
    chosen: list[int] | None = None  # documents by their number in the request; None: all of the part
    doubt: bool = False  # it was sent before, and nobody knows whether it arrived

    def numbers(self) -> list[int]:
        return list(range(self.part.first, self.part.first + self.part.count)) if self.chosen is None else self.chosen


class Journey:
    """How far a request got. It outlives a failed attempt: the next one goes on where that ended."""

    def __init__(self, body: BulkBody, *, doubt: bool) -> None:
        """``doubt``: it may have been sent before, by an earlier run."""
        self._body = body
        self._legs = deque(_Leg(part, doubt=doubt) for part in body.parts)
        self._refused: set[int] = set()  # records
        self._reasons: Counter[str] = Counter()
        self._first = ""
        self._taken = 0

    @property
    def begun(self) -> bool:
        """Whether anything is known of it that the next attempt needs; else it keeps no memory in an outage."""
        return bool(self._taken or self._refused) or any(leg.doubt or leg.chosen is not None for leg in self._legs)

    async def go(self, post: Post, earlier: Earlier) -> Accepted:
        """Send what is not taken yet. Raises what ``post`` does."""
        while self._legs:
            leg = self._legs[0]
            if leg.doubt:
                await self._settle(leg, earlier)
            if leg.chosen == []:
                self._legs.popleft()
                continue
            try:
                found = await self._attempt(leg, post)
            except (TooLarge, Rejected) as error:
                self._divide(leg, error)
                continue
            self._note(leg, found)
        lost = len(self._refused) + self._body.left_out
        return Accepted(min(lost, self._body.records), self._message())

    async def _settle(self, leg: _Leg, earlier: Earlier) -> None:
        """Take out what is there already from before a roll-over: ``create`` sees only the newest index of a data stream."""
        ids = list(self._body.ids(leg.part))
        if ids:
            numbers = leg.numbers()
            there = await earlier([ids[number - leg.part.first] for number in numbers])
            if there:
                leg.chosen = [number for number in numbers if ids[number - leg.part.first][1] not in there]
                self._taken += len(numbers) - len(leg.chosen)
        leg.doubt = False

    async def _attempt(self, leg: _Leg, post: Post) -> list[Outcome]:
        part = leg.part
        if leg.chosen is None:
            data, ids = part.data, self._body.ids(part)
        else:
            every = list(self._body.ids(part))
            ids = iter([every[number - part.first] for number in leg.chosen] if every else [])
            data = await asyncio.to_thread(self._body.pick, part, leg.chosen)
        leg.doubt = True  # also when it is broken off
        try:
            found = await post(data, ids, len(leg.numbers()))
        except Retryable as error:
            leg.doubt = not error.unsent
            error.unsent = error.unsent and not self._taken  # of the whole request
            raise
        except (TooLarge, Rejected):
            leg.doubt = False
            raise
        leg.doubt = False
        return found

    def _note(self, leg: _Leg, found: list[Outcome]) -> None:
        """Keep what has to be sent again; raises when that is anything."""
        if found.count(STORED) == len(found):
            self._taken += len(found)
            self._legs.popleft()
            return
        again: list[int] = []
        held = later = ""
        for number, outcome in zip(leg.numbers(), found, strict=True):
            if outcome.fate is Fate.REFUSED:
                self._refuse(number, outcome.why)
            elif outcome.fate in (Fate.AGAIN, Fate.HELD):
                again.append(number)
                held = held or (outcome.why if outcome.fate is Fate.HELD else "")
                later = later or outcome.why
            else:
                self._taken += 1
        if not again:
            self._legs.popleft()
            return
        leg.chosen = again
        count = f"{len(again)} of {len(found)} documents were not taken"
        if held:
            raise Unusable(f"{count}: {held}")
        raise Retryable(f"{count}: {later}")

    def _divide(self, leg: _Leg, error: TooLarge | Rejected) -> None:
        """Halve what is refused as a whole. Raises ``error`` while nothing is taken yet: whoever sends can do that better.

        Later it cannot any more: its halves would be other batches, with other ids, and what is taken would be stored twice.
        """
        numbers = leg.numbers()
        if not self._taken and not self._refused:
            raise error
        self._legs.popleft()
        if len(numbers) == 1:
            self._refuse(numbers[0], str(error))
            return
        middle = len(numbers) // 2
        for half in (numbers[middle:], numbers[:middle]):
            self._legs.appendleft(_Leg(leg.part, half, leg.doubt))

    def _refuse(self, document: int, why: str) -> None:
        self._refused.update(self._body.of(document))
        self._first = self._first or why
        self._reasons[why.partition(":")[0]] += 1

    def _message(self) -> str:
        told = [f"{count} x {kind}" for kind, count in self._reasons.most_common()]
        if self._first:
            told.append(f"the first: {self._first}")
        if self._body.left_out:
            told.append(f"{self._body.left_out} x {self._body.why}")
        return "; ".join(told)
