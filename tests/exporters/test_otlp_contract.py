"""The OTLP exporter passes the suite that every exporter has to pass, in each of its protocols."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext
from shipper.testing import sink as http
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper.testing.sink import Sink
from shipper_exporters._otlp.settings import Compression, Protocol
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters import grpc_sink as grpc
from tests.exporters.grpc_sink import GrpcSink

HTTP_ANSWERS: dict[Fault, http.Answer] = {
    Fault.BUSY: http.refuse(429, retry_after="7"),
    Fault.BROKEN: http.cut_off(),
    Fault.STUCK: http.never(),
    Fault.SLOW: http.held(),
    Fault.MISCONFIGURED: http.refuse(401, "who are you?"),
    Fault.STRANGER: http.html(),
    Fault.TOO_LARGE: http.refuse(413),
    Fault.REFUSING: http.refuse(400, "bad data"),
    Fault.LYING: http.lie(),
}


def retry_info(seconds: int) -> str:
    """The details of a status as a server sends them."""
    detail = Any()
    detail.Pack(RetryInfo(retry_delay={"seconds": seconds}))
    return base64.b64encode(Status(code=14, details=[detail]).SerializeToString()).decode().rstrip("=")


GRPC_ANSWERS: dict[Fault, grpc.Answer] = {
    Fault.BUSY: grpc.says(14, "later", grpc_status_details_bin=retry_info(7)),
    Fault.BROKEN: grpc.fault("cut off", keep=True),
    Fault.STUCK: grpc.fault("never"),
    Fault.SLOW: grpc.fault("held", keep=True),
    Fault.MISCONFIGURED: grpc.says(16, "who are you?"),
    Fault.STRANGER: grpc.PAGE,
    Fault.TOO_LARGE: grpc.says(8, "grpc: received message larger than max (5 vs. 4)"),
    Fault.REFUSING: grpc.says(3, "bad data"),
    Fault.LYING: grpc.LIE,
}


class HttpDestination(Destination):
    """A sink that plays every fault."""

    def __init__(self, sink: Sink, protocol: Protocol, compression: Compression) -> None:
        self._sink = sink
        self._settings = OtlpSettings(endpoint=sink.url, protocol=protocol, compression=compression)

    def exporter(self, context: ExporterContext) -> Exporter:
        return OtlpExporter("sink", self._settings, context)

    async def healthy(self) -> None:
        await self._sink.come_up()
        self._sink.answer = http.accept()
        self._sink.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._sink.go_down()
        else:
            self._sink.answer = HTTP_ANSWERS[fault]

    async def stored(self) -> Sequence[Held]:
        return [Held(request.key, tuple(request.lines())) for request in self._sink.kept()]


class GrpcDestination(Destination):
    """The same over gRPC."""

    def __init__(self, sink: GrpcSink) -> None:
        self._sink = sink
        self._settings = OtlpSettings(endpoint=sink.url, protocol="grpc")

    def exporter(self, context: ExporterContext) -> Exporter:
        return OtlpExporter("sink", self._settings, context)

    async def healthy(self) -> None:
        await self._sink.come_up()
        self._sink.answer = grpc.OK
        self._sink.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._sink.go_down()
        else:
            self._sink.answer = GRPC_ANSWERS[fault]

    async def stored(self) -> Sequence[Held]:
        return [Held(call.headers["idempotency-key"], tuple(call.lines())) for call in self._sink.kept()]


class TestOtlpExporter(ExporterContract):
    """The suite, against a real socket."""

    protocol: Protocol = "http/protobuf"
    compression: Compression = "gzip"

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with Sink(clock=clock) as sink:
            yield HttpDestination(sink, self.protocol, self.compression)


class TestOtlpJson(TestOtlpExporter):
    """The suite with bodies of JSON, compressed by zstd."""

    protocol = "http/json"
    compression = "zstd"


class TestOtlpGrpc(ExporterContract):
    """The suite over gRPC."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with GrpcSink() as sink:
            yield GrpcDestination(sink)
