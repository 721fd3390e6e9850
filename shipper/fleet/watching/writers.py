"""Ways out of a command that is no gateway: it has no spool, so what cannot be written now is written with the next look.

An OTLP endpoint gets a plain request, as `shipper deploy` sends one: with the headers of a life a gateway would take us for a
host, of which its audit then misses birth and farewell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shipper import __version__
from shipper.clock import Clock, Deadline
from shipper.contracts import Batch, Cut, Exporter, ExporterContext, Request, Signal
from shipper.errors import DeliveryError, MalformedOtlp, Retryable, ShipperError
from shipper.fleet.deploys.send import Endpoint, NotTold, Passing, post
from shipper.fleet.gauges import Encoded
from shipper.fleet.watching.aside import aside
from shipper.ids import uuid7
from shipper.otlp.answer import parse_response
from shipper.pump.load import make_exporter

SECONDS = 15.0
"""How long one write may take, with all that is tried again."""
PAUSE = 1.0
_STREAM = "verdicts"


class NotWritten(ShipperError):
    """A target did not take the series; the text says which and why."""


class ByExporter:
    """Writes by an exporter. ``where``: the path of its settings in errors. Raises `ConfigError` and `MissingExtra`."""

    def __init__(
        self, type_: str, name: str, settings: Mapping[str, Any], *, where: str, clock: Clock, seconds: float = SECONDS
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._life = uuid7(clock.wall_ns())
        context = ExporterContext(clock, life=self._life, run=1, user_agent=f"Shipper/{__version__}")
        self.exporter: Exporter = make_exporter(type_, name, settings, context, where=where)
        self._open = False
        self._written = 0

    async def write(self, series: Encoded, time_ns: int) -> None:
        """See `Writer.write`."""
        if not self._open:
            await self.exporter.start()
            self._open = True
        at = self._written
        self._written += 1
        cut = Cut(at, at + 1, at, at + 1, records=series.points, observed_ns=time_ns)
        batch = Batch(self._life, _STREAM, Signal.METRICS, cut, series.payload)
        request = Request(uuid7(self._clock.wall_ns()), Signal.METRICS, (batch,))
        try:
            rejected, message = await self._send(request)
        except DeliveryError as problem:
            raise NotWritten(f"{self.exporter.describe()}: {problem}") from problem
        if rejected:
            raise NotWritten(f"{self.exporter.describe()} refused {rejected} of {series.points} samples: {message}")

    async def aclose(self) -> None:
        """Let go of connections."""
        if self._open:
            await self.exporter.aclose()

    def close(self) -> None:
        """See `Writer.close`."""

    async def _send(self, request: Request) -> tuple[int, str]:
        deadline = Deadline.after(self._clock, self._seconds)
        prepared = self.exporter.prepare(request)
        while True:
            try:
                accepted = await self.exporter.send(prepared, deadline)
            except Retryable as problem:
                pause = max(PAUSE, problem.wait or 0.0)
                if deadline.remaining() <= pause:
                    raise
                await self._clock.sleep(pause)
            else:
                return accepted.rejected, accepted.message


class ByOtlp:
    """Writes to an OTLP/HTTP endpoint, by its URL for metrics."""

    def __init__(self, endpoint: Endpoint, *, clock: Clock, seconds: float = SECONDS) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._seconds = seconds

    async def write(self, series: Encoded, time_ns: int) -> None:
        """See `Writer.write`."""
        deadline = Deadline.after(self._clock, self._seconds)
        while True:
            seconds = max(0.1, deadline.remaining())
            try:
                said = await aside(partial(post, series.payload, self._endpoint, seconds=seconds))
            except Passing as problem:
                if deadline.remaining() <= PAUSE:
                    raise NotWritten(str(problem)) from problem
                await self._clock.sleep(PAUSE)
            except NotTold as problem:
                raise NotWritten(str(problem)) from problem
            else:
                break
        try:
            rejected, message = parse_response(Signal.METRICS, said, "application/x-protobuf")
        except MalformedOtlp as problem:
            raise NotWritten(
                f"{self._endpoint.url} answers with something that is not OTLP: {problem.problem}"
            ) from problem
        if rejected:
            raise NotWritten(f"{self._endpoint.url} refused {rejected} of {series.points} samples: {message}")

    async def aclose(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """See `Writer.close`."""


class Every:
    """Writes to several, at the same time."""

    def __init__(self, writers: Sequence[ByExporter | ByOtlp]) -> None:
        self._writers = writers

    async def write(self, series: Encoded, time_ns: int) -> None:
        """See `Writer.write`; raised when one of them did not take it."""
        done = await asyncio.gather(
            *(writer.write(series, time_ns) for writer in self._writers), return_exceptions=True
        )
        problems = [one for one in done if isinstance(one, BaseException)]
        for one in problems:
            if not isinstance(one, ShipperError | OSError):
                raise one
        if problems:
            raise NotWritten("; ".join(map(str, problems)))

    async def aclose(self) -> None:
        """Let go of connections."""
        for writer in self._writers:
            await writer.aclose()

    def close(self) -> None:
        """See `Writer.close`."""
