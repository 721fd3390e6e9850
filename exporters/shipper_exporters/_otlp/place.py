"""What a place that OTLP is sent to can do, whatever protocol it speaks, and who is found to be there."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Signal
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper.intervals import IntervalSet
from shipper_exporters._http.exchange import NoAnswer
from shipper_exporters._otlp.answers import MAX_ANSWER
from shipper_exporters._otlp.request import OtlpBody

GATEWAY_HEADER = "Shipper-Gateway"  # every answer of a Shipper gateway carries its life id in it
ACCOUNTS_KNOWN_AFTER = 10.0  # seconds a destination has to say what it is before it is taken for a stranger
_HELLO_PAUSES = (1.0, 30.0)
_MAX_INTERVALS = 64 << 20


@dataclass(frozen=True, slots=True)
class Said:
    """An answer to a question of ours. ``gateway``: the life of the gateway that gave it; empty: it is none.

    ``failure``: what an answer that is not one of success means. ``passing``: it speaks of the moment only. ``unheard``: the
    question is not known there.
    """

    gateway: str
    body: bytes = b""
    failure: DeliveryError | None = None
    passing: bool = False
    unheard: bool = False


class Place(ABC):
    """One place, and what its answers told of it. ``name``: its origin, for people.

    ``asks``: whether it can be asked what it is, before anything is sent.
    """

    def __init__(self, name: str, clock: Clock, life: str, asks: bool) -> None:
        self.name = name
        self.clock = clock
        self.accounts_known = not asks  # with nowhere to ask there are only answers to learn from
        self.keeps_accounts = False
        self._asks = asks
        self._life = life
        self._ourselves = False
        self._greeting: asyncio.Task[None] | None = None

    @abstractmethod
    async def post(self, signal: Signal, body: OtlpBody, deadline: Deadline) -> tuple[Accepted, str]:
        """Send once; what was accepted, and the life of the gateway that took it, if it is one. Raises `DeliveryError`."""

    @abstractmethod
    async def ask(self, life: str, limit: int) -> Said:
        """What it has of ``life``, or, where that is empty, what it is. Raises `DeliveryError` when nobody answered."""

    async def greet(self) -> None:
        """Find out in the background whether it is a Shipper gateway."""
        if self._asks:
            self._greeting = asyncio.create_task(self._greet())

    async def leave(self) -> None:
        """Ask no more."""
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.wait([self._greeting])
            self._greeting = None

    async def send(self, signal: Signal, body: OtlpBody, deadline: Deadline) -> Accepted:
        """See `Exporter.send`."""
        self._refuse_ourselves()
        accepted, gateway = await self.post(signal, body, deadline)
        self._learn(gateway)
        self._refuse_ourselves()
        return Accepted(min(accepted.rejected, body.records), accepted.message)

    async def known(self, life: str) -> Mapping[str, IntervalSet] | None:
        """See `Exporter.known`. Raises `DeliveryError` when it could not be asked.

        A stranger may do anything with a question it does not know; once it is taken for one, none of that is waited on.
        """
        if not self._asks:
            return None
        try:
            said = await self.ask(life, _MAX_INTERVALS)
        except NoAnswer:
            if self._stranger:
                return None
            raise
        if said.unheard or (not said.gateway and (self._stranger or not said.passing)):
            return None
        if said.failure is not None:
            raise said.failure
        return _intervals(said.body, self.name)

    async def _greet(self) -> None:
        """After a while of silence it is taken for a stranger, until an answer tells."""
        giving_up = asyncio.create_task(self._stop_waiting())
        pause, longest = _HELLO_PAUSES
        try:
            while not await self._hello():
                await self.clock.sleep(pause)
                pause = min(2 * pause, longest)
        finally:
            giving_up.cancel()

    async def _stop_waiting(self) -> None:
        await self.clock.sleep(ACCOUNTS_KNOWN_AFTER)
        self.accounts_known = True

    async def _hello(self) -> bool:
        """Ask once; False when that gave no answer, and when we answered ourselves: the name may lead elsewhere later."""
        try:
            said = await self.ask("", MAX_ANSWER)
        except DeliveryError:
            return False  # whoever sends meets the same fault, and is the one to report it
        if said.passing:
            return False
        self._learn(said.gateway)
        return not self._ourselves

    @property
    def _stranger(self) -> bool:
        return self.accounts_known and not self.keeps_accounts

    def _learn(self, gateway: str) -> None:
        """What an answer tells about who gave it."""
        self._ourselves = bool(gateway) and gateway == self._life
        self.keeps_accounts = bool(gateway) and not self._ourselves
        self.accounts_known = True

    def _refuse_ourselves(self) -> None:
        if self._ourselves:
            raise Unusable(f"{self.name} is this Shipper itself: records would go round in a circle")


def _intervals(answer: bytes, where: str) -> dict[str, IntervalSet]:
    try:
        streams = json.loads(answer)["streams"]
        return {str(stream): IntervalSet((int(a), int(b)) for a, b in pairs) for stream, pairs in streams.items()}
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError):
        raise Retryable(f"{where}: what it says it has of this life makes no sense") from None
