"""Unfinished last lines and events, and when they have been held long enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shipper.clock import Clock
from shipper.sources.file.stream import EPSILON, FileStream

SHORTEST = 0.01  # seconds between two looks at what is held


class Held:
    """Streams whose last line or event has no end yet; ``ready`` is told of each when its hold is over."""

    def __init__(self, holds: list[float], clock: Clock, ready: Callable[[FileStream], None]) -> None:
        """``holds``: all hold times that occur, in seconds."""
        self._step = max(SHORTEST, min(holds, default=SHORTEST))  # nothing that is added meanwhile is due sooner
        self._clock = clock
        self._ready = ready
        self._streams: set[FileStream] = set()
        self._wake = asyncio.Event()

    def note(self, stream: FileStream) -> None:
        """The stream grew."""
        if stream.holding:
            self._streams.add(stream)
            self._wake.set()
        else:
            self._streams.discard(stream)

    def forget(self, stream: FileStream) -> None:
        """Nothing is held of it."""
        self._streams.discard(stream)

    async def run(self) -> None:
        """Tell what becomes due, until cancelled."""
        while True:
            if not self._streams:
                self._wake.clear()
                await self._wake.wait()
            now = self._clock.monotonic() + EPSILON
            for stream in [stream for stream in self._streams if stream.due_at <= now]:
                self._streams.discard(stream)
                self._ready(stream)
            if self._streams:
                wait = min(stream.due_at for stream in self._streams) - self._clock.monotonic()
                await self._clock.sleep(max(0.0, min(wait, self._step)))
