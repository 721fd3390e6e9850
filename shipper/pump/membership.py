"""One destination as a member of a share: what the others see of it, and what of its own they have taken off it.

While no fallback helps, all of this is empty: everybody is owed everything, and nobody's claims are in the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from shipper.contracts import StreamKind
from shipper.intervals import IntervalSet
from shipper.pump.lane import Lane
from shipper.pump.pulse import Pulse
from shipper.pump.share import Share
from shipper.pump.tools import Tools

EVERYTHING = IntervalSet([(0, 1 << 62)])  # of a stream that nobody lacks anything of, as nobody gets it
CLAIM_SECONDS = 10.0  # what is on its way for longer, and for three times as long as usual, others may send too
CLAIM_LOOK = 0.25  # seconds; how often a pump in a share looks whether what others had claimed is free
LENT_LOOK = 1.0  # the same in an outage, which may last for days


class Membership:
    """The `Member` side of a pump. ``changed`` is called when it enters a share or leaves it."""

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        tools: Tools,
        *,
        gets: Callable[[str], bool],
        progress: Pulse,
        changed: Callable[[], None],
    ) -> None:
        """``gets``: whether a stream, by its id, is for this destination."""
        self.share: Share | None = None  # while a fallback works beside the others
        self.repays = False  # there is time for what only the fallback has: that is sent here, too
        self._lanes = lanes
        self._clock = tools.clock
        self._window = tools.window
        self._health = tools.health
        self._progress = progress
        self._gets = gets
        self._changed = changed
        self._looked_at = -math.inf

    # -- what the others see ---------------------------------------------------------------------------------------

    def gets(self, stream: str) -> bool:
        """See `Member.gets`."""
        return self._gets(stream)

    def lacks(self, stream: str) -> bool:
        """See `Member.lacks`."""
        lane = self._lanes.get(stream)
        return self._gets(stream) if lane is None else not lane.idle()

    def settled_of(self, stream: str) -> IntervalSet:
        """See `Member.settled_of`."""
        lane = self._lanes.get(stream)
        return IntervalSet() if lane is None else lane.done

    def claims_of(self, stream: str) -> IntervalSet:
        """See `Member.claims_of`."""
        usual = self._window.usual_answer
        if self._health.failing(usual):
            return IntervalSet()
        return self._window.flying(stream, self._clock.monotonic() - max(CLAIM_SECONDS, 3 * usual))

    def nudge(self) -> None:
        """See `Member.nudge`."""
        self._progress.beat()

    def enter(self, share: Share | None) -> None:
        """See `Member.enter`."""
        self.share = share
        self.repays = False
        self._changed()

    def repay(self, on: bool) -> None:
        """See `Pump.repay`."""
        if on is not self.repays and self.share is not None:
            self.repays = on
            self._changed()

    @property
    def lends(self) -> bool:
        """Whether it stands in for others that will get everything themselves later."""
        return self.share is not None and self.share.repaid

    # -- what it sees of the others --------------------------------------------------------------------------------

    def settled(self) -> None:
        """Something was settled here: the others may be done with that."""
        if self.share is not None:
            self.share.moved(self)

    def unsettled(self, lane: Lane) -> int:
        """Bytes of a lane that no destination of the share has settled; without a share, that this one has not."""
        if self.share is None:
            return lane.unsettled()
        elsewhere = self.share.settled(self, lane.stream.id)
        return 0 if elsewhere is None else lane.unsettled(elsewhere)

    def avoid(self, lane: Lane) -> IntervalSet | None:
        """What of a stream others have, or are sending."""
        if self.share is None or not (lane.counts or (self.lends and lane.stream.kind is StreamKind.ACCOUNT)):
            return None
        taken = self.share.taken(self, lane.stream.id)
        return EVERYTHING if taken is None and lane.counts else taken

    def look_again(self) -> bool:
        """True, once in a while, when it is time to see whether what others had claimed is free."""
        now = self._clock.monotonic()
        if self.share is None or now < self._looked_at + self._every:
            return False
        self._looked_at = now
        return True

    def next_look(self) -> float:
        """Seconds until `look_again` is due."""
        return max(0.0, self._looked_at + self._every - self._clock.monotonic())

    def wanting(self, lanes: Iterable[Lane]) -> list[Lane]:
        """Those of which there may be something to do, now that it is time to look again."""
        share = self.share
        if share is None or not share.repaid:
            return list(lanes)
        return [lane for lane in lanes if share.lacking(lane.stream.id)]

    @property
    def _every(self) -> float:
        return LENT_LOOK if self.lends else CLAIM_LOOK
