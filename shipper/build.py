"""Puts a run together, in the order in which the rooms depend on each other: state, life, ledger, pumps, account, sources.

Each room gets only what its own signature asks for; whatever was opened is closed again when a later step fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shipper import __version__
from shipper.account import Account, Who
from shipper.build_destinations import Around, DestinationMaker, MakeExporter, own_addresses, shaping
from shipper.build_life import LifeMaker
from shipper.build_redact import make_view
from shipper.build_remains import RemainsMaker
from shipper.build_routes import make_routes
from shipper.build_sources import MakeSettings, SourceMaker, Takers, file_settings, takers
from shipper.clock import Clock
from shipper.config import Config, Role
from shipper.config.produced import in_words, produced
from shipper.contracts import Exporter, ExporterContext, Signal
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
from shipper.pump.pace import TokenBucket
from shipper.pump.pump import Pump
from shipper.pump.quarantine import DIRECTORY as QUARANTINE_DIRECTORY
from shipper.pump.quarantine import Quarantine
from shipper.pump.workbench import Workbench
from shipper.remains import Remains

ACCOUNT_DIRECTORY = "account"


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
        self.destinations = DestinationMaker(
            config,
            role,
            make=making.exporter,
            buckets=making.buckets,
            bench=making.bench,
            clock=clock,
            report=report,
        )

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
        make = self.destinations
        exporters = {name: make.exporter(name, wanted, context) for name, wanted in config.destinations.items()}
        view = make_view(self.config.redact, self.report)
        hub = Hub(ledger, clock=self.clock, report=self.report, view=view)
        routes = make_routes(config, self.report)
        quarantine = Quarantine(Path(config.state_dir) / QUARANTINE_DIRECTORY, max_bytes=config.quarantine.max_bytes)
        around = Around(hub, ledger, decision.life, quarantine, self.life.ledger_lost)
        every = {name: make.pump(exporter, routes.get(name), around) for name, exporter in exporters.items()}
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
        remembered = await make.remembered(context, self.life.note) if self.life.ledger_lost else frozenset()
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
            make.outage(pumps, fallback),
        )

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
                name: self.destinations.exporter(name, wanted, context)
                for name, wanted in self.config.destinations.items()
                if name != self.config.standby
            }

        maker = RemainsMaker(
            self.config,
            decision,
            boot=self.life.boot,
            boot_ns=boot_time_ns(Surroundings("/", self.env)),
            exporters=exporters,
            shaping=lambda name: shaping(self.config, name),
            quarantine=quarantine,
            bench=self.making.bench,
            note=self.life.note,
            clock=self.clock,
            report=self.report,
        )
        return await maker.take_over(ledger)

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


def _exposure(pumps: list[Pump]) -> dict[str, Any]:
    """The worst of all destinations: what a sudden death costs is decided by the slowest."""
    stats = [pump.exposure() for pump in pumps]
    worst = max(stats, key=lambda one: (one.count > 0, one.p99), default=None)
    return asdict(worst) if worst else {}
