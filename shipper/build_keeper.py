"""Makes the keeper of deploys of a gateway: its lease in the archive, what it shares there, and the stream of its series."""

from __future__ import annotations

import os
from collections.abc import Sequence

from shipper.clock import Clock
from shipper.config import Config
from shipper.config.convert import convert
from shipper.contracts import Hub
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter
from shipper.fleet.deploys.keeper import Keeper
from shipper.fleet.deploys.lease import Lease
from shipper.fleet.deploys.share import Share
from shipper.fleet.gauges import Encoded, Writer
from shipper.fleet.store import Store, open_store
from shipper.ledger import LedgerThread
from shipper.measure.samples import Samples
from shipper.measure.stream import MetricsStream
from shipper.pump.load import exporter_class

ARCHIVE = "archive"
STREAM = "deploys"


async def make_keeper(
    config: Config,
    *,
    life: str,
    gateway: str,
    takers: Sequence[str],
    hub: Hub,
    ledger: LedgerThread,
    clock: Clock,
    report: Reporter,
) -> Keeper:
    """The keeper, with what an earlier run knew. ``takers``: destinations that take metrics. Raises `ShipperError`."""
    settings = config.deploys
    writer: Writer | None = None
    if settings.keeper != "never" and looked_at(config, takers):
        writer = await open_stream(STREAM, config, life=life, takers=takers, hub=hub, ledger=ledger, report=report)
    lease = share = None
    if any(destination.type == ARCHIVE for destination in config.destinations.values()):
        store = shared_archive(config, report)
        if store is not None:
            share = Share(store, life, keep_ns=round(settings.keep * 1e9), report=report)
        if settings.keeper == "auto":
            if store is None:
                writer = None  # another gateway may hold the lease
            else:
                lease = Lease(store, life, clock=clock, report=report, expiry=settings.lease)
    keeper = Keeper(
        gateway=gateway,
        ledger=ledger,
        writer=writer,
        lease=lease,
        share=share,
        keep=settings.keep,
        interval=config.metrics.interval,
        clock=clock,
        report=report,
    )
    await keeper.open()
    return keeper


def looked_at(config: Config, takers: Sequence[str]) -> bool:
    """Whether anybody looks at series that go to ``takers``: an archive only keeps."""
    return any(config.destinations[name].type != ARCHIVE for name in takers)


async def open_stream(
    name: str,
    config: Config,
    *,
    life: str,
    takers: Sequence[str],
    hub: Hub,
    ledger: LedgerThread,
    report: Reporter,
) -> Writer:
    """A stream of series that a gateway writes itself, in a directory of its own. Raises `ShipperError`."""
    stream = MetricsStream(
        os.path.join(config.state_dir, name),
        life=life,
        hub=hub,
        ledger=ledger,
        destinations=takers,
        max_bytes=config.metrics.spool_max,
        report=report,
        name=name,
    )
    await stream.reopen()
    return _Stream(stream)


class _Stream:
    """The stream, as those who write series know it."""

    def __init__(self, stream: MetricsStream) -> None:
        self._stream = stream

    async def write(self, series: Encoded, time_ns: int) -> None:
        """See `Writer.write`."""
        await self._stream.write(Samples(series.payload, series.points, series.metrics), time_ns)

    def close(self) -> None:
        """See `Writer.close`."""
        self._stream.close()


def shared_archive(config: Config, report: Reporter) -> Store | None:
    """The place of the first archive among the destinations, which gateways have in common."""
    for name, wanted in config.destinations.items():
        if wanted.type != ARCHIVE:
            continue
        where = f"destinations.{name}"
        settings = convert(dict(wanted.options), exporter_class(wanted.type, where=where).Settings, where)
        prefix = settings.prefix.strip("/")
        try:
            return open_store(
                settings.url.rstrip("/") + (f"/{prefix}" if prefix else ""), settings.options, create=True
            )
        except ShipperError as problem:  # its exporter says more
            report(Problem("deploys", f"deploys are not shared with other gateways: {problem}", name))
            return None
    return None
