"""The destinations of a node: one instance, one set of connections and one pace for all pods, where an exporter is made for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shipper.clock import Clock, Deadline
from shipper.config import Destination
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Packing, Prepared, Request, Signal
from shipper.intervals import IntervalSet
from shipper.pump.load import make_exporter
from shipper.pump.pace import TokenBucket
from shipper.pump.workbench import Workbench

IN_FLIGHT = 16  # requests of all pods to one destination at a time, as long as each pod may have one
PACE = 10  # requests that are not full: the node sends at most so many times as often as a single host


class Common:
    """One exporter of all runs; it is open while any of them has it open."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.limits = exporter.limits
        self._users = 0

    async def start(self) -> None:
        """One more run has it open."""
        self._count(1)
        if self._users == 1:
            await self.exporter.start()

    async def aclose(self) -> None:
        """One run less has it open."""
        self._count(-1)
        if self._users == 0:
            await self.exporter.aclose()

    def _count(self, more: int) -> None:
        """Together the runs have no more on the way than a busy host, but each may have one."""
        self._users += more
        most = min(self.exporter.limits.max_in_flight, max(1, IN_FLIGHT // max(1, self._users)))
        self.limits = replace(self.exporter.limits, max_in_flight=most)


class Shared(Exporter):
    """An exporter as one of several runs sees it."""

    def __init__(self, common: Common) -> None:
        self.name = common.exporter.name
        self.signals = common.exporter.signals
        self._common = common
        self._inner = common.exporter
        self._open = False

    @property
    def limits(self) -> Limits:  # type: ignore[override]
        """See `Exporter`."""
        return self._common.limits

    @property
    def keeps_accounts(self) -> bool:  # type: ignore[override]
        """See `Exporter`."""
        return self._inner.keeps_accounts

    @property
    def accounts_known(self) -> bool:  # type: ignore[override]
        """See `Exporter`."""
        return self._inner.accounts_known

    async def start(self) -> None:
        """See `Exporter.start`."""
        if not self._open:
            self._open = True
            await self._common.start()

    def resume(self, kept: Mapping[bytes, bytes]) -> None:
        """See `Exporter.resume`."""
        self._inner.resume(kept)

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`."""
        return self._inner.prepare(request)

    def packing(self, signal: Signal) -> Packing | None:
        """See `Exporter.packing`."""
        return self._inner.packing(signal)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`."""
        return await self._inner.send(prepared, deadline)

    async def known(self, life: str) -> Mapping[str, IntervalSet] | None:
        """See `Exporter.known`."""
        return await self._inner.known(life)

    def trusted(self) -> bool:
        """See `Exporter.trusted`."""
        return self._inner.trusted()

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return self._inner.describe()

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        if self._open:
            self._open = False
            await self._common.aclose()


class Destinations:
    """Makes the exporters of pods. ``context``: of the node agent itself; the requests name their life themselves."""

    def __init__(self, context: ExporterContext, clock: Clock) -> None:
        self.buckets: dict[str, TokenBucket] = {}
        self.bench = Workbench()
        self._context = context
        self._clock = clock
        self._shared: dict[str, Common] = {}

    def make(self, name: str, wanted: Destination, context: ExporterContext) -> Exporter:
        """See `shipper.build_destinations.MakeExporter`."""
        if name in self._shared:
            return Shared(self._shared[name])
        options: Mapping[str, Any] = wanted.options
        found = make_exporter(wanted.type, name, options, self._context, where=f"destinations.{name}")
        if name not in self.buckets:
            limits = found.limits
            self.buckets[name] = TokenBucket(self._clock, limits.requests_per_second * PACE, limits.burst * PACE)
        if not found.many_lives:
            return make_exporter(wanted.type, name, options, context, where=f"destinations.{name}")
        self._shared[name] = Common(found)
        return Shared(self._shared[name])
