"""What the ledger and the hub are told of streams, in the order that makes a crash harmless.

A stream's row is written before the hub hears of it, so that no cut can be committed for a stream the ledger does not know;
and it ends in the hub only after its final size is written. Sizes are written now and then: they only tell what is unread.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from shipper.clock import Clock
from shipper.contracts import Hub, Stream
from shipper.errors import StateError
from shipper.events import Problem, Reporter
from shipper.ledger import Ledger, LedgerThread, StreamRow

RETRY = 1.0  # seconds until the ledger is tried again


class SizedStream(Stream):
    """A stream whose size is written down now and then."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How far it was seen to reach."""


S = TypeVar("S", bound=SizedStream)


def _write(
    ledger: Ledger, rows: list[StreamRow], sizes: dict[str, int], ended: dict[str, int], notes: dict[str, str]
) -> None:
    for key, value in notes.items():
        ledger.put(key, value)
    for row in rows:
        ledger.put_stream(row)
    for stream, size in sizes.items():
        ledger.seen(stream, size)
    for stream, size in ended.items():
        ledger.finish(stream, size)


class Books(Generic[S]):
    """Collects what is to be told and tells it together. ``row``: what the ledger keeps of a stream.

    ``notes``: what else a source has to write down by now, by key of the ledger. It is written before the streams are: what
    makes that a stream has ended must not be forgotten while the end is not.
    """

    def __init__(
        self,
        hub: Hub,
        ledger: LedgerThread,
        clock: Clock,
        report: Reporter,
        row: Callable[[S], StreamRow],
        notes: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self._row = row
        self._notes = notes
        self._unwritten: dict[str, str] = {}
        self._hub = hub
        self._ledger = ledger
        self._clock = clock
        self._report = report
        self._known: set[S] = set()  # to the hub
        self._joining: list[S] = []
        self._ending: list[S] = []
        self._moved: set[S] = set()
        self._grown: set[S] = set()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()

    @property
    def pending(self) -> bool:
        """Whether there are streams that the hub does not know of yet."""
        return bool(self._joining or self._ending) or self._lock.locked()

    def join(self, stream: S) -> None:
        """A stream is to be known."""
        self._joining.append(stream)
        self._wake.set()

    def end(self, stream: S) -> None:
        """A stream will never grow again."""
        if stream not in self._ending:
            self._ending.append(stream)
            self._wake.set()

    def moved(self, stream: S) -> None:
        """The row of a stream changed; it is written with the next sizes."""
        self._moved.add(stream)

    def grew(self, stream: S) -> None:
        """There may be something to cut."""
        self._grown.add(stream)
        self.ready(stream)

    def ready(self, stream: S) -> None:
        """Wake those who cut ``stream``, if they know it."""
        if stream in self._known:
            self._hub.ready(stream)

    def forget(self, stream: S) -> None:
        """Nothing more will be said about a stream."""
        self._known.discard(stream)
        self._grown.discard(stream)
        self._moved.discard(stream)

    async def run(self) -> None:
        """Tell what there is as soon as there is something, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.flush():
                await self._clock.sleep(RETRY)

    async def flush(self) -> bool:
        """Tell everything now; False when the ledger could not take it (said; nothing is forgotten)."""
        async with self._lock:
            joining, ending = self._joining, self._ending
            moved, grown = self._moved, self._grown
            self._joining, self._ending, self._moved, self._grown = [], [], set(), set()
            rows = [self._row(stream) for stream in [*joining, *(moved.difference(joining))]]
            sizes = {stream.id: stream.size for stream in grown}
            ended = {stream.id: stream.size for stream in ending}
            self._unwritten.update(self._notes())
            notes, self._unwritten = self._unwritten, {}
            try:
                if rows or sizes or ended or notes:
                    await self._ledger.call(_write, rows, sizes, ended, notes)
            except StateError as error:
                self._report(Problem("ledger", f"new files wait, for the ledger cannot be written: {error}", "file"))
                self._joining[:0], self._ending[:0] = joining, ending
                self._unwritten = {**notes, **self._unwritten}
                self._moved |= moved
                self._grown |= grown
                self._wake.set()
                return False
            for stream in joining:
                self._known.add(stream)
                self._hub.add(stream)
            for stream in ending:
                self._hub.finished(stream)
            return True
