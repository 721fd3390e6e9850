"""The contract suite finds what it is there to find: each wrong exporter fails the test that names its fault."""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request
from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper.otlp import decode
from shipper.testing import contract
from shipper.testing.contract import Destination, ExporterContract, Fault, Held


class Shelf(Destination):
    """A destination in memory."""

    def __init__(self, exporter: type[Good]) -> None:
        self.fault: Fault | None = None
        self.held: list[Held] = []
        self.mended = asyncio.Event()
        self._exporter = exporter

    def exporter(self, context: ExporterContext) -> Exporter:
        return self._exporter("shelf", self, context)

    async def healthy(self) -> None:
        self.fault = None
        self.mended.set()

    async def failing(self, fault: Fault) -> None:
        self.fault = fault
        self.mended.clear()

    async def stored(self) -> Sequence[Held]:
        return self.held


class Good(Exporter):
    """Does everything right; the others break one thing each."""

    Settings: ClassVar[type[Any]] = Shelf

    def __init__(self, name: str, settings: Any, context: ExporterContext) -> None:
        self.name = name
        self.limits = Limits()
        self.shelf: Shelf = settings
        self.clock = context.clock

    def prepare(self, request: Request) -> Prepared:
        payload = b"".join(batch.payload for batch in request.batches)
        return Prepared(request.id, request.signal, payload, len(payload))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        match self.shelf.fault:
            case Fault.DOWN | Fault.BROKEN:
                raise Retryable("down")
            case Fault.BUSY:
                raise Retryable("busy", 7)
            case Fault.MISCONFIGURED | Fault.STRANGER:
                raise Unusable("wrong")
            case Fault.TOO_LARGE:
                raise TooLarge("too large")
            case Fault.REFUSING:
                raise Rejected("no")
            case Fault.LYING:
                return Accepted()
            case Fault.STUCK:
                await self.wait(deadline)
                raise Retryable("no answer")
            case Fault.SLOW:
                await self.shelf.mended.wait()
        self.keep(prepared)
        return Accepted()

    async def wait(self, deadline: Deadline) -> None:
        await self.clock.sleep(min(10.0, deadline.remaining()))

    def keep(self, prepared: Prepared) -> None:
        records = decode.records(prepared.signal, prepared.body)
        self.shelf.held.append(Held(prepared.request_id, tuple(str(record.body) for record in records)))


class DropsTheSecond(Good):
    def keep(self, prepared: Prepared) -> None:
        if len(self.shelf.held) != 1:
            super().keep(prepared)


class TurnsBatchesRound(Good):
    def prepare(self, request: Request) -> Prepared:
        payload = b"".join(batch.payload for batch in reversed(request.batches))
        return Prepared(request.id, request.signal, payload, len(payload))


class NamesAnew(Good):
    def keep(self, prepared: Prepared) -> None:
        super().keep(prepared)
        last = self.shelf.held[-1]
        self.shelf.held[-1] = Held(str(len(self.shelf.held)), last.lines)


class PreparesByTheTime(Good):
    def prepare(self, request: Request) -> Prepared:
        prepared = super().prepare(request)
        return Prepared(request.id, request.signal, prepared.body, int(self.clock.monotonic()))


class IgnoresTheDeadline(Good):
    async def wait(self, deadline: Deadline) -> None:
        await self.clock.sleep(10)


class WaitsForEver(Good):
    async def wait(self, deadline: Deadline) -> None:
        await self.clock.sleep(min(deadline.remaining(), 1e9))


class RaisesWhatItMeets(Good):
    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.shelf.fault is Fault.DOWN:
            raise ConnectionRefusedError
        return await super().send(prepared, deadline)


class ForgetsTheWait(Good):
    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.shelf.fault is Fault.BUSY:
            raise Retryable("busy")
        return await super().send(prepared, deadline)


class BelievesAnybody(Good):
    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if self.shelf.fault is Fault.STRANGER:
            return Accepted()
        return await super().send(prepared, deadline)


class NeedsTheDestinationToStart(Good):
    async def start(self) -> None:
        if self.shelf.fault:
            raise Retryable("down")


def suite(exporter: type[Good]) -> ExporterContract:
    class Suite(ExporterContract):
        @asynccontextmanager
        async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
            yield Shelf(exporter)

    return Suite()


TESTS = [name for name in dir(ExporterContract) if name.startswith("test_")]


@pytest.mark.parametrize("test", TESTS)
def test_a_good_exporter_passes(test: str) -> None:
    """An exporter that does everything right passes every test."""
    getattr(suite(Good), test)()


@pytest.mark.parametrize(
    ("exporter", "test"),
    [
        (DropsTheSecond, "test_several_in_flight"),
        (TurnsBatchesRound, "test_what_is_accepted_is_held_once"),
        (NamesAnew, "test_repeat_is_recognisable"),
        (PreparesByTheTime, "test_prepare_is_pure"),
        (IgnoresTheDeadline, "test_deadline_is_kept"),
        (WaitsForEver, "test_stuck_without_a_deadline"),
        (RaisesWhatItMeets, "test_down"),
        (ForgetsTheWait, "test_busy"),
        (BelievesAnybody, "test_stranger"),
    ],
)
def test_a_wrong_exporter_is_found(exporter: type[Good], test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake fails the test that is about it."""
    monkeypatch.setattr(contract, "PATIENCE", 0.5)
    with pytest.raises(AssertionError):
        getattr(suite(exporter), test)()


def test_an_exporter_that_needs_its_destination_is_found() -> None:
    """Starting must not need the destination."""
    with pytest.raises(Retryable):
        suite(NeedsTheDestinationToStart).test_starts_and_ends_while_down()


def test_faults_a_destination_cannot_have_are_skipped() -> None:
    """A test whose fault is not declared is skipped and says which."""
    made = suite(Good)
    type(made).faults = frozenset()
    with pytest.raises(unittest.SkipTest, match="nothing answers where it should be"):
        made.test_down()
