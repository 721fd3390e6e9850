"""Puts a run together, in the order in which the rooms depend on each other: state, life, ledger, pumps, account, sources.

Each room gets only what its own signature asks for; whatever was opened is closed again when a later step fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from shipper import __version__
from shipper.account import Account, Who
from shipper.build_life import LifeMaker
from shipper.build_redact import make_view, redact_shaping
from shipper.build_remains import RemainsMaker
from shipper.build_routes import make_routes, route_shaping
from shipper.build_sources import MakeSettings, SourceMaker, Takers, file_settings, takers
from shipper.clock import Clock
from shipper.config import Config, Destination, Role, Traces, split_address, unix_path
from shipper.config.produced import in_words, produced
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.errors import DeliveryError
from shipper.events import Problem, Reporter
from shipper.labels.finding import Surroundings
from shipper.labels.identity import Identity
from shipper.labels.life import LifeDecision
from shipper.labels.machine import boot_time_ns
from shipper.labels.state import lock_state
from shipper.ledger import Ledger, LedgerThread
from shipper.notices.fd_store import FdStore
from shipper.otlp.encode import resource
from shipper.parts import Parts, samples
from shipper.pump.hub import Hub
from shipper.pump.load import make_exporter
from shipper.pump.outage import Outage
from shipper.pump.pace import TokenBucket
from shipper.pump.pump import BATCH_BYTES, Pump
from shipper.pump.quarantine import DIRECTORY as QUARANTINE_DIRECTORY
from shipper.pump.quarantine import Quarantine
from shipper.pump.route import Route
from shipper.pump.workbench import Workbench
from shipper.remains import Remains

ACCOUNT_DIRECTORY = "account"
SPOOL_BATCH_BYTES = 4 << 20  # a gateway's few streams hold whole requests: splitting them costs more than it shares
ASK_SECONDS = 10.0  # for a destination to say what it has, after the ledger was lost


MakeExporter = Callable[[str, Destination, ExporterContext], Exporter]
"""An exporter for the destination of that name."""


@dataclass(frozen=True, slots=True)
class Making:
    """What is made otherwise in a run that is one of many in a process. ``exporter``: None makes each run its own."""

    life: LifeMaker
    settings: MakeSettings
    exporter: MakeExporter | None = None
    store: FdStore | None = None  # of a process that has one run
    buckets: Mapping[str, TokenBucket] = field(default_factory=dict)  # that runs share, by destination
    bench: Workbench = field(default_factory=Workbench)  # that all pumps of the process share


async def build(
    config: Config,
    role: Role,
    *,
    env: Mapping[str, str],
    clock: Clock,
    report: Reporter,
    making: Making | None = None,
) -> Parts:
    """Put a run together. Raises `ShipperError` (state, configuration) with everything closed again."""
    if making is None:
        store = FdStore(env=env, report=report) if role == "sidecar" else None
        making = Making(LifeMaker(config, role, env, clock, report), file_settings, store=store)
    async with AsyncExitStack() as stack:
        parts = await _Builder(config, role, env, clock, report, stack, making).build()
        parts.open = stack.pop_all()
        return parts


class _Builder:
    def __init__(
        self,
        config: Config,
        role: Role,
        env: Mapping[str, str],
        clock: Clock,
        report: Reporter,
        stack: AsyncExitStack,
        making: Making,
    ) -> None:
        self.config = config
        self.role = role
        self.env = env
        self.clock = clock
        self.report = report
        self.stack = stack
        self.life = making.life
        self.making = making

    async def build(self) -> Parts:
        config = self.config
        self.stack.enter_context(lock_state(config.state_dir))
        decision = self.life.decide()
        ledger = LedgerThread(self.life.open_ledger())
        self.stack.push_async_callback(ledger.aclose)
        identity = await self.life.identity(ledger, decision)
        encoded = resource(identity.attributes())
        context = ExporterContext(
            clock=self.clock,
            life=decision.life,
            run=decision.run,
            user_agent=f"Shipper/{__version__}",
            own_addresses=own_addresses(self.config, self.role),
        )
        exporters = {name: self._exporter(name, wanted, context) for name, wanted in config.destinations.items()}
        view = make_view(self.config.redact, self.report)
        hub = Hub(ledger, clock=self.clock, report=self.report, view=view)
        routes = make_routes(config, self.report)
        quarantine = Quarantine(Path(config.state_dir) / QUARANTINE_DIRECTORY, max_bytes=config.quarantine.max_bytes)
        every = {
            name: self._pump(exporter, hub, ledger, decision, quarantine, routes.get(name))
            for name, exporter in exporters.items()
        }
        fallback = every.pop(config.standby, None)
        pumps = list(every.values())
        maker = SourceMaker(
            config,
            self.role,
            decision,
            identity,
            self.life.boot,
            self.clock,
            self.report,
            self.stack,
            settings=self.making.settings,
            store=self.making.store,
        )
        account = await self._account(decision, identity, encoded, hub, ledger, exporters, pumps, fallback, maker)
        remains = await self._remains(decision, quarantine, ledger) if self.role == "sidecar" else None
        remembered = await self._remembered(context) if self.life.ledger_lost else frozenset()
        sources = await maker.make(hub, ledger, self._takers(hub, pumps), remembered)
        return Parts(
            identity,
            decision,
            hub,
            exporters,
            pumps,
            sources,
            account,
            self.report,
            self.life.notes,
            AsyncExitStack(),
            maker.status,
            remains,
            maker.numbers,
            fallback,
            self._outage(pumps, fallback),
        )

    def _outage(self, pumps: list[Pump], fallback: Pump | None) -> Outage | None:
        """Who decides when the fallback helps; where it is only one for drains, it does so only in these."""
        if fallback is None:
            return None
        after = self.config.fallback.after if self.config.fallback.destination else math.inf
        return Outage(pumps, fallback, after=after, clock=self.clock, report=self.report)

    def _takers(self, hub: Hub, pumps: list[Pump]) -> Takers:
        """Who gets what; said where nobody gets it, since a destination that takes only metrics is easily thought enough."""
        found = takers(pumps)
        idle = {signal for signal in produced(self.config, self.role) if pumps and not found[signal]}
        if idle:
            said = f"no destination takes {in_words(idle)}: they are not shipped"
            if Signal.LOGS in idle:
                said += "; birth, account and farewell are logs, so no audit knows of this life"
            self.life.notes.append(said)
            self.report(Problem("signal-unshipped", said))
        hub.said_untaken |= idle
        return found

    async def _remains(self, decision: LifeDecision, quarantine: Quarantine, ledger: LedgerThread) -> Remains:
        """What earlier lives of this host left, taken over before anything is read."""

        def exporters(life: str, run: int, report: Reporter) -> dict[str, Exporter]:
            context = ExporterContext(
                self.clock, life, run, f"Shipper/{__version__}", own_addresses(self.config, self.role)
            )
            return {
                name: self._exporter(name, wanted, context)
                for name, wanted in self.config.destinations.items()
                if name != self.config.standby
            }

        maker = RemainsMaker(
            self.config,
            decision,
            boot=self.life.boot,
            boot_ns=boot_time_ns(Surroundings("/", self.env)),
            exporters=exporters,
            shaping=lambda name: _shaping(self.config, name),
            quarantine=quarantine,
            bench=self.making.bench,
            note=self.life.note,
            clock=self.clock,
            report=self.report,
        )
        return await maker.take_over(ledger)

    def _exporter(self, name: str, wanted: Destination, context: ExporterContext) -> Exporter:
        if self.making.exporter is not None:
            return self.making.exporter(name, wanted, context)
        options = dict(wanted.options)
        if self.role == "gateway" and wanted.type == "archive":
            # What a gateway wrote to its disk has left the hosts it came from: for them it is off-host.
            options.setdefault("trust_local", True)
        return make_exporter(wanted.type, name, options, context, where=f"destinations.{name}")

    def _pump(
        self,
        exporter: Exporter,
        hub: Hub,
        ledger: LedgerThread,
        decision: LifeDecision,
        quarantine: Quarantine,
        route: Route | None,
    ) -> Pump:
        return Pump(
            exporter,
            hub,
            ledger,
            life=decision.life,
            clock=self.clock,
            report=self.report,
            quarantine=quarantine,
            mode=self.config.mode,
            shaping=_shaping(self.config, exporter.name),
            ask_known=self.life.ledger_lost,
            # What has to be looked at record by record is done in smaller steps, or it would hold everybody up.
            batch_bytes=SPOOL_BATCH_BYTES if self.role == "gateway" and route is None else BATCH_BYTES,
            standby=exporter.name == self.config.standby,
            bucket=self.making.buckets.get(exporter.name),
            bench=self.making.bench,
            route=route,
        )

    async def _account(
        self,
        decision: LifeDecision,
        identity: Identity,
        encoded: bytes,
        hub: Hub,
        ledger: LedgerThread,
        exporters: Mapping[str, Exporter],
        pumps: list[Pump],
        fallback: Pump | None,
        maker: SourceMaker,
    ) -> Account:
        run = await ledger.call(Ledger.begin_run)
        who = Who(
            life=decision.life,
            run=max(run, decision.run),
            born_ns=decision.born_ns,
            role=self.role,
            host=identity.host.value,
            labels=identity.values(),
            resource=encoded,
        )
        account = Account(
            who,
            directory=os.path.join(self.config.state_dir, ACCOUNT_DIRECTORY),
            hub=hub,
            ledger=ledger,
            exporters=exporters,
            fallback="" if fallback is None else fallback.name,
            signals={pump.name: pump.signals for pump in pumps + ([] if fallback is None else [fallback])},
            helping=lambda: helped or (fallback is not None and fallback.takes_part),
            extras=lambda: {"exposure": _exposure(pumps), "refused": {**self._refused(), **maker.refused()}},
            interval=self.config.account.interval,
            clock=self.clock,
            report=self.report,
        )
        self.stack.callback(account.close)
        helped = fallback is not None and await ledger.call(Ledger.has_sent_to, fallback.name)  # in an earlier run
        await account.open()
        return account

    def _refused(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for labels, value in samples(self.report.metrics.refused):
            counts[labels["receiver"]] = counts.get(labels["receiver"], 0) + int(value)
        return counts

    async def _remembered(self, context: ExporterContext) -> frozenset[str]:
        """Ids of streams that destinations have of this life: with these, files are recognised without a ledger."""
        names: set[str] = set()
        for name, wanted in self.config.destinations.items():
            exporter = self._exporter(name, wanted, context)
            await exporter.start()
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    names |= (await exporter.known(context.life) or {}).keys()
            except (DeliveryError, TimeoutError) as problem:
                self.life.note(
                    f"{name} could not be asked what it has; files are read from their beginning again ({problem})"
                )
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


def _shaping(config: Config, destination: str = "") -> str:
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


def _exposure(pumps: list[Pump]) -> dict[str, Any]:
    """The worst of all destinations: what a sudden death costs is decided by the slowest."""
    stats = [pump.exposure() for pump in pumps]
    worst = max(stats, key=lambda one: (one.count > 0, one.p99), default=None)
    return asdict(worst) if worst else {}
