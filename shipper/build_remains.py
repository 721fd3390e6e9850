"""Takes over what earlier lives of this host left, and puts the runs together that ship it under their own identity.

Taking over happens before this life reads its first byte: the borders in the files are drawn and what dead processes left
goes to the life they ran in, so that every byte has one owner whatever happens afterwards. Shipping is a small run beside
the main one: the earlier life's ledger, a hub, pumps and exporters of its own, slower than the main ones, and an account
that ends with its farewell. It may be killed at any moment: its ledger knows how to go on at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import msgspec

from shipper.account import Account, Who
from shipper.adopted import AdoptedRun, Ended, last_words
from shipper.build_journal import draw_journals, remaining_journals, take_journals, take_told_journals
from shipper.build_redact import make_view
from shipper.build_routes import make_routes
from shipper.build_sources import SourceMaker, file_settings, takers
from shipper.clock import Clock
from shipper.config import Config
from shipper.contracts import Exporter, Signal
from shipper.errors import DeliveryError, StateDamaged
from shipper.events import Reporter, Said
from shipper.intervals import IntervalSet
from shipper.labels.identity import Identity
from shipper.labels.life import HELD_DIRECTORY, LifeDecision
from shipper.labels.remains import EarlierLife, earlier_lives, set_aside
from shipper.ledger import Ledger, LedgerThread
from shipper.otlp.encode import AttributeValue, resource
from shipper.pump.hub import Hub
from shipper.pump.pump import Pump
from shipper.pump.quarantine import Quarantine
from shipper.pump.route import Route
from shipper.pump.workbench import Workbench
from shipper.remains import Remains
from shipper.sources.file import borders
from shipper.sources.file.known import KnownFiles
from shipper.sources.file.settings import FileSettings
from shipper.sources.services.attribution import Claimant, attribute
from shipper.sources.services.memory import SOURCE as SERVICES

LEDGER_FILE = "ledger.db"
IDENTITY_KEY = "identity"
ENDED_KEY = "remains.ended"  # how the life ended, as its own last statement tells
TOLD_SECONDS = 2.0  # for a destination to say what it has of an earlier life: shipping waits for it, once after a boot
PACE = 5  # an earlier life sends so many times less often than the present one

MakeExporters = Callable[[str, int, Reporter], Mapping[str, Exporter]]
"""By life and run: exporters of one's own for all destinations."""


