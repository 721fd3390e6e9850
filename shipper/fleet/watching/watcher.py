"""Looks at every newest generation once a minute and keeps the series of its verdict alive; ends them when it is over.

One of all that share an archive does it, by a lease of its own kind: a gateway that keeps deploys need not know a Prometheus.
Samples are stamped with the time of the Prometheus that was asked, as boards and alerts hold their age against that clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shipper.clock import Clock, Deadline
from shipper.contracts import Source
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter, Said
from shipper.fleet.deploys.lease import Lease
from shipper.fleet.gauges import Series as Gauge
from shipper.fleet.gauges import Writer
from shipper.fleet.verdict.client import Client, NoAnswer
from shipper.fleet.verdict.look import cannot_tell, look
from shipper.fleet.verdict.model import Judgement, Kind, Measure
from shipper.fleet.verdict.queries import Asked, Series
from shipper.fleet.verdict.words import sentence
from shipper.fleet.watching.aside import aside
from shipper.fleet.watching.newest import Newest, Wanted, about_newest, read_newest
from shipper.fleet.watching.series import encode, of_judgement

EVERY = 60.0
LEASE_KEY = "shipper/verdicts/lease"
KEEPS = "the series of verdicts"
AT_ONCE = 4
"""Services that are asked about at the same time: a question about 500 hosts keeps a Prometheus busy."""
SECONDS = 20.0
"""How long an answer may take, or a third of the time from look to look."""


class Watcher(Source):
    """See the module. ``lease``: None where no other can be. ``every``: seconds from look to look."""

    def __init__(
        self,
        client: Client,
        series: Series,
        wanted: Wanted,
        writer: Writer,
        *,
        lease: Lease | None,
        every: float,
        clock: Clock,
        report: Reporter,
    ) -> None:
        self.name = "verdicts"
        self._client = client
        client.seconds = min(SECONDS, every / 3)
        self._series = series
        self._wanted = wanted
        self._writer = writer
        self._lease = lease
        self._every = every
        self._clock = clock
        self._report = report
        self._newest: Sequence[Newest] = ()
        self._kinds: dict[Newest, dict[Measure, Kind]] = {}
        self._written: set[Gauge] = set()
        self._writing = asyncio.Lock()
        self._ahead_ns = 0  # of our clock: Prometheus' own
        self._stamped_ns = 0
        self._troubles: dict[str, str] = {}
        self._stopped = False

    async def run(self) -> None:
        """See `Source.run`."""
        if self._lease is not None:
            await self._lease.turn()
        async with asyncio.TaskGroup() as group:
            if self._lease is not None:
                group.create_task(self._renew(self._lease))
            group.create_task(self._keep())

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: nothing is read here that could be lost."""

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: nobody waits for a verdict."""
        return True

    def close_events(self) -> None:
        """See `Source.close_events`: nothing is ever incomplete."""

    async def settled(self) -> None:
        """See `Source.settled`: what nobody computes any more ends at once, and another may go on."""
        mine = self.writes()
        self._stopped = True
        async with self._writing:
            if mine:
                await self._write({})
            self._written = set()
        if self._lease is not None:
            await self._lease.give_back()

    def reopen(self) -> None:
        """See `Source.reopen`."""
        self._stopped = False

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        self._writer.close()

    def writes(self) -> bool:
        """Whether it is ours to compute and write at this very moment."""
        return not self._stopped and (self._lease is None or self._lease.held())

    async def turn(self) -> None:
        """Find the newest generations, judge each, write. Never raises for what may pass."""
        if not self.writes():
            self._written = set()  # whoever writes now knows what ends
            return
        deadline = Deadline.after(self._clock, self._every)
        problem = await self._find()
        free = asyncio.Semaphore(AT_ONCE)
        judged = await asyncio.gather(*(self._judge(one, problem, free, deadline) for one in self._newest))
        values: dict[Gauge, int | float] = {}
        for newest, judgement in zip(self._newest, judged, strict=True):
            values |= of_judgement(newest, judgement)
        self._tell(dict(zip(self._newest, judged, strict=True)))
        async with self._writing:
            if self.writes():
                await self._write(values)

    # -- looking -------------------------------------------------------------------------------------------------

    async def _find(self) -> str:
        """Ask which generations are the newest; why that cannot be told, empty: they are known."""
        begun = self._clock.wall_ns()
        try:
            found = await aside(lambda: self._client.instant(about_newest(self._series, self._wanted)))
        except NoAnswer as problem:
            self._trouble("read", str(problem))
            return str(problem)
        self._trouble("read", "")
        if found and found[0].points:
            self._set_clock(begun, round(found[0].points[-1][0] * 1e9))
        self._newest = read_newest(found)
        return ""

    async def _judge(self, newest: Newest, problem: str, free: asyncio.Semaphore, deadline: Deadline) -> Judgement:
        at = self._clock.wall_ns() / 1e9
        if problem:
            return cannot_tell(problem, newest.generation, at)
        async with free:
            if deadline.expired():
                return cannot_tell("Prometheus is too slow to be asked about all services", newest.generation, at)
            asked = Asked(newest.service, newest.env)
            try:
                return await aside(lambda: look(self._client, self._series, asked, newest.generation))
            except Exception as fault:  # the border: what is wrong with one verdict must not end a gateway
                said = f"a fault in Shipper: {type(fault).__name__}: {fault}"
                self._report(Problem("verdicts", f"{newest.where} cannot be judged: {said}", newest.where))
                return cannot_tell(said, newest.generation, at)

    def _tell(self, judged: dict[Newest, Judgement]) -> None:
        """Say each verdict when it becomes another one."""
        for newest, judgement in judged.items():
            before = self._kinds.get(newest, {})
            for verdict in judgement.verdicts:
                if before.get(verdict.measure) is not verdict.kind:
                    about = f"{newest.where}, generation {newest.generation}: {verdict.measure.value}"
                    self._report(Said(f"{about}: {sentence(verdict)}"))
        self._kinds = {
            newest: {verdict.measure: verdict.kind for verdict in judgement.verdicts}
            for newest, judgement in judged.items()
        }

    # -- writing -------------------------------------------------------------------------------------------------

    async def _write(self, values: dict[Gauge, int | float]) -> None:
        ended = sorted(self._written - values.keys())
        if not values and not ended:
            return
        at = max(self._clock.wall_ns() + self._ahead_ns, self._stamped_ns + 1_000_000)  # a series takes times only once
        self._stamped_ns = at
        self._written |= values.keys()  # whatever comes of it, some of it may arrive
        try:
            await self._writer.write(encode(values, at, ended), at)
        except (ShipperError, OSError) as problem:
            self._trouble("write", str(problem))
        else:
            self._written = set(values)
            self._trouble("write", "")

    def _set_clock(self, begun_ns: int, theirs_ns: int) -> None:
        """Their time was asked between ``begun_ns`` and now of ours; what it is beyond that is a difference of clocks."""
        ours = min(max(theirs_ns, begun_ns), self._clock.wall_ns())
        self._ahead_ns = theirs_ns - ours

    def _trouble(self, what: str, problem: str) -> None:
        """Say what is wrong when it begins, or becomes something else, and that it is over."""
        before = self._troubles.get(what, "")
        self._troubles[what] = problem
        doing = {"read": "generations cannot be judged", "write": "verdicts cannot be written"}[what]
        if problem and problem != before:
            self._report(Problem("verdicts", f"{doing}, which is tried again: {problem}"))
        elif before and not problem:
            self._report(Said(doing.replace("cannot be", "are") + " again"))

    async def _renew(self, lease: Lease) -> None:
        while True:
            await self._clock.sleep(lease.every)
            if not self._stopped:
                await lease.turn()

    async def _keep(self) -> None:
        while True:
            begun = self._clock.monotonic()
            await self.turn()
            every = self._every
            if self._lease is not None and not self.writes():
                every = min(every, self._lease.every)  # whoever comes to hold it looks soon
            await self._clock.sleep(max(0.0, every - (self._clock.monotonic() - begun)))
