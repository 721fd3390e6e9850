"""Code as the author of an exporter writes it; the type checker must accept it as it stands (see test_typing_kit.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, assert_type

import msgspec

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Batch, Exporter, ExporterContext, Limits, Prepared, Request
from shipper.errors import DeliveryError, Retryable
from shipper.testing.clock import FakeClock
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper.testing.sink import Answer, Received, Sink, accept, refuse
from shipper.testing.streams import log_batch, log_request


class DepotSettings(msgspec.Struct, forbid_unknown_fields=True):
    """What can be set."""

    url: str


class DepotExporter(Exporter):
    """Sends to a depot."""

    Settings: ClassVar[type[Any]] = DepotSettings

    def __init__(self, name: str, settings: DepotSettings, context: ExporterContext) -> None:
        self.name = name
        self.limits = Limits(max_in_flight=1)
        self._clock: Clock = context.clock

    def prepare(self, request: Request) -> Prepared:
        assert_type(request.batches, tuple[Batch, ...])
        return Prepared(request.id, request.signal, b"", request.raw_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        if deadline.expired():
            raise Retryable("too late", wait=1.0)
        return Accepted(rejected=0)


class Depot(Destination):
    """The depot under test."""

    def exporter(self, context: ExporterContext) -> DepotExporter:
        return DepotExporter("depot", DepotSettings(url="depot://"), context)

    async def healthy(self) -> None:
        pass

    async def failing(self, fault: Fault) -> None:
        assert_type(fault.error, type[DeliveryError] | None)

    async def stored(self) -> Sequence[Held]:
        return [Held("id", ("line",))]


class TestDepot(ExporterContract):
    """The suite, as pytest would collect it."""

    faults = ExporterContract.faults - {Fault.BUSY}

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        yield Depot()


async def use() -> None:
    """The test kit at work."""
    fake = FakeClock()
    clock: Clock = fake
    async with Sink(clock=clock) as sink:
        sink.script(accept(delay=1.0), refuse(503, "busy", retry_after="1"))
        assert_type(sink.answer, Answer)
        assert_type(sink.received, list[Received])
        assert_type(sink.lines(), list[str])
        assert_type(sink.keys(), list[str])
        assert_type(sink.duplicates(), dict[str, int])
        assert_type(fake.advance(1.0), int)
        await fake.run(1.0)
        async with fake.autojump() as jumping:
            assert_type(jumping, FakeClock)
        request = log_request(log_batch(["line"]))
        exporter = Depot().exporter(ExporterContext(clock, "life", 1, "agent"))
        accepted = await exporter.send(exporter.prepare(request), Deadline.after(clock, 5))
        assert_type(accepted.rejected, int)


if __name__ == "__main__":
    asyncio.run(use())
