"""A run put together: what it is made of, and what it can tell about itself. `shipper.build` makes one."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from shipper.account import Account
from shipper.contracts import Exporter, Source
from shipper.drain.drainable import Fallback
from shipper.events import Reporter
from shipper.labels.identity import Identity
from shipper.labels.life import LifeDecision
from shipper.measure.source import MeasureSource
from shipper.pump.figures import NAMED_STREAMS
from shipper.pump.hub import Hub
from shipper.pump.outage import Outage
from shipper.pump.pump import Pump
from shipper.remains import Remains


@runtime_checkable
class Listens(Protocol):
    """A source that is a receiver. ``addresses``: host and port, or a path and 0."""

    name: str
    addresses: list[tuple[str, int]]


@dataclass(slots=True)
class Parts:
    """A run, put together."""

    identity: Identity
    decision: LifeDecision
    hub: Hub
    exporters: Mapping[str, Exporter]
    pumps: list[Pump]
    sources: list[Source]
    account: Account
    report: Reporter
    notes: list[str]
    open: AsyncExitStack = field(repr=False)
    services: Callable[[], list[dict[str, Any]]] = list
    remains: Remains | None = None  # of earlier lives; a gateway has none
    numbers: MeasureSource | None = None
    fallback: Pump | None = None  # stands by until ``outage`` or a drain needs it; not one of ``pumps``
    outage: Outage | None = None

    async def aclose(self) -> None:
        """Take everything apart again, last opened first."""
        await self.open.aclose()

    def refresh_metrics(self) -> None:
        """Bring the gauges up to date."""
        for pump in self.every_pump:
            pump.measure()
            self.report.metrics.destination_up.labels(pump.name).set(not pump.failing())

    @property
    def every_pump(self) -> list[Pump]:
        """The one that stands by too."""
        return [*self.pumps, *([self.fallback] if self.fallback is not None else [])]

    def drain_fallback(self) -> Fallback | None:
        """The fallback as a drain has it."""
        if self.fallback is None or self.outage is None:
            return None
        return Fallback(self.fallback, self.outage.drain, self.outage.drain_over)

    def watching(self) -> list[Coroutine[Any, Any, None]]:
        """What has to run beside the pumps for the fallback's sake."""
        return [self.outage.run()] if self.outage is not None else []

    def left(self) -> str:
        """What is not acknowledged, for a person."""
        backlogs = {pump.name: pump.backlog_bytes() for pump in self.pumps}  # less what a fallback has of it
        return ", ".join(f"{size:,} bytes for {name}" for name, size in backlogs.items() if size) or "nothing"

    def status(self) -> Mapping[str, Any]:
        """What ``shipper status`` shows."""
        metrics = self.report.metrics
        return {
            "life": self.decision.life,
            "run": self.decision.run,
            "host": self.identity.host.value,
            "labels": self.identity.values(),
            "streams": len(self.hub.streams()),
            "behind": self._behind(),
            "open_files": int(_value(metrics.open_files)),
            "held_bytes": int(_value(metrics.held_bytes)),
            "services": self.services(),
            "receivers": self._receivers(),
            "remains": self.remains.status() if self.remains is not None else [],
            "fallback": self._fallback_status(),
            "destinations": {pump.name: self._destination(pump) for pump in self.every_pump},
            "not_taken": {labels["signal"]: value for labels, value in samples(metrics.not_taken)},
            "unrouted": {labels["signal"]: value for labels, value in samples(metrics.unrouted)},
            "unparsed": [{**labels, "records": value} for labels, value in samples(metrics.unparsed)],
            "problems": {labels["kind"]: value for labels, value in samples(metrics.problems)},
        }

    def _receivers(self) -> dict[str, Any]:
        """What each receiver listens on, has taken in and has not, by signal and by cause."""
        metrics = self.report.metrics
        found: dict[str, dict[str, Any]] = {
            source.name: {
                "listens": list(dict.fromkeys(f"{host}:{port}" if port else host for host, port in source.addresses))
            }
            for source in self.sources
            if isinstance(source, Listens)
        }
        for word, counter, label in (("received", metrics.received, "signal"), ("refused", metrics.refused, "cause")):
            for labels, value in samples(counter):
                counts = found.setdefault(labels["receiver"], {"listens": []}).setdefault(word, {})
                counts[labels[label]] = int(value)
        return {name: {"received": {}, "refused": {}, **figures} for name, figures in found.items()}

    def _behind(self) -> dict[str, Any]:
        """How many streams have something not settled, and of which most is not: at the destination that has least of it."""
        backlog: dict[str, int] = {}
        for pump in self.pumps:
            for stream, size in pump.backlog().items():
                backlog[stream] = max(size, backlog.get(stream, 0))
        largest = heapq.nlargest(NAMED_STREAMS, backlog, key=backlog.__getitem__)
        known = {stream: self.hub.get(stream) for stream in largest}
        named = [
            {"id": name, "name": stream.name if stream else name, "backlog_bytes": backlog[name]}
            for name, stream in known.items()
        ]
        return {"streams": len(backlog), "largest": named}

    def _fallback_status(self) -> Mapping[str, Any] | None:
        if self.fallback is None or self.outage is None:
            return None
        return {"name": self.fallback.name, "doing": self.outage.doing.value, "for": self.outage.down}

    def _destination(self, pump: Pump) -> Mapping[str, Any]:
        metrics, exporter, exposure = self.report.metrics, self.exporters[pump.name], pump.exposure()
        return {
            "where": exporter.describe(),
            "trusted": exporter.trusted(),
            "standby": not pump.takes_part,
            "failing": pump.failing(),
            "failure": pump.failure(),
            "backlog_bytes": sum(pump.backlog().values()),
            "oldest_seconds": pump.oldest_unacknowledged(),
            "exposure": asdict(exposure),
            "acknowledged": _sum(metrics.acknowledged, pump.name),
            "rejected": _sum(metrics.rejected, pump.name),
            "quarantined": _sum(metrics.quarantined, pump.name),
            "dropped": _sum(metrics.dropped, pump.name),
            "retried": _sum(metrics.retried, pump.name),
            "left_out": {
                labels["cause"]: value
                for labels, value in samples(metrics.left_out)
                if value and labels["destination"] == pump.name
            },
        }


def samples(counter: Any) -> list[tuple[dict[str, str], float]]:
    """The children of a counter: their labels and values."""
    return [
        (dict(sample.labels), sample.value)
        for metric in counter.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    ]


def _sum(counter: Any, destination: str) -> float:
    return sum(value for labels, value in samples(counter) if labels.get("destination") == destination)


def _value(gauge: Any) -> float:
    return float(next(iter(gauge.collect())).samples[0].value)
