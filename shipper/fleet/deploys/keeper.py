"""Keeps the series of deploys alive: hears of deploys and hosts as they pass through a gateway, and writes what they add up to.

Every gateway hears, remembers and tells the others; one of them writes, which the lease decides. What was told of a deploy is
in the ledger before its sender gets an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shipper.clock import Clock
from shipper.contracts import Signal, Source, StreamKind
from shipper.errors import MalformedOtlp, ShipperError
from shipper.events import Problem, Reporter
from shipper.fleet import statements
from shipper.fleet.deploys import share as sharing
from shipper.fleet.deploys import wire
from shipper.fleet.deploys.infer import infer
from shipper.fleet.deploys.lease import Lease
from shipper.fleet.deploys.model import DeployEvent, Deploys
from shipper.fleet.deploys.series import encode, of_deploys, of_keeper
from shipper.fleet.deploys.share import BadDocument, Known, Share
from shipper.fleet.deploys.sightings import SILENCE_NS, Sightings
from shipper.fleet.gauges import Series, Writer
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp.wire import field

FACT = "deploys"
"""The ledger's name for what is known."""
_STATEMENT = field(1, statements.SCOPE.encode())  # the scope's name as it is encoded: no line of text has that
_INLINE = 64 << 10  # bodies below this are decoded on the event loop: a thread's hop would cost more
_SHOWN_NS = 600 * 1_000_000_000  # how late a deploy may leave that is older than is kept alive

Part = tuple[StreamKind, int, int]
"""A listed batch of a request: its kind, and where its bytes begin and end in the body."""


