"""Open requests that are not under way: whose turn it is to be sent again.

Some are left by an earlier run, some were called back for something worth more. They go before anything new and in the order
of commits; or, while value decides, by what they are worth, and then what nobody has yet need not go as it was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shipper.contracts import Limits, Signal
from shipper.ledger import OpenRequest
from shipper.pump.backoff import Backoff
from shipper.pump.delivery import Courier
from shipper.pump.feed import Feed
from shipper.pump.gather import Parcel
from shipper.pump.lane import only_data
from shipper.pump.lanes import Lanes
from shipper.pump.putback import PutBack, portions, sift
from shipper.pump.resend import Resends
from shipper.pump.tools import Tools
from shipper.pump.value import ERRORS, Values


class Unfinished:
    """Those of one destination, from `load` on."""

    def __init__(
        self,
        tools: Tools,
        lanes: Lanes,
        feed: Feed,
        courier: Courier,
        values: Values,
        *,
        limits: Callable[[], Limits],
    ) -> None:
        self._lanes = lanes
        self._feed = feed
        self._courier = courier
        self._limits = limits
        self._window = tools.window
        self._sizing = tools.sizing
        self._resends = Resends(tools.name, tools.clock, tools.report)
        self._put_back = PutBack(values)
        self._places: list[Backoff] = []  # of requests that gave way: who takes their place goes on with their patience

    def load(self, requests: list[OpenRequest], shaping: str) -> None:
        """Take over what an earlier run left, see `Resends.load`."""
        self._resends.load(requests, shaping)

    def hopeful(self) -> bool:
        """See `Resends.hopeful`."""
        return self._resends.hopeful()

    def wait(self) -> float:
        """See `Resends.wait`."""
        return self._resends.wait()

    def call_back(self) -> None:
        """What was cut before value decided gives way, as far as it only waits: its turn comes by what it is worth."""
        for parcel in self._window.open.values():
            if _may_be_overtaken(parcel):
                parcel.recall.ask()

    def take_back(self, parcels: Sequence[Parcel]) -> None:
        """These gave way."""
        for parcel in parcels:
            if parcel.backoff is not None:
                self._places.append(parcel.backoff)
                parcel.backoff = None
        self._put_back.add(parcels)

    def give_place(self, parcel: Parcel) -> None:
        """``parcel`` sets out: in the place of one that gave way, where there is one."""
        if self._places and only_data(parcel.pieces):
            parcel.backoff = self._places.pop()

    def forget_places(self) -> None:
        """Whoever sets out begins with a patience of his own."""
        self._places.clear()

    async def next(self) -> Parcel | None:
        """An open request whose turn it is: in the order of commits, before anything new; or by what it is worth."""
        if not self._lanes.order.by_value:
            return self._put_back.next() or self._resends.next(self._lanes.by_stream, self._window.holds_back)
        while (left := self._resends.next(self._lanes.by_stream, self._window.holds_back)) is not None:
            if not _may_be_overtaken(left):
                return left
            self._put_back.add([left])
        parcel = self._put_back.precious()
        if parcel is None and not self._lanes.order.looking and not self._feed.soon(ERRORS):
            parcel = self._put_back.next()
        if parcel is None or not parcel.unsent:
            return parcel
        return await self._in_parts(parcel)

    async def _in_parts(self, parcel: Parcel) -> Parcel:
        """What nobody has yet need not go as it was cut: errors first, and no more at a time than the time allows."""
        limits = self._limits()
        most = self._sizing.max_raw(limits) / self._sizing.raw_per_source
        precious, rest = await sift(parcel.pieces, self._put_back.valuable())
        first, then = portions(precious, limits, most), portions(rest, limits, most)
        if [*first, *then] == [parcel.pieces]:
            return parcel
        made = await self._courier.divide(parcel, [*first, *then])
        for one in made[len(first) :]:
            one.full = parcel.full
        self._put_back.add(made[1:])
        return made[0]


def _may_be_overtaken(parcel: Parcel) -> bool:
    """Not what tells of the life; nor samples, which are refused when they come out of order."""
    return parcel.signal is not Signal.METRICS and only_data(parcel.pieces)
