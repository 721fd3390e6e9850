"""A place that speaks OTLP/gRPC (opentelemetry-proto docs/specification.md, OTLP/gRPC).

What names a request to a Shipper gateway over HTTP, its headers, does so here as metadata; the questions that a gateway is
asked are methods of a service of its own, whose messages are as over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Signal
from shipper.errors import DeliveryError
from shipper_exporters._http.grpc import Grpc, Reply
from shipper_exporters._otlp.answers import MAX_ANSWER
from shipper_exporters._otlp.grpc_answers import UNIMPLEMENTED, failure, passing, success
from shipper_exporters._otlp.place import GATEWAY_HEADER, Place, Said
from shipper_exporters._otlp.request import OtlpBody, framed
from shipper_exporters._otlp.settings import Address

EXPORT = {
    signal: f"/opentelemetry.proto.collector.{package}.v1.{service}/Export"
    for signal, package, service in (
        (Signal.LOGS, "logs", "LogsService"),
        (Signal.TRACES, "trace", "TraceService"),
        (Signal.METRICS, "metrics", "MetricsService"),
    )
}
HELLO = "/shipper.v1.Gateway/Hello"
KNOWN = "/shipper.v1.Gateway/Known"


class GrpcPlace(Place):
    """See `Place`. ``metadata``: as `shipper_exporters._otlp.http.Headers`."""

    def __init__(
        self, address: Address, client: Grpc, metadata: Callable[[], Mapping[str, str]], clock: Clock, life: str
    ) -> None:
        super().__init__(address.name, clock, life, asks=address.base is not None)
        self._address = address
        self._client = client
        self._metadata = metadata

    async def post(self, signal: Signal, body: OtlpBody, deadline: Deadline) -> tuple[Accepted, str]:
        """See `Place.post`."""
        url = self._address.urls[signal]
        metadata = {**self._metadata(), **body.headers}
        reply = await self._client.call(url, EXPORT[signal], body.data, deadline, MAX_ANSWER, metadata)
        if reply.code != 0:
            raise self._failure(reply)
        return success(signal, reply.data, self.name), _gateway(reply)

    async def ask(self, life: str, limit: int) -> Said:
        """See `Place.ask`."""
        assert self._address.base is not None
        reply = await self._client.call(
            self._address.base,
            KNOWN if life else HELLO,
            framed(life.encode(), compressed=False),
            Deadline(self.clock),
            limit,
            self._metadata(),
        )
        return Said(
            _gateway(reply),
            reply.data,
            None if reply.code == 0 else self._failure(reply),
            passing(reply),
            reply.code == UNIMPLEMENTED,
        )

    def _failure(self, reply: Reply) -> DeliveryError:
        return failure(reply, self.name, self.clock.wall_ns())


def _gateway(reply: Reply) -> str:
    return reply.metadata.get(GATEWAY_HEADER.lower(), "")
