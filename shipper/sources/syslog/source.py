"""The syslog receiver as a source: datagrams and streams become one stream of log records.

Syslog has no acknowledgements. What is read from a TCP connection is stored before more is read, so a full spool makes its
senders wait. Datagrams are read whatever happens, for a process that logs to a full ``/dev/log`` stands still, and with it
the machine: those for which there is no room are dropped, counted and said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence

from shipper.clock import Clock
from shipper.contracts import Hub, Source
from shipper.errors import SpoolFull, StateError
from shipper.events import ConnectionEnded, MessagesDropped, Problem, Reporter, Said
from shipper.otlp.encode import AttributeValue
from shipper.sources.connections import Connections
from shipper.sources.listen import is_loopback
from shipper.sources.store import RecordStore
from shipper.sources.syslog import sockets
from shipper.sources.syslog.datagrams import Datagrams
from shipper.sources.syslog.framing import Framer, Piece, pieces
from shipper.sources.syslog.parse import Message, Parser
from shipper.sources.syslog.records import NOTHING, Origin, Records
from shipper.sources.syslog.settings import SyslogSettings
from shipper.sources.syslog.sockets import Datagram
from shipper.sources.wire import Wire
from shipper.spool import Spool, SpoolStream

NAME = "syslog"
PATH = "receivers.syslog"


class SyslogReceiver(Source):
    """Takes syslog in.

    ``spool`` stays the caller's to close, and ``stream`` is its. ``attributes``: the resource of all records; empty in a
    gateway, where host and application of each message are its resource. ``most``: bytes that the spool may hold.
    """

    name = NAME

    def __init__(
        self,
        settings: SyslogSettings,
        *,
        spool: Spool,
        stream: SpoolStream,
        attributes: Mapping[str, AttributeValue],
        most: int,
        hub: Hub,
        clock: Clock,
        report: Reporter,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._report = report
        self._store = RecordStore(NAME, spool, stream, most=most, hub=hub, clock=clock, report=report)
        self._records = Records(Parser(settings.zone, apart=not attributes), attributes, NAME, report)
        self._connections = Connections(NAME, PATH, settings.max_connections, self._serve, report)
        self._datagrams: list[Datagrams] = []
        self._last = clock.monotonic()
        self.datagram_addresses: list[tuple[str, int]] = []

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, once started: streams first, then datagrams; a unix socket's is its path and 0."""
        return [*self._connections.addresses, *self.datagram_addresses]

    async def start(self) -> None:
        """Announce the stream and listen. Raises `ConfigError` when an address cannot be had."""
        self._store.announce()
        settings = self._settings
        if settings.udp is not None:
            sock = sockets.udp(*settings.udp, PATH)
            self.datagram_addresses.append((settings.udp[0], sock.getsockname()[1]))
            self._datagrams.append(Datagrams(NAME, sock, self._take_udp, self._report))
        if settings.socket:
            self._datagrams.append(Datagrams(NAME, sockets.unix(settings.socket, PATH), self._take_local, self._report))
            self.datagram_addresses.append((settings.socket, 0))
        await self._connections.start(settings.streams)
        for one in self._datagrams:
            one.start()
        where = ", ".join(f"{host}:{port}" if port else host for host, port in self.addresses)
        self._report(Said(f"{NAME}: listening on {where}"))

    async def run(self) -> None:
        """See `Source.run`; all is done as it comes."""
        await asyncio.get_running_loop().create_future()

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: what has come is stored, then sockets are closed."""
        self._store.stop()
        for one in self._datagrams:
            one.close()
        self._connections.stop()

    async def settled(self) -> None:
        """See `Source.settled`."""
        if self._store.stopping:
            await self._connections.settled()

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: who may still write cannot be seen, so only quiet tells."""
        return not self._store.waiting and self._clock.monotonic() - self._last >= quiet_seconds

    def close_events(self) -> None:
        """See `Source.close_events`; what is unfinished on a connection is stored when that ends."""

    async def aclose(self) -> None:
        """Stop listening and end all connections."""
        self.stop_reading()
        await self._connections.aclose()

    def _take_udp(self, found: Sequence[Datagram]) -> None:
        self._offer((piece, Origin(peer=one.peer)) for one in found for piece in self._pieces(one))

    def _take_local(self, found: Sequence[Datagram]) -> None:
        self._offer((piece, Origin(local=True, pid=one.pid)) for one in found for piece in self._pieces(one))

    def _pieces(self, one: Datagram) -> Iterable[Piece]:
        return pieces(one.data, self._settings.max_message, cut_off=one.truncated)

    def _offer(self, found: Iterator[tuple[Piece, Origin]]) -> None:
        """Store what cannot wait, or count it as lost."""
        self._last = self._clock.monotonic()
        now = self._clock.wall_ns()
        while (batch := self._records.encode(found, now)[0]).records:
            for _, payload, records in batch.requests():
                try:
                    self._store.offer(payload, records, now)
                except SpoolFull as error:
                    self._report(MessagesDropped(NAME, "full", records, str(error)))

    async def _serve(self, wire: Wire) -> None:
        """One connection, until it ends."""
        framer = Framer(self._settings.max_message)
        peer = "" if not wire.peer or is_loopback(wire.peer) else wire.peer
        origin = Origin(local=not wire.peer, peer=peer)
        goes_on = NOTHING
        try:
            while data := await self._read(wire):
                goes_on = await self._put(framer.feed(data), origin, goes_on)
        except TimeoutError:
            self._report(ConnectionEnded(NAME, "idle", f"nothing came for {self._settings.idle:g} s"))
        await self._put(framer.finish(), origin, goes_on)

    async def _read(self, wire: Wire) -> bytes:
        async with asyncio.timeout(self._settings.idle or None):
            return await wire.read()

    async def _put(self, found: Iterable[Piece], origin: Origin, goes_on: Message) -> Message:
        """Store what came on a connection, waiting for room; the message that goes on, if one does."""
        self._last = self._clock.monotonic()
        now = self._clock.wall_ns()
        pieces_from = ((piece, origin) for piece in found)
        while True:
            batch, goes_on = self._records.encode(pieces_from, now, goes_on)
            if not batch.records:
                return goes_on
            for _, payload, records in batch.requests():
                await self._store_or_count(payload, records, now)

    async def _store_or_count(self, payload: bytes, records: int, now: int) -> None:
        try:
            await self._store.put(payload, records, now)
        except SpoolFull as error:
            self._report(MessagesDropped(NAME, "full", records, str(error)))
        except StateError as error:
            self._report(Problem("receiver_disk", f"{NAME}: {error}", NAME))
