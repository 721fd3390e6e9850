"""Connections to the servers of a destination: the first that is well is used, and connections are kept.

One exchange has a connection to itself, so an acknowledgement that does not fit what was sent is a fault of this connection
alone, and it is closed. A server that failed is passed over for a while; then the first one is tried again before others.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

import aiohappyeyeballs

from shipper.clock import Clock, Deadline
from shipper.contracts import ExporterContext
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper_exporters._http.exchange import Addresses, NoAnswer, Patience, TlsFiles, connect_socket
from shipper_exporters._tcp.failures import failure, several, unreachable
from shipper_exporters._tcp.link import Broken, Link
from shipper_exporters._tcp.settings import Server, TcpSettings, servers
from shipper_exporters._way.resolve import Names

CONNECT = 10.0
"""Seconds that a connection may take to be made, and to become usable by a handshake, before another server is tried."""
PASSED_OVER = 30.0
"""Seconds for which a server that failed is used only when no other is left."""
KEPT = 45.0
"""Seconds that an idle connection is kept: Logstash closes those of more than 60 s, as many balancers do."""
_STAGGER = 0.25  # seconds before the next address of a name is tried beside the one before (RFC 8305)

Greet = Callable[[Link, Server], Awaitable[None]]
"""Makes a new connection usable. Raises what `Exporter.send` does, and `Broken`."""


class Exchange(Protocol):
    """What is sent and waited for on one connection; it may be called again, and then goes on where it stopped."""

    def __call__(self, link: Link, server: Server, /) -> Awaitable[None]:
        """Do it. Raises what `Exporter.send` does, and `Broken`."""


class Tcp:
    """The connections of one destination."""

    def __init__(
        self,
        name: str,
        settings: TcpSettings,
        context: ExporterContext,
        *,
        port: int,
        greet: Greet | None = None,
    ) -> None:
        self.addresses = Addresses(context.own_addresses)
        self.servers = servers(name, settings, port, self.addresses)
        self._clock: Clock = context.clock
        self._timeout = settings.timeout
        self._trust_local = settings.trust_local
        self._greet = greet
        self._tls = TlsFiles(settings.ca_file, settings.cert_file, settings.key_file)
        self._names = Names(context.clock)
        self._passed_over: dict[Server, float] = {}  # until when
        self._kept: list[tuple[Link, Server, float]] = []  # since when; the last is used first, so the others may go
        self._sweeper: asyncio.Task[None] | None = None
        self._in_use: Server | None = None
        self._open = False

    def open(self) -> None:
        """Be ready; connects to nothing."""
        self._open = True

    async def aclose(self) -> None:
        """Let go of connections; those in use end with their exchange."""
        self._open = False
        for link, _, _ in self._kept:
            link.close()
        self._kept.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
            self._sweeper = None

    @property
    def trusted(self) -> bool:
        """See `Exporter.trusted`."""
        return self._trust_local or (self.addresses.known and not self.addresses.local)

    def describe(self) -> str:
        """The servers, and where there are several, which one was used last."""
        text = ", ".join(map(str, self.servers))
        return f"{text} (in use: {self._in_use})" if len(self.servers) > 1 and self._in_use is not None else text

    async def run(self, exchange: Exchange, deadline: Deadline) -> None:
        """Run an exchange with the first server that is well. Raises `Retryable` and `Unusable`, and what it raises."""
        if not self._open:
            raise RuntimeError("an exporter is used between start() and aclose()")
        if deadline.expired():
            raise Retryable(f"{self.describe()}: the deadline came before it could be sent", unsent=True)
        errors: list[DeliveryError] = []
        for server in self._order():
            try:
                await self._with(server, exchange, deadline)
            except Unusable as error:
                self._fails(server)
                errors.append(error)
            except Retryable as error:
                self._fails(server)
                errors.append(error)
                if not error.unsent or deadline.expired():
                    break
            else:
                self._passed_over.pop(server, None)
                self._in_use = server
                return
        raise several(errors)

    def _order(self) -> list[Server]:
        now = self._clock.monotonic()
        return sorted(self.servers, key=lambda server: self._passed_over.get(server, 0.0) > now)

    def _fails(self, server: Server) -> None:
        self._passed_over[server] = self._clock.monotonic() + PASSED_OVER
        self._names.doubt()

    async def _with(self, server: Server, exchange: Exchange, deadline: Deadline) -> None:
        kept = self._take(server)
        doubt = False
        if kept is not None:
            try:
                return await self._use(kept, server, exchange, deadline)
            except Broken:
                doubt = kept.whole  # a kept connection may be closed just as it is used again; a new one tells more
        try:
            link = await self._connect(server, deadline)
            try:
                await self._use(link, server, exchange, deadline)
            except Broken as error:
                raise failure(error, str(server), unsent=not link.whole, silent=not link.heard) from None
        except Retryable as error:
            error.unsent = error.unsent and not doubt
            raise

    def _take(self, server: Server) -> Link | None:
        """A connection that was kept; those that are of no use any more are closed."""
        taken: Link | None = None
        kept = []
        for link, at, since in self._kept:
            if not link.usable or (at is not server and self._before(server, at)):
                link.close()
            else:
                kept.append((link, at, since))
        for number in reversed(range(len(kept))):
            if kept[number][1] is server:
                taken = kept.pop(number)[0]
                break
        self._kept = kept
        return taken

    def _before(self, server: Server, other: Server) -> bool:
        return self.servers.index(server) < self.servers.index(other)

    async def _use(self, link: Link, server: Server, exchange: Exchange, deadline: Deadline) -> None:
        """Raises `Broken` too. ``link.whole`` tells whether anything may have arrived."""
        patience = Patience(self._clock, self._timeout, deadline)
        link.progress, link.whole = patience.progress, False
        try:
            async with patience:
                await exchange(link, server)
        except TimeoutError:
            link.close()
            when = "before the deadline" if deadline.expired() else f"for {self._timeout:g} s"
            raise NoAnswer(f"{server}: no acknowledgement {when}", unsent=not link.whole) from None
        except BaseException:
            link.close()
            raise
        if not self._open or not link.usable:
            link.close()
            return
        self._kept.append((link, server, self._clock.monotonic()))
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        """Close connections that nobody used for long, as long as there are any."""
        while self._kept:
            await self._clock.sleep(min(since for _, _, since in self._kept) + KEPT - self._clock.monotonic())
            now, kept = self._clock.monotonic(), []
            for one in self._kept:
                if now - one[2] < KEPT:
                    kept.append(one)
                else:
                    one[0].close()
            self._kept = kept

    async def _connect(self, server: Server, deadline: Deadline) -> Link:
        """A new connection that can be used. Raises `Retryable` and `Unusable`."""
        patience = Patience(self._clock, min(CONNECT, self._timeout), deadline)
        link: Link | None = None
        try:
            async with patience:
                link = await self._dial(server)
                if self._greet is not None:
                    link.progress = patience.progress
                    await self._greet(link, server)
                return link
        except TimeoutError:
            _close(link)
            raise NoAnswer(f"{server}: no answer to a new connection in time", unsent=True) from None
        except OSError as error:
            _close(link)
            raise unreachable(error, str(server)) from None
        except BaseException:
            _close(link)
            raise

    async def _dial(self, server: Server) -> Link:
        found = await self._names.resolve(server.host, server.port)
        self.addresses.check(server.host, [str(info[4][0]) for info in found], server.port)
        sock = await aiohappyeyeballs.start_connection(
            [*found], happy_eyeballs_delay=_STAGGER, interleave=1, socket_factory=connect_socket
        )
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = self._tls.context() if server.tls else None
            _, link = await asyncio.get_running_loop().create_connection(
                Link,
                sock=sock,
                ssl=context,
                server_hostname=server.name if server.tls else None,
            )
        except BaseException:
            sock.close()
            raise
        return link


def _close(link: Link | None) -> None:
    if link is not None:
        link.close()
