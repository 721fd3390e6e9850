"""One request on its way to Splunk: sent part by part, without the events that are refused, until all of it is there.

HEC takes a batch event by event and stops at the first that it refuses. Those before it are taken, so only those behind it
are sent again. With acknowledgement a part is there once Splunk says that it is indexed, and is sent again when that can
no longer be said.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable

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


class Journey:
    """How far a request got. It outlives a failed attempt: the next one goes on where that ended."""

    def __init__(self, body: SplunkBody, *, proved: bool) -> None:
        """``proved``: only what is acknowledged is there."""
        self._proved = proved
        self._parts = deque(body.parts)
        self._waiting: list[tuple[Part, Pending]] = []
        self._records = body.records
        self._lost: Counter[str] = Counter(body.left_out)
        self._refused = 0
        self._there = False  # whether any of it was taken

    async def go(self, post: Post, wait: Wait, deadline: Deadline) -> Accepted:
        """Send what is not there yet, and wait for the acknowledgements. Raises what `Exporter.send` does."""
        while self._parts:
            await self._step(post)
        await self._settle(wait, deadline)
        message = "; ".join(f"{count} x {reason}" for reason, count in self._lost.most_common())
        if self._refused and not self._there:
            raise Rejected(message, isolate=False)
        return Accepted(min(self._records, self._lost.total()), message)

    async def _step(self, post: Post) -> None:
        part = self._parts[0]
        try:
            outcome, pending = await post(part)
        except TooLarge as error:
            self._divide(part, error)
            return
        except Retryable as error:
            error.unsent = error.unsent and not self._there  # of the whole request
            raise
        if isinstance(outcome, Taken):
            self._parts.popleft()
            self._took(part, pending)
        elif outcome.number is None or outcome.number >= part.events:
            self._divide(part, Rejected(outcome.reason))
        else:
            self._without(part, outcome, outcome.number, pending)

    def _took(self, part: Part, pending: Pending | None) -> None:
        self._there = True
        if pending is not None:
            self._waiting.append((part, pending))

    def _without(self, part: Part, refused: Refused, number: int, pending: Pending | None) -> None:
        """Event ``number`` is refused and those before it were taken; go on behind it."""
        self._refused += 1
        if self._refused >= HOPELESS and not self._there:
            raise Rejected(refused.reason)
        self._parts.popleft()
        self._lost[refused.reason] += 1
        if (rest := part.between(number + 1, part.events)) is not None:
            self._parts.appendleft(rest)
        before = part.between(0, number)
        if before is None:
            return
        if self._proved and pending is None:
            self._parts.appendleft(before)
        else:
            self._took(before, pending)

    def _divide(self, part: Part, error: TooLarge | Rejected) -> None:
        """A part is refused as a whole. While nothing of the request is taken its halves are made from the beginning on."""
        if not self._there:
            raise error
        self._parts.popleft()
        if part.events == 1:
            self._lost[str(error)] += 1
            return
        middle = part.events // 2
        halves = [part.between(0, middle), part.between(middle, part.events)]
        self._parts.extendleft(half for half in reversed(halves) if half is not None)

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
        kept = []
        for part, pending in self._waiting:
            if pending.lost:
                self._parts.append(part)
            else:
                kept.append((part, pending))
        self._waiting = kept
