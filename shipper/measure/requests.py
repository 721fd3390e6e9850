"""Counting requests: every server span that a service hands over is counted once, whatever is killed in between.

The heads of frames say all that is needed (server span, error, duration), so nothing is decoded, and it happens before any
sampling. The position reached in each stream and the counts are put into the ledger in one transaction. What is shown and
shipped is only ever what was committed: after a kill the same frames are read again, on top of the very counts that do
not hold them yet. Requests that only a log tells of are counted in the same book (`shipper.measure.log_requests`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from shipper.clock import Clock
from shipper.contracts import Signal
from shipper.errors import RangeGone, ShipperError
from shipper.events import Problem, Reporter, Said
from shipper.handoff.frame import ERROR, NOT_A_REQUEST, SPAN_KIND, Frame, Kind
from shipper.ledger import Ledger, LedgerThread
from shipper.measure.counts import Book, Bounds, Key, Serving, Tally
from shipper.measure.spans import MeasuredStream, SpanStream
from shipper.measure.twofold import Sources

BOOK = "measure.requests"
SERVED = "measure.served"
POSITION = "measure.at."  # and the stream's id
SERVER = 2  # SpanKind of OTLP
_REQUEST = SPAN_KIND | NOT_A_REQUEST  # the flags that make a request of a span
READ_BYTES = 256 << 10  # at a time: some milliseconds
TURN_READS = 16  # before what was found is committed
HOLD_SECONDS = 1.0  # between two looks at what a reader does not want to read yet
MAX_LABEL = 200  # characters; what a process says of itself is not trusted to be short
_ATTRIBUTES = ("service.name", "service.version", "shipper.generation", "deployment.environment.name")


async def _nobody(book: Book) -> None:
    """For a counter whose numbers are not shipped."""


class Reader(Protocol):
    """Counts what one stream tells of requests."""

    after_spans: bool  # it is read when all there is of spans was
    holding: bool  # there is something that it does not want to read yet

    @property
    def stream(self) -> MeasuredStream:
        """What it reads."""

    def read(self, at: int, tally: Tally, *, last: bool) -> int:
        """Count some from ``at`` on; the position behind it, ``at`` itself when there is nothing new, or not yet.

        ``last``: the drain waits for the end of it. Raises OSError, `ShipperError`.
        """


@dataclass(slots=True)
class _Feed:
    """One stream and how far it is counted. ``at`` is None until the ledger was asked."""

    reader: Reader
    at: int | None = None
    waiting: bool = True  # there may be something new
    finished: bool = False

    @property
    def stream(self) -> MeasuredStream:
        return self.reader.stream


@dataclass(frozen=True, slots=True)
class _Found:
    """What a turn found, until it is committed."""

    book: Book
    positions: Mapping[str, int]


class RequestCounter:
    """Reads the streams it is told of, and keeps the book. All calls are made on the event loop."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        routes: bool,
        host: Mapping[str, object],
        ledger: LedgerThread,
        clock: Clock,
        report: Reporter,
    ) -> None:
        """``host``: resource attributes that stand in where a service says nothing of itself."""
        self.book = Book(bounds)
        self._bounds = bounds
        self.routes = routes
        self._host = host
        self._ledger = ledger
        self._clock = clock
        self._report = report
        self.sources = Sources(clock)
        self._feeds: dict[str, _Feed] = {}
        self._found: _Found | None = None
        self._news = asyncio.Event()
        self._turning = asyncio.Lock()

    async def open(self) -> None:
        """Take up the counts of the run before. Counts that cannot be used begin anew, with a new start time, and it is said."""
        served = await self._ledger.call(Ledger.get, SERVED)
        self.sources.restore(served or "")
        kept = await self._ledger.call(Ledger.get, BOOK)
        if kept is None:
            return
        try:
            self.book = Book.decode(kept, self._bounds)
        except ValueError as problem:
            self._report(Said(f"requests are counted from zero again: the counts of the run before have {problem}"))

    # -- what a source of streams calls --------------------------------------------------------------------------

    def add(self, stream: SpanStream) -> None:
        """A stream exists; adding an id again puts the new object in the place of the old one. Only traces are read."""
        if stream.signal is Signal.TRACES:
            self.follow(_Spans(stream, self))

    def follow(self, reader: Reader) -> None:
        """As `add`, for any stream that somebody can read."""
        feed = self._feeds.get(reader.stream.id)
        if feed is None:
            self._feeds[reader.stream.id] = _Feed(reader)
        else:
            feed.reader = reader
        self.ready(reader.stream)

    def ready(self, stream: MeasuredStream) -> None:
        """There may be something new in it."""
        self.woken(stream.id)

    def woken(self, stream: str) -> None:
        """As `ready`, for the stream of this id; nothing where none is read that has it."""
        feed = self._feeds.get(stream)
        if feed is not None:
            feed.waiting = True
            self._news.set()

    def finished(self, stream: MeasuredStream) -> None:
        """It will never grow again; it is forgotten when all of it is counted."""
        feed = self._feeds.get(stream.id)
        if feed is not None:
            feed.finished = True
            self.ready(stream)

    # -- counting ------------------------------------------------------------------------------------------------

    async def wait(self) -> None:
        """Return when there may be something to count."""
        if any(feed.reader.holding for feed in self._feeds.values()):
            await self._clock.sleep(HOLD_SECONDS)
            return
        await self._news.wait()

    async def turn(self, announce: Callable[[Book], Awaitable[None]] = _nobody, *, last: bool = False) -> bool:
        """Count and commit what is there, within bounds; True when more is left. ``last``: it is the end, nothing may wait.

        ``announce`` gets the book that is about to be committed, for what must come before: the zero that the first count
        of a service grows from. Raises `StateError` when it cannot be committed: then nothing is lost, and the next turn
        tries the same again.
        """
        async with self._turning:
            if self._found is None:
                self._news.clear()
                await self._ask_positions()
                self._found = await self._look(last=last)
            found = self._found
            book = found.book.encode() if found.book is not self.book else None
            if book is not None:
                await announce(found.book)
            if found.positions or book is not None:
                await self._ledger.call(_store, found.positions, book, self.sources.dump())
            self._found = None
            self.sources.kept()
            self.book = found.book
            self._move(found.positions)
            return self._news.is_set()

    async def _ask_positions(self) -> None:
        new = [feed for feed in self._feeds.values() if feed.at is None]
        if not new:
            return
        known = await self._ledger.call(_positions, [feed.stream.id for feed in new])
        for feed in new:
            feed.at = max(feed.stream.start, known[feed.stream.id])
            feed.stream.measured(feed.at)

    async def _look(self, *, last: bool) -> _Found:
        tally = Tally(self._bounds.buckets_ns)
        positions: dict[str, int] = {}
        reads = 0
        for feed in sorted(self._feeds.values(), key=lambda feed: feed.reader.after_spans):
            while feed.waiting and feed.at is not None and reads < TURN_READS:
                reads += 1
                at = positions.get(feed.stream.id, feed.at)
                after = self._read(feed, at, tally, last=last)
                if after == at:
                    feed.waiting = feed.reader.holding
                    break
                positions[feed.stream.id] = after
                await asyncio.sleep(0)  # others have work, too
        if any(feed.waiting and not feed.reader.holding for feed in self._feeds.values()):
            self._news.set()
        return _Found(self.book.plus(tally, self._clock.wall_ns()) if tally.lines else self.book, positions)

    def _read(self, feed: _Feed, at: int, tally: Tally, *, last: bool) -> int:
        """Count some of a stream; the position behind it."""
        try:
            return feed.reader.read(at, tally, last=last)
        except RangeGone as gone:  # whoever owns the stream says so
            return max(at, gone.end)
        except (OSError, ShipperError) as problem:
            name = feed.stream.id
            self._report(Problem("measure", f"requests in {name} cannot be counted now: {problem}", name))
            return at

    def key(self, attributes: Mapping[str, object], route: str) -> Key:
        """Where requests are counted of who has these resource attributes; what they do not say, the host says."""
        who = Serving(*(_label(str(attributes.get(name) or self._host.get(name) or "")) for name in _ATTRIBUTES))
        return Key(who, _label(route) if self.routes else "")

    def job_key(self, attributes: Mapping[str, object], job: str) -> Key:
        """Where the runs of a job are counted."""
        return Key(self.key(attributes, "").who, job=_label(job))

    def _move(self, positions: Mapping[str, int]) -> None:
        for id_, at in positions.items():
            feed = self._feeds.get(id_)
            if feed is not None:
                feed.at = at
                feed.stream.measured(at)
        for id_, feed in list(self._feeds.items()):
            if feed.finished and not feed.waiting:
                del self._feeds[id_]


