"""Sends logs to Fluentd or Fluent Bit by the Fluent forward protocol, version 1, and counts only what they acknowledge.

Specification: Fluentd wiki, "Forward Protocol Specification v1". The protocol knows events, which have a time, a tag and a
map: so logs go, and traces and metrics do not. What a record becomes is in ``_forward_records``, what goes over the wire in
``_forward_request``, what is said on a connection in ``_forward_session``, connections are in ``_tcp``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected
from shipper_exporters._forward.records import Fields
from shipper_exporters._forward.request import Encoder, ForwardBody
from shipper_exporters._forward.session import Door, deliver
from shipper_exporters._forward.settings import PORT, ForwardSettings, check, parse_tag
from shipper_exporters._tcp.link import Link
from shipper_exporters._tcp.session import Tcp
from shipper_exporters._tcp.settings import Server
from shipper_exporters._unfinished import Unfinished

__all__ = ["ForwardExporter", "ForwardSettings"]


class ForwardExporter(Exporter):
    """Fluent forward with acknowledgements; see the module."""

    Settings: ClassVar[type[Any]] = ForwardSettings
    signals = frozenset({Signal.LOGS})
    many_lives = True  # each record names its own

    def __init__(self, name: str, settings: ForwardSettings, context: ExporterContext) -> None:
        self.name = name
        check(name, settings)
        door = Door(settings.shared_key_file, settings.username, settings.password_file)
        self._tcp = Tcp(name, settings, context, port=PORT, greet=door)
        self._encoder = Encoder(
            Fields(settings.message_key, settings.id_key),
            parse_tag(name, settings.tag),
            compress=settings.compression == "gzip",
        )
        self._unfinished = Unfinished[set[str]](bool)  # the chunks that were acknowledged
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
            body = self._encoder.encode(request)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, body, sum(len(message.data) for message in body.messages))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. Messages that were acknowledged before another failed are not sent again with it."""
        body: ForwardBody = prepared.body
        with self._unfinished.attempt(prepared.request_id, set[str]) as acknowledged:

            async def exchange(link: Link, server: Server) -> None:
                left = [message for message in body.messages if message.chunk not in acknowledged]
                await deliver(link, server, left, acknowledged)

            await self._tcp.run(exchange, deadline)
        return Accepted()

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a Fluentd on this host, unless the settings say so."""
        return self._tcp.trusted

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return f"Fluent forward to {self._tcp.describe()}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._tcp.aclose()
