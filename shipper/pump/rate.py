"""How fast a destination takes a backlog: what it acknowledged while there was more than enough to send."""

from __future__ import annotations

from collections import deque

from shipper.clock import Clock

HORIZON = 5.0  # busy seconds that the figure is taken over
FEWEST = 4  # acknowledgements that it is taken over, however long ago: some destinations take half a minute for each
SLOWEST = 1.0  # bytes a second; a rate that is known is never zero


class Rate:
    """Source bytes a second. Only times count in which a request was under way that was as full as it gets.

    A quiet host sends small requests one by one; how long these take says nothing of what a backlog would.
    """

    __slots__ = ("_acknowledged", "_busy", "_clock", "_known", "_open", "_since")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = 0  # full requests under way
        self._since = 0.0
        self._busy = 0.0  # seconds, up to ``_since``
        self._known = False
        self._acknowledged: deque[tuple[float, int]] = deque([(0.0, 0)])  # busy seconds by then, bytes

    def began(self) -> None:
        """A full request sets out."""
        if not self._open:
            self._since = self._clock.monotonic()
        self._open += 1

    def ended(self) -> None:
        """All of a full request is settled."""
        self._busy = self._busy_now()
        self._since = self._clock.monotonic()
        self._open -= 1

    def acknowledged(self, size: int) -> None:
        """The destination has ``size`` bytes of source more."""
        if not self._open or not size:
            return
        now = self._busy_now()
        self._known = True
        self._acknowledged.append((now, size))
        while len(self._acknowledged) > FEWEST + 1 and self._acknowledged[1][0] < now - HORIZON:
            self._acknowledged.popleft()  # the first only says when the time of the others begins

    def value(self) -> float:
        """Bytes a second; 0.0 when nothing is known yet. It falls while answers stay away."""
        if not self._known:
            return 0.0
        begin = self._acknowledged[0][0]
        size = sum(size for _, size in list(self._acknowledged)[1:])
        return max(SLOWEST, size / max(1e-3, self._busy_now() - begin))

    def _busy_now(self) -> float:
        return self._busy + (self._clock.monotonic() - self._since if self._open else 0.0)
