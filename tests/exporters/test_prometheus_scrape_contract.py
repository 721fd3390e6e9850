"""The exposition for scrapers passes the suite that every exporter has to pass, as far as a scrape can show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import aiohttp
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Prepared, Request, Signal
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.prometheus_scrape import PrometheusScrapeExporter, PrometheusScrapeSettings
from tests.exporters.shown_lines import Requests, lines_of

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


class Noting(PrometheusScrapeExporter):
    """Notes what requests there are."""

    def __init__(self, context: ExporterContext, requests: Requests) -> None:
        super().__init__("scraped", PrometheusScrapeSettings(listen="127.0.0.1:0"), context)
        self._requests = requests

    def prepare(self, request: Request) -> Prepared:
        self._requests.note(request)
        return super().prepare(request)


class ScraperDestination(Destination):
    """A scraper that comes by all the time, or not at all."""

    def __init__(self) -> None:
        self._exporters: list[Noting] = []
        self._comes = self._remembers = True
        self._requests = Requests()
        self._looking = asyncio.Lock()
        self._seen: set[str] = set()

    def exporter(self, context: ExporterContext) -> Exporter:
        self._exporters.append(Noting(context, self._requests))
        return self._exporters[-1]

    async def healthy(self) -> None:
        self._comes = self._remembers = True

    async def failing(self, fault: Fault) -> None:
        self._comes = fault is Fault.LYING
        self._remembers = fault is not Fault.LYING

    async def stored(self) -> Sequence[Held]:
        async with self._looking:  # it may have been seen a moment before it is known here
            return self._requests.held(self._seen)

    async def scrape(self) -> None:
        """Come by until cancelled."""
        async with aiohttp.ClientSession(headers=OPENMETRICS) as session:
            while True:
                await asyncio.sleep(0.002)
                for exporter in self._exporters if self._comes else ():
                    if exporter.address is None:
                        continue
                    async with self._looking:
                        await self._look(session, exporter.address)

    async def _look(self, session: aiohttp.ClientSession, address: tuple[str, int]) -> None:
        try:
            async with session.get(f"http://{address[0]}:{address[1]}/metrics") as answer:
                text = await answer.text()
        except aiohttp.ClientError:
            return  # it was closed just now
        if self._remembers:
            with suppress(ValueError):  # a counter below zero, which this parser refuses and a Prometheus takes
                self._seen |= lines_of(list(text_string_to_metric_families(text)))  # type: ignore[no-untyped-call]


class TestPrometheusScrapeExporter(ExporterContract):
    """The suite, with a scraper on a real socket."""

    signal = Signal.METRICS
    faults = frozenset({Fault.STUCK, Fault.SLOW, Fault.LYING})

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        destination = ScraperDestination()
        scraper = asyncio.create_task(destination.scrape())
        try:
            yield destination
        finally:
            scraper.cancel()
            await asyncio.wait([scraper])
