"""Where sources announce streams and pumps hear of them; it lets go of what every destination is done with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shipper.clock import Clock
from shipper.contracts import Signal, Stream, StreamKind
from shipper.events import BytesLost, NotTaken, Problem, Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, LedgerThread
from shipper.pump.books import Books
from shipper.pump.value import Values


class Follower(Protocol):
    """What the hub needs of a pump. All calls are made on the event loop and return at once."""

    def follow(self, stream: Stream) -> None:
        """Take the stream up at this pump's own cursor."""

    def takes(self, stream: Stream) -> bool:
        """Whether this destination gets anything of the stream."""

    def owed(self, stream: Stream) -> bool:
        """Whether it is owed the stream; else nobody waits for it, though it may stand in for others."""

    def look(self, stream: str) -> None:
        """Something may be there to cut."""

    def low(self, stream: Stream) -> int | None:
        """Everything below is settled here; None when this destination does not get the stream at all."""

    def forget(self, stream: str) -> None:
        """The stream is retired."""

    def wake(self) -> None:
        """There is work for `Hub.tidy`."""


class Hub:
    """See `shipper.contracts.Hub`. A source makes a stream known to the ledger (`put_stream`) before it adds it here."""

    def __init__(
        self,
        ledger: LedgerThread,
        *,
        clock: Clock,
        report: Reporter,
        view: Callable[[Stream], Stream] = lambda stream: stream,
    ) -> None:
        """``view``: how everybody here sees a stream, once it is added."""
        self.values = Values()
        self.said_untaken: set[Signal] = set()  # that nobody takes these
        self._view = view
        self._books = Books(ledger, clock, report)
        self._report = report
        self._streams: dict[str, Stream] = {}
        self._followers: list[Follower] = []
        self._released: dict[str, int] = {}
        self._untaken: set[str] = set()  # streams of a signal that no destination takes
        self._ended: dict[str, int] = {}  # finished streams and their final size
        self._lost: dict[str, IntervalSet] = {}
        self._to_finish: list[tuple[str, int]] = []
        self._to_retire: list[str] = []

    def streams(self) -> list[Stream]:
        """All streams known and not yet retired."""
        return list(self._streams.values())

    def get(self, stream: str) -> Stream | None:
        """The stream of that id, if it is known here."""
        return self._streams.get(stream)

    def attach(self, follower: Follower) -> None:
        """A pump joins; it hears of every stream there is and will be."""
        self._followers.append(follower)
        for stream in self._streams.values():
            follower.follow(stream)
            self._note_taken(stream)

    def add(self, stream: Stream) -> None:
        """See `shipper.contracts.Hub.add`. Adding an id again puts the new object in the place of the old one."""
        stream = self._streams[stream.id] = self._view(stream)
        self._report.metrics.streams.set(len(self._streams))
        for follower in self._followers:
            follower.follow(stream)
        self._note_taken(stream)
        if stream.finished:
            self.finished(stream)

    def ready(self, stream: Stream) -> None:
        """See `shipper.contracts.Hub.ready`."""
        for follower in self._followers:
            follower.look(stream.id)
        if stream.id in self._untaken:
            self.moved(stream)  # nobody else will, and what holds it has to be let go

    def finished(self, stream: Stream) -> None:
        """See `shipper.contracts.Hub.finished`."""
        if stream.id not in self._streams or stream.id in self._ended:
            return
        self._ended[stream.id] = stream.frontier()
        self._to_finish.append((stream.id, stream.frontier()))
        self.ready(stream)
        self.moved(stream)
        self._wake_one()

    def moved(self, stream: Stream) -> None:
        """A pump is done with more of ``stream``: let go of what all are done with, retire it when that is all."""
        if stream.id not in self._streams or not self._followers:
            return
        lows = [low for follower in self._followers if (low := follower.low(stream)) is not None]
        low = min(lows, default=stream.frontier())
        before = self._released.get(stream.id, stream.start)
        if low > before:
            self._released[stream.id] = low
            stream.released(low)
            if stream.id in self._untaken:
                self._report(NotTaken(stream.id, stream.name, stream.signal, before, low))
        if stream.id in self._ended and low >= self._ended[stream.id]:
            self._retire(stream)

    def lost(self, stream: Stream, start: int, end: int, cause: str) -> None:
        """Unread bytes were destroyed; said and counted once, however many destinations find out."""
        known = self._lost.setdefault(stream.id, IntervalSet())
        for a, b in known.missing(start, end):
            self._report(BytesLost(stream.id, stream.name, a, b, cause))
        known.add(start, end)

    async def tidy(self) -> None:
        """Write down what finished and what was retired."""
        while self._to_finish:
            await self._books.call(Ledger.finish, *self._to_finish.pop())
        while self._to_retire:
            await self._books.call(Ledger.retire, self._to_retire.pop())

    def _note_taken(self, stream: Stream) -> None:
        if any(follower.owed(stream) for follower in self._followers):
            self._untaken.discard(stream.id)
        else:
            self._untaken.add(stream.id)
            self._say_untaken(stream)

    def _say_untaken(self, stream: Stream) -> None:
        """Once for each signal: what services hand over is not known before it comes."""
        if stream.signal not in self.said_untaken and stream.kind is StreamKind.DATA and self._followers:
            self.said_untaken.add(stream.signal)
            said = f"no destination takes {stream.signal}: {stream.name} is not shipped"
            self._report(Problem("signal-unshipped", said, stream.signal))

    def _retire(self, stream: Stream) -> None:
        del self._streams[stream.id]
        self._untaken.discard(stream.id)
        del self._ended[stream.id]
        self._released.pop(stream.id, None)
        self._lost.pop(stream.id, None)
        self.values.forget(stream.id)
        self._report.metrics.streams.set(len(self._streams))
        for follower in self._followers:
            follower.forget(stream.id)
        self._to_retire.append(stream.id)
        self._wake_one()

    def _wake_one(self) -> None:
        if self._followers:
            self._followers[0].wake()
