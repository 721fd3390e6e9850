"""When a request may go and what goes into it.

A pump waits before it cuts, not after: what is not yet cut costs no memory, and lines that came meanwhile make one larger
batch instead of several small ones. So "gathering" is mostly leaving things where they are.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from shipper.contracts import Batch, Limits, StreamKind
from shipper.errors import RangeGone
from shipper.ledger import Ledger
from shipper.pump.gather import ALMOST, Gathering
from shipper.pump.hub import Hub
from shipper.pump.lane import Lane, Piece
from shipper.pump.lanes import Lanes
from shipper.pump.pace import Buckets, TokenBucket
from shipper.pump.rotation import Rotation
from shipper.pump.tools import Tools
from shipper.pump.value import ERRORS, REST

LOSS_WORDS = ("truncated", "replaced", "deleted", "damaged", "dropped")


class Feed:
    """Fills requests for one destination. ``lifted``: the bucket paces nothing; ``urgent``: nothing waits for company."""

    def __init__(
        self,
        tools: Tools,
        lanes: Lanes,
        hub: Hub,
        *,
        limits: Callable[[], Limits],
        lifted: bool,
        batch_bytes: int,
        beside: TokenBucket | None = None,
    ) -> None:
        """``beside``: a bucket that several pumps share, out of which a request needs a token, too."""
        self.urgent = False
        self._lifted = lifted
        self._destination = tools.name
        self._lanes = lanes
        self._hub = hub
        self._books = tools.books
        self._threads = tools.threads
        self._window = tools.window
        self._sizing = tools.sizing
        self._limits = limits
        self._batch_bytes = batch_bytes
        self._clock = tools.clock
        own = TokenBucket(tools.clock, limits().requests_per_second, limits().burst, lambda: tools.health.well_since)
        self._bucket = own if beside is None else Buckets(own, beside)

    async def fill_one(self, worst: int = REST) -> Gathering | None:
        """A request that may be sent now, of the signal that waits longest; None when there is none.

        While value decides: the most valuable, and none that begins with what is worth less than ``worst``.
        """
        self._lanes.reconsider()
        waiting = [one for one in self._waiting() if one.worth <= worst]
        for rotation in sorted(waiting, key=lambda rotation: (rotation.worth, rotation.since)):
            if self._wait_of(rotation) > 0:
                continue
            await self._fill(rotation)
            held = rotation.gathering
            if not held:
                rotation.rest()
                continue
            full = rotation.blocked or held.room(self._limits(), self._sizing) == 0
            if full or self._part_wait(rotation) <= 0:
                if not full and not self._unpaced and held.contents.raw:
                    self._bucket.take()
                filled = rotation.take(self._clock.monotonic())
                filled.full = full
                return filled
        return None

    def next_look(self) -> float:
        """Seconds until something may go that may not go now, without anything else happening."""
        if not self._window.has_room(self._limits()):
            return math.inf
        waits = [self._wait_of(rotation) for rotation in self._waiting()]
        return min([*waits, self._lanes.rested()])

    async def _fill(self, rotation: Rotation) -> None:
        """Cut turn by turn until the request is full or nothing is due."""
        life_only = self.urgent and rotation.life_first and not rotation.gathering
        while (
            self._may_go(rotation)
            and not rotation.blocked
            and (room := rotation.gathering.room(self._limits(), self._sizing)) > 0
        ):
            if life_only and not rotation.life_first:
                return  # the farewell does not wait behind a bulk of data
            worth = rotation.rank
            if rotation.gathering.worth <= ERRORS < worth:
                return  # nor do errors
            lane = rotation.next()
            if lane is None:
                return
            cut = await self._cut(lane, min(room, self._batch_bytes))
            if cut is None:
                rotation.out(lane)
                continue
            rotation.put(*cut, self._limits().max_raw_bytes, worth)
            del cut  # or this frame would keep the bytes of the last one
            await self._pack(rotation.gathering)
            if lane.uncut() > 0:
                if self._lanes.order.by_value:
                    lane.weigh()
                rotation.again(lane)
            else:
                rotation.out(lane)
            await asyncio.sleep(0)  # cutting half a megabyte takes milliseconds: let answers and sources in

    async def _pack(self, held: Gathering) -> None:
        try:
            await held.contents.pack(self._threads)
        except Exception:  # a bug in the exporter, which shows again, and is said, where all of it is read again
            held.contents.spoilt = True

    async def _cut(self, lane: Lane, limit: int) -> tuple[Piece, Batch] | None:
        while True:
            try:
                now, member = self._clock.wall_ns(), self._lanes.member
                cut = lane.cut(limit, now, member.avoid(lane))
                return lane.cut(limit, now) if cut is None and member.repays else cut
            except RangeGone as error:
                start, end = lane.skip(error.end)
                if start == end:  # nothing unread is gone, so there is nothing to go on behind
                    self._lanes.rest(lane, error)
                    return None
                records = error.records if (start, end) == (error.start, error.end) else 0
                await self._give_up(lane, start, end, records, cause_of_loss(error.reason))
            except OSError as error:
                self._lanes.rest(lane, error)
                return None

    async def _give_up(self, lane: Lane, start: int, end: int, records: int, cause: str) -> None:
        await self._books.call(Ledger.give_up, self._destination, lane.stream.id, start, end, records, cause)
        if lane.stream.kind is not StreamKind.ACCOUNT:  # else newer statements have taken the place of these
            self._hub.lost(lane.stream, start, end, cause)
        self._lanes.settle(lane, start, end)

    def soon(self, worst: int) -> bool:
        """Whether something of that worth, or better, waits for a moment that comes by itself (see `next_look`)."""
        return any(one.worth <= worst for one in self._waiting())

    def _waiting(self) -> list[Rotation]:
        """Those that have something to send, and need not wait for what is on its way."""
        rotations = self._lanes.rotations.values()
        return [one for one in rotations if one.waiting and not self._window.holds_back(one.signal)]

    def _may_go(self, rotation: Rotation) -> bool:
        """False while errors are looked for and something else is next."""
        return rotation.rank <= ERRORS or self._lanes.order.errors_first() <= 0

    @property
    def _unpaced(self) -> bool:
        return self.urgent or self._lifted

    def _wait_of(self, rotation: Rotation) -> float:
        """Seconds until cutting for ``rotation`` may begin: none when it looks full, else when a part may go."""
        if not self._may_go(rotation) and not rotation.gathering:
            return self._lanes.order.errors_first()
        part = self._part_wait(rotation)
        return 0.0 if part <= 0 or self._looks_full(rotation) else part

    def _part_wait(self, rotation: Rotation) -> float:
        """Seconds until a part-filled request of this signal may go."""
        limits = self._limits()
        behind = self._window.part_filled_wait(limits.max_in_flight, self._unpaced)
        if self.urgent:
            # Errors found so far neither wait for those that may still be found, nor are held up by lesser data filled in.
            return 0.0 if rotation.gathering.worth <= ERRORS else behind
        pace = 0.0 if self._lifted else self._bucket.wait()
        if rotation.life_first or not limits.linger:  # a birth is told at once
            return max(behind, pace)
        return max(behind, pace, rotation.since + limits.linger - self._clock.monotonic())

    def _looks_full(self, rotation: Rotation) -> bool:
        """True when what is seen but not cut would, by the running ratios, fill a request."""
        limits = self._limits()
        room = rotation.gathering.room(limits, self._sizing)
        if room == 0 or rotation.blocked:
            return True
        wanted = room * ALMOST
        batches = limits.max_batches - len(rotation.gathering.pieces)
        for lane in rotation.lanes():
            uncut = lane.uncut()
            wanted -= uncut
            batches -= uncut > 0
            if wanted <= 0 or batches <= 0:
                return True
        return False


def cause_of_loss(reason: str) -> str:
    """A fixed word for a metric label out of why a range is gone."""
    return next((word for word in LOSS_WORDS if word in reason), "gone")
