"""Makes the sources of a run: files, what services hand over, what receivers take in, numbers.

Each is imported where it is made: a gateway has no use for the tailer, a sidecar none for the receiver, and both are kept small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

from shipper.build_receivers import CountingHub, Ground, gateway_receiver, receivers
from shipper.build_shapes import multiline_of, shape_of
from shipper.clock import Clock
from shipper.config import Config, Role
from shipper.contracts import Signal, Source
from shipper.events import Reporter
from shipper.labels.identity import Identity
from shipper.labels.life import HELD_DIRECTORY, SET_ASIDE, LifeDecision
from shipper.ledger import LedgerThread
from shipper.otlp.encode import AttributeValue, resource
from shipper.pump.hub import Hub

if TYPE_CHECKING:
    from shipper.measure.requests import RequestCounter
    from shipper.measure.source import MeasureSource
    from shipper.sources.file.source import FileSource
    from shipper.sources.file.survivors import DescriptorStore
    from shipper.sources.services.consumer import Consumer
    from shipper.sources.services.source import ServiceSource
    from shipper.sources.twins import Twins


Takers = Mapping[Signal, tuple[str, ...]]
"""The destinations that get the streams of a signal."""

MakeSettings = Callable[[Config, Mapping[str, AttributeValue]], Any]
"""How files are read, by the configuration and the attributes of the host."""


class Taker(Protocol):
    """A destination, as far as it matters here: a pump, or its exporter."""

    @property
    def name(self) -> str: ...
    @property
    def signals(self) -> frozenset[Signal]: ...


def takers(destinations: Iterable[Taker]) -> Takers:
    """Who of them takes what."""
    every = list(destinations)
    return {signal: tuple(one.name for one in every if signal in one.signals) for signal in Signal}


class SourceMaker:
    """Makes them for one life; what they need closed goes on ``stack``."""

    def __init__(
        self,
        config: Config,
        role: Role,
        decision: LifeDecision,
        identity: Identity,
        boot: str,
        clock: Clock,
        report: Reporter,
        stack: AsyncExitStack,
        *,
        closed: bool = False,
        settings: MakeSettings | None = None,
        store: DescriptorStore | None = None,
    ) -> None:
        """``closed``: what services handed over in an earlier life is shipped, and none can join.

        ``settings``: how files are read, where that is not `file_settings`. ``store`` keeps descriptors while we do not run.
        """
        self.store = store
        self.settings = settings or file_settings
        self.config = config
        self.role = role
        self.decision = decision
        self.identity = identity
        self.boot = boot
        self.clock = clock
        self.report = report
        self.stack = stack
        self.closed = closed
        self.services: ServiceSource | None = None
        self.numbers: MeasureSource | None = None
        self.twins: Twins | None = None

    async def make(self, hub: Hub, ledger: LedgerThread, takers: Takers, remembered: frozenset[str]) -> list[Source]:
        """All sources, in the order in which a drain waits for them; the stack closes them."""
        sources = await self._make(hub, ledger, takers, remembered)
        for source in sources:
            self.stack.push_async_callback(source.aclose)
        return sources

    def status(self) -> list[dict[str, Any]]:
        """What `shipper status` shows of services that hand over."""
        return self.services.status() if self.services is not None else []

    def refused(self) -> dict[str, int]:
        """What of services' records was not handed over, or lost on the way here, by signal and cause."""
        return self.services.refused() if self.services is not None else {}

    async def _make(self, hub: Hub, ledger: LedgerThread, takers: Takers, remembered: frozenset[str]) -> list[Source]:
        from shipper.measure import making

        place = making.Place(
            attributes=self.identity.attributes(),
            instance=self.identity.name,
            life=self.decision.life,
            birth_ns=self.decision.born_ns,
            state_dir=self.config.state_dir,
            takers=takers[Signal.METRICS],
            destinations=tuple(self.config.destinations),
            facts=making.facts(self.identity, self.decision.born_ns, gateway=self.role == "gateway"),
        )
        sources: list[Source] = []
        counted: list[Source] = []
        requests: RequestCounter | None = None
        if self.role == "sidecar":
            requests = making.counter(self.config.requests, place, ledger=ledger, clock=self.clock, report=self.report)
        if self.config.files and self.config.services.enabled and self.role == "sidecar":
            from shipper.sources.twins import Twins

            self.twins = Twins(self.clock, self.report)
        hands_over = self.config.services.enabled and self.role == "sidecar"
        if self.config.files or hands_over:
            files = self._files(hub, ledger, takers, remembered, requests)
            sources.append(files)
            counted.append(files)
            if hands_over and not self.closed:
                from shipper.sources.jobs import Jobs

                sources.append(Jobs(self.config.spool_dir, files, self.clock, self.report))
        if self.role == "gateway":
            sources += await self._gateway(hub, ledger, takers)
        elif requests is not None and self.config.services.enabled:
            sources.append(self._services(hub, ledger, requests))
            counted.append(sources[-1])
        read = self._journals(hub, ledger)
        sources += read
        counted += read
        received = await receivers(self._ground(hub, ledger, requests))
        sources += received
        counted += received
        self.numbers = making.source(
            requests,
            self.config.metrics,
            place,
            after=counted,
            hub=hub,
            ledger=ledger,
            clock=self.clock,
            report=self.report,
            closed=self.closed,
        )
        await self.numbers.open()
        return [*sources, self.numbers]

    def _files(
        self,
        hub: Hub,
        ledger: LedgerThread,
        takers: Takers,
        remembered: frozenset[str],
        requests: RequestCounter | None,
    ) -> FileSource:
        from shipper.sources.file.source import FileSource

        consumer = None
        if requests is not None:
            from shipper import build_jobs
            from shipper.measure.making import log_requests

            consumer = log_requests(
                self.config.requests,
                lambda globs: _covering(globs, self.report),
                requests,
                self.report,
                [build_jobs.job_rule(self.config.spool_dir)] if self.config.services.enabled else [],
            )
        return FileSource(
            self.settings(self.config, self.identity.attributes()),
            hub=hub,
            ledger=ledger,
            life=self.decision.life,
            resource=resource(self.identity.attributes()),
            clock=self.clock,
            report=self.report,
            destinations=takers[Signal.LOGS],
            remembered=remembered,
            seen=self.twins.tailed if self.twins is not None else None,
            consumer=consumer,
            store=self.store,
        )

    def _services(self, hub: Hub, ledger: LedgerThread, consumer: Consumer) -> Source:
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
                closed=self.closed,
            ),
            hub=hub,
            ledger=ledger,
            life=self.decision.life,
            boot=self.boot,
            attributes=self.identity.attributes(),
            labels=self.identity.values(),
            clock=self.clock,
            report=self.report,
            consumer=consumer,
            sample=self.twins.handed_over if self.twins is not None else None,
        )
        if not self.closed:
            prepare_root(self.config.spool_dir)  # whatever is wrong with it is said by `prepare`
        claimed = claim(self.config.spool_dir)
        if claimed >= 0:
            self.stack.callback(os.close, claimed)
        self.services.prepare()  # before the run says that it is up
        return self.services

    def _journals(self, hub: Hub, ledger: LedgerThread) -> Sequence[Source]:
        from shipper.build_journal import journals

        return journals(
            self.config,
            self.identity.attributes(),
            boot=self.boot,
            hub=hub,
            ledger=ledger,
            life=self.decision.life,
            clock=self.clock,
            report=self.report,
        )

    async def _gateway(self, hub: Hub, ledger: LedgerThread, takers: Takers) -> list[Source]:
        """The receiver, the keeper of the deploys that it hears of, and what computes verdicts."""
        from shipper.build_keeper import make_keeper
        from shipper.build_verdicts import make_watcher

        keeper = await make_keeper(
            self.config,
            life=self.decision.life,
            gateway=self.identity.name,
            takers=takers[Signal.METRICS],
            hub=hub,
            ledger=ledger,
            clock=self.clock,
            report=self.report,
        )
        watcher = await make_watcher(
            self.config,
            life=self.decision.life,
            takers=takers[Signal.METRICS],
            hub=hub,
            ledger=ledger,
            clock=self.clock,
            report=self.report,
        )
        receiver = await gateway_receiver(self._ground(hub, ledger), keeper.heard)
        return [receiver, keeper, *([] if watcher is None else [watcher])]

    def _ground(self, hub: Hub, ledger: LedgerThread, requests: RequestCounter | None = None) -> Ground:
        """What receivers stand on. A gateway adds nothing to the records of other hosts, and counts nothing of them."""
        return Ground(
            self.config,
            self.role,
            self.decision.life,
            {} if self.role == "gateway" else self.identity.attributes(),
            hub if requests is None else CountingHub(hub, requests),
            ledger,
            self.clock,
            self.report,
            self.stack,
            requests,
            closed=self.closed,
        )


