"""Writes records to standard output, as OTLP JSON lines or as lines for people: to look, and for whatever collects it.

What a pipe took is all that can be known, so it proves nothing: it is not off the host, and never trusted unless told to. A
reader that is slow is waited for; one that is gone is for a person to mend. A request that broke off in the middle of a line is
gone on with where it stopped, or that line is ended first, so that no line is ever torn.
"""

from __future__ import annotations

import asyncio
import errno
import sys
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from shipper.clock import Deadline
from shipper.config.section import Section
from shipper.config.units import Seconds
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request
from shipper.errors import DeliveryError, Retryable, Unusable
from shipper_exporters._file.own_output import WORDS
from shipper_exporters._file.stdout_pipe import SharedOutput
from shipper_exporters._http.exchange import Patience
from shipper_exporters._http.settings import wrong
from shipper_exporters.file import LinesBody, lines_of

__all__ = ["StdoutExporter", "StdoutSettings"]


class StdoutSettings(Section, frozen=True):
    """What ``options`` of a destination of type ``stdout`` may hold."""

    format: Annotated[
        Literal["auto", "json", "text"],
        Meta(description="OTLP JSON lines, or lines for people; auto: the latter on a terminal."),
    ] = "auto"
    timeout: Annotated[Seconds, Meta(description="How long a reader may read nothing before it is tried again.")] = 60.0
    trust_local: Annotated[
        bool, Meta(description="Count what was written as off the host, because whoever reads it sees to that.")
    ] = False


class StdoutExporter(Exporter):
    """Standard output; see the module."""

    Settings: ClassVar[type[Any]] = StdoutSettings
    many_lives = True  # there is one standard output
    descriptor: ClassVar[int] = 1
    most: ClassVar[int] = 16 << 10  # bytes of a line: container runtimes and journald cut longer ones in pieces

    def __init__(self, name: str, settings: StdoutSettings, context: ExporterContext) -> None:
        if settings.timeout <= 0:
            raise wrong(name, "timeout", "must be more than 0")
        self.name = name
        self._settings = settings
        self._context = context
        # One at a time, as lines must not mix; the pipe itself is the pace, the rest is for people who look on.
        self.limits = Limits(requests_per_second=5.0, burst=20, max_in_flight=1)
        self._output = SharedOutput(self.descriptor)
        self._terminal = self._output.terminal
        self._text = settings.format == "text" or (settings.format == "auto" and self._terminal)
        self._turn = asyncio.Lock()
        self._broken_off: tuple[str, bytes, int] | None = None  # a request, its lines, and how much of them is written

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        body = lines_of(self.name, request, text=self._text, terminal=self._terminal, most=self.most)
        return Prepared(request.id, request.signal, body, len(body.lines))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`."""
        body: LinesBody = prepared.body
        if deadline.expired():
            raise Retryable("standard output: the deadline came before it could be written", unsent=True)
        if sys.__stdout__ is None:  # it was closed when we were started, and what has its number by now is another file
            raise Unusable("standard output: it is closed")
        try:
            async with Patience(self._context.clock, self._settings.timeout, deadline) as patience, self._turn:
                await self._finish_line(prepared.request_id, patience)
                await self._write(prepared.request_id, body.lines, patience)
        except TimeoutError:
            raise Retryable("standard output: its reader reads nothing") from None
        except OSError as error:
            raise _failure(error) from None
        return Accepted(body.left_out, WORDS if body.left_out else "")

    def trusted(self) -> bool:
        """See `Exporter.trusted`: never by itself."""
        return self._settings.trust_local

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return "standard output"

    async def _finish_line(self, request_id: str, patience: Patience) -> None:
        """End the line in which another request broke off."""
        if self._broken_off is None or self._broken_off[0] == request_id:
            return
        other, lines, at = self._broken_off
        if at and lines[at - 1] != 0x0A:
            await self._write(other, lines[: lines.index(b"\n", at) + 1], patience)
        self._broken_off = None

    async def _write(self, request_id: str, lines: bytes, patience: Patience) -> None:
        at = self._broken_off[2] if self._broken_off is not None else 0

        def wrote(count: int) -> None:
            nonlocal at
            at += count
            self._broken_off = (request_id, lines, at)
            patience.progress()

        await self._output.write(memoryview(lines)[at:], wrote)
        self._broken_off = None


def _failure(error: OSError) -> DeliveryError:
    if error.errno == errno.EPIPE:
        return Unusable("standard output: nobody reads it any more")
    if error.errno == errno.EBADF:
        return Unusable("standard output: it is closed")
    return Retryable(f"standard output: {error.strerror or error}")
