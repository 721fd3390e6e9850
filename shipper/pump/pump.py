"""From streams to one destination: cut, written down, sent, and settled only by what the destination answers.

The parts: `Lanes` knows the streams, `Feed` decides what goes when, a request is committed to the ledger here and then
delivered by a task of its own (`Courier`), as many at a time as the exporter's window allows (`Window`).
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import Literal

from shipper.clock import Clock, Deadline
from shipper.contracts import Batch, Exporter, Limits, Signal
from shipper.errors import DeliveryError
from shipper.events import Problem, Reporter
from shipper.ids import uuid7
from shipper.ledger import Ledger, LedgerThread
from shipper.pump.backoff import Backoff
from shipper.pump.books import Books
from shipper.pump.delivery import Courier
from shipper.pump.exposure import ExposureHistogram, ExposureStats
from shipper.pump.feed import Feed
from shipper.pump.gate import DRAIN_SHARE, Gate
from shipper.pump.gather import Gathering, Parcel, Sizing
from shipper.pump.health import Health
from shipper.pump.hub import Hub
from shipper.pump.lane import Piece
from shipper.pump.lanes import Lanes
from shipper.pump.pulse import Pulse
from shipper.pump.putback import PutBack, portions, sift
from shipper.pump.rate import Rate
from shipper.pump.recall import Recall
from shipper.pump.resend import Resends
from shipper.pump.share import Member, Share
from shipper.pump.tools import Done, QuarantineStore, Tools
from shipper.pump.value import ERRORS, NEWEST
from shipper.pump.window import Window

Mode = Literal["default", "low-exposure"]

BATCH_BYTES = 512 << 10  # of source in one batch: small enough that a turn takes milliseconds
NAMED_STREAMS = 20  # streams with a backlog gauge of their own; the rest are "other"
LOOK_SECONDS = 0.25  # how often a wait for idleness looks whether its deadline was moved
ERRORS_FIRST = 2.0  # seconds for which a backlog is looked through before anything but errors goes
SHARE_OF_TIME = 8  # of what a drain has left, the part that the requests on their way may take together
SMALL_REQUEST = 256 << 10  # bytes of a request that is worth its overhead, however little time is left
ASSUMED_RATE = 10e6  # bytes a second, while nothing is known
RENEW_SECONDS = 1.0  # how often an order by value is made anew, as streams grow


class Pump:
    """One destination and its own cursor on every stream; `run` it in a task group."""

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
        standby: bool = False,
    ) -> None:
        """Join ``hub``; nothing else happens before `run`, with ``standby`` before `activate`.

        ``limits`` stand in place of the exporter's own. ``mode`` low-exposure lifts the pacing for good. ``shaping`` is a hash of
        what decides the bytes of a batch. ``ask_known``: the ledger was lost, ask the destination what it has before cutting.
        """
        self.name = exporter.name
        self.exporter = exporter
        self._hub = hub
        self._clock = clock
        self._report = report
        self._limits_override = limits
        self._shaping = shaping
        self._ask_known = ask_known
        self._life = life
        self._random = random or Random()
        self._books = Books(ledger, clock, report)
        self._gate = Gate(clock)
        self._window = Window(clock, self._random)
        self._resends = Resends(self.name, clock, report)
        self._put_back = PutBack(hub.values)
        self._places: list[Backoff] = []  # of requests that gave way: who takes their place goes on with their patience
        self._loaded = False
        self._standby = standby
        self._joined = False  # a pump that stands by: it was activated, if only once
        self._active = not standby
        self._urgent = False
        self._finishing = False  # no more data: only what tells of the life
        self._bulk: set[asyncio.Task[None]] = set()  # deliveries of data alone
        self._share: Share | None = None
        self._orders = Pulse()
        self._work = Pulse()
        self._progress = Pulse()
        self._health = Health(clock)
        self._rate = Rate(clock)
        self._exposure = ExposureHistogram()
        self._named: set[str] = set()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"shipper-{self.name}")
        self._exposure_metric = report.metrics.exposure.labels(self.name)
        self._acknowledged_metric = report.metrics.acknowledged.labels(self.name)
        self._acknowledged_bytes_metric = report.metrics.acknowledged_bytes.labels(self.name)
        self._sizing = sizing = Sizing()
        self._lanes = Lanes(
            exporter,
            hub,
            self._books,
            clock=clock,
            report=report,
            work=self._work,
            progress=self._progress,
            window=self._window,
            health=self._health,
            spare=standby,
        )
        self._feed = Feed(
            self.name,
            self._lanes,
            hub,
            self._books,
            self._window,
            sizing,
            limits=self._limits,
            lifted=mode == "low-exposure",
            batch_bytes=batch_bytes,
            clock=clock,
        )
        tools = Tools(
            exporter=exporter,
            books=self._books,
            gate=self._gate,
            window=self._window,
            health=self._health,
            sizing=sizing,
            quarantine=quarantine,
            threads=self._threads,
            clock=clock,
            report=report,
            random=self._random,
            life=life,
        )
        self._courier = Courier(tools, self._settle)
        hub.attach(self._lanes)

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
        self._urgent = self._feed.urgent = on
        self._places.clear()
        self._lanes.order.hurry(self.deadline.remaining() / DRAIN_SHARE)
        self._gate.hurry()
        self._work.beat()

    def order_by_value(self, on: bool) -> None:
        """Send ranges with errors first, then the newest of each stream, then from the oldest on; or by turns again.

        Saying it again looks anew at what streams have grown by; so it does by itself, every second.
        """
        begins = on and not self._lanes.order.by_value
        self._lanes.order_by_value(on, min(ERRORS_FIRST, self.deadline.remaining() / DRAIN_SHARE))
        if not on:
            self._places.clear()
        elif begins and not self._standby:
            self._call_back()
        self._orders.beat()
        self._work.beat()

    def rate(self) -> float:
        """Source bytes a second that the destination acknowledged lately while a backlog was sent; 0.0: not known yet."""
        return self._rate.value()

    def failing(self) -> bool:
        """True while attempts fail in a row, or nothing was answered for seconds."""
        return self._active and self._health.failing(self._window.usual_answer)

    def activate(self, share: Share) -> None:
        """Work on what the primaries of ``share`` have not settled, the most valuable first; for a pump that stands by.

        From now on what one of them has settled the others need not send, and what one is sending they leave to it while it
        makes progress. Birth and farewell go here too.
        """
        if not self._standby:
            raise ValueError(f"{self.name} does not stand by")
        self._share = share
        self._active = self._joined = True
        share.join(self._lanes.member)
        self.order_by_value(True)

    def stand_by(self) -> None:
        """The opposite of `activate`: the drain was taken back, everybody works for himself again."""
        if self._share is not None:
            self._share.end()
            self._share = None
            self._active = False
            self._lanes.order_by_value(False)

    @property
    def member(self) -> Member:
        """What a `Share` is made of."""
        return self._lanes.member

    @property
    def takes_part(self) -> bool:
        """False for one that stood by all the time: no account speaks of it."""
        return self._joined or not self._standby

    def backlog(self) -> dict[str, int]:
        """Bytes seen but not settled, by stream; only streams that have any, and only data."""
        return self._lanes.backlog() if self._active else {}

    def backlog_bytes(self) -> int:
        """Bytes of data seen but settled by nobody: in a share, neither here nor by another member of it."""
        return self._lanes.unsettled_bytes() if self._active else 0

    def oldest_unacknowledged(self) -> float:
        """Age in seconds of the oldest data not yet settled; 0 when there is none."""
        return self._lanes.oldest()

    def exposure(self) -> ExposureStats:
        """Exposure of the batches acknowledged in this run, and the age of what is not."""
        return self._exposure.stats(self.oldest_unacknowledged())

    def idle(self, include_account: bool = False) -> bool:
        """True when everything seen so far is settled and nothing waits to be sent again; always while it stands by.

        In a share, data that another member has settled counts as settled; birth, account and farewell do not. After `finish`
        data does not count any more.
        """
        if not self._active:
            return True
        if self._finishing:
            return self._loaded and self._lanes.told()
        return self._loaded and not self._resends.hopeful() and self._lanes.idle(include_account)

    async def wait_idle(self, deadline: Deadline, include_account: bool = False) -> bool:
        """Wait until `idle`, new data included; False when ``deadline`` came first (it may be moved meanwhile)."""
        while not self.idle(include_account):
            if deadline.expired():
                return False
            await self._progress.wait(self._clock, min(deadline.remaining(), LOOK_SECONDS))
        return True

    async def finish(self, until: Deadline) -> None:
        """Send no more data, for good: what is on its way may get there until then, and is broken off.

        So a farewell says exactly what was left, and does not have to share the way with what will not get there in time.
        What was broken off stays open in the ledger, as after a crash.
        """
        self._finishing = True
        self._lanes.finish()
        while self._bulk and not until.expired():
            await self._progress.wait(self._clock, min(until.remaining(), LOOK_SECONDS))
        for delivery in self._bulk:
            delivery.cancel()
        await asyncio.gather(*self._bulk, return_exceptions=True)
        self._work.beat()

    def measure(self) -> None:
        """Bring the gauges of backlog and age up to date; to be called before metrics are read."""
        metrics = self._report.metrics
        metrics.oldest.labels(self.name).set(self.oldest_unacknowledged())
        backlog = self.backlog()
        largest = heapq.nlargest(NAMED_STREAMS, backlog, key=backlog.__getitem__)
        for name in self._named - set(largest):
            metrics.backlog.remove(self.name, name)
        for name in largest:
            metrics.backlog.labels(self.name, name).set(backlog[name])
        named = sum(backlog[name] for name in largest)
        metrics.backlog.labels(self.name, "other").set(sum(backlog.values()) - named)
        self._named = set(largest)

    # -- the work ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until cancelled; then the ledger holds what is open, and the next run goes on from there."""
        try:
            while not self._active:
                await self._orders.wait(self._clock)
            await self.exporter.start()
            if self._ask_known:
                await self._ask()
            self._resends.load(await self._books.call(Ledger.open_requests, self.name), self._shaping)
            self._loaded = True
            async with asyncio.TaskGroup() as deliveries:
                deliveries.create_task(self._look_for_errors())
                while True:
                    seen = self._work.beats
                    if await self._lanes.take_arrivals():
                        self._progress.beat()
                        self._orders.beat()
                    await self._hub.tidy()
                    await self._send_what_may_go(deliveries)
                    await self._work.wait(self._clock, min(self._feed.next_look(), self._resends.wait()), seen)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            await self.exporter.aclose()

    async def _ask(self) -> None:
        """What the destination has of this life, asked until it answers: cutting anew before would duplicate."""
        backoff = Backoff(self._random)
        while True:
            try:
                self._lanes.known.update(await self.exporter.known(self._life) or {})
                return
            except DeliveryError as error:
                said = f"{self.name} does not yet say what it has of this life: {error}"
                self._report(Problem("ask-known", said, self.name))
            except Exception as error:  # a bug in an exporter may cost duplicates, but not the run
                said = f"the exporter of {self.name} cannot say what it has: {type(error).__name__}: {error}"
                self._report(Problem("exporter-bug", said, self.name))
                return
            await self._gate.pause(backoff)

    async def _look_for_errors(self) -> None:
        """While value decides: look through the backlog, slice by slice between other work, and make the order anew."""
        while True:
            seen = self._orders.beats
            if self._lanes.order.by_value:
                found = self._lanes.look_for_errors()
                self._work.beat()
                if found:
                    await asyncio.sleep(0)
                    continue
            await self._orders.wait(self._clock, RENEW_SECONDS if self._lanes.order.by_value else math.inf, seen)
            if self._lanes.order.by_value:
                self._lanes.order_by_value(True)
                self._work.beat()

    def _call_back(self) -> None:
        """What was cut before value decided gives way, as far as it only waits: its turn comes by what it is worth."""
        for parcel in self._window.open.values():
            if _may_be_overtaken(parcel):
                parcel.recall.ask()

    async def _send_what_may_go(self, deliveries: asyncio.TaskGroup) -> None:
        while self._active and self._window.has_room(self._limits().max_in_flight):
            filled = await self._feed.fill_one(NEWEST) if self._lanes.order.by_value else None
            if filled is None and not self._finishing:
                again = await self._next_again()
                if again is not None:
                    self._dispatch(deliveries, again, [])
                    continue
            filled = filled or await self._feed.fill_one()
            if filled is None:
                return
            if self._is_over(filled.pieces):
                continue  # it was being filled when the end came
            self._dispatch(deliveries, await self._commit(filled), filled.batches)

    async def _next_again(self) -> Parcel | None:
        """An open request whose turn it is: in the order of commits, before anything new; or by what it is worth."""
        if not self._lanes.order.by_value:
            return self._put_back.next() or self._resends.next(self._lanes.by_stream, self._window.holds_back)
        while (left := self._resends.next(self._lanes.by_stream, self._window.holds_back)) is not None:
            if not _may_be_overtaken(left):
                return left
            self._put_back.add([left])
        parcel = self._put_back.precious()
        if parcel is None and not self._lanes.order.looking and not self._feed.soon(ERRORS):
            parcel = self._put_back.next()
        if parcel is None or not parcel.unsent:
            return parcel
        return await self._in_parts(parcel)

    async def _in_parts(self, parcel: Parcel) -> Parcel:
        """What nobody has yet need not go as it was cut: errors first, and no more at a time than the time allows."""
        limits = self._limits()
        most = self._sizing.max_raw(limits) / self._sizing.raw_per_source
        precious, rest = await sift(parcel.pieces, self._put_back.valuable())
        first, then = portions(precious, limits, most), portions(rest, limits, most)
        if [*first, *then] == [parcel.pieces]:
            return parcel
        made = await self._courier.divide(parcel, [*first, *then])
        for one in made[len(first) :]:
            one.full = parcel.full
        self._put_back.add(made[1:])
        return made[0]

    async def _commit(self, filled: Gathering) -> Parcel:
        parcel = Parcel(uuid7(self._clock.wall_ns()), filled.signal, filled.pieces, self._clock.monotonic())
        parcel.full = filled.full
        cuts = [piece.key for piece in filled.pieces]
        await self._books.call(Ledger.commit, self.name, parcel.id, filled.signal, cuts, self._shaping)
        return parcel

    def _is_over(self, pieces: Sequence[Piece]) -> bool:
        """Whether these are data, and the end has come for that."""
        return self._finishing and _only_data(pieces)

    def _dispatch(self, deliveries: asyncio.TaskGroup, parcel: Parcel, batches: list[Batch]) -> None:
        if self._is_over(parcel.pieces):
            return  # it was being committed: it stays open in the ledger
        parcel.recall = Recall()
        if self._places and _only_data(parcel.pieces):
            parcel.backoff = self._places.pop()
        self._window.enter(parcel)
        delivery = deliveries.create_task(self._deliver(parcel, batches))
        if _only_data(parcel.pieces):
            self._bulk.add(delivery)
            delivery.add_done_callback(self._bulk.discard)

    async def _deliver(self, parcel: Parcel, batches: list[Batch]) -> None:
        entered_as = parcel.id
        # Nobody waits for a pump that stands by, but for what it has on its way.
        streams = [piece.lane.stream for piece in parcel.pieces] if self._standby else []
        if parcel.full:
            self._rate.began()
        try:
            left = await self._courier.deliver(parcel, batches)
        finally:
            if parcel.full:
                self._rate.ended()
            self._window.leave(entered_as)
        for stream in streams:
            self._hub.moved(stream)
        for one in left:
            if one.backoff is not None:
                self._places.append(one.backoff)
                one.backoff = None
        self._put_back.add(left)
        self._work.beat()

    def _settle(self, done: Done) -> None:
        now = self._clock.monotonic()
        if done.acknowledged:
            self._rate.acknowledged(sum(piece.cut.end - piece.cut.start for piece in done.pieces))
        for piece in done.pieces:
            if done.acknowledged and piece.lane.counts and piece.cut.records:
                exposed = max(0.0, now - piece.since)
                self._exposure.add(exposed)
                self._exposure_metric.observe(exposed)
                self._acknowledged_bytes_metric.inc(piece.cut.end - piece.cut.start)
            self._lanes.settle(piece.lane, piece.cut.start, piece.cut.end)
        self._acknowledged_metric.inc(done.records)
        self._progress.beat()

    def _limits(self) -> Limits:
        """The limits now: when time is short a request must not take all that is left, and what is worth most be behind it."""
        limits = self._limits_override or self.exporter.limits
        if not self._urgent or math.isinf(self.deadline.at):
            return limits
        time = self.deadline.remaining() / SHARE_OF_TIME / limits.max_in_flight
        most = max(SMALL_REQUEST, int((self._rate.value() or ASSUMED_RATE) * time))
        return limits if most >= limits.max_raw_bytes else replace(limits, max_raw_bytes=most)


def _only_data(pieces: Sequence[Piece]) -> bool:
    return all(piece.lane.counts for piece in pieces)


def _may_be_overtaken(parcel: Parcel) -> bool:
    """Not what tells of the life; nor samples, which are refused when they come out of order."""
    return parcel.signal is not Signal.METRICS and _only_data(parcel.pieces)