class RemainsMaker:
    """Everything that earlier lives need of the present one."""

    def __init__(
        self,
        config: Config,
        decision: LifeDecision,
        *,
        boot: str,
        boot_ns: int,
        exporters: MakeExporters,
        shaping: Callable[[str], str],
        quarantine: Quarantine,
        bench: Workbench,
        note: Callable[[str], None],
        clock: Clock,
        report: Reporter,
    ) -> None:
        """``boot`` and ``boot_ns``: the present boot and when it began. ``note``: told to people and in the birth record.

        ``shaping``: by destination, a hash of what decides the bytes of a batch.
        """
        self._config = config
        self._decision = decision
        self._boot = boot
        self._boot_ns = boot_ns
        self._exporters = exporters
        self._shaping = shaping
        self._quarantine = quarantine
        self._bench = bench
        self._note = note
        self._clock = clock
        self._report = report
        # Figures of their own: what happens to remains would look like this run's doing.
        self._beside = Reporter(clock, logger=logging.getLogger("shipper.remains"))

    # Taking over -------------------------------------------------------------------------------------------------------

    async def take_over(self, ledger: LedgerThread) -> Remains:
        """Make everything an earlier life left its own, and tell this life's ledger what is not. Raises `ShipperError`."""
        state_dir, spool_dir = self._config.state_dir, self._config.spool_dir
        found, unknown = earlier_lives(state_dir, spool_dir)
        for directory in unknown:
            self._note(f"nobody can tell whose {directory} is; it lies in {set_aside(state_dir, directory)}")
        waiting: list[EarlierLife] = []
        claimants: list[Claimant] = []
        for earlier in found:
            known = await self._draw(earlier, ledger)
            if known is not None:
                waiting.append(earlier)
                claimants.append(Claimant(earlier.record.boot_id, known, earlier.spool))
        attribute(spool_dir, claimants, self._boot, self._report)
        return Remains(waiting, self.put_together, self._give_up, clock=self._clock, report=self._report)

    async def _draw(self, earlier: EarlierLife, ledger: LedgerThread) -> frozenset[str] | None:
        """Draw one life's borders; the processes its ledger knows, or None where nothing can be shipped of it."""
        try:
            old = Ledger.open(Path(earlier.directory) / LEDGER_FILE, report=self._beside)
        except StateDamaged as damage:
            await self._take_told(earlier, ledger)
            self._give_up(earlier, str(damage))
            return None
        try:
            if old.get(IDENTITY_KEY) is None:
                await self._take_told(earlier, ledger)
                self._give_up(earlier, "its ledger does not say who it was")
                return None
            told = {} if old.get(borders.BORDERS) is not None else await self._told(earlier)
            settings = _files_of(earlier, self._config, {})
            drawn = borders.draw(
                old,
                settings,
                told,
                born_ns=earlier.record.born_ns,
                boot_ns=self._boot_ns,
                clock=self._clock,
                report=self._beside,
            )
            known = frozenset(
                account.stream.id.rpartition(".")[0] for account in old.account(()) if account.stream.source == SERVICES
            )
            journals = draw_journals(self._config, old, told, earlier.record.boot_id, self._boot, self._beside)
        finally:
            old.close()
        await ledger.call(borders.take, earlier.life, drawn)
        await ledger.call(take_journals, journals)
        return known

    async def _take_told(self, earlier: EarlierLife, ledger: LedgerThread) -> None:
        """Read nothing again that destinations say they have of a life that cannot tell any more."""
        told = await self._told(earlier)
        await ledger.call(borders.take, earlier.life, borders.told_only(told))
        await ledger.call(take_told_journals, told)

    async def _told(self, earlier: EarlierLife) -> dict[str, IntervalSet]:
        """What destinations say they have: after a power cut the ledger may have forgotten what it sent last."""
        exporters = self._exporters(earlier.life, earlier.record.runs, self._beside)
        answers = await asyncio.gather(*(self._ask(exporter, earlier.life) for exporter in exporters.values()))
        told: dict[str, IntervalSet] = {}
        for answer in answers:
            for stream, ranges in answer.items():
                told[stream] = IntervalSet([*told.get(stream, ()), *ranges])
        return told

    async def _ask(self, exporter: Exporter, life: str) -> Mapping[str, IntervalSet]:
        try:
            async with asyncio.timeout(TOLD_SECONDS):
                await exporter.start()
                return await exporter.known(life) or {}
        except (DeliveryError, TimeoutError) as problem:
            why = str(problem) or f"no answer within {TOLD_SECONDS:g} s"
            self._report(Said(f"{exporter.name} does not say what it has of life {life} ({why}); its ledger has to do"))
            return {}
        finally:
            await exporter.aclose()

    def _give_up(self, earlier: EarlierLife, why: str) -> None:
        try:
            where = set_aside(self._config.state_dir, earlier.directory)
        except OSError as problem:
            where = f"{earlier.directory} ({problem.strerror})"
        self._note(f"what life {earlier.life} of this host left cannot be shipped: {why}; it lies in {where}")

    # Shipping ----------------------------------------------------------------------------------------------------------

    async def put_together(self, earlier: EarlierLife) -> AdoptedRun:
        """The run that ships what one life left. Raises `ShipperError` with everything closed again."""
        async with AsyncExitStack() as stack:
            run = await self._put_together(earlier, stack)
            run.open = stack.pop_all()
            return run

    async def _put_together(self, earlier: EarlierLife, stack: AsyncExitStack) -> AdoptedRun:
        directory, clock, report = earlier.directory, self._clock, self._beside
        ledger = LedgerThread(Ledger.open(Path(directory) / LEDGER_FILE, report=report))
        stack.push_async_callback(ledger.aclose)
        kept = await ledger.call(Ledger.get, IDENTITY_KEY)
        try:
            identity = Identity.restore(kept or "")
        except ValueError as damage:
            raise StateDamaged(directory, f"its identity is damaged ({damage})") from damage
        ended = await self._ended(ledger, directory)
        run = await ledger.call(_begin_run, earlier.record.runs + 1)
        hub = Hub(ledger, clock=clock, report=report, view=make_view(self._config.redact, report))
        exporters = self._exporters(earlier.life, run, report)
        routes = make_routes(self._config, report)
        pumps = [self._pump(one, earlier, hub, ledger, routes.get(name)) for name, one in exporters.items()]
        config = _only_remains(self._config, earlier)
        decision = replace(self._decision, life=earlier.life, born_ns=earlier.record.born_ns, run=run)
        maker = SourceMaker(config, "sidecar", decision, identity, "", clock, report, stack, closed=True)
        account = Account(
            Who(
                life=earlier.life,
                run=run,
                born_ns=earlier.record.born_ns,
                role="sidecar",
                host=identity.host.value,
                labels=identity.values(),
                resource=resource(identity.attributes()),
            ),
            directory=os.path.join(directory, "account"),
            hub=hub,
            ledger=ledger,
            exporters=exporters,
            signals={pump.name: pump.signals for pump in pumps},
            extras=lambda: {"adopted_by": self._decision.life, "refused": maker.refused()},
            interval=self._config.account.interval,
            clock=clock,
            report=report,
        )
        stack.callback(account.close)
        await account.open()
        files = KnownFiles(
            _files_of(earlier, self._config, identity.attributes()),
            hub=hub,
            ledger=ledger,
            life=earlier.life,
            resource=resource(identity.attributes()),
            destinations=takers(pumps)[Signal.LOGS],
            clock=clock,
            report=report,
        )
        stack.push_async_callback(files.aclose)
        await files.open()
        read = await remaining_journals(
            self._config,
            identity.attributes(),
            boot=earlier.record.boot_id,
            hub=hub,
            ledger=ledger,
            life=earlier.life,
            clock=clock,
            report=report,
        )
        for source in read:
            stack.push_async_callback(source.aclose)
        sources = [files, *read, *(await maker.make(hub, ledger, takers(pumps), frozenset()))]
        return AdoptedRun(ledger, pumps, sources, account, ended, self._decision.life, clock)

    def _pump(
        self, exporter: Exporter, earlier: EarlierLife, hub: Hub, ledger: LedgerThread, route: Route | None
    ) -> Pump:
        limits = exporter.limits
        return Pump(
            exporter,
            hub,
            ledger,
            life=earlier.life,
            clock=self._clock,
            report=self._beside,
            quarantine=self._quarantine,
            limits=replace(limits, max_in_flight=1, requests_per_second=limits.requests_per_second / PACE, burst=1),
            shaping=self._shaping(exporter.name),
            ask_known=True,
            bench=self._bench,
            route=route,
        )

    async def _ended(self, ledger: LedgerThread, directory: str) -> Ended:
        """How the life ended; found out once, because what is said in its place follows its own last words."""
        kept = await ledger.call(Ledger.get, ENDED_KEY)
        if kept is None:
            ended = last_words(os.path.join(directory, "account", "life"), self._beside)
            kept = msgspec.json.encode(ended).decode()
            await ledger.call(Ledger.put, ENDED_KEY, kept)
        return msgspec.json.decode(kept, type=Ended)


def _begin_run(ledger: Ledger, at_least: int) -> int:
    run = ledger.begin_run()
    while run < at_least:  # runs that could not be counted in the ledger
        run = ledger.begin_run()
    return run


def _files_of(earlier: EarlierLife, config: Config, attributes: Mapping[str, AttributeValue]) -> FileSettings:
    """How the files of an earlier life are read: what it read ahead lies where its ledger does."""
    settings: FileSettings = file_settings(config, attributes)
    return replace(settings, held=replace(settings.held, directory=os.path.join(earlier.directory, HELD_DIRECTORY)))


def _only_remains(config: Config, earlier: EarlierLife) -> Config:
    """The configuration of a run that looks for nothing new: no files but the known ones, no endpoints."""
    return msgspec.structs.replace(
        config,
        state_dir=earlier.directory,
        spool_dir=earlier.spool,
        files=[],
        journal=[],
        services=msgspec.structs.replace(config.services, enabled=True),
        metrics=msgspec.structs.replace(config.metrics, scrape=[], multiprocess_dirs=[]),
    )
