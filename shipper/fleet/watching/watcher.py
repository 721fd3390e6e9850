"""Looks at every newest generation once a minute and keeps the series of its verdict alive; ends them when it is over.

One of all that share an archive does it, by a lease of its own kind: a gateway that keeps deploys need not know a Prometheus.
Samples are stamped with the time of the Prometheus that was asked, as boards and alerts hold their age against that clock.
"""

from __future__ import annotations

import asyncio

from shipper.clock import Clock
from shipper.contracts import Source
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter, Said
from shipper.fleet.deploys.lease import Lease
from shipper.fleet.gauges import Series as Gauge
from shipper.fleet.gauges import Writer
from shipper.fleet.verdict.client import Client
from shipper.fleet.verdict.model import Judgement, Kind, Measure
from shipper.fleet.verdict.queries import Series
from shipper.fleet.verdict.words import sentence
from shipper.fleet.watching.looks import Looks
from shipper.fleet.watching.newest import Newest, Wanted
from shipper.fleet.watching.series import encode, of_judgement

EVERY = 60.0
LEASE_KEY = "shipper/verdicts/lease"
KEEPS = "the series of verdicts"


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
        self._looks = Looks(client, series, wanted, every=every, clock=clock, report=report)
        self._writer = writer
        self._lease = lease
        self._every = every
        self._clock = clock
        self._report = report
        self._kinds: dict[Newest, dict[Measure, Kind]] = {}
        self._written: set[Gauge] = set()
        self._writing = asyncio.Lock()
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
        judged = await self._looks.look()
        self._trouble("read", self._looks.problem)
        self._tell(judged)
        values: dict[Gauge, int | float] = {}
        for newest, judgement in judged.items():
            values |= of_judgement(newest, judgement)
        async with self._writing:
            if self.writes():
                await self._write(values)

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
        at = max(
            self._clock.wall_ns() + self._looks.ahead_ns, self._stamped_ns + 1_000_000
        )  # a series takes times only once
        self._stamped_ns = at
        self._written |= values.keys()  # whatever comes of it, some of it may arrive
        try:
            await self._writer.write(encode(values, at, ended), at)
        except (ShipperError, OSError) as problem:
            self._trouble("write", str(problem))
        else:
            self._written = set(values)
            self._trouble("write", "")

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
