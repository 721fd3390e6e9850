"""Sends logs to Logstash by the lumberjack protocol, version 2: to its Beats input, as Filebeat does.

Documents have the fields of the Elastic Common Schema (``_ecs``), and in ``[@metadata][_id]`` an id that is the same whenever
a record is sent again. How they go over the wire is in ``_lumberjack``, what comes back in ``_lumberjack_session``,
connections are in ``_tcp``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from shipper import __version__
from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected
from shipper.otlp.rows import log_blocks
from shipper_exporters._elasticsearch.ecs import EcsLogs
from shipper_exporters._logstash.lumberjack import Window, Windows
from shipper_exporters._logstash.session import Journey
from shipper_exporters._logstash.settings import PORT, LogstashSettings, check
from shipper_exporters._tcp.session import Tcp
from shipper_exporters._unfinished import Unfinished

__all__ = ["LogstashExporter", "LogstashSettings"]


class LogstashExporter(Exporter):
    """Lumberjack with acknowledgements; see the module."""

    Settings: ClassVar[type[Any]] = LogstashSettings
    signals = frozenset({Signal.LOGS})  # a metric or a span is no event of a log, and Beats have no form for them
    many_lives = True  # each document names its own

    def __init__(self, name: str, settings: LogstashSettings, context: ExporterContext) -> None:
        self.name = name
        check(name, settings)
        self._tcp = Tcp(name, settings, context, port=PORT)
        self._documents = EcsLogs()
        self._compress = settings.compression == "zlib"
        about = {"beat": settings.index, "type": "_doc", "version": __version__}
        self._metadata = b'",' + msgspec.json.encode(about)[1:] + b","
        self._unfinished = Unfinished[Journey](lambda journey: journey.begun)
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
        )

    async def start(self) -> None:
        """See `Exporter.start`."""
        self._tcp.open()

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        try:
            body = self._windows(request)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, body, sum(len(window.data) for window in body))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. Documents that were acknowledged before it failed are not sent again with the others."""
        body: tuple[Window, ...] = prepared.body
        with self._unfinished.attempt(prepared.request_id, lambda: Journey(body)) as journey:
            await self._tcp.run(journey.go, deadline)
        return Accepted()

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a Logstash on this host, unless the settings say so."""
        return self._tcp.trusted

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return f"Logstash at {self._tcp.describe()}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._tcp.aclose()

    def _windows(self, request: Request) -> tuple[Window, ...]:
        """The documents of a request, in order."""
        windows = Windows(compress=self._compress)
        for batch in request.batches:
            before = f'{{"@metadata":{{"_id":"{batch.life}.{batch.stream}.{batch.cut.start}.'.encode()
            number = 0
            for block in log_blocks(batch.payload):
                for documents in self._documents.documents(block, batch.cut.start + number, batch.cut.observed_ns):
                    last = number + len(documents)
                    windows.add([b"%b%d%b" % (before, at, self._metadata) for at in range(number, last)], documents)
                    number = last
        return windows.all()
