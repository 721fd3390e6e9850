"""Exporters that speak TCP pass the suite of what networks and broken servers do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.testing.sink import Sink
from shipper.testing.wire import WireContract, WireDestination
from shipper_exporters.archive import ArchiveExporter, ArchiveSettings
from shipper_exporters.datadog import DatadogExporter, DatadogSettings
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from shipper_exporters.forward import ForwardExporter, ForwardSettings
from shipper_exporters.logstash import LogstashExporter, LogstashSettings
from shipper_exporters.loki import LokiExporter, LokiSettings
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from shipper_exporters.pushgateway import PushgatewayExporter, PushgatewaySettings
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.exporters import datadog_intake, splunk_hec
from tests.exporters.beats_server import BeatsServer
from tests.exporters.fake_elastic import FakeElastic
from tests.exporters.fake_pushgateway import FakePushgateway
from tests.exporters.fake_s3 import BUCKET, FakeS3
from tests.exporters.fluent_server import FluentServer
from tests.exporters.grpc_sink import GrpcSink
from tests.exporters.loki_server import PUSH_PATHS, STORED
from tests.exporters.remote_write_two import receive, receive_one

Make = Callable[[ExporterContext, str], Exporter]


class Server(WireDestination):
    """A fake of the tests; ``make`` gets ``127.0.0.1`` and the port."""

    def __init__(self, port: int, make: Make) -> None:
        self.port = port
        self._make = make

    def exporter_at(self, context: ExporterContext, port: int) -> Exporter:
        return self._make(context, f"127.0.0.1:{port}")


class TestOtlp(WireContract):
    """OTLP/HTTP."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with Sink(clock=clock) as sink:
            yield Server(
                sink.port, lambda context, at: OtlpExporter("x", OtlpSettings(endpoint=f"http://{at}"), context)
            )


class TestOtlpGrpc(WireContract):
    """OTLP/gRPC."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with GrpcSink() as sink:
            yield Server(
                sink.port,
                lambda context, at: OtlpExporter("x", OtlpSettings(endpoint=f"http://{at}", protocol="grpc"), context),
            )


class TestLoki(WireContract):
    """Loki's own push API."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with Sink(clock=clock, paths=PUSH_PATHS) as sink:
            sink.answer = STORED
            yield Server(
                sink.port, lambda context, at: LokiExporter("x", LokiSettings(endpoint=f"http://{at}"), context)
            )


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", datadog_intake.KEY)
    monkeypatch.setenv("SPLUNK_HEC_TOKEN", splunk_hec.TOKEN)


class TestElasticsearch(WireContract):
    """The bulk API."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with FakeElastic() as node:
            yield Server(
                node.port,
                lambda context, at: ElasticsearchExporter("x", ElasticsearchSettings(endpoint=f"http://{at}"), context),
            )


class TestSplunk(WireContract):
    """HEC; acknowledgements are asked for by requests like any other."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with splunk_hec.HecServer() as server:
            yield Server(
                server.port,
                lambda context, at: SplunkExporter(
                    "x", SplunkSettings(endpoint=f"http://{at}", acknowledgement=False), context
                ),
            )


class TestDatadog(WireContract):
    """The logs intake."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with datadog_intake.Intake() as intake:
            yield Server(
                intake.port,
                lambda context, at: DatadogExporter(
                    "x", DatadogSettings(logs_endpoint=f"http://{at}/api/v2/logs"), context
                ),
            )


class TestArchive(WireContract):
    """A bucket, by obstore."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with FakeS3() as bucket:
            yield Server(
                bucket.port,
                lambda context, at: ArchiveExporter(
                    "x",
                    ArchiveSettings(url=f"s3://{BUCKET}", options={**bucket.options, "endpoint": f"http://{at}"}),
                    context,
                ),
            )


class TestForward(WireContract):
    """Fluent's protocol."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with FluentServer() as server:
            yield Server(server.port, lambda context, at: ForwardExporter("x", ForwardSettings(endpoint=at), context))


class TestLogstash(WireContract):
    """The lumberjack protocol."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with BeatsServer() as server:
            yield Server(server.port, lambda context, at: LogstashExporter("x", LogstashSettings(endpoint=at), context))


class TestRemoteWrite(WireContract):
    """Remote write 2.0, whose answers say what was written."""

    signal = Signal.METRICS

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with Sink(clock=clock) as sink:
            sink.judge = receive
            yield Server(
                sink.port,
                lambda context, at: PrometheusExporter(
                    "x", PrometheusSettings(endpoint=f"http://{at}/v1/metrics", protocol="2.0"), context
                ),
            )


class TestRemoteWriteOne(WireContract):
    """Remote write 1.0, where any success is one."""

    signal = Signal.METRICS

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with Sink(clock=clock) as sink:
            sink.judge = receive_one
            yield Server(
                sink.port,
                lambda context, at: PrometheusExporter(
                    "x", PrometheusSettings(endpoint=f"http://{at}/v1/metrics", protocol="1.0"), context
                ),
            )


class TestPushgateway(WireContract):
    """A Pushgateway."""

    signal = Signal.METRICS

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[WireDestination]:
        async with FakePushgateway() as server:
            yield Server(
                server.port,
                lambda context, at: PushgatewayExporter("x", PushgatewaySettings(endpoint=f"http://{at}"), context),
            )
