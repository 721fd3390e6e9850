"""All streams of one destination: taken up at their cursors, given turns, left alone while they cannot be read."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from shipper.contracts import Signal, Stream, StreamKind
from shipper.events import Problem
from shipper.intervals import IntervalSet
from shipper.ledger import Cursor, Ledger
from shipper.pump.hub import Hub
from shipper.pump.lane import Lane
from shipper.pump.membership import Membership
from shipper.pump.order import Order
from shipper.pump.pulse import Pulse
from shipper.pump.rotation import Rotation
from shipper.pump.route import Route
from shipper.pump.tools import Tools

BUSY_BYTES = 64 << 10  # uncut in one stream: from here on every growth may complete a request
REST_SECONDS = 5.0  # a stream that could not be read is left alone for so long


class Lanes:
    """The `Follower` side of a pump. ``work`` beats when there may be something to do.

    ``spare``: of a pump that stands by. It is owed nothing: nobody waits for it but for what it has on its way. ``route``: what of
    the streams the destination gets; None: everything.
    """

    def __init__(
        self,
        tools: Tools,
        hub: Hub,
        *,
        work: Pulse,
        progress: Pulse,
        spare: bool = False,
        route: Route | None = None,
    ) -> None:
        self.rotations = {signal: Rotation(signal, tools.exporter) for signal in Signal}
        self.by_stream: dict[str, Lane] = {}
        self.known: dict[str, IntervalSet] = {}  # what the destination said it has, until its stream arrives
        self.order = Order(hub.values, tools.clock)
        self.member = Membership(self.by_stream, tools, gets=self._gets, progress=progress, changed=self._enter)
        self._spare = spare
        self._route = route
        self._exporter = tools.exporter
        self._hub = hub
        self._books = tools.books
        self._clock = tools.clock
        self._report = tools.report
        self._work = work
        self._arriving: dict[str, Stream] = {}
        self._resting: dict[str, Lane] = {}  # could not be read a moment ago
        self._behind: dict[str, Lane] = {}  # data that may not be settled: what nothing happens to costs nothing
        self._held: dict[str, Lane] = {}  # account streams, until it is known whether they are wanted

    def follow(self, stream: Stream) -> None:
        """See `Follower.follow`."""
        if not self.takes(stream):
            return
        if self._route is not None:
            stream = self._route.view(stream)
        lane = self.by_stream.get(stream.id)
        if lane is not None:
            lane.stream = stream
            self.look(stream.id)
        else:
            self._arriving[stream.id] = stream
            self._work.beat()

    def look(self, stream: str) -> None:
        """See `Follower.look`."""
        lane = self.by_stream.get(stream)
        if lane is not None:
            lane.noticed()
            self._behind[stream] = lane
            if self.order.by_value:
                lane.weigh()
            # One that has a turn coming needs no wake-up for every line, only when it may have become a request of its own.
            if self._queue(lane) or lane.uncut() >= BUSY_BYTES:
                self._work.beat()

    def takes(self, stream: Stream) -> bool:
        """See `Follower.takes`."""
        return stream.signal in self._exporter.signals and (self._route is None or self._route.takes(stream))

    def owed(self, stream: Stream) -> bool:
        """See `Follower.owed`."""
        return self.takes(stream) and not self._spare

    def low(self, stream: Stream) -> int | None:
        """See `Follower.low`."""
        if not self.wanted(stream):
            return None
        lane = self.by_stream.get(stream.id)
        if self._spare:
            return None if lane is None or self.member.share is None else lane.unanswered()
        return stream.start if lane is None else lane.low

    def forget(self, stream: str) -> None:
        """See `Follower.forget`."""
        self._arriving.pop(stream, None)
        self._held.pop(stream, None)
        self._resting.pop(stream, None)
        self._behind.pop(stream, None)
        lane = self.by_stream.pop(stream, None)
        if lane is not None:
            lane.retired = True
            self.rotations[lane.stream.signal].drop(lane)

    def wake(self) -> None:
        """See `Follower.wake`."""
        self._work.beat()

    async def take_arrivals(self) -> bool:
        """Make lanes of what was announced; True when there was something."""
        arrived = False
        while self._arriving:
            arrived = True
            arriving = dict(self._arriving)
            known = {name: _seen(stream, self.known[name]) for name, stream in arriving.items() if name in self.known}
            cursors = await self._books.call(_cursors, self._exporter.name, list(arriving), known)
            for name, stream in arriving.items():
                if self._arriving.get(name) is not stream:
                    continue  # retired or announced anew while we asked
                del self._arriving[name]
                self.known.pop(name, None)
                lane = self.by_stream[name] = Lane(stream, cursors[name], self._clock)
                self._behind[name] = lane
                self.order.weigh(lane)
                self._queue(lane)
                self._hub.moved(stream)
        return arrived

    def reconsider(self) -> None:
        """Give a turn to lanes that had to wait for a moment or for an answer."""
        if self._held and self._exporter.accounts_known:
            held, self._held = self._held, {}
            for lane in held.values():
                self._queue(lane)
        now = self._clock.monotonic()
        for lane in [lane for lane in self._resting.values() if lane.rest_until <= now]:
            del self._resting[lane.stream.id]
            self._queue(lane)
        if self.member.look_again():
            for lane in self.member.wanting(self.by_stream.values()):
                self._queue(lane)

    def rest(self, lane: Lane, error: Exception) -> None:
        """Leave a stream alone that cannot be read now."""
        name = lane.stream.name
        self._report(Problem("read", f"{name} cannot be read now, tried again: {error}", name))
        lane.rest_until = self._clock.monotonic() + REST_SECONDS
        self._resting[lane.stream.id] = lane

    def rested(self) -> float:
        """Seconds until a lane that was left alone is tried again; inf when there is none."""
        now = self._clock.monotonic()
        shared = math.inf
        if self.member.share is not None and (self.member.lends or not self.idle(include_account=False)):
            shared = self.member.next_look()
        return min([shared, *(max(0.0, lane.rest_until - now) for lane in self._resting.values())])

    def settle(self, lane: Lane, start: int, end: int) -> None:
        """Positions need nothing more from this destination."""
        if lane.settle(start, end):
            self._hub.moved(lane.stream)
        self.member.settled()

    def wanted(self, stream: Stream) -> bool:
        """False for a signal that the destination does not take, and for the account at one known not to keep it.

        One that stands by, or helps in a drain, does not get the account either: a farewell has it all. In an outage it does,
        since the host may die before it can say farewell.
        """
        if not self.takes(stream):
            return False
        if stream.kind is not StreamKind.ACCOUNT:
            return True
        return not self._spared and self._exporter_may_want_accounts()

    @property
    def _spared(self) -> bool:
        """Whether it stands by, or helps only until the drain is over."""
        return self._spare and not self.member.lends

    def _gets(self, stream: str) -> bool:
        known = self._hub.get(stream)
        return known is None or self.wanted(known)

    def _exporter_may_want_accounts(self) -> bool:
        return self._exporter.keeps_accounts or not self._exporter.accounts_known

    def idle(self, include_account: bool) -> bool:
        """True when everything seen is settled; data also by another destination of the share."""
        if self._arriving:
            return False
        return all(
            lane.idle() or (lane.counts and not self.member.unsettled(lane))
            for lane in self.by_stream.values()
            if lane.counts or (include_account and self.wanted(lane.stream))
        )

    def finish(self) -> None:
        """Data gets no more turns."""
        for rotation in self.rotations.values():
            rotation.drop_data()

    def told(self) -> bool:
        """True when what tells of the life is settled; data does not count."""
        return not self._arriving and all(
            lane.idle() for lane in self.by_stream.values() if not lane.counts and self.wanted(lane.stream)
        )

    def backlog(self) -> dict[str, int]:
        """Bytes of data seen but not settled here (standing by: nor elsewhere), by stream, where there are any."""
        measure = self.member.unsettled if self._spare else Lane.unsettled
        return {lane.stream.id: size for lane in self._unsettled() if (size := measure(lane)) > 0}

    def _unsettled(self) -> list[Lane]:
        """The streams of data that are not settled here."""
        for name in [name for name, lane in self._behind.items() if lane.idle() or not lane.counts]:
            del self._behind[name]
        return list(self._behind.values())

    def unsettled_bytes(self) -> int:
        """Bytes of data seen but settled by nobody in the share."""
        return sum(self.member.unsettled(lane) for lane in self._unsettled())

    def order_by_value(self, on: bool, patience: float = 0.0) -> None:
        """Let value decide who is next, beginning anew; or turns again. See `Order.decide`."""
        self.order.decide(on, patience)
        for lane in self.by_stream.values():
            self.order.weigh(lane)
            self._queue(lane)
        for rotation in self.rotations.values():
            rotation.by_value = on

    def look_for_errors(self) -> bool:
        """Look at one more slice of the backlog; False when all of it was looked at."""
        if self.order.look(self.by_stream.values()):
            return True
        if not self._arriving:
            self.order.looked()
        return False

    def _enter(self) -> None:
        """A share begins or ends: others may have, or may no longer be sending, what had no turn here."""
        for lane in list(self.by_stream.values()):
            if not self.wanted(lane.stream):
                self.rotations[lane.stream.signal].drop(lane)
            self._queue(lane)
            self._hub.moved(lane.stream)  # a fallback holds back what it has on its way, but not for ever
        self._work.beat()

    def oldest(self) -> float:
        """Age in seconds of the oldest data not settled; 0 when there is none."""
        now = self._clock.monotonic()
        lanes = () if self._spare else self._unsettled()
        return max((now - lane.oldest() for lane in lanes), default=0.0)

    def _queue(self, lane: Lane) -> bool:
        """Give a lane a turn if it has something to cut and is wanted; True when that is news."""
        if lane.stream.kind is StreamKind.ACCOUNT and (self._spared or not self._exporter.keeps_accounts):
            if self._spared or self._exporter.accounts_known:
                self._hub.moved(lane.stream)  # nobody waits for us
            else:
                self._held[lane.stream.id] = lane
        elif lane.uncut() > 0 and lane.stream.id not in self._resting:
            return self.rotations[lane.stream.signal].queue(lane, self._clock.monotonic())
        return False


def _seen(stream: Stream, told: IntervalSet) -> IntervalSet:
    """What a destination says it has, as far as we have seen it exist: a claim beyond would hide what is still to come."""
    seen = told.copy()
    seen.remove(stream.frontier(), sys.maxsize)
    return seen


def _cursors(
    ledger: Ledger, destination: str, streams: Sequence[str], known: dict[str, IntervalSet]
) -> dict[str, Cursor]:
    """Cursors of several streams in one turn of the ledger's thread, after adopting what the destination has."""
    for stream, intervals in known.items():
        ledger.adopt(destination, stream, intervals)
    return {stream: ledger.cursor(destination, stream) for stream in streams}
