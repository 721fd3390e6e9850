"""The OTLP receiver: any OpenTelemetry sender, and every other Shipper, delivers here, by HTTP or by gRPC.

Rules of the protocol: opentelemetry-proto docs/specification.md. What it takes in becomes one stream of each signal,
whatever door it came through. A sender that is a Shipper lists the batches of its request, so that what it sends a second
time is recognised (`shipper.sources.intake`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from shipper.clock import Clock
from shipper.config import Role
from shipper.contracts import Hub, Signal, Source
from shipper.errors import StateError
from shipper.events import Problem, Reporter, Said
from shipper.ledger import LedgerThread
from shipper.sources.intake import Intake
from shipper.sources.listen import ListenSettings
from shipper.sources.otlp_asked import Asked
from shipper.sources.otlp_desk import Desk, Listener, OtlpLimits
from shipper.sources.otlp_labels import Labels
from shipper.spool import SpoolStream

__all__ = ["Listener", "OtlpLimits", "OtlpReceiver"]

_FORGET_SECONDS = 3600.0


class Door(Protocol):
    """One way in."""

    addresses: list[tuple[str, int]]

    async def start(self) -> None:
        """Listen. Raises `ConfigError` when the address cannot be had."""

    def connected(self) -> bool:
        """Whether somebody has a connection, as far as that can be told."""

    async def aclose(self) -> None:
        """Stop listening and close all connections; requests under way get their answer if it takes a second or two."""


class OtlpReceiver(Source):
    """Takes OTLP in and makes one stream of each signal.

    ``http`` and ``grpc``: where to listen, at least one of them. ``streams`` has one for each signal; their spools stay the
    caller's to close. ``life`` is our own. ``labels``: what is put on every resource; a gateway puts nothing on the records
    of other hosts. ``path`` is where the settings stand, for errors.
    The constructor raises `ConfigError` for settings that cannot work.
    """

    def __init__(
        self,
        http: ListenSettings | None,
        grpc: ListenSettings | None = None,
        *,
        hub: Hub,
        streams: Mapping[Signal, SpoolStream],
        ledger: LedgerThread,
        life: str,
        clock: Clock,
        report: Reporter,
        role: Role = "gateway",
        name: str = "otlp",
        path: str = "receivers.otlp",
        limits: OtlpLimits | None = None,
        labels: Labels | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.name = name
        self.streams = dict(streams)
        self._hub = hub
        self._role = role
        self._clock = clock
        self._report = report
        limits = limits or OtlpLimits()
        spools = {signal: stream.spool for signal, stream in streams.items()}
        put_on = None if labels is None else partial(labels.put_on, most=limits.max_decompressed)
        self._intake = Intake(name, spools, ledger, clock, report, put_on)
        listens = [listen for listen in (http, grpc) if listen is not None]
        for listen in listens:
            listen.check(path)
        self._desk = Desk(
            name,
            streams,
            self._intake,
            token=next((listen.token for listen in listens if listen.token), ""),
            hub=hub,
            limits=limits,
            clock=clock,
            report=report,
            listener=listener,
        )
        self._doors: list[Door] = []
        asked = Asked(life, self._intake.known) if role == "gateway" else None
        if http is not None:
            from shipper.sources.otlp_http import HttpDoor

            self._doors.append(HttpDoor(http, self._desk, path, asked, report))
        if grpc is not None:
            from shipper.sources.otlp_grpc import GrpcDoor

            self._doors.append(GrpcDoor(grpc, self._desk, path, asked))
        self._started = False

    @property
    def refused(self) -> int:
        """Requests not taken."""
        return self._desk.refused

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, once started: host and port, or the path of a unix socket and 0."""
        return [address for door in self._doors for address in door.addresses]

    async def start(self) -> None:
        """Index the spools, announce the streams, listen. Raises `ConfigError` when an address cannot be had."""
        if self._started:
            return
        await self._intake.start()
        self._started = True
        for stream in self.streams.values():
            self._hub.add(stream)
        for door in self._doors:
            await door.start()
        where = ", ".join(f"{host}:{port}" if port else host for host, port in self.addresses)
        self._report(Said(f"{self.name}: listening on {where}"))

    async def run(self) -> None:
        """See `Source.run`."""
        await self.start()
        while True:
            try:
                await self._intake.forget_old()
            except StateError as error:
                self._report(Problem("ledger", f"{self.name}: old intervals were not forgotten: {error}", self.name))
            await self._clock.sleep(_FORGET_SECONDS)

    def stop_reading(self) -> None:
        """See `Source.stop_reading`: from now on senders are told to come again later."""
        self._desk.stopping = True

    async def settled(self) -> None:
        """See `Source.settled`: what was being stored when reading stopped is stored."""
        await self._desk.settled()

    def silent(self, quiet_seconds: float) -> bool:
        """See `Source.silent`: what a writer has not sent yet cannot be seen, so only quiet tells."""
        return self._desk.quiet(quiet_seconds)

    def writers(self) -> bool | None:
        """See `Source.writers`: a service on this host that holds a connection lives, and will have last words.

        Nothing is known without one: some connect for every request. Nor in a gateway, whose senders end with other hosts.
        """
        return True if self._role == "sidecar" and any(door.connected() for door in self._doors) else None

    def close_events(self) -> None:
        """See `Source.close_events`; every request is complete in itself."""

    async def aclose(self) -> None:
        """See `Door.aclose`."""
        self._desk.stopping = True
        for door in self._doors:
            await door.aclose()
        if self._started:
            try:
                await self._intake.close()
            except StateError as error:  # the next start finds out by itself, and takes a little longer
                self._report(
                    Problem("ledger", f"{self.name}: how far the spools are known is not noted: {error}", self.name)
                )
