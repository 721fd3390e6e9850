"""Real clients and a real death: the stock OpenTelemetry exporters deliver here, and a kill loses nothing answered."""

import asyncio
import http.client
import logging
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from shipper.contracts import Signal
from shipper.otlp.decode import Record, records
from tests.sources.receiver_kit import Gateway, gateway, listing, logs

RESOURCE = Resource({"service.name": "shop", "service.version": "1.4.2"})


def stored(gw: Gateway, signal: Signal) -> list[Record]:
    return list(records(signal, gw.batch(signal).payload))


def with_gateway(directory: Path, client: Callable[[str], None], check: Callable[[Gateway], None]) -> None:
    """Run a blocking client in a thread against a gateway, then look at what the gateway has."""

    async def main() -> None:
        async with gateway(directory) as gw:
            await asyncio.to_thread(client, gw.url)
            check(gw)

    asyncio.run(main())


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_the_stock_span_exporter_delivers(tmp_path: Path, compression: Compression) -> None:
    """Spans of the OpenTelemetry SDK arrive with their resource."""

    def client(url: str) -> None:
        provider = TracerProvider(resource=RESOURCE)
        exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", compression=compression)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        for n in range(3):
            with provider.get_tracer("t").start_as_current_span(f"GET /{n}"):
                pass
        provider.shutdown()

    def check(gw: Gateway) -> None:
        spans = stored(gw, Signal.TRACES)
        assert [span.name for span in spans] == ["GET /0", "GET /1", "GET /2"]
        assert {span.resource["service.version"] for span in spans} == {"1.4.2"}

    with_gateway(tmp_path, client, check)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_the_stock_log_exporter_delivers(tmp_path: Path, compression: Compression) -> None:
    """Log records of the standard library's logging, bridged by the SDK, arrive."""

    def client(url: str) -> None:
        provider = LoggerProvider(resource=RESOURCE)
        exporter = OTLPLogExporter(endpoint=f"{url}/v1/logs", compression=compression)
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the bridge is deprecated in favour of another package; any will do here
            handler = LoggingHandler(logger_provider=provider)
        logger = logging.Logger("shop")
        logger.addHandler(handler)
        logger.warning("out of stock")
        logger.error("payment failed")
        provider.shutdown()

    def check(gw: Gateway) -> None:
        found = stored(gw, Signal.LOGS)
        assert [(record.body, record.severity_text) for record in found] == [
            ("out of stock", "WARN"),
            ("payment failed", "ERROR"),
        ]

    with_gateway(tmp_path, client, check)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_the_stock_metric_exporter_delivers(tmp_path: Path, compression: Compression) -> None:
    """Data points of the SDK's meters arrive."""

    def client(url: str) -> None:
        exporter = OTLPMetricExporter(endpoint=f"{url}/v1/metrics", compression=compression)
        provider = MeterProvider([PeriodicExportingMetricReader(exporter, float("inf"))], resource=RESOURCE)
        provider.get_meter("t").create_counter("requests").add(7)
        provider.force_flush()
        provider.shutdown()

    def check(gw: Gateway) -> None:
        points = {point.name: point.value for point in stored(gw, Signal.METRICS)}
        assert points["requests"] == 7

    with_gateway(tmp_path, client, check)


@contextmanager
def victim(directory: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    command = [sys.executable, "-m", "tests.sources.receiver_victim", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().decode().strip()
        finally:
            process.kill()


def test_a_killed_gateway_has_what_it_answered_once(tmp_path: Path) -> None:
    """Killed between and within posts, over several lives; the sender repeats what was not answered, under its key."""
    batches = [(f"s{n % 3}:{n * 10}-{n * 10 + 10}", f"line {n}") for n in range(60)]
    answered = 0
    for kill_after in (7, 19, 20, 44, None):
        with victim(tmp_path) as (process, url):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
            if answered:  # an answer that was lost on its way: the sender comes with it again
                answered -= 1
            while answered < len(batches):
                key, line = batches[answered]
                headers = listing("h", f"{key}:{len(logs(line))}:1")
                connection.request("POST", "/v1/logs", logs(line), headers)
                if answered == kill_after:
                    process.send_signal(signal.SIGKILL)
                    break
                with connection.getresponse() as response:
                    assert (response.status, response.read()) == (200, b"")
                answered += 1
            connection.close()
    found: list[object] = []

    async def look() -> None:
        async with gateway(tmp_path) as gw:
            found.extend(gw.lines())

    asyncio.run(look())
    assert found == [line for _, line in batches]
