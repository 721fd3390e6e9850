"""Whether a destination fails: what a drain has to know to turn to another one in time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from shipper.clock import Clock

IN_A_ROW = 3  # failures without an answer between them; one may be a connection that had been closed
FOR_SECONDS = 1.0  # so long at least: four requests that break together are one failure
SILENCE = 5.0  # seconds without an answer to anything


class Health:
    """Attempts and what became of them. An answer is whatever tells that the destination is there and took a decision."""

    __slots__ = (
        "_answered_at",
        "_clock",
        "_failed_since",
        "_failures",
        "_under_way",
        "_unusable",
        "answers",
        "failed_at",
        "failure",
    )

    def __init__(self, clock: Clock) -> None:
        self.answers = 0  # since the last failure
        self.failed_at = -math.inf
        self.failure = ""  # what became of the last attempt and why, for people; nothing once one was answered
        self._clock = clock
        self._under_way: list[float] = []  # when each attempt without an answer began, the oldest first
        self._answered_at = clock.monotonic()
        self._failures = 0
        self._failed_since = 0.0
        self._unusable = False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one attempt."""
        began = self._clock.monotonic()
        self._under_way.append(began)
        try:
            yield
        finally:
            self._under_way.remove(began)

    def answered(self) -> None:
        """The destination took a request, or refused just this one."""
        self._answered_at = self._clock.monotonic()
        self._failures = 0
        self._unusable = False
        self.failure = ""
        self.answers += 1

    def failed(self, failure: str, *, unusable: bool = False) -> None:
        """It did neither; ``failure`` says what and why. ``unusable``: and will not, as it is set up."""
        self.answers = 0
        self.failure = failure
        self.failed_at = self._clock.monotonic()
        self._failures += 1
        if self._failures == 1:
            self._failed_since = self._clock.monotonic()
        self._unusable = unusable

    def failing(self, usual_answer: float) -> bool:
        """True while attempts fail, or nothing was answered for long; ``usual_answer``: seconds it takes otherwise."""
        now = self._clock.monotonic()
        if self._unusable:
            return True
        if self._failures >= IN_A_ROW and now - self._failed_since >= FOR_SECONDS:
            return True
        silent_since = max(self._answered_at, self._under_way[0] if self._under_way else now)
        return now - silent_since >= max(SILENCE, 3 * usual_answer)