def file_settings(config: Config, attributes: Mapping[str, AttributeValue]) -> Any:
    """How files are read, with ``attributes`` of the host on all of their records."""
    from shipper.sources.file.settings import FileGroup, FileSettings, HeldSpace

    groups = tuple(
        FileGroup(
            include=tuple(group.include),
            exclude=tuple(group.exclude),
            start_at=group.start_at,
            max_line_bytes=group.max_line_bytes,
            hold=group.hold,
            format=group.format,
            encoding=group.encoding,
            ignore_older=group.ignore_older,
            when_full=group.when_full,
            resource=resource({**group.attributes, **attributes}) if group.attributes else None,
            multiline=multiline_of(group.multiline),
            shape=shape_of(group.shape, ("files", index, "shape")),
        )
        for index, group in enumerate(config.files)
    )
    if config.services.enabled:
        from shipper import build_jobs

        groups += build_jobs.runs(config, attributes)
    limits = config.file_limits
    held = HeldSpace(os.path.join(config.state_dir, HELD_DIRECTORY) if limits.held_max else "", limits.held_max)
    return FileSettings(groups, limits.poll_interval, max_open_files=limits.max_open_files, held=held)


def _covering(globs: Sequence[str], report: Reporter) -> Callable[[str], bool]:
    """Whether a path is one of these files, as tailing sees it."""
    from shipper.sources.file.discover import Patterns
    from shipper.sources.file.settings import FileGroup

    patterns = Patterns([FileGroup(include=tuple(globs))], report)
    return lambda path: patterns.group_of(path) is not None
