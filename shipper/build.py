"""Puts a run together, in the order in which the rooms depend on each other: state, life, ledger, pumps, account, sources.

Each room gets only what its own signature asks for; whatever was opened is closed again when a later step fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shipper import __version__
from shipper.account import Account, Who
from shipper.clock import Clock
from shipper.config import Config, Destination, Files, Role, Traces, split_address
from shipper.contracts import Exporter, ExporterContext, Signal, Source
from shipper.errors import ConfigError, DeliveryError, StateDamaged
from shipper.events import Problem, Reporter, Said
from shipper.handoff.liveness import is_alive
from shipper.handoff.places import ALIVE
from shipper.labels.detect import detect
from shipper.labels.identity import Identity
from shipper.labels.life import SET_ASIDE, LifeDecision, adopt_or_begin
from shipper.labels.state import lock_state
from shipper.labels.witness import witness
from shipper.ledger import Ledger, LedgerThread, StreamRow
from shipper.otlp.encode import resource
from shipper.parts import Parts, samples
from shipper.pump.hub import Hub
from shipper.pump.load import make_exporter
from shipper.pump.pump import BATCH_BYTES, Pump
from shipper.pump.quarantine import DIRECTORY as QUARANTINE_DIRECTORY
from shipper.pump.quarantine import Quarantine
from shipper.spool import Fsync, Spool

if TYPE_CHECKING:
    from shipper.sources.services.consumer import Consumer
    from shipper.sources.services.source import ServiceSource
    from shipper.sources.twins import Twins

LEDGER_FILE = "ledger.db"
ACCOUNT_DIRECTORY = "account"
IDENTITY_KEY = "identity"
SPOOL_BATCH_BYTES = 4 << 20  # a gateway's few streams hold whole requests: splitting them costs more than it shares
ASK_SECONDS = 10.0  # for a destination to say what it has, after the ledger was lost


async def build(config: Config, role: Role, *, env: Mapping[str, str], clock: Clock, report: Reporter) -> Parts:
    """Put a run together. Raises `ShipperError` (state, configuration) with everything closed again."""
    async with AsyncExitStack() as stack:
        parts = await _Builder(config, role, env, clock, report, stack).build()
        parts.open = stack.pop_all()
        return parts


class _Builder:
    def __init__(
        self, config: Config, role: Role, env: Mapping[str, str], clock: Clock, report: Reporter, stack: AsyncExitStack
    ) -> None:
        self.config = config
        self.role = role
        self.env = env
        self.clock = clock
        self.report = report
        self.stack = stack
        self.notes: list[str] = []
        self.ledger_lost = False
        self.boot = ""
        self.services: ServiceSource | None = None
        self.twins: Twins | None = None

    async def build(self) -> Parts:
        config = self.config
        self.stack.enter_context(lock_state(config.state_dir))
        decision = self._decide_life()
        ledger = LedgerThread(self._open_ledger())
        self.stack.push_async_callback(ledger.aclose)
        identity = await self._identity(ledger, decision)
        encoded = resource(identity.attributes())
        context = ExporterContext(
            clock=self.clock,
            life=decision.life,
            run=decision.run,
            user_agent=f"Shipper/{__version__}",
            own_addresses=self._own_addresses(),
        )
        exporters = {name: self._exporter(name, wanted, context) for name, wanted in config.destinations.items()}
        hub = Hub(ledger, clock=self.clock, report=self.report)
        quarantine = Quarantine(Path(config.state_dir) / QUARANTINE_DIRECTORY, max_bytes=config.quarantine.max_bytes)
        pumps = [self._pump(exporter, hub, ledger, decision, quarantine) for exporter in exporters.values()]
        account = await self._account(decision, identity, encoded, hub, ledger, exporters, pumps)
        remembered = await self._remembered(context) if self.ledger_lost else frozenset()
        sources = await self._sources(hub, ledger, decision, identity, tuple(exporters), remembered)
        for source in sources:
            self.stack.push_async_callback(source.aclose)
        return Parts(
            identity,
            decision,
            hub,
            exporters,
            pumps,
            sources,
            account,
            self.report,
            self.notes,
            AsyncExitStack(),
            self.services.status if self.services is not None else list,
        )

    def _decide_life(self) -> LifeDecision:
        found = witness("/", self.env, self.config.labels.host)
        self.boot = found.boot_id
        decision = adopt_or_begin(self.config.state_dir, found, self.clock, role=self.role, in_use=_in_use)
        self.report(Said(f"life {decision.life} run {decision.run}: {decision.reason}"))
        if decision.set_aside:
            self._note(f"{decision.reason}; it lies in {decision.set_aside}")
        return decision

    def _note(self, note: str) -> None:
        self.notes.append(note)
        self.report(Problem("state", note, about=note))

    def _open_ledger(self) -> Ledger:
        path = Path(self.config.state_dir) / LEDGER_FILE
        power_safe = self.role == "gateway" and self.config.gateway.fsync == "always"
        try:
            return Ledger.open(path, report=self.report, power_safe=power_safe)
        except StateDamaged as damage:
            self._note(f"{damage}; it is rebuilt from the files, the spool and what the destinations say they have")
            self.ledger_lost = True
            return Ledger.open(path, report=self.report, power_safe=power_safe)

    async def _identity(self, ledger: LedgerThread, decision: LifeDecision) -> Identity:
        """Detected once, then frozen for the life: a restart with other labels does not split a life in two."""
        kept = await ledger.call(Ledger.get, IDENTITY_KEY)
        if decision.resumed and kept is not None:
            try:
                return Identity.restore(kept)
            except ValueError as damage:
                self._note(f"the identity in the ledger is damaged ({damage}); it is found out again")
        elif decision.resumed and not self.ledger_lost:
            self._note(
                f"the ledger of life {decision.life} is gone; it is rebuilt from what the destinations say they have"
            )
            self.ledger_lost = True
        identity = detect(self.config.labels, self.env).with_life(decision.life)
        for problem in identity.problems:
            self.report(Problem("identity", problem, about=problem))
        await ledger.call(Ledger.put, IDENTITY_KEY, identity.dump())
        return identity

    def _own_addresses(self) -> frozenset[tuple[str, int]]:
        listens = [self.config.admin.listen] if self.config.admin.listen else []
        if self.role == "gateway":
            listens.append(self.config.gateway.listen)
        return frozenset(split_address(listen) for listen in listens)

    def _exporter(self, name: str, wanted: Destination, context: ExporterContext) -> Exporter:
        options = dict(wanted.options)
        if self.role == "gateway" and wanted.type == "archive":
            # What a gateway wrote to its disk has left the hosts it came from: for them it is off-host.
            options.setdefault("trust_local", True)
        return make_exporter(wanted.type, name, options, context, where=f"destinations.{name}")

    def _pump(
        self, exporter: Exporter, hub: Hub, ledger: LedgerThread, decision: LifeDecision, quarantine: Quarantine
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
            shaping=_shaping(self.config),
            ask_known=self.ledger_lost,
            batch_bytes=SPOOL_BATCH_BYTES if self.role == "gateway" else BATCH_BYTES,
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
            extras=lambda: {"exposure": _exposure(pumps), "refused": self._refused()},
            interval=self.config.account.interval,
            clock=self.clock,
            report=self.report,
        )
        self.stack.callback(account.close)
        await account.open()
        return account

    def _refused(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for labels, value in samples(self.report.metrics.refused):
            counts[labels["receiver"]] = counts.get(labels["receiver"], 0) + int(value)
        return {**counts, **(self.services.refused() if self.services is not None else {})}

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
                self._note(
                    f"{name} could not be asked what it has; files are read from their beginning again ({problem})"
                )
            finally:
                await exporter.aclose()
        return frozenset(names)

    async def _sources(
        self,
        hub: Hub,
        ledger: LedgerThread,
        decision: LifeDecision,
        identity: Identity,
        destinations: tuple[str, ...],
        remembered: frozenset[str],
    ) -> list[Source]:
        # Imported here: a gateway has no use for the tailer, a sidecar none for the receiver, and both are kept small.
        sources: list[Source] = []
        if self.config.files and self.config.services.enabled and self.role == "sidecar":
            from shipper.sources.twins import Twins

            self.twins = Twins(self.clock, self.report)
        if self.config.files:
            from shipper.sources.file.source import FileSource

            sources.append(
                FileSource(
                    _file_settings(self.config, identity),
                    hub=hub,
                    ledger=ledger,
                    life=decision.life,
                    resource=resource(identity.attributes()),
                    clock=self.clock,
                    report=self.report,
                    destinations=destinations,
                    remembered=remembered,
                    seen=self.twins.tailed if self.twins is not None else None,
                )
            )
        if self.role == "gateway":
            sources.append(await self._receiver(hub, ledger, decision))
        else:
            sources += await self._from_services(hub, ledger, decision, identity, destinations)
        return sources

    async def _from_services(
        self,
        hub: Hub,
        ledger: LedgerThread,
        decision: LifeDecision,
        identity: Identity,
        destinations: tuple[str, ...],
    ) -> list[Source]:
        """What services hand over, and the source of requests counted from that and of endpoints read, which ends last."""
        from shipper.measure import making

        place = making.Place(
            attributes=identity.attributes(),
            instance=identity.host.value or decision.life,
            life=decision.life,
            birth_ns=decision.born_ns,
            state_dir=self.config.state_dir,
            destinations=destinations,
        )
        requests = making.counter(self.config.requests, place, ledger=ledger, clock=self.clock, report=self.report)
        services = [self._services(hub, ledger, decision, identity, requests)] if self.config.services.enabled else []
        numbers = making.source(
            requests,
            self.config.metrics,
            place,
            after=services,
            hub=hub,
            ledger=ledger,
            clock=self.clock,
            report=self.report,
        )
        await numbers.open()
        return [*services, numbers]

    def _services(
        self, hub: Hub, ledger: LedgerThread, decision: LifeDecision, identity: Identity, consumer: Consumer
    ) -> Source:
        from shipper.handoff.prepare import prepare_root
        from shipper.sources.services.root import claim
        from shipper.sources.services.settings import ServiceSettings
        from shipper.sources.services.source import ServiceSource

        services, traces = self.config.services, self.config.traces
        self.services = ServiceSource(
            ServiceSettings(
                root=self.config.spool_dir,
                aside=os.path.join(self.config.state_dir, SET_ASIDE),
                process_max=services.process_max,
                host_max=services.host_max,
                keep=traces.keep,
                slow=traces.slow,
            ),
            hub=hub,
            ledger=ledger,
            life=decision.life,
            boot=self.boot,
            attributes=identity.attributes(),
            labels=identity.values(),
            clock=self.clock,
            report=self.report,
            consumer=consumer,
            sample=self.twins.handed_over if self.twins is not None else None,
        )
        prepare_root(self.config.spool_dir)  # whatever is wrong with it is said by `prepare`
        claimed = claim(self.config.spool_dir)
        if claimed >= 0:
            self.stack.callback(os.close, claimed)
        self.services.prepare()  # before the run says that it is up
        return self.services

    async def _receiver(self, hub: Hub, ledger: LedgerThread, decision: LifeDecision) -> Source:
        from shipper.sources.listen import ListenSettings
        from shipper.sources.otlp import OtlpLimits, OtlpReceiver

        settings = self.config.gateway
        host, port = split_address(settings.listen)
        spools = {signal: self._spool(signal) for signal in Signal}
        receiver = OtlpReceiver(
            ListenSettings(
                host, port, settings.tls_cert, settings.tls_key, _token(settings.token_file), settings.insecure
            ),
            hub=hub,
            spools=spools,
            ledger=ledger,
            life=decision.life,
            clock=self.clock,
            report=self.report,
            path="gateway",
            limits=OtlpLimits(max_body=settings.max_body, max_decompressed=settings.max_decompressed),
        )
        for stream in receiver.streams.values():
            row = StreamRow(stream.id, stream.kind, stream.signal, receiver.name, stream.name, stream.start)
            stream.start = (await ledger.call(Ledger.put_shrinking, row)).start
        await receiver.start()
        return receiver

    def _spool(self, signal: Signal) -> Spool:
        settings = self.config.gateway
        spool = Spool.open(
            os.path.join(self.config.spool_dir, signal.value),
            name=signal.value,
            fsync=Fsync(settings.fsync),
            max_bytes=settings.spool_max,
            report=self.report,
        )
        self.stack.callback(spool.close)
        return spool


def _in_use(directory: str) -> bool:
    """Whether the process lives that a directory in the spool belongs to."""
    try:
        return is_alive(os.path.join(directory, ALIVE))
    except OSError:
        return False


def _token(path: str) -> str:
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            token = file.readline().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError("gateway.token_file", f"cannot read {path}: {problem}") from problem
    if not token:  # which would mean: nobody has to show one
        raise ConfigError("gateway.token_file", f"{path} has no token in its first line")
    return token


def _shaping(config: Config) -> str:
    """A hash of all settings that decide what becomes of a range of a stream; kept with each request until it is answered."""
    groups = [(group.include, group.max_line_bytes, group.attributes, group.multiline) for group in config.files]
    deciding: list[Any] = groups if config.traces == Traces() else [groups, config.traces]
    return hashlib.blake2b(msgspec.json.encode(deciding), digest_size=8).hexdigest()


def _file_settings(config: Config, identity: Identity) -> Any:
    from shipper.sources.file.settings import FileGroup, FileSettings

    groups = tuple(
        FileGroup(
            include=tuple(group.include),
            exclude=tuple(group.exclude),
            start_at=group.start_at,
            max_line_bytes=group.max_line_bytes,
            hold=group.hold,
            resource=resource({**group.attributes, **identity.attributes()}) if group.attributes else None,
            multiline=_multiline(group),
        )
        for group in config.files
    )
    limits = config.file_limits
    return FileSettings(groups, poll_interval=limits.poll_interval, max_open_files=limits.max_open_files)


def _multiline(group: Files) -> Any:
    rule = group.multiline
    if rule is None:
        return None
    from shipper.shape import Multiline

    (kind,) = rule.kinds
    return Multiline.of(kind, rule.start or rule.continuation, rule.timeout, rule.max_lines, rule.max_bytes)


def _exposure(pumps: list[Pump]) -> dict[str, Any]:
    """The worst of all destinations: what a sudden death costs is decided by the slowest."""
    stats = [pump.exposure() for pump in pumps]
    worst = max(stats, key=lambda one: (one.count > 0, one.p99), default=None)
    return asdict(worst) if worst else {}
