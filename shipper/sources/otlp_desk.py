"""What is done with a request, whatever door it came through: checked, labelled, stored, counted.

200 and OK mean that the records are in the spool, as durable as its fsync policy says.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shipper.clock import Clock
from shipper.contracts import Hub, Signal, StreamKind
from shipper.events import Reporter, RequestRefused
from shipper.sources.body import Budget, Held
from shipper.sources.intake import Intake
from shipper.sources.listing import Origin
from shipper.sources.refusal import UNAUTHENTICATED, Refusal, later
from shipper.spool import SpoolStream

Listener = Callable[[Signal, str, Sequence[tuple[StreamKind, int, int]], bytes], Awaitable[None]]
"""Somebody who wants to know of what is taken in: signal, the sender's life, its batches (kind, begin and end in the body)
and the body. It must not raise, and is waited for before the sender gets its answer."""


@dataclass(frozen=True, slots=True)
class OtlpLimits:
    """What a stranger may make us hold. Sizes in bytes, times in seconds."""

    max_body: int = 20 << 20  # as it comes over the wire
    max_decompressed: int = 64 << 20
    max_json: int = 8 << 20  # of JSON, decompressed: reading it takes thirty times its size in memory
    max_in_flight: int = 256 << 20  # all requests together
    max_connections: int = 1024
    body_seconds: float = 60.0
    idle_seconds: float = 75.0  # for a request's headers to arrive, and between requests


class Desk:
    """One for all doors of a receiver."""

    def __init__(
        self,
        name: str,
        streams: Mapping[Signal, SpoolStream],
        intake: Intake,
        *,
        token: str,
        hub: Hub,
        limits: OtlpLimits,
        clock: Clock,
        report: Reporter,
        listener: Listener | None,
    ) -> None:
        self.name = name
        self.limits = limits
        self.refused = 0  # requests not taken
        self.under_way = 0
        self.stopping = False
        self._streams = streams
        self._intake = intake
        self._token = token
        self._hub = hub
        self._clock = clock
        self._report = report
        self._listener = listener
        self.budget = Budget(limits.max_in_flight)
        self._last_request = clock.monotonic()
        self._storing = 0
        self._stored = asyncio.Event()

    @contextmanager
    def request(self) -> Iterator[Held]:
        """A request is here; gives what it holds of the memory set aside for all."""
        held = self.begin()
        try:
            yield held
        finally:
            self.end(held)

    def begin(self) -> Held:
        """As `request`, for those who call `end` themselves."""
        self.under_way += 1
        self._last_request = self._clock.monotonic()
        return Held(self.budget)

    def end(self, held: Held) -> None:
        """A request is answered."""
        held.give_back()
        self.under_way -= 1

    def quiet(self, seconds: float) -> bool:
        """Whether no request is under way and none came for so long."""
        return not self.under_way and self._clock.monotonic() - self._last_request >= seconds

    def authorise(self, given: str) -> None:
        """Raise a `Refusal` (401) unless ``given`` is the value of an Authorization header that may come in."""
        if not self._token:
            return
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {self._token}".encode()):
            message = "this receiver needs another bearer token than was given"
            raise Refusal(401, UNAUTHENTICATED, "token", message, {"WWW-Authenticate": "Bearer"})

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.wall_ns() / 1e9

    def check_open(self) -> None:
        """Raise a `Refusal` (503) once nothing more is taken."""
        if self.stopping:
            raise later("stopping", "this receiver is shutting down")

    async def take(self, signal: Signal, data: bytes, origin: Origin) -> int:
        """Store a request; how many of its records were left out as they are broken. Raises a `Refusal`."""
        self.check_open()
        self._storing += 1
        try:
            rejected = await self._take(signal, data, origin)
        finally:
            self._storing -= 1
            if not self._storing:
                self._stored.set()
        return rejected

    async def _take(self, signal: Signal, data: bytes, origin: Origin) -> int:
        rejected = await self._intake.take(signal, data, origin)
        if self._listener is not None:
            parts = [(batch.kind, batch.offset, batch.offset + batch.length) for batch in origin.batches]
            await self._listener(signal, origin.life, parts, data)
        stream = self._streams.get(signal)
        if stream is not None:
            self._hub.ready(stream)
        return rejected

    def refuse(self, refusal: Refusal) -> None:
        """Count and say it."""
        self.refused += 1
        self._report(RequestRefused(self.name, refusal.cause, refusal.status, str(refusal)))

    async def settled(self) -> None:
        """Return when nothing is being stored."""
        while self._storing:
            self._stored.clear()
            await self._stored.wait()
