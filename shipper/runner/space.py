"""A bound on what the program's output may take on disk while nobody takes it: first the program waits, then the oldest goes.

Space of what was shipped is given back by the sidecar. What is given up here is noted first, so that the sidecar counts it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Literal

from shipper.clock import Clock
from shipper.handoff.jobs import KEPT_HEAD, note_given_up
from shipper.holes import punch

SAY_SECONDS = 60.0
_STEP = 1 << 20


class Space:
    """Watches what both outputs take. ``pause(True)`` stops the program, ``pause(False)`` lets it go on."""

    def __init__(
        self,
        directory: int,
        outputs: Mapping[Literal["stdout", "stderr"], int],
        limit: int,
        wait: float,
        pause: Callable[[bool], None],
        say: Callable[[str], None],
        clock: Clock,
    ) -> None:
        """``limit``: bytes on disk, both together. ``wait``: seconds for which the program may be stopped at a time."""
        self._directory = directory
        self._outputs = outputs
        self._limit = limit
        self._wait = wait
        self._pause = pause
        self._say = say
        self._clock = clock
        self._paused_at: float | None = None
        self._given_up = 0
        self._able = True
        self._quiet_until = -math.inf

    def look(self) -> None:
        """Act on what there is now; called a few times a second. Raises OSError when the disk fails."""
        if self._taken() <= self._limit:
            self._resume()
            return
        if self._wait > 0 and self._paused_at is None and self._able:
            self._paused_at = self._clock.monotonic()
            self._pause(True)
            self._say(
                f"the program is stopped for up to {self._wait:g} s: {self._limit} bytes of its output wait to be shipped"
            )
        if self._paused_at is None or self._clock.monotonic() - self._paused_at >= self._wait:
            self._give_up()
            self._resume()

    def _resume(self) -> None:
        if self._paused_at is not None:
            self._paused_at = None
            self._pause(False)

    def _taken(self) -> int:
        return sum(os.fstat(each).st_blocks * 512 for each in self._outputs.values())

    def _give_up(self) -> None:
        """The oldest of the larger output, until a tenth of the limit is free."""
        while self._able and self._taken() > self._limit * 9 // 10:
            stream, descriptor = max(self._outputs.items(), key=lambda item: os.fstat(item[1]).st_blocks)
            size = os.fstat(descriptor).st_size
            start = os.lseek(descriptor, KEPT_HEAD, os.SEEK_DATA) if size > KEPT_HEAD else size
            end = min(
                start + _STEP, (size - KEPT_HEAD) // KEPT_HEAD * KEPT_HEAD
            )  # by its last bytes it is recognised, too
            if end <= start:
                return
            note_given_up(self._directory, stream, start, end)
            self._able = punch(descriptor, start, end)
            if not self._able:
                self._say(
                    "its output cannot be bounded on this file system (no holes can be made); it grows until it is shipped"
                )
                return
            self._given_up += end - start
        now = self._clock.monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + SAY_SECONDS
        self._say(
            f"{self._given_up} bytes of its output were given up so far: nobody took them, and {self._limit} may wait"
        )
