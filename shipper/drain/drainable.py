"""What a drain needs of a pump, so that it can be tried with one that has no destination."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from shipper.clock import Deadline


class Drainable(Protocol):
    """One destination and what it still has to get."""

    name: str

    @property
    def deadline(self) -> Deadline:
        """The moment everything ends; waits and retries are derived from it."""

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None: ...

    def urgent(self, on: bool) -> None:
        """Lift the pacing and end waits of our own choice, or go back to normal."""

    def order_by_value(self, on: bool) -> None:
        """Send the most valuable ranges first, or go back to the simple order."""

    async def finish(self, until: Deadline) -> None:
        """Send no more data; what is on its way is broken off then, so that a farewell gets through."""

    def idle(self) -> bool:
        """True when everything known is settled: here, or at a fallback that took over."""

    def backlog(self) -> Mapping[str, int]:
        """Bytes not yet settled here, by stream; only streams that have any."""

    def backlog_bytes(self) -> int:
        """How many of these nobody has; without a fallback that took over, the sum of `backlog`."""

    def oldest_unacknowledged(self) -> float:
        """Age in seconds of the oldest data not yet settled; 0 when there is none."""

    def rate(self) -> float:
        """Bytes a second that the destination takes, measured; 0.0 while that is not known."""

    def usual_answer(self) -> float:
        """Seconds that it usually takes until a request is acknowledged."""

    def failing(self) -> bool:
        """True while the destination takes nothing."""

    def last_failed_try(self) -> float:
        """When the attempt that failed last had begun (the clock's monotonic seconds); -inf: none has failed."""

    def repay(self, on: bool) -> None:
        """Beside a fallback: also send what only that has, or leave it there."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """A destination that sends nothing before ``activate`` (which makes it share the work of the others), and no more after
    ``stand_by``.
    """

    pump: Drainable
    activate: Callable[[], None]
    stand_by: Callable[[], None]
