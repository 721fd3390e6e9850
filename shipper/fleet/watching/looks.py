"""One look at every newest generation: whom there is to judge, and what is to be said of each.

What can no longer change is not asked for again: alone, a generation is judged by its first hour, and that passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from shipper.clock import Clock, Deadline
from shipper.events import Problem, Reporter
from shipper.fleet.questions import NoAnswer
from shipper.fleet.verdict.client import Client
from shipper.fleet.verdict.look import WINDOW, cannot_tell, look
from shipper.fleet.verdict.model import Judgement, Kind
from shipper.fleet.verdict.queries import MINUTE, Asked, Series
from shipper.fleet.watching.aside import aside
from shipper.fleet.watching.newest import Newest, Wanted, about_newest, read_newest

AT_ONCE = 4
"""Services that are asked about at the same time: a question about 500 hosts keeps a Prometheus busy."""
SECONDS = 20.0
"""How long an answer may take, or a third of the time from look to look."""
SETTLED = (WINDOW + 10.0) * MINUTE
"""Seconds that a generation was seen to serve alone, after which its verdict stays: the hour, and what comes late."""


class Looks:
    """See the module. ``every``: seconds that a look may take.

    ``problem``: why the newest generations could not be found this time, empty when they were; ``ahead_ns``: what the clock
    of that Prometheus is ahead of ours.
    """

    def __init__(
        self, client: Client, series: Series, wanted: Wanted, *, every: float, clock: Clock, report: Reporter
    ) -> None:
        self.problem = ""
        self.ahead_ns = 0
        self._client = client
        client.seconds = min(SECONDS, every / 3)
        self._series = series
        self._wanted = wanted
        self._every = every
        self._clock = clock
        self._report = report
        self._newest: Mapping[Newest, int] = {}
        self._alone_since: dict[Newest, float] = {}
        self._settled: dict[Newest, Judgement] = {}

    async def look(self) -> dict[Newest, Judgement]:
        """All judgements as they are now, in a fixed order. Never raises: what cannot be asked is `Kind.CANNOT_TELL`."""
        deadline = Deadline.after(self._clock, self._every)
        await self._find()
        free = asyncio.Semaphore(AT_ONCE)
        judged = await asyncio.gather(*(self._judged(one, free, deadline) for one in self._newest))
        return dict(zip(self._newest, judged, strict=True))

    async def _find(self) -> None:
        begun = self._clock.wall_ns()
        try:
            found = await aside(lambda: self._client.instant(about_newest(self._series, self._wanted)))
        except NoAnswer as problem:
            self.problem = str(problem)
            return
        self.problem = ""
        if found and found[0].points:
            self._set_clock(begun, round(found[0].points[-1][0] * 1e9))
        self._newest = read_newest(found)
        now = self._clock.monotonic()
        alone = [one for one, serving in self._newest.items() if serving == 1]
        self._alone_since = {one: self._alone_since.get(one, now) for one in alone}
        self._settled = {one: said for one, said in self._settled.items() if one in self._alone_since}

    def _set_clock(self, begun_ns: int, theirs_ns: int) -> None:
        """Their time was asked between ``begun_ns`` and now of ours; what it is beyond that is a difference of clocks."""
        ours = min(max(theirs_ns, begun_ns), self._clock.wall_ns())
        self.ahead_ns = theirs_ns - ours

    async def _judged(self, newest: Newest, free: asyncio.Semaphore, deadline: Deadline) -> Judgement:
        at = self._clock.wall_ns() / 1e9
        if self.problem:
            return cannot_tell(self.problem, newest.generation, at)
        if newest in self._settled:
            return self._settled[newest]
        async with free:
            if deadline.expired():
                return cannot_tell("Prometheus is too slow to be asked about all services", newest.generation, at)
            judgement = await self._judge(newest, at)
        alone = self._clock.monotonic() - self._alone_since.get(newest, self._clock.monotonic())
        if alone >= SETTLED and judgement.kind is not Kind.CANNOT_TELL:
            self._settled[newest] = judgement
        return judgement

    async def _judge(self, newest: Newest, at: float) -> Judgement:
        asked = Asked(newest.service, newest.env)
        try:
            return await aside(lambda: look(self._client, self._series, asked, newest.generation))
        except Exception as fault:  # the border: what is wrong with one verdict must not end a gateway
            said = f"a fault in Shipper: {type(fault).__name__}: {fault}"
            self._report(Problem("verdicts", f"{newest.where} cannot be judged: {said}", newest.where))
            return cannot_tell(said, newest.generation, at)
