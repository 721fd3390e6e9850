"""The receiver of the Fluent forward protocol as a source: it listens, and what it takes in is two streams, logs and spans.

Spans come only from Shipper's own SDK; the protocol itself knows records. Specification: Fluentd wiki, "Forward Protocol
Specification v1", with what Fluent Bit adds to it (metadata beside the time, ``fluent_signal``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shipper.clock import Clock
from shipper.contracts import Hub, Signal, Source
from shipper.events import Reporter, Said
from shipper.otlp.encode import AttributeValue, resource, scope
from shipper.sources.connections import Connections
from shipper.sources.forward.chunks import Chunks
from shipper.sources.forward.connection import Connection
from shipper.sources.forward.desk import Desk
from shipper.sources.forward.heartbeat import Heartbeat, heartbeat
from shipper.sources.forward.own import OwnRecords
from shipper.sources.forward.settings import ForwardSettings
from shipper.sources.forward.taking import SPOOLS
from shipper.sources.store import RecordStore
from shipper.sources.wire import Wire
from shipper.spool import Spool, SpoolStream

NAME = "forward"
SCOPE = "shipper.forward"
_MARK_SECONDS = 60.0
_PATH = "receivers.forward"


class ForwardReceiver(Source):
    """Takes the forward protocol in.

    ``spools``: one for logs and one for traces, which stay the caller's to close, and ``streams``, theirs. ``directory``: where
    known chunks are remembered. ``attributes``: the resource of records that do not say theirs; empty in a gateway.
    ``most``: bytes that a spool may hold.
    """

    name = NAME

    def __init__(
        self,
        settings: ForwardSettings,
        *,
        spools: Mapping[Signal, Spool],
        streams: Mapping[Signal, SpoolStream],
        directory: Path,
        attributes: Mapping[str, AttributeValue],
        most: int,
        hub: Hub,
        clock: Clock,
        report: Reporter,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._report = report
        self._stores = {
            signal: RecordStore(NAME, spools[signal], streams[signal], most=most, hub=hub, clock=clock, report=report)
            for signal in SPOOLS
        }
        self._chunks = Chunks(directory, [spools[signal] for signal in SPOOLS], report)
        self._desk = Desk(
            name=NAME,
            settings=settings,
            envelope=(Signal.LOGS, resource(attributes), scope(SCOPE)),
            own=OwnRecords(attributes),
            stores=self._stores,
            chunks=self._chunks,
            clock=clock,
            report=report,
            last=clock.monotonic(),
        )
        self._connections = Connections(NAME, _PATH, settings.max_connections, self._serve, report)
        self._heartbeats: list[Heartbeat] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, once started; a unix socket's is its path and 0."""
        return self._connections.addresses

    async def start(self) -> None:
        """Announce the streams and listen. Raises `ConfigError` when an address cannot be had."""
        self._chunks.open(self._clock.wall_ns())
        for store in self._stores.values():
            store.announce()
        await self._connections.start(self._settings.listen)
        if self._settings.heartbeat:
            for host, port in self.addresses:
                if port:
                    self._heartbeats.append(await heartbeat(host, port, _PATH))
        where = ", ".join(f"{host}:{port}" if port else host for host, port in self.addresses)
        self._report(Said(f"{NAME}: listening on {where}"))

    async def run(self) -> None:
        """See `Source.run`."""
        while True:
            self._chunks.mark(self._clock.wall_ns())
            await self._clock.sleep(_MARK_SECONDS)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: what has come is stored and acknowledged, then connections end."""
        for store in self._stores.values():
            store.stop()
        self._connections.stop()

    async def settled(self) -> None:
        """See `Source.settled`."""
        if any(store.stopping for store in self._stores.values()):
            await self._connections.settled()

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: an open connection says nothing, as clients keep theirs; so only quiet tells."""
        return not self._desk.busy and self._clock.monotonic() - self._desk.last >= quiet_seconds

    def close_events(self) -> None:
        """See `Source.close_events`; a message that is not complete was never taken."""

    async def aclose(self) -> None:
        """Stop listening and end all connections; what was not stored was not acknowledged."""
        self.stop_reading()
        for one in self._heartbeats:
            await one.aclose()
        self._heartbeats.clear()
        await self._connections.aclose()
        self._chunks.mark(self._clock.wall_ns())
        self._chunks.close()

    async def _serve(self, wire: Wire) -> None:
        await Connection(self._desk, wire).serve()
