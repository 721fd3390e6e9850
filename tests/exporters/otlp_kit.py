"""An OTLP exporter in tests: running while a scenario goes on, made to send, made to fail."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Request
from shipper.errors import DeliveryError
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.otlp import OtlpExporter, OtlpSettings

SELF_SIGNED = Path(__file__).with_name("self_signed.pem")
Scenario = Callable[[OtlpExporter, Sink, FakeClock], Awaitable[None]]


@asynccontextmanager
async def exporting(clock: FakeClock, **options: Any) -> AsyncIterator[OtlpExporter]:
    """An exporter with these settings, running."""
    exporter = OtlpExporter("primary", OtlpSettings(**options), ExporterContext(clock, LIFE, 1, "Shipper/9 test"))
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


def with_sink(scenario: Scenario, *, tls: bool = False, **options: object) -> None:
    """Run a scenario with a sink and an exporter that sends to it; ``options`` are the exporter's settings."""

    async def run() -> None:
        clock = FakeClock()
        server_tls = None
        if tls:
            server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server_tls.load_cert_chain(SELF_SIGNED)
        async with asyncio.timeout(60), Sink(clock=clock, tls=server_tls) as sink:
            async with exporting(clock, **{"endpoint": sink.url, **options}) as exporter:
                await scenario(exporter, sink, clock)

    asyncio.run(run())


async def send(exporter: OtlpExporter, clock: FakeClock, request: Request | None = None) -> Accepted:
    """Send once; a request of one line where none is given."""
    return await exporter.send(exporter.prepare(request or log_request(log_batch(["line"]))), Deadline(clock))


async def failure(exporter: OtlpExporter, clock: FakeClock, request: Request | None = None) -> DeliveryError:
    """Send once, which has to fail: with what."""
    try:
        await send(exporter, clock, request)
    except DeliveryError as error:
        return error
    raise AssertionError("nothing was raised")
