"""Makes what sends: for each destination of the configuration its exporter and its pump, and who stands in for whom."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from shipper.build_redact import redact_shaping
from shipper.build_routes import route_shaping
from shipper.clock import Clock
from shipper.config import Config, Destination, Role, Traces, split_address, unix_path
from shipper.contracts import Exporter, ExporterContext
from shipper.errors import DeliveryError
from shipper.events import Reporter
from shipper.ledger import LedgerThread
from shipper.pump.hub import Hub
from shipper.pump.load import make_exporter
from shipper.pump.outage import Outage
from shipper.pump.pace import TokenBucket
from shipper.pump.pump import BATCH_BYTES, Pump
from shipper.pump.route import Route
from shipper.pump.tools import QuarantineStore
from shipper.pump.workbench import Workbench

SPOOL_BATCH_BYTES = 4 << 20  # a gateway's few streams hold whole requests: splitting them costs more than it shares
ASK_SECONDS = 10.0  # for a destination to say what it has, after the ledger was lost

MakeExporter = Callable[[str, Destination, ExporterContext], Exporter]
"""An exporter for the destination of that name."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the pumps of one run have in common. ``ask_known``: the ledger was lost."""

    hub: Hub
    ledger: LedgerThread
    life: str
    quarantine: QuarantineStore
    ask_known: bool


class DestinationMaker:
    """Makes them for one configuration."""

    def __init__(
        self,
        config: Config,
        role: Role,
        *,
        make: MakeExporter | None,
        buckets: Mapping[str, TokenBucket],
        bench: Workbench,
        clock: Clock,
        report: Reporter,
    ) -> None:
        """``make``: exporters that runs share; None: each has its own. ``buckets``: that runs share, by destination."""
        self._config = config
        self._role = role
        self._make = make
        self._buckets = buckets
        self._bench = bench
        self._clock = clock
        self._report = report

    def exporter(self, name: str, wanted: Destination, context: ExporterContext) -> Exporter:
        """The exporter of a destination. Raises `ConfigError` and `MissingExtra`, see `make_exporter`."""
        if self._make is not None:
            return self._make(name, wanted, context)
        options = dict(wanted.options)
        if self._role == "gateway" and wanted.type == "archive":
            # What a gateway wrote to its disk has left the hosts it came from: for them it is off-host.
            options.setdefault("trust_local", True)
        return make_exporter(wanted.type, name, options, context, where=f"destinations.{name}")

    def pump(self, exporter: Exporter, route: Route | None, around: Around) -> Pump:
        """What sends to it, all of it or what its ``route`` takes; it stands by if it is the fallback."""
        return Pump(
            exporter,
            around.hub,
            around.ledger,
            life=around.life,
            clock=self._clock,
            report=self._report,
            quarantine=around.quarantine,
            mode=self._config.mode,
            shaping=shaping(self._config, exporter.name),
            ask_known=around.ask_known,
            # What has to be looked at record by record is done in smaller steps, or it would hold everybody up.
            batch_bytes=SPOOL_BATCH_BYTES if self._role == "gateway" and route is None else BATCH_BYTES,
            standby=exporter.name == self._config.standby,
            bucket=self._buckets.get(exporter.name),
            bench=self._bench,
            route=route,
        )

    def outage(self, pumps: list[Pump], fallback: Pump | None) -> Outage | None:
        """Who decides when the fallback helps; where it is only one for drains, it does so only in these."""
        if fallback is None:
            return None
        after = self._config.fallback.after if self._config.fallback.destination else math.inf
        return Outage(pumps, fallback, after=after, clock=self._clock, report=self._report)

    async def remembered(self, context: ExporterContext, note: Callable[[str], None]) -> frozenset[str]:
        """Ids of streams that destinations have of this life: with these, files are recognised without a ledger.

        ``note`` is told who could not be asked.
        """
        names: set[str] = set()
        for name, wanted in self._config.destinations.items():
            exporter = self.exporter(name, wanted, context)
            await exporter.start()
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    names |= (await exporter.known(context.life) or {}).keys()
            except (DeliveryError, TimeoutError) as problem:
                note(f"{name} could not be asked what it has; files are read from their beginning again ({problem})")
            finally:
                await exporter.aclose()
        return frozenset(names)


def own_addresses(config: Config, role: Role) -> frozenset[tuple[str, int]]:
    """Where this process listens: nothing is sent there."""
    listens = [config.admin.listen] if config.admin.listen else []
    if role == "gateway":
        listens.append(config.gateway.listen)
    elif config.receivers.otlp is not None:
        listens.append(config.receivers.otlp.http)
    return frozenset(split_address(listen) for listen in listens if listen and not unix_path(listen))


def shaping(config: Config, destination: str = "") -> str:
    """A hash of all settings that decide what becomes of a range of a stream for a destination.

    It is kept with each request until that is answered.
    """
    groups = [
        (group.include, group.max_line_bytes, group.attributes, group.multiline, group.shape) for group in config.files
    ]
    deciding: list[Any] = groups if config.traces == Traces() else [groups, config.traces]
    if config.journal:
        deciding = [deciding, config.journal]
    if config.redact:
        deciding = [deciding, redact_shaping(config.redact)]
    if routed := route_shaping(config, destination):
        deciding = [deciding, routed]
    return hashlib.blake2b(msgspec.json.encode(deciding), digest_size=8).hexdigest()
