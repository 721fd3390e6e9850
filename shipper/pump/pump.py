"""From streams to one destination: cut, written down, sent, and settled only by what the destination answers.

A pump waits before it cuts, not after: what is not yet cut costs no memory, and lines that came meanwhile make one larger
batch instead of several small ones. So "gathering" is mostly leaving things where they are. Once cut, a request is
committed to the ledger and then delivered by a task of its own (`Courier`), up to the window's size at a time.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Literal

from shipper.clock import Clock, Deadline
from shipper.contracts import Batch, Exporter, Limits, Signal, Stream, StreamKind
from shipper.errors import DeliveryError, RangeGone
from shipper.events import Problem, Reporter
from shipper.ids import uuid7
from shipper.intervals import IntervalSet
from shipper.ledger import Cursor, Ledger, LedgerThread
from shipper.pump.backoff import Backoff
from shipper.pump.books import Books
from shipper.pump.delivery import Courier, Done, QuarantineStore, Tools
from shipper.pump.exposure import ExposureHistogram, ExposureStats
from shipper.pump.gate import Gate
from shipper.pump.gather import ALMOST, Gathering, Parcel, Sizing
from shipper.pump.hub import Hub
from shipper.pump.lane import Lane, Piece
from shipper.pump.pace import TokenBucket
from shipper.pump.pulse import Pulse
from shipper.pump.resend import Resends
from shipper.pump.rotation import Rotation
from shipper.pump.window import Window

Mode = Literal["default", "low-exposure"]

BATCH_BYTES = 512 << 10  # of source in one batch: small enough that a turn takes milliseconds
REST_SECONDS = 5.0  # a stream that could not be read is left alone for so long
NAMED_STREAMS = 20  # streams with a backlog gauge of their own; the rest are "other"


class Pump:
    """One destination and its own cursor on every stream. Give it to nobody else; `run` it in a task group."""

    def __init__(
        self,
        exporter: Exporter,
        hub: Hub,
        ledger: LedgerThread,
        *,
        life: str,
        clock: Clock,
        report: Reporter,
        quarantine: QuarantineStore,
        limits: Limits | None = None,
        mode: Mode = "default",
        shaping: str = "",
        ask_known: bool = False,
        batch_bytes: int = BATCH_BYTES,
        random: Random | None = None,
    ) -> None:
        """``limits``: in place of the exporter's own. ``ask_known``: the ledger was lost, ask the destination first."""
        self.name = exporter.name
        self.exporter = exporter
        self._hub = hub
        self._clock = clock
        self._report = report
        self._limits_override = limits
        self._lifted = mode == "low-exposure"
        self._urgent = False
        self._shaping = shaping
        self._ask_known = ask_known
        self._batch_bytes = batch_bytes
        self._life = life
        self._known: dict[str, IntervalSet] = {}
        self._random = random or Random()
        self._books = Books(ledger, clock, report)
        self._bucket = TokenBucket(clock, self._limits.requests_per_second, self._limits.burst)
        self._gate = Gate(clock)
        self._window = Window(clock)
        self._sizing = Sizing()
        self._lanes: dict[str, Lane] = {}
        self._arriving: dict[str, Stream] = {}
        self._rotations = {signal: Rotation(signal) for signal in Signal}
        self._resting: dict[str, Lane] = {}  # could not be read a moment ago
        self._held: dict[str, Lane] = {}  # account streams, until it is known whether they are wanted
        self._resends = Resends(self.name, clock, report)
        self._loaded = False
        self._work = Pulse()
        self._progress = Pulse()
        self._exposure = ExposureHistogram()
        self._named: set[str] = set()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"shipper-{self.name}")
        tools = Tools(
            exporter,
            self._books,
            self._gate,
            self._window,
            self._sizing,
            quarantine,
            self._threads,
            clock,
            report,
            self._random,
            life,
        )
        self._courier = Courier(tools, self._settle)
        metrics = report.metrics
        self._exposure_metric = metrics.exposure.labels(self.name)
        self._acknowledged_metric = metrics.acknowledged.labels(self.name)
        self._acknowledged_bytes_metric = metrics.acknowledged_bytes.labels(self.name)
        hub.attach(self)

    # -- what others ask -----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> Deadline:
        """The one deadline of a drain; set it, then call `urgent`."""
        return self._gate.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._gate.deadline = deadline

    def urgent(self, on: bool) -> None:
        """Lift the pacing and end all waits that are our own choice (a drain), or go back to normal."""
        self._urgent = on
        self._gate.hurry()
        self._work.beat()

    def backlog(self) -> dict[str, int]:
        """Bytes seen but not settled, by stream; only streams that have any, and only data."""
        return {name: size for name, lane in self._lanes.items() if lane.counts and (size := lane.unsettled()) > 0}

    def oldest_unacknowledged(self) -> float:
        """Age in seconds of the oldest data not yet settled; 0 when there is none."""
        now = self._clock.monotonic()
        return max(
            (now - lane.oldest() for lane in self._lanes.values() if lane.counts and not lane.idle()), default=0.0
        )

    def exposure(self) -> ExposureStats:
        """Exposure of the batches acknowledged in this run, and the age of what is not."""
        return self._exposure.stats(self.oldest_unacknowledged())

    def idle(self, include_account: bool = False) -> bool:
        """True when everything seen so far is settled and nothing waits to be sent again."""
        if not self._loaded or self._arriving or self._resends.hopeful():
            return False
        return all(
            lane.idle()
            for lane in self._lanes.values()
            if lane.counts or (include_account and self._wanted(lane.stream))
        )

    async def wait_idle(self, deadline: Deadline, include_account: bool = False) -> bool:
        """Wait until `idle`, new data included; False when ``deadline`` came first (it may be moved meanwhile)."""
        while not self.idle(include_account):
            if deadline.expired():
                return False
            await self._progress.wait(self._clock, min(deadline.remaining(), self._resends.wait(), 0.25))
        return True

    def measure(self) -> None:
        """Bring the gauges of backlog and age up to date; to be called before metrics are read."""
        metrics = self._report.metrics
        metrics.oldest.labels(self.name).set(self.oldest_unacknowledged())
        backlog = self.backlog()
        largest = heapq.nlargest(NAMED_STREAMS, backlog, key=backlog.__getitem__)
        other = sum(backlog.values()) - sum(backlog[name] for name in largest)
        for name in self._named - set(largest):
            metrics.backlog.remove(self.name, name)
        for name in largest:
            metrics.backlog.labels(self.name, name).set(backlog[name])
        metrics.backlog.labels(self.name, "other").set(other)
        self._named = set(largest)

    # -- what the hub says ---------------------------------------------------------------------------------------

    def follow(self, stream: Stream) -> None:
        """See `Follower.follow`."""
        lane = self._lanes.get(stream.id)
        if lane is not None:
            lane.stream = stream
            self.look(stream.id)
            return
        self._arriving[stream.id] = stream
        self._work.beat()

    def look(self, stream: str) -> None:
        """See `Follower.look`."""
        lane = self._lanes.get(stream)
        if lane is not None:
            lane.noticed()
            self._queue(lane)
            self._work.beat()

    def low(self, stream: Stream) -> int | None:
        """See `Follower.low`."""
        if not self._wanted(stream):
            return None
        lane = self._lanes.get(stream.id)
        return stream.start if lane is None else lane.low

    def forget(self, stream: str) -> None:
        """See `Follower.forget`."""
        self._arriving.pop(stream, None)
        self._held.pop(stream, None)
        self._resting.pop(stream, None)
        lane = self._lanes.pop(stream, None)
        if lane is not None:
            self._rotations[lane.stream.signal].drop(lane)
        self._progress.beat()

    def wake(self) -> None:
        """See `Follower.wake`."""
        self._work.beat()

    # -- the work ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until cancelled; then the ledger holds what is open, and the next run goes on from there."""
        await self.exporter.start()
        try:
            if self._ask_known:
                await self._ask()
            self._resends.load(await self._books.call(Ledger.open_requests, self.name), self._shaping)
            self._loaded = True
            async with asyncio.TaskGroup() as deliveries:
                while True:
                    seen = self._work.beats
                    await self._take_arrivals()
                    await self._hub.tidy()
                    await self._send_what_may_go(deliveries)
                    await self._work.wait(self._clock, self._next_look(), seen)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            await self.exporter.aclose()

    async def _ask(self) -> None:
        """What the destination has of this life, asked until it answers: cutting anew before would duplicate."""
        backoff = Backoff(self._random)
        while True:
            try:
                self._known = dict(await self.exporter.known(self._life) or {})
                return
            except DeliveryError as error:
                self._report(
                    Problem("ask-known", f"{self.name} does not yet say what it has of this life: {error}", self.name)
                )
            await self._gate.pause(backoff)

    async def _take_arrivals(self) -> None:
        while self._arriving:
            arriving = dict(self._arriving)
            known = {name: self._known[name] for name in arriving if name in self._known}
            cursors = await self._books.call(_cursors, self.name, list(arriving), known)
            for name, stream in arriving.items():
                if self._arriving.get(name) is not stream:
                    continue  # retired or announced anew while we asked
                del self._arriving[name]
                self._known.pop(name, None)
                lane = self._lanes[name] = Lane(stream, cursors[name], self._clock)
                self._queue(lane)
                self._hub.moved(stream)
        self._progress.beat()

    async def _send_what_may_go(self, deliveries: asyncio.TaskGroup) -> None:
        while self._window.has_room(self._limits.max_in_flight):
            parcel = self._resends.next(self._lanes)
            if parcel is not None:
                self._dispatch(deliveries, parcel, [])
                continue
            filled = await self._fill_one()
            if filled is None:
                return
            parcel = await self._commit(filled)
            self._dispatch(deliveries, parcel, filled.batches)

    async def _fill_one(self) -> Gathering | None:
        """A request that may be sent now, of the signal that waits longest; None when there is none."""
        self._reconsider()
        waiting = [rotation for rotation in self._rotations.values() if rotation.waiting]
        for rotation in sorted(waiting, key=lambda rotation: rotation.since):
            if self._wait_of(rotation) > 0:
                continue
            await self._fill(rotation)
            held = rotation.gathering
            if not held:
                rotation.rest()
                continue
            full = rotation.blocked or held.room(self._limits, self._sizing) == 0
            if full or self._part_wait(rotation) <= 0:
                sent = any(batch.payload for batch in held.batches)
                if sent and not full and not self._unpaced:
                    self._bucket.take()
                return rotation.take(self._clock.monotonic())
        return None

    async def _fill(self, rotation: Rotation) -> None:
        """Cut turn by turn until the request is full or nothing is due."""
        life_only = self._urgent and rotation.life_first and not rotation.gathering
        while not rotation.blocked and (room := rotation.gathering.room(self._limits, self._sizing)) > 0:
            if life_only and not rotation.life_first:
                return  # the farewell does not wait behind a bulk of data
            lane = rotation.next()
            if lane is None:
                return
            cut = await self._cut(lane, min(room, self._batch_bytes))
            if cut is None:
                rotation.out(lane)
                continue
            rotation.put(*cut, self._limits.max_raw_bytes)
            del cut
            if lane.uncut() > 0:
                rotation.again(lane)
            else:
                rotation.out(lane)
            await asyncio.sleep(0)  # cutting half a megabyte takes milliseconds: let answers and sources in

    async def _cut(self, lane: Lane, limit: int) -> tuple[Piece, Batch] | None:
        while True:
            try:
                return lane.cut(limit, self._clock.wall_ns())
            except RangeGone as error:
                start, end = lane.skip(error.end)
                if start == end:  # nothing unread is gone, so there is nothing to go on behind
                    self._rest(lane, error)
                    return None
                await self._give_up(lane, start, end, cause_of_loss(error.reason))
            except OSError as error:
                self._rest(lane, error)
                return None

    async def _give_up(self, lane: Lane, start: int, end: int, cause: str) -> None:
        await self._books.call(Ledger.give_up, self.name, lane.stream.id, start, end, 0, cause)
        self._hub.lost(lane.stream, start, end, cause)
        self._settle_range(lane, start, end)

    def _rest(self, lane: Lane, error: Exception) -> None:
        """Leave a stream alone that cannot be read now."""
        name = lane.stream.name
        self._report(Problem("read", f"{name} cannot be read now, tried again: {error}", name))
        lane.rest_until = self._clock.monotonic() + REST_SECONDS
        self._resting[lane.stream.id] = lane

    async def _commit(self, filled: Gathering) -> Parcel:
        parcel = Parcel(uuid7(self._clock.wall_ns()), filled.signal, filled.pieces, self._clock.monotonic())
        cuts = [piece.key for piece in filled.pieces]
        await self._books.call(Ledger.commit, self.name, parcel.id, filled.signal, cuts, self._shaping)
        return parcel

    def _dispatch(self, deliveries: asyncio.TaskGroup, parcel: Parcel, batches: list[Batch]) -> None:
        self._window.enter(parcel)
        deliveries.create_task(self._deliver(parcel, batches))

    async def _deliver(self, parcel: Parcel, batches: list[Batch]) -> None:
        entered_as = parcel.id
        await self._courier.deliver(parcel, batches)
        self._window.leave(entered_as)
        self._work.beat()

    # -- when something may go -----------------------------------------------------------------------------------

    @property
    def _limits(self) -> Limits:
        return self._limits_override or self.exporter.limits

    @property
    def _unpaced(self) -> bool:
        return self._urgent or self._lifted

    def _wait_of(self, rotation: Rotation) -> float:
        """Seconds until ``rotation`` may begin to be cut: at once when it looks full, else when a part may go."""
        part = self._part_wait(rotation)
        return 0.0 if part <= 0 or self._looks_full(rotation) else part

    def _part_wait(self, rotation: Rotation) -> float:
        """Seconds until a part-filled request of this signal may go."""
        behind = self._window.part_filled_wait(self._limits.max_in_flight, self._unpaced)
        if self._urgent:
            return behind
        pace = 0.0 if self._lifted else self._bucket.wait()
        if rotation.life_first or not self._limits.linger:  # a birth is told at once
            return max(behind, pace)
        return max(behind, pace, rotation.since + self._limits.linger - self._clock.monotonic())

    def _looks_full(self, rotation: Rotation) -> bool:
        """True when what is seen but not cut would, by the running ratios, fill a request."""
        wanted = rotation.gathering.room(self._limits, self._sizing)
        batches = self._limits.max_batches - len(rotation.gathering.batches)
        if wanted == 0 or rotation.blocked:
            return True
        wanted = int(wanted * ALMOST)
        for lane in rotation.lanes():
            uncut = lane.uncut()
            wanted -= uncut
            batches -= uncut > 0
            if wanted <= 0 or batches <= 0:
                return True
        return False

    def _next_look(self) -> float:
        """Seconds until something may be sent that may not be sent now, without anything else happening."""
        if not self._window.has_room(self._limits.max_in_flight):
            return math.inf
        waits = [self._wait_of(rotation) for rotation in self._rotations.values() if rotation.waiting]
        now = self._clock.monotonic()
        waits.extend(max(0.0, lane.rest_until - now) for lane in self._resting.values())
        return min([*waits, self._resends.wait()])

    # -- streams -------------------------------------------------------------------------------------------------

    def _wanted(self, stream: Stream) -> bool:
        """False for the account at a destination that is known not to keep it."""
        if stream.kind is not StreamKind.ACCOUNT:
            return True
        return self.exporter.keeps_accounts or not self.exporter.accounts_known

    def _queue(self, lane: Lane) -> None:
        if lane.stream.kind is StreamKind.ACCOUNT and not self.exporter.keeps_accounts:
            if self.exporter.accounts_known:
                self._hub.moved(lane.stream)  # nobody waits for us
            else:
                self._held[lane.stream.id] = lane
        elif lane.uncut() > 0 and lane.stream.id not in self._resting:
            self._rotations[lane.stream.signal].queue(lane, self._clock.monotonic())

    def _reconsider(self) -> None:
        """Give a turn to lanes that had to wait for a moment or for an answer."""
        if self._held and self.exporter.accounts_known:
            held, self._held = self._held, {}
            for lane in held.values():
                self._queue(lane)
        now = self._clock.monotonic()
        for lane in [lane for lane in self._resting.values() if lane.rest_until <= now]:
            del self._resting[lane.stream.id]
            self._queue(lane)

    # -- what is settled -----------------------------------------------------------------------------------------

    def _settle(self, done: Done) -> None:
        now = self._clock.monotonic()
        for piece in done.pieces:
            if done.acknowledged and piece.lane.counts and piece.cut.records:
                self._exposure.add(now - piece.since)
                self._exposure_metric.observe(max(0.0, now - piece.since))
                self._acknowledged_bytes_metric.inc(piece.cut.end - piece.cut.start)
            self._settle_range(piece.lane, piece.cut.start, piece.cut.end)
        self._acknowledged_metric.inc(done.records)
        self._progress.beat()

    def _settle_range(self, lane: Lane, start: int, end: int) -> None:
        if lane.settle(start, end):
            self._hub.moved(lane.stream)


def cause_of_loss(reason: str) -> str:
    """A fixed word for a metric label out of why a range is gone."""
    return next((word for word in ("truncated", "replaced", "deleted", "damaged") if word in reason), "gone")


def _cursors(
    ledger: Ledger, destination: str, streams: Sequence[str], known: dict[str, IntervalSet]
) -> dict[str, Cursor]:
    """Cursors of several streams in one turn of the ledger's thread, after adopting what the destination has."""
    for stream, intervals in known.items():
        ledger.adopt(destination, stream, intervals)
    return {stream: ledger.cursor(destination, stream) for stream in streams}
