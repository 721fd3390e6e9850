"""From streams to one destination: cut, written down, sent, and settled only by what the destination answers.

The parts: `Lanes` knows the streams, `Feed` decides what goes when, `Unfinished` what goes again. `Dispatch` writes a request
down in the ledger and has it delivered by a task of its own (`Courier`), as many at a time as the window allows (`Window`). `Loop`
keeps them going; here they are put together, and asked and told by those who do not send.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Literal

from shipper.clock import Clock, Deadline
from shipper.contracts import Exporter, Limits, Signal
from shipper.events import Reporter
from shipper.ledger import LedgerThread
from shipper.pump.backoff import LONGEST
from shipper.pump.books import Books
from shipper.pump.delivery import Courier
from shipper.pump.dispatch import LOOK_SECONDS, Dispatch
from shipper.pump.exposure import ExposureStats
from shipper.pump.feed import Feed
from shipper.pump.figures import Figures
from shipper.pump.gate import DRAIN_SHARE, Gate
from shipper.pump.gather import Sizing
from shipper.pump.health import Health
from shipper.pump.hub import Hub
from shipper.pump.lanes import Lanes
from shipper.pump.loop import Loop
from shipper.pump.pace import TokenBucket
from shipper.pump.pulse import Pulse
from shipper.pump.rate import Rate
from shipper.pump.route import Route
from shipper.pump.share import Member, Share
from shipper.pump.shortage import Shortage
from shipper.pump.tools import Done, QuarantineStore, Tools
from shipper.pump.unfinished import Unfinished
from shipper.pump.window import Window
from shipper.pump.workbench import Workbench

Mode = Literal["default", "low-exposure"]

BATCH_BYTES = 512 << 10  # of source in one batch: small enough that a turn takes milliseconds
ERRORS_FIRST = 2.0  # seconds for which a backlog is looked through before anything but errors goes


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
        bucket: TokenBucket | None = None,
        bench: Workbench | None = None,
        route: Route | None = None,
    ) -> None:
        """Join ``hub``; nothing else happens before `run`, with ``standby`` before `activate`.

        ``limits`` stand in place of the exporter's own. ``mode`` low-exposure lifts the pacing for good. ``shaping`` is a hash of
        what decides the bytes of a batch. ``ask_known``: the ledger was lost, ask the destination what it has before cutting.
        ``bucket``: paces this pump together with others. ``bench``: shared with the other pumps of the process. ``route``: what the
        destination gets; None: everything.
        """
        self.name = exporter.name
        self.exporter = exporter
        self._clock = clock
        self._standby = standby
        self._route = route
        self._joined = False  # a pump that stands by: it was activated, if only once
        self._share: Share | None = None
        self._orders = orders = Pulse()
        self._work = work = Pulse()
        self._progress = progress = Pulse()
        self._figures = Figures(self.name, report.metrics)
        random = random or Random()
        self._tools = tools = Tools(
            exporter=exporter,
            books=Books(ledger, clock, report),
            gate=Gate(clock),
            window=Window(clock, random, work),
            health=Health(clock),
            sizing=Sizing(),
            rate=Rate(clock),
            quarantine=quarantine,
            desk=(bench or Workbench()).desk(),
            threads=ThreadPoolExecutor(2, thread_name_prefix=f"shipper-{self.name}"),
            clock=clock,
            report=report,
            random=random,
            life=life,
            owed=not standby,
        )
        self._shortage = Shortage(tools, limits)
        now = self._shortage.limits
        self._lanes = lanes = Lanes(tools, hub, work=work, progress=progress, spare=standby, route=route)
        lifted = mode == "low-exposure"
        self._feed = feed = Feed(tools, lanes, hub, limits=now, lifted=lifted, batch_bytes=batch_bytes, beside=bucket)
        courier = Courier(tools, self._settle)
        self._unfinished = unfinished = Unfinished(tools, lanes, feed, courier, hub.values, limits=now)
        self._dispatch = dispatch = Dispatch(
            tools,
            lanes,
            feed,
            unfinished,
            courier,
            hub,
            limits=now,
            shaping=shaping,
            work=work,
            progress=progress,
            spare=standby,
        )
        self._loop = Loop(
            tools,
            hub,
            lanes,
            feed,
            unfinished,
            dispatch,
            work=work,
            progress=progress,
            orders=orders,
            shaping=shaping,
            ledger_lost=ask_known,
            active=not standby,
        )
        hub.attach(lanes)

    # -- what others ask -----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> Deadline:
        """The one deadline of a drain; set it, then call `urgent`."""
        return self._tools.gate.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._tools.gate.deadline = deadline

    def urgent(self, on: bool) -> None:
        """Lift the pacing and end all waits that are our own choice (a drain), or go back to normal."""
        self._shortage.urgent = self._feed.urgent = on
        self._unfinished.forget_places()
        self._lanes.order.hurry(self.deadline.remaining() / DRAIN_SHARE)
        self._tools.window.hurry(self._tools.gate.capped(LONGEST))
        self._tools.gate.hurry()
        self._work.beat()

    def order_by_value(self, on: bool) -> None:
        """Send ranges with errors first, then the newest of each stream, then from the oldest on; or by turns again.

        Saying it again looks anew at what streams have grown by; so it does by itself, every second.
        """
        begins = on and not self._lanes.order.by_value
        self._lanes.order_by_value(on, min(ERRORS_FIRST, self.deadline.remaining() / DRAIN_SHARE))
        if not on:
            self._unfinished.forget_places()
        elif begins and not self._standby:
            self._unfinished.call_back()
        self._orders.beat()
        self._work.beat()

    def rate(self) -> float:
        """Source bytes a second that the destination acknowledged lately while a backlog was sent; 0.0: not known yet."""
        return self._tools.rate.value()

    def usual_answer(self) -> float:
        """Seconds that it usually takes until a request is acknowledged."""
        return self._tools.window.usual_answer

    def failing(self) -> bool:
        """True while attempts fail in a row, or nothing was answered for seconds."""
        return self._loop.active and self._tools.health.failing(self._tools.window.usual_answer)

    def failure(self) -> str:
        """What became of the last attempt and why, for people; empty once one was answered."""
        return self._tools.health.failure

    def answers_in_a_row(self) -> int:
        """How many attempts were answered since the last one that failed."""
        return self._tools.health.answers

    def last_failure(self) -> float:
        """When an attempt failed last (the clock's monotonic seconds); -inf: none has."""
        return self._tools.health.failed_at

    def last_failed_try(self) -> float:
        """When the attempt that failed last had begun; -inf: none has failed."""
        return self._tools.health.failed_try

    def activate(self, share: Share) -> None:
        """Work on what the primaries of ``share`` have not settled; for a pump that stands by.

        In a drain that is the most valuable first: from now on what one of them has settled the others need not send, and what
        one is sending they leave to it while it makes progress. Birth and farewell go here too, in an outage also the account.
        """
        if not self._standby:
            raise ValueError(f"{self.name} does not stand by")
        if self._share is not None:
            self._share.end()
        self._share = share
        self._loop.active = self._joined = True
        share.join(self._lanes.member)
        self.order_by_value(not share.repaid)

    def stand_by(self) -> None:
        """The opposite of `activate`: the others are well, or the drain was taken back; everybody works for himself again."""
        if self._share is not None:
            self._share.end()
            self._share = None
            self._loop.active = False
            self._lanes.order_by_value(False)
            self._unfinished.call_back()

    def repay(self, on: bool) -> None:
        """While a fallback works for a drain: also send what only that has, or leave it there (which is how a drain begins)."""
        self._lanes.member.repay(on)

    @property
    def signals(self) -> frozenset[Signal]:
        """Of which data the destination gets anything."""
        taken = self.exporter.signals
        return taken if self._route is None else taken & self._route.signals

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
        return self._lanes.backlog() if self._loop.active else {}

    def backlog_bytes(self) -> int:
        """Bytes of data seen but settled by nobody: in a share, neither here nor by another member of it."""
        return self._lanes.unsettled_bytes() if self._loop.active else 0

    def oldest_unacknowledged(self) -> float:
        """Age in seconds of the oldest data not yet settled; 0 when there is none."""
        return self._lanes.oldest()

    def exposure(self) -> ExposureStats:
        """Exposure of the batches acknowledged in this run, and the age of what is not."""
        return self._figures.exposure(self.oldest_unacknowledged())

    def idle(self, include_account: bool = False) -> bool:
        """True when everything seen so far is settled and nothing waits to be sent again; always while it stands by.

        In a share, data that another member has settled counts as settled; birth, account and farewell do not. After `finish`
        data does not count any more.
        """
        if not self._loop.active:
            return True
        if self._dispatch.finishing:
            return self._loop.loaded and self._lanes.told()
        return self._loop.loaded and not self._unfinished.hopeful() and self._lanes.idle(include_account)

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
        await self._dispatch.finish(until)

    def measure(self) -> None:
        """Bring the gauges of backlog and age up to date; to be called before metrics are read."""
        self._figures.measure(self.backlog(), self.oldest_unacknowledged())

    async def run(self) -> None:
        """Send until cancelled; then the ledger holds what is open, and the next run goes on from there."""
        await self._loop.run()

    def _settle(self, done: Done) -> None:
        if done.acknowledged:
            self._tools.rate.acknowledged(sum(piece.cut.end - piece.cut.start for piece in done.pieces))
        self._figures.settled(done, self._clock.monotonic())
        for piece in done.pieces:
            self._lanes.settle(piece.lane, piece.cut.start, piece.cut.end)
        self._progress.beat()
