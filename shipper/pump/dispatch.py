"""Requests on their way: what goes next is written down, sent by a task of its own, and what comes back is taken in again.

As many at a time as the exporter's window allows. At the end of a drain that was too short data stops first, so that what tells
of the life does not share the way with what will not get there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from shipper.clock import Deadline
from shipper.contracts import Limits
from shipper.ids import uuid7
from shipper.ledger import Ledger
from shipper.pump.delivery import Courier
from shipper.pump.feed import Feed
from shipper.pump.gather import Gathering, Parcel
from shipper.pump.hub import Hub
from shipper.pump.lane import Piece, only_data
from shipper.pump.lanes import Lanes
from shipper.pump.pulse import Pulse
from shipper.pump.recall import Recall
from shipper.pump.tools import Tools
from shipper.pump.unfinished import Unfinished
from shipper.pump.value import NEWEST
from shipper.pump.workbench import InHand

LOOK_SECONDS = 0.25  # how often a wait for progress looks whether its deadline was moved


class Dispatch:
    """For one destination. ``spare``: nobody waits for it but for what it has on its way, see `Lanes`."""

    def __init__(
        self,
        tools: Tools,
        lanes: Lanes,
        feed: Feed,
        unfinished: Unfinished,
        courier: Courier,
        hub: Hub,
        *,
        limits: Callable[[], Limits],
        shaping: str,
        work: Pulse,
        progress: Pulse,
        spare: bool,
    ) -> None:
        self.finishing = False  # no more data: only what tells of the life
        self._tools = tools
        self._lanes = lanes
        self._feed = feed
        self._unfinished = unfinished
        self._courier = courier
        self._hub = hub
        self._limits = limits
        self._shaping = shaping
        self._work = work
        self._progress = progress
        self._spare = spare
        self._bulk: set[asyncio.Task[None]] = set()  # deliveries of data alone

    async def send_one(self, deliveries: asyncio.TaskGroup) -> bool:
        """Let the next request set out; False when none may go now."""
        if not self._tools.window.has_room(self._limits()):
            return False
        hand = InHand(await self._tools.desk.place())
        try:
            parcel = await self._next(hand)
        except BaseException:
            hand.let_go()
            raise
        if parcel is None or self._is_over(parcel.pieces):  # it was being filled or committed when the end came
            hand.let_go()
        else:
            self._dispatch(deliveries, parcel, hand)
        return parcel is not None

    async def _next(self, hand: InHand) -> Parcel | None:
        """A committed request, with its bytes in ``hand`` where they were just cut; None when none may go now."""
        filled = await self._feed.fill_one(NEWEST) if self._lanes.order.by_value else None
        if filled is None and not self.finishing:
            again = await self._unfinished.next()
            if again is not None:
                return again
        filled = filled or await self._feed.fill_one()
        if filled is None:
            return None
        hand.contents = None if filled.contents.spoilt else filled.contents
        return await self._commit(filled)

    async def finish(self, until: Deadline) -> None:
        """Send no more data, for good: what is on its way may get there until then, and is broken off."""
        self.finishing = True
        self._lanes.finish()
        while self._bulk and not until.expired():
            await self._progress.wait(self._tools.clock, min(until.remaining(), LOOK_SECONDS))
        for delivery in self._bulk:
            delivery.cancel()
        await asyncio.gather(*self._bulk, return_exceptions=True)
        self._work.beat()

    async def _commit(self, filled: Gathering) -> Parcel:
        clock = self._tools.clock
        parcel = Parcel(uuid7(clock.wall_ns()), filled.signal, filled.pieces, clock.monotonic())
        parcel.full = filled.full
        cuts = [piece.key for piece in filled.pieces]
        await self._tools.books.call(Ledger.commit, self._tools.name, parcel.id, filled.signal, cuts, self._shaping)
        return parcel

    def _is_over(self, pieces: Sequence[Piece]) -> bool:
        """Whether these are data, and the end has come for that."""
        return self.finishing and only_data(pieces)

    def _dispatch(self, deliveries: asyncio.TaskGroup, parcel: Parcel, hand: InHand) -> None:
        parcel.recall = Recall()
        self._unfinished.give_place(parcel)
        self._tools.window.enter(parcel)
        delivery = deliveries.create_task(self._deliver(parcel, hand))
        delivery.add_done_callback(lambda _: hand.let_go())  # one that is cancelled before it began, too
        if only_data(parcel.pieces):
            self._bulk.add(delivery)
            delivery.add_done_callback(self._bulk.discard)

    async def _deliver(self, parcel: Parcel, hand: InHand) -> None:
        entered_as = parcel.id
        # Nobody waits for a pump that stands by, but for what it has on its way.
        streams = [piece.lane.stream for piece in parcel.pieces] if self._spare else []
        if parcel.full:
            self._tools.rate.began()
        try:
            left = await self._courier.deliver(parcel, hand)
        finally:
            if parcel.full:
                self._tools.rate.ended()
            self._tools.window.leave(entered_as)
        for stream in streams:
            self._hub.moved(stream)
        self._unfinished.take_back(left)
        self._work.beat()
