"""Keeps systemd from killing us while a drain goes on: TimeoutStopSec is moved as long as there is something to send.

systemd grants 90 s by default and takes a message of its own for more (``EXTEND_TIMEOUT_USEC``, sd_notify(3)): the first must come
within TimeoutStopSec, each further one within what the one before asked for. Little is asked for at a time, so a sidecar that
hangs is killed as soon as one that never asked.
"""

from __future__ import annotations

from collections.abc import Callable

from shipper.clock import Clock
from shipper.notice import Hold, Need
from shipper.notices.sd_notify import ServiceManager

LOOK_SECONDS = 0.5  # how soon the first message follows the start of a drain
GRANTED_SECONDS = 20.0  # asked for at a time
REPEAT_SECONDS = 5.0
LONGEST_SECONDS = 29 * 60.0  # poweroff.target and reboot.target are forced 30 min after their start (JobTimeoutSec)
FAREWELL_SECONDS = 2.0  # after the deadline of the drain; then there is nothing left to wait for


class SystemdHold(Hold):
    """Asks for time while a drain goes on, until its deadline, and never for more than half an hour of one drain.

    It does not raise the deadline itself: that is `drain.deadline`, which with this hold may be longer than TimeoutStopSec.
    """

    name = "systemd"
    release_when = "empty"

    def __init__(self, *, clock: Clock, manager: ServiceManager) -> None:
        self._clock = clock
        self._manager = manager
        self._released = False

    @property
    def holding(self) -> bool:
        """See `Hold.holding`: our exit is what systemd waits for, and nothing is kept by staying."""
        return False

    async def run(self, need: Callable[[], Need]) -> None:
        """See `Hold.run`."""
        since: float | None = None
        asked = float("-inf")
        while self._manager.listens:
            now, current = self._clock.monotonic(), need()
            if not current.draining:
                since, self._released = None, False
            elif not self._released:
                since = now if since is None else since
                end = min(current.deadline + FAREWELL_SECONDS, since + LONGEST_SECONDS)
                if end > now and now - asked >= REPEAT_SECONDS:
                    self._manager.extend(min(GRANTED_SECONDS, end - now))
                    asked = now
            await self._clock.sleep(LOOK_SECONDS)

    async def release(self, *, drained: bool) -> None:
        """See `Hold.release`. What was granted last runs out by itself, or we exit before."""
        self._released = True
