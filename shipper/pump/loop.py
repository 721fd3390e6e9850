"""The loop of one pump: what arrived is taken up, what may go is sent, and then it sleeps until there may be something to do.

Beside it, while value decides, the backlog is looked through for what is worth most.
"""

from __future__ import annotations

import asyncio
import math

from shipper.ledger import Ledger
from shipper.pump.dispatch import Dispatch
from shipper.pump.feed import Feed
from shipper.pump.hub import Hub
from shipper.pump.known import ask_known
from shipper.pump.lanes import Lanes
from shipper.pump.pulse import Pulse
from shipper.pump.tools import Tools
from shipper.pump.unfinished import Unfinished

RENEW_SECONDS = 1.0  # how often an order by value is made anew, as streams grow


class Loop:
    """For one destination. ``active``: it does not stand by. ``loaded``: it knows what an earlier run left."""

    def __init__(
        self,
        tools: Tools,
        hub: Hub,
        lanes: Lanes,
        feed: Feed,
        unfinished: Unfinished,
        dispatch: Dispatch,
        *,
        work: Pulse,
        progress: Pulse,
        orders: Pulse,
        shaping: str,
        ledger_lost: bool,
        active: bool,
    ) -> None:
        """``orders`` beats when ``active`` or who decides the order changes. ``ledger_lost``: what the destination has is asked."""
        self.active = active
        self.loaded = False
        self._tools = tools
        self._hub = hub
        self._lanes = lanes
        self._feed = feed
        self._unfinished = unfinished
        self._dispatch = dispatch
        self._work = work
        self._progress = progress
        self._orders = orders
        self._shaping = shaping
        self._ledger_lost = ledger_lost

    async def run(self) -> None:
        """Send until cancelled; then the ledger holds what is open, and the next run goes on from there."""
        try:
            while not self.active:
                await self._orders.wait(self._tools.clock)
            await self._begin()
            async with asyncio.TaskGroup() as deliveries:
                deliveries.create_task(self._look_for_errors())
                while True:
                    await self._turn(deliveries)
        finally:
            self._tools.threads.shutdown(wait=False, cancel_futures=True)
            await self._tools.exporter.aclose()

    async def _begin(self) -> None:
        """Take up where an earlier run stopped."""
        tools, exporter = self._tools, self._tools.exporter
        await exporter.start()
        if self._ledger_lost:
            self._lanes.known.update(await ask_known(tools))
        exporter.resume(await tools.books.call(Ledger.kept, tools.name))
        self._unfinished.load(await tools.books.call(Ledger.open_requests, tools.name), self._shaping)
        self.loaded = True

    async def _turn(self, deliveries: asyncio.TaskGroup) -> None:
        seen = self._work.beats
        if await self._lanes.take_arrivals():
            self._progress.beat()
            self._orders.beat()
        await self._hub.tidy()
        while self.active and await self._dispatch.send_one(deliveries):
            pass
        look = min(self._feed.next_look(), self._unfinished.wait()) if self.active else math.inf
        await self._work.wait(self._tools.clock, look, seen)

    async def _look_for_errors(self) -> None:
        """While value decides: look through the backlog, slice by slice between other work, and make the order anew."""
        while True:
            seen = self._orders.beats
            if self._lanes.order.by_value:
                found = self._lanes.look_for_errors()
                self._work.beat()
                if found:
                    await asyncio.sleep(0)
                    continue
            renew = RENEW_SECONDS if self._lanes.order.by_value else math.inf
            await self._orders.wait(self._tools.clock, renew, seen)
            if self._lanes.order.by_value:
                self._lanes.order_by_value(True)
                self._work.beat()
