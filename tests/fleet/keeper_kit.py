"""Gateways that keep deploys, on a clock of the test's, with what they wrote."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shipper.contracts import Signal, StreamKind
from shipper.fleet.deploys.keeper import Keeper
from shipper.fleet.deploys.lease import Lease
from shipper.fleet.deploys.model import DeployEvent
from shipper.fleet.deploys.share import Share
from shipper.fleet.deploys.wire import to_otlp
from shipper.fleet.gauges import Encoded
from shipper.fleet.store import open_store
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp import decode, messages
from shipper.otlp.encode import export_logs, log_record, resource, scope
from shipper.testing.clock import FakeClock
from tests.fleet.reports import Kept

SECOND = 1_000_000_000
INTERVAL = 15.0


class Written:
    """Keeps what was written: per request the series and their values; None for a series that ended."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.requests: list[dict[str, float | None]] = []
        self.at: list[float] = []

    async def write(self, series: Encoded, time_ns: int) -> None:
        self.at.append(self._clock.monotonic())
        self.requests.append(found := {})
        for about, _, units in messages.envelopes(Signal.METRICS, messages.parse(Signal.METRICS, series.payload)):
            labels = decode.attributes_of(about.attributes)
            for metric in units:
                for point in metric.gauge.data_points:
                    every = {**labels, **decode.attributes_of(point.attributes)}
                    name = metric.name + json.dumps(every, sort_keys=True)
                    found[name] = None if point.flags & 1 else point.as_int
        assert series.points == len(found)

    def close(self) -> None:
        pass

    def last(self, name: str, **labels: str) -> list[float | None]:
        return [
            value
            for key, value in self.requests[-1].items()
            if key.startswith(f"shipper.{name}{{") and labels.items() <= json.loads(key[key.index("{") :]).items()
        ]


class Gateway:
    """A keeper with a clock that may be shared, a ledger of its own, and an archive shared with others."""

    def __init__(self, root: Path, name: str, clock: FakeClock, *, archive: Path | None) -> None:
        self.root, self.name, self.clock, self.archive = root / name, name, clock, archive
        self.report = Kept(clock)
        self.writer = Written(clock)
        self.keeper: Keeper | None = None

    async def start(self) -> Keeper:
        self.root.mkdir(exist_ok=True)
        self.ledger = LedgerThread(Ledger.open(self.root / "ledger.db", report=self.report))
        store = open_store(str(self.archive), create=True) if self.archive else None
        self.keeper = Keeper(
            gateway=self.name,
            ledger=self.ledger,
            writer=self.writer,
            lease=Lease(store, self.name, clock=self.clock, report=self.report) if store else None,
            share=Share(store, self.name, keep_ns=14 * 86400 * SECOND, report=self.report) if store else None,
            keep=14 * 86400.0,
            interval=INTERVAL,
            clock=self.clock,
            report=self.report,
        )
        await self.keeper.open()
        return self.keeper

    async def turn(self) -> None:
        assert self.keeper is not None
        if self.keeper._lease is not None:
            await self.keeper._lease.turn()
        await self.keeper.turn()

    async def die(self) -> None:
        await self.ledger.aclose()
        self.keeper = None


@asynccontextmanager
async def gateways(root: Path, *names: str, clock: FakeClock, shared: bool = True) -> AsyncIterator[list[Gateway]]:
    """Gateways with these names, which share an archive or not."""
    found = [Gateway(root, name, clock, archive=root / "archive" if shared else None) for name in names]
    for one in found:
        await one.start()
    try:
        yield found
    finally:
        for one in found:
            if one.keeper is not None:
                await one.die()


async def tell(gateway: Gateway, action: str = "started", generation: str = "7", **more: Any) -> DeployEvent:
    """What ``shipper deploy`` tells a gateway."""
    fields = {"service": "api", "env": "prod", "release": "r2", "id": generation} | more
    event = DeployEvent(at_ns=gateway.clock.wall_ns(), action=action, generation=generation, **fields)  # type: ignore[arg-type]
    assert gateway.keeper is not None
    await gateway.keeper.heard(Signal.LOGS, "", [], to_otlp(event))
    return event


def statement(what: str, life: str, clock: FakeClock, generation: str, **more: Any) -> bytes:
    """What a host says of itself (birth, account, farewell), as OTLP."""
    labels = {
        "service": "api",
        "environment": "prod",
        "generation": generation,
        "release": f"r{generation}",
        "image": "i",
    }
    body = {"version": 1, "life": life, "run": 1, "seq": 1, "at_ns": clock.wall_ns(), "labels": labels}
    body |= {"born_ns": clock.wall_ns()} | more
    record = log_record(time_ns=1, observed_ns=1, body=json.dumps(body), event_name=f"shipper.{what}")
    return export_logs(resource({"host.name": life}), scope("shipper.account"), [record])


async def host(gateway: Gateway, what: str, life: str, generation: str, **more: Any) -> None:
    """A host's statement arrives at a gateway, in a request with some log lines before it."""
    assert gateway.keeper is not None
    lines = export_logs(resource({}), scope("x"), [log_record(time_ns=1, observed_ns=1, body="a line")])
    said = statement(what, life, gateway.clock, generation, **more)
    kind = StreamKind.ACCOUNT if what == "account" else StreamKind.LIFE
    parts = [(StreamKind.DATA, 0, len(lines)), (kind, len(lines), len(lines) + len(said))]
    await gateway.keeper.heard(Signal.LOGS, life, parts, lines + said)
