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
        "_late",
        "_reason",
        "_tried_at",
        "_under_way",
        "_unusable",
        "answers",
        "failed_at",
        "failed_try",
        "well_since",
    )

    def __init__(self, clock: Clock) -> None:
        self.answers = 0  # since the last failure
        self.failed_at = -math.inf
        self.failed_try = -math.inf  # when the attempt that failed then had begun
        self.well_since = (
            -math.inf
        )  # when the last outage ended: with the first answer after failures that were no hiccup
        self._clock = clock
        self._tried_at = -math.inf  # when the attempt began that ended last without having been taken
        self._under_way: list[float] = []  # when each attempt without an answer began, the oldest first
        self._answered_at = clock.monotonic()
        self._failures = 0
        self._failed_since = 0.0
        self._unusable = False
        self._reason = ""  # what became of the last attempt that had its time, and why
        self._late = ""  # the same of one behind the deadline of a drain

    @property
    def failure(self) -> str:
        """What became of the last attempt and why, for people; empty once one was answered.

        That an attempt had no time any more says nothing of the destination: then it is said, too, why it failed before.
        """
        if self._late and self._reason not in ("", self._late):
            return f"{self._late} (before that: {self._reason})"
        return self._late or self._reason

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one attempt."""
        began = self._clock.monotonic()
        self._under_way.append(began)
        try:
            yield
        except BaseException:
            self._tried_at = began
            raise
        finally:
            self._under_way.remove(began)

    def answered(self) -> None:
        """The destination took a request, or refused just this one."""
        self._answered_at = self._clock.monotonic()
        if self._failed_lastingly():
            self.well_since = self._answered_at
        self._failures = 0
        self._unusable = False
        self._reason = self._late = ""
        self.answers += 1

    def failed(self, failure: str, *, unusable: bool = False, late: bool = False) -> None:
        """It did neither; ``failure`` says what and why. ``unusable``: and will not, as it is set up. ``late``: it had no time."""
        self.answers = 0
        self._late = failure if late else ""
        self._reason = self._reason if late else failure
        self.failed_at = self._clock.monotonic()
        self.failed_try = self._tried_at
        self._failures += 1
        if self._failures == 1:
            self._failed_since = self._clock.monotonic()
        self._unusable = unusable

    def failing(self, usual_answer: float) -> bool:
        """True while attempts fail, or nothing was answered for long; ``usual_answer``: seconds it takes otherwise."""
        if self._failed_lastingly():
            return True
        now = self._clock.monotonic()
        silent_since = max(self._answered_at, self._under_way[0] if self._under_way else now)
        return now - silent_since >= max(SILENCE, 3 * usual_answer)

    def _failed_lastingly(self) -> bool:
        if self._failures < IN_A_ROW or self._unusable:
            return self._unusable
        return self._clock.monotonic() - self._failed_since >= FOR_SECONDS