class Keeper(Source):
    """See the module. ``gateway``: the name of this one in `series.KEEPER`. Without a ``writer`` nobody wants the series.

    ``lease``: None where no other gateway can be, or this one is to write in any case. Times in seconds.
    """

    def __init__(
        self,
        *,
        gateway: str,
        ledger: LedgerThread,
        writer: Writer | None,
        lease: Lease | None,
        share: Share | None,
        keep: float,
        interval: float,
        clock: Clock,
        report: Reporter,
    ) -> None:
        self.name = "deploys"
        self._gateway = gateway
        self._ledger = ledger
        self._writer = writer
        self._lease = lease
        self._share = share
        self._keep_ns = round(keep * 1e9)
        self._interval = interval
        self._clock = clock
        self._report = report
        self._deploys = Deploys()
        self._sightings = Sightings(clock.wall_ns())
        self._turned_ns = clock.wall_ns()
        self._saved = ""
        self._values: dict[Series, int] = {}
        self._values_until = 0  # the values are right until then, if nothing new is heard
        self._written: dict[Series, int] = {}
        self._hidden = 0
        self._stopped = False
        self._remembering = asyncio.Lock()

    async def open(self) -> None:
        """Take up what an earlier run knew. Raises `StateError`."""
        document = await self._ledger.call(Ledger.get, FACT)
        if document is None:
            return
        try:
            self._learn(sharing.decode(document))
        except BadDocument as problem:
            self._report(Problem("deploys", f"what the ledger has of deploys is lost: {problem}", FACT))
        self._saved = document

    async def heard(self, signal: Signal, life: str, parts: Sequence[Part], body: bytes) -> None:
        """A request was taken in. ``life``: its sender's, empty for a stranger, who lists no ``parts``. Never raises."""
        now = self._clock.wall_ns()
        known = bool(life) and self._sightings.heard(life, now)
        if signal is not Signal.LOGS:
            return
        wanted = [part for part in parts if part[0] is StreamKind.LIFE or (part[0] is StreamKind.ACCOUNT and not known)]
        slices = [body[start:end] for _, start, end in wanted]
        if not any(kind is not StreamKind.DATA for kind, _, _ in parts) and _STATEMENT in body:
            slices.append(body)  # statements that came through something that lists no batches, or another gateway
        try:
            for data in slices:
                for said in statements.events(data, now):
                    if not isinstance(said, str):  # what cannot be read is for the audit to say
                        self._sightings.told(said, now)
            if wire.MARK in body:
                await self._take(body, now)
        except MalformedOtlp as problem:  # it was checked before it was taken in
            self._report(Problem("deploys", f"a request cannot be read for deploys: {problem}", "heard"))

    async def run(self) -> None:
        """See `Source.run`."""
        async with asyncio.TaskGroup() as group:
            if self._lease is not None:
                group.create_task(self._renew(self._lease))
            group.create_task(self._keep())

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: the receiver is what is told."""

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: nobody waits for series."""
        return True

    def close_events(self) -> None:
        """See `Source.close_events`: nothing is ever incomplete."""

    async def settled(self) -> None:
        """See `Source.settled`: from now on another gateway writes."""
        self._stopped = True
        if self._lease is not None:
            await self._lease.give_back()

    def reopen(self) -> None:
        """See `Source.reopen`."""
        self._stopped = False

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        if self._writer is not None:
            self._writer.close()

    def writes(self) -> bool:
        """Whether it is ours to write at this very moment."""
        return self._writer is not None and not self._stopped and (self._lease is None or self._lease.held())

    async def turn(self) -> None:
        """Learn from the others, infer, remember, tell the others, write. Never raises for what may pass."""
        now = self._clock.wall_ns()
        if now - self._turned_ns > SILENCE_NS // 2:
            self._sightings.listen_anew(now)
        self._turned_ns = now
        if self._share is not None:
            for known in await self._share.read(now):
                self._learn(known)
        self._sightings.forget(now)
        if self.writes():
            hosts, events = self._sightings.hosts(now), self._deploys.events()
            for event in await asyncio.to_thread(lambda: list(infer(hosts, events))):
                self._add(event)
        document = await self._remember()
        if self._share is not None:
            await self._share.write(document)
        await self._write(self._clock.wall_ns())

    # -- hearing -------------------------------------------------------------------------------------------------

    async def _take(self, body: bytes, now: int) -> None:
        found = (
            list(wire.from_otlp(body, now))
            if len(body) < _INLINE
            else await asyncio.to_thread(lambda: list(wire.from_otlp(body, now)))
        )
        new = False
        for event in found:
            if isinstance(event, DeployEvent):
                new |= self._add(event)
            else:
                self._report(Problem("deploy_event", event, event))
        if new:
            await self._remember()

    def _learn(self, known: Known) -> None:
        for event in known.events:
            self._add(event)
        self._sightings.merge(known.sightings)

    def _add(self, event: DeployEvent) -> bool:
        new = self._deploys.add(event)
        self._values_until = 0 if new else self._values_until
        return new

    async def _remember(self) -> str:
        """Put what is known into the ledger; it is tried again with the next turn where that fails."""
        async with self._remembering:  # in order: what is older must not come to lie over what is newer
            known = Known(self._deploys.events(), self._sightings.all())
            document = await asyncio.to_thread(sharing.encode, known)
            if document != self._saved:
                try:
                    await self._ledger.call(Ledger.put, FACT, document)
                    self._saved = document
                except ShipperError as problem:
                    self._report(Problem("ledger", f"deploys are not in the ledger yet: {problem}", FACT))
            return document

    # -- keeping -------------------------------------------------------------------------------------------------

    async def _renew(self, lease: Lease) -> None:
        while True:
            if not self._stopped and self._writer is not None:
                await lease.turn()
            await self._clock.sleep(lease.every)

    async def _keep(self) -> None:
        while True:
            await self.turn()
            await self._clock.sleep(self._interval)

    async def _write(self, now: int) -> None:
        if not self.writes():
            self._written = {}  # whoever writes now knows what ends
            return
        if now >= self._values_until:
            shown = self._deploys.shown(now - self._keep_ns)
            self._tell_hidden(shown.hidden_deploys, shown.hidden_services)
            self._values = {**of_deploys(shown.deploys), **of_keeper(self._gateway)}
            self._values_until = now + _SHOWN_NS
        values = self._values
        encoded = await asyncio.to_thread(encode, values, now, sorted(self._written.keys() - values.keys()))
        if self._writer is None or not self.writes():  # lost meanwhile
            return
        try:
            await self._writer.write(encoded, now)
            self._written = values
        except (ShipperError, OSError) as problem:
            self._report(Problem("deploys", f"the series of deploys cannot be written this time: {problem}", "write"))

    def _tell_hidden(self, deploys: int, services: int) -> None:
        hidden = deploys + services
        if hidden > self._hidden:
            message = f"{deploys} deploys and {services} services are not shown: there are more than may be kept alive"
            self._report(Problem("deploys_hidden", message, "hidden"))
        self._hidden = hidden
