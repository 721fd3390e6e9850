"""Writes records to files, as OTLP JSON lines by OpenTelemetry's file exporter specification or as lines for people.

A request is written once its lines are whole in the file and on the disk. That is off this host only where the file system's
server is; ``_file_place`` says which. How files are kept is in ``_file_rolling``, how records become lines in ``_jsonlines`` and
``_readable``, and what keeps output that is tailed from going round in ``_own_output``.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request
from shipper.errors import MalformedOtlp, Rejected, Retryable
from shipper.ids import uuid7
from shipper_exporters._file.own_output import WORDS, foreign
from shipper_exporters._file.place import failure, survives
from shipper_exporters._file.readable import readable
from shipper_exporters._file.rolling import Rolling, RollingFile
from shipper_exporters._file.settings import FileSettings, paths
from shipper_exporters._http.exchange import Patience
from shipper_exporters._otlp.jsonlines import MOST, json_lines

__all__ = ["FileExporter", "FileSettings"]

_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class LinesBody:
    """A request as lines, each with its end, and how many records were left out as our own output."""

    lines: bytes = field(repr=False)
    left_out: int


class FileExporter(Exporter):
    """Files; see the module."""

    Settings: ClassVar[type[Any]] = FileSettings

    def __init__(self, name: str, settings: FileSettings, context: ExporterContext) -> None:
        self.name = name
        self.many_lives = "{life}" not in settings.path
        self._settings = settings
        self._context = context
        rolling = Rolling(
            settings.rotate_bytes, settings.rotate_every, settings.rotate_keep, settings.compression == "gzip"
        )
        self._files = {
            signal: RollingFile(path, rolling, sync=settings.fsync)
            for signal, path in paths(name, settings, context).items()
        }
        # Each request is an fsync, which a slow disk does some tens of in a second; nobody else is burdened.
        self.limits = Limits(max_wire_bytes=4 << 20, requests_per_second=5.0, burst=20, max_in_flight=1)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"shipper-{name}")
        self._began = uuid7(context.clock.wall_ns())  # requests of earlier runs have smaller ids
        self._unknown: dict[str, None] = {}  # requests of which nobody knows how far they got
        self._off_host = self._closed = False

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        text = self._settings.format == "text"
        body = lines_of(self.name, request, text=text)
        return Prepared(request.id, request.signal, body, len(body.lines))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`."""
        body: LinesBody = prepared.body
        file = self._files[prepared.signal]
        if deadline.expired():
            raise Retryable(f"{file.path}: the deadline came before it could be written", unsent=True)
        if body.lines:
            await self._append(prepared.request_id, file, body.lines, deadline)
        return Accepted(body.left_out, WORDS if body.left_out else "")

    def trusted(self) -> bool:
        """See `Exporter.trusted`: only where what is on the disk is on the disk of another host."""
        return self._settings.trust_local or self._off_host

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return f"files at {self._settings.path}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        if not self._closed:
            self._closed = True
            self._thread.submit(self._close)  # behind what may still be writing
            self._thread.shutdown(wait=False)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()

    async def _append(self, request_id: str, file: RollingFile, lines: bytes, deadline: Deadline) -> None:
        doubt = self._settings.format == "json" and (request_id in self._unknown or request_id < self._began)
        wall_ns = self._context.clock.wall_ns()

        def append() -> bool:
            file.append(lines, wall_ns, doubt=doubt)
            return self._settings.fsync and survives(file.descriptor)

        self._unknown[request_id] = None
        while len(self._unknown) > _REMEMBERED:
            del self._unknown[next(iter(self._unknown))]
        try:
            async with Patience(self._context.clock, self._settings.timeout, deadline):
                self._off_host = await asyncio.get_running_loop().run_in_executor(self._thread, append)
        except TimeoutError:
            raise Retryable(f"{file.path}: it was not written in time") from None
        except OSError as error:
            if not doubt:  # nothing of this attempt is there; of one before it that is not known by that
                self._unknown.pop(request_id, None)
            raise failure(error, file.path) from None
        self._unknown.pop(request_id, None)


def lines_of(name: str, request: Request, *, text: bool, terminal: bool = False, most: int = MOST) -> LinesBody:
    """A request as lines; ``most``: bytes of a JSON line. Raises `Rejected` when it is no OTLP."""
    payloads: list[bytes] = []
    left_out = 0
    try:
        for batch in request.batches:
            payload, ours = foreign(batch)
            payloads.append(payload)
            left_out += ours
        whole = b"".join(payloads)  # which is a request, too
        signal = request.signal
        lines = readable(signal, whole, terminal=terminal) if text else json_lines(signal, whole, most)
    except MalformedOtlp as error:
        raise Rejected(f"{name}: {error}") from None
    return LinesBody(b"\n".join([*lines, b""]), left_out)
