"""One request on its way to Splunk: sent part by part, without the events that are refused, until all of it is there.

HEC takes a batch event by event and stops at the first that it refuses. Those before it are taken, so only those behind it
are sent again. With acknowledgement a part is there once Splunk says that it is indexed, and is sent again when that can
no longer be said. What is on its way is known by its place in the request, so its bytes need not be kept for that.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shipper.clock import Deadline
from shipper.contracts import Accepted
from shipper.errors import Rejected, Retryable, TooLarge
from shipper_exporters._splunk.acks import Pending
from shipper_exporters._splunk.answers import Refused, Taken
from shipper_exporters._splunk.request import Part, SplunkBody

HOPELESS = 32  # events refused while none was taken: then it is not single events, and the caller finds out by halves

Post = Callable[[Part], Awaitable[tuple[Taken | Refused, Pending | None]]]
"""Sends a part; what came of it, and the acknowledgement that is to come. Raises what `Exporter.send` does."""

Wait = Callable[[Pending, Deadline], Awaitable[None]]
"""Returns when it came; raises `Retryable` or `Unusable`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The events from ``start`` to ``end`` of a part."""

    part: int
    start: int
    end: int

    @property
    def events(self) -> int:
        """How many."""
        return self.end - self.start

    def between(self, start: int, end: int) -> list[Piece]:
        """The piece of its events from ``start`` to ``end``; none where there are none."""
        return [Piece(self.part, self.start + start, self.start + end)] if start < end else []

    def of(self, body: SplunkBody) -> Part:
        """Its events, encoded."""
        return body.parts[self.part].between(self.start, self.end)


class Journey:
    """How far a request got. It outlives a failed attempt: the next one goes on where that ended."""

    def __init__(self, body: SplunkBody, *, proved: bool) -> None:
        """``proved``: only what is acknowledged is there."""
        self._proved = proved
        self._pieces = deque(Piece(number, 0, part.events) for number, part in enumerate(body.parts))
        self._waiting: list[tuple[Piece, Pending]] = []
        self._records = body.records
        self._lost: Counter[str] = Counter(body.left_out)
        self._refused = 0
        self._there = False  # whether any of it was taken

    async def go(
        self, body: SplunkBody, post: Post, wait: Wait, deadline: Deadline, taken: Callable[[], None] | None
    ) -> Accepted:
        """Send what is not there yet, and wait for the acknowledgements. Raises what `Exporter.send` does.

        ``body`` may be made anew of the same request. ``taken``: called when all is sent and only acknowledgements are
        missing; the bytes are let go then.
        """
        while self._pieces:
            await self._step(body, post)
        if self._waiting and taken is not None:
            body.let_go()
            taken()
        await self._settle(wait, deadline)
        message = "; ".join(f"{count} x {reason}" for reason, count in self._lost.most_common())
        if self._refused and not self._there:
            raise Rejected(message, isolate=False)
        return Accepted(min(self._records, self._lost.total()), message)

    async def _step(self, body: SplunkBody, post: Post) -> None:
        piece = self._pieces[0]
        try:
            outcome, pending = await post(piece.of(body))
        except TooLarge as error:
            self._divide(piece, error)
            return
        except Retryable as error:
            error.unsent = error.unsent and not self._there  # of the whole request
            raise
        if isinstance(outcome, Taken):
            self._pieces.popleft()
            self._took(piece, pending)
        elif outcome.number is None or outcome.number >= piece.events:
            self._divide(piece, Rejected(outcome.reason))
        else:
            self._without(piece, outcome, outcome.number, pending)

    def _took(self, piece: Piece, pending: Pending | None) -> None:
        self._there = True
        if pending is not None:
            self._waiting.append((piece, pending))

    def _without(self, piece: Piece, refused: Refused, number: int, pending: Pending | None) -> None:
        """Event ``number`` is refused and those before it were taken; go on behind it."""
        self._refused += 1
        if self._refused >= HOPELESS and not self._there:
            raise Rejected(refused.reason)
        self._pieces.popleft()
        self._lost[refused.reason] += 1
        self._pieces.extendleft(piece.between(number + 1, piece.events))
        for before in piece.between(0, number):
            if self._proved and pending is None:
                self._pieces.appendleft(before)
            else:
                self._took(before, pending)

    def _divide(self, piece: Piece, error: TooLarge | Rejected) -> None:
        """A piece is refused as a whole. While nothing of the request is taken its halves are made from the beginning on."""
        if not self._there:
            raise error
        self._pieces.popleft()
        if piece.events == 1:
            self._lost[str(error)] += 1
            return
        middle = piece.events // 2
        self._pieces.extendleft([*piece.between(middle, piece.events), *piece.between(0, middle)])

    async def _settle(self, wait: Wait, deadline: Deadline) -> None:
        """Wait until all is indexed; what is lost is to be sent again, in the next attempt."""
        while self._waiting:
            pending = self._waiting[0][1]
            try:
                await wait(pending, deadline)
            except Retryable:
                if pending.lost:
                    self._again()
                raise
            del self._waiting[0]

    def _again(self) -> None:
        """All whose acknowledgement is lost by now is sent again."""
        self._pieces.extend(piece for piece, pending in self._waiting if pending.lost)
        self._waiting = [(piece, pending) for piece, pending in self._waiting if not pending.lost]
