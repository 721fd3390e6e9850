"""Shows metrics to whoever scrapes them, where a Prometheus that asks is the only one there is.

What is to be shown is held here, and acknowledged when a scrape that had it went out whole: see ``docs/decisions/031``. Values that
were replaced before anybody looked are not shown, which is what scraping is. What is shown is in ``_exposition``, how in
``_exposition_text``, who may ask in ``_scrape_server``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shipper.clock import Deadline, Patience
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected, Retryable
from shipper_exporters._prometheus.convert import Converted, Converter
from shipper_exporters._prometheus.delta import Sums
from shipper_exporters._prometheus.exposition import Exposition, Shown
from shipper_exporters._prometheus.exposition_text import write
from shipper_exporters._prometheus.remote_write_journey import LATE
from shipper_exporters._prometheus.scrape_server import ScrapeServer
from shipper_exporters._prometheus.scrape_settings import PrometheusScrapeSettings, check

__all__ = ["PrometheusScrapeExporter", "PrometheusScrapeSettings"]

_MAX_RAW = 1 << 20
_REMEMBERED = 1024  # requests that were taken up and wait for a scrape


@dataclass(slots=True)
class _Waiting:
    """A request whose samples are shown: since which look, and what of it was refused."""

    since: int
    rejected: Counter[str] = field(default_factory=Counter)


class PrometheusScrapeExporter(Exporter):
    """An exposition for scrapers; see the module."""

    Settings: ClassVar[type[Any]] = PrometheusScrapeSettings
    signals = frozenset({Signal.METRICS})
    many_lives = True  # all pods of a node are on one page

    def __init__(self, name: str, settings: PrometheusScrapeSettings, context: ExporterContext) -> None:
        self.name = name
        # Nothing leaves by itself, so there is nothing to pace. Many wait for one scrape, or what is shown would be as old as
        # the scrape before.
        self.limits = Limits(max_raw_bytes=_MAX_RAW, requests_per_second=100.0, burst=100, max_in_flight=8)
        self._settings = settings
        self._clock = context.clock
        self._converter = Converter(settings.external_labels, 2 * settings.max_series)
        self._sums = Sums(settings.max_series)
        self._exposition = Exposition(settings.max_series, settings.expire_after)
        self._server = ScrapeServer(name, settings, check(name, settings), context, self)
        self._waiting: dict[str, _Waiting] = {}
        self._taken = self._looked = 0  # how often something was taken up; how much of that was seen
        self._scraped = asyncio.Event()

    async def start(self) -> None:
        """See `Exporter.start`. Where it cannot listen, that is tried again whenever there is something to show."""
        await self._server.open()

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        try:
            converted = self._converter.convert(batch.payload for batch in request.batches)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, converted, request.raw_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`: what is in it is shown from now on, and acknowledged when it was seen."""
        converted: Converted = prepared.body
        waiting = self._waiting.get(prepared.request_id)
        if waiting is None:
            waiting = self._take(converted)
            self._waiting[prepared.request_id] = waiting
            while len(self._waiting) > _REMEMBERED:
                del self._waiting[next(iter(self._waiting))]
        if converted.samples:
            await self._server.listening()
            await self._seen(waiting.since, deadline)
        del self._waiting[prepared.request_id]
        message = "; ".join(f"{count} x {reason}" for reason, count in waiting.rejected.most_common())
        return Accepted(min(converted.points, waiting.rejected.total()), message)

    def trusted(self) -> bool:
        """See `Exporter.trusted`: the last who looked was on another machine, or the settings say so."""
        return self._settings.trust_local or self._server.foreign

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return f"shown to scrapers at {self._server.describe()}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._server.aclose()

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens; None while it does not."""
        return self._server.address

    def show(self, *, openmetrics: bool) -> tuple[bytes, tuple[int, list[tuple[Shown, int]]]]:
        """See `shipper_exporters._prometheus.scrape_server.Page`."""
        body = write(self._exposition.shelves(self._clock.monotonic()), openmetrics=openmetrics)
        return body, (self._taken, self._exposition.snapshot())

    def was_seen(self, mark: tuple[int, list[tuple[Shown, int]]]) -> None:
        """See `shipper_exporters._prometheus.scrape_server.Page`."""
        taken, shown = mark
        self._exposition.seen(shown)
        self._looked = max(self._looked, taken)
        self._scraped.set()
        self._scraped = asyncio.Event()

    def _take(self, converted: Converted) -> _Waiting:
        summed = self._sums.begin(converted.samples)
        taken = self._exposition.take(summed.samples, self._clock.monotonic())
        self._sums.taken(summed.samples)
        self._sums.doubtful(taken.refused)
        self._taken += 1
        waiting = _Waiting(self._taken, Counter(converted.rejected) + taken.rejected)
        if summed.late:
            waiting.rejected[LATE] = len({sample[3] for sample in summed.late})
        return waiting

    async def _seen(self, since: int, deadline: Deadline) -> None:
        """Wait until somebody has seen all that was taken up until ``since``. Raises `Retryable`."""
        try:
            async with Patience(self._clock, self._settings.timeout, deadline):
                while self._looked < since:
                    await self._scraped.wait()
        except TimeoutError:
            when = "before the deadline" if deadline.expired() else f"for {self._settings.timeout:g} s"
            raise Retryable(f"nobody scraped {self._server.describe()} {when}") from None