class _Spans:
    """Reads the frames of a trace stream."""

    after_spans = False
    holding = False

    def __init__(self, stream: SpanStream, counter: RequestCounter) -> None:
        self.stream = stream
        self._counter = counter

    def read(self, at: int, tally: Tally, *, last: bool) -> int:
        """See `Reader.read`."""
        frames, after = self.stream.frames(at, READ_BYTES)
        self._count(frames, tally)
        return after

    def _count(self, frames: Iterable[Frame], tally: Tally) -> None:
        keys: dict[tuple[int, int], Key] = {}
        for frame in frames:
            if frame.kind == Kind.RESOURCE:
                key = self._key(frame.resource, 0)
                self._counter.sources.declared(key.who.service)
                tally.declare(key)
            elif frame.kind == Kind.SPAN and frame.flags & _REQUEST == SERVER:
                numbers = (frame.resource, frame.route)
                key = keys.get(numbers) or self._key(*numbers)
                if numbers not in keys:
                    keys[numbers] = key
                    self._counter.sources.served(key.who.service)
                tally.count(key, error=bool(frame.flags & ERROR), duration_ns=frame.duration_ns)

    def _key(self, resource: int, route: int) -> Key:
        return self._counter.key(self.stream.resource_attributes(resource), self.stream.route(route) if route else "")


def _label(value: str) -> str:
    """A label that every exposition can hold: whole UTF-8, not too long."""
    return value[:MAX_LABEL].encode("utf-8", "backslashreplace").decode()


def _store(ledger: Ledger, positions: Mapping[str, int], book: str | None, served: str) -> None:
    if served:
        ledger.put(SERVED, served)
    for id_, at in positions.items():
        ledger.put(POSITION + id_, str(at))
    if book is not None:
        ledger.put(BOOK, book)


def _positions(ledger: Ledger, streams: Iterable[str]) -> dict[str, int]:
    return {id_: int(ledger.get(POSITION + id_) or 0) for id_ in streams}
