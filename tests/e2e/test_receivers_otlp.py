"""Services with stock SDKs beside a real sidecar: what they were told has arrived arrives, once, with the host's identity."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shipper.contracts import Signal
from shipper.otlp.decode import Record, records
from shipper.otlp.encode import LineEncoder, resource, scope
from shipper.testing.sink import Sink, refuse
from tests.e2e import javascript
from tests.e2e.kit import Shipper, free_port, gateway, listening, shipper, sidecar, until
from tests.e2e.test_peers import OTELCOL, Collector
from tests.e2e.test_remains import Machine

LOGS_SERVICE = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
SERVICE = """
import logging, os, sys, warnings
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
kind, http, grpc, count, compression = sys.argv[1:]
if kind == "grpc":
    import grpc as g
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    how = {"gzip": g.Compression.Gzip, "deflate": g.Compression.Deflate, "none": g.Compression.NoCompression}[compression]
    options = lambda signal: dict(endpoint=grpc, insecure=True, compression=how)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    options = lambda signal: dict(endpoint=f"{http}/v1/{signal}", compression=Compression(compression))
resource = Resource({"service.name": "shop"})
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(**options("logs"))))
spans = TracerProvider(resource=resource)
spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(**options("traces"))))
reader = PeriodicExportingMetricReader(OTLPMetricExporter(**options("metrics")), float("inf"))
meters = MeterProvider([reader], resource=resource)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    handler = LoggingHandler(logger_provider=logs)
logger = logging.Logger("shop")
logger.addHandler(handler)
counter = meters.get_meter("t").create_counter(f"served.{kind}")
for n in range(int(count)):
    logger.warning("line %d of %s", n, kind)
    with spans.get_tracer("t").start_as_current_span(f"GET /{kind}/{n}", kind=SpanKind.SERVER) as span:
        span.set_attribute("http.route", "/items/{id}")
        if n % 4 == 0:
            span.set_status(Status(StatusCode.ERROR))
    counter.add(1)
for provider in (logs, spans, meters):
    provider.force_flush()
    provider.shutdown()
"""


class Receiving:
    """A sidecar with the OTLP receiver on free ports."""

    def __init__(self, directory: Path, endpoint: str, **env: str) -> None:
        self.http_port, self.grpc_port = free_port(), free_port()
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.grpc = f"127.0.0.1:{self.grpc_port}"
        doors = {
            "SHIPPER_RECEIVERS_OTLP_HTTP": f"127.0.0.1:{self.http_port}",
            "SHIPPER_RECEIVERS_OTLP_GRPC": self.grpc,
        }
        self.process: Shipper = sidecar(directory, endpoint, **doors, **env)

    async def __aenter__(self) -> Receiving:
        await self.process.start()
        await self.process.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.process.__aexit__()


async def run(*command: str, **more: str) -> None:
    """A client, to its end, with ``more`` in its environment."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPPER_", "OTEL_"))} | more
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def found(sink: Sink, signal: Signal) -> list[Record]:
    """The records of a signal that the sink keeps, without Shipper's own."""
    return [
        record
        for request in sink.kept()
        if request.signal is signal
        for record in records(signal, request.body)
        if not record.scope.startswith("shipper")
    ]


def names(sink: Sink, signal: Signal) -> Counter[Any]:
    return Counter(record.body if signal is Signal.LOGS else record.name for record in found(sink, signal))


@pytest.mark.parametrize(("kind", "compression"), [("http", "gzip"), ("grpc", "none")])
def test_the_python_sdk_delivers_every_signal(tmp_path: Path, kind: str, compression: str) -> None:
    """Logs, spans and metrics arrive once, named by their service, with the release of the host that it did not state."""

    async def main() -> None:
        async with Sink() as sink, Receiving(tmp_path, sink.url) as receiving:
            await run(sys.executable, "-c", SERVICE, kind, receiving.http, receiving.grpc, "40", compression)
            assert await receiving.process.terminate() == 0
            assert names(sink, Signal.LOGS) == {f"line {n} of {kind}": 1 for n in range(40)}
            assert names(sink, Signal.TRACES) == {f"GET /{kind}/{n}": 1 for n in range(40)}
            served = [point for point in found(sink, Signal.METRICS) if point.name == f"served.{kind}"]
            assert [point.value for point in served] == [40]
            for record in [*found(sink, Signal.LOGS), *found(sink, Signal.TRACES), *served]:
                assert record.resource["service.name"] == "shop"
                assert record.resource["service.version"] == "1.2.3"
                assert record.resource["shipper.generation"] == "g1"

    asyncio.run(main())


KINDS = ("proto", "http", "grpc")


def test_the_javascript_sdk_delivers_every_signal(tmp_path: Path) -> None:
    """By protobuf, by JSON and by gRPC; a release that the service states itself stays."""
    modules = str(javascript.sdk() / "node_modules")

    async def main() -> None:
        async with Sink() as sink, Receiving(tmp_path, sink.url) as receiving:
            for kind in KINDS:
                await run(*javascript.command(kind, receiving.http, receiving.grpc, 20), NODE_PATH=modules)
            assert await receiving.process.terminate() == 0
            assert names(sink, Signal.LOGS) == {f"line {n} of {kind}": 1 for n in range(20) for kind in KINDS}
            assert names(sink, Signal.TRACES) == {f"GET /{kind}/{n}": 1 for n in range(20) for kind in KINDS}
            served = {point.name: point.value for point in found(sink, Signal.METRICS)}
            assert {kind: served[f"served.{kind}"] for kind in KINDS} == dict.fromkeys(KINDS, 20)
            for record in [*found(sink, Signal.LOGS), *found(sink, Signal.TRACES)]:
                assert (record.resource["service.name"], record.resource["service.version"]) == ("basket", "7.0.0")
                assert record.resource["shipper.generation"] == "g1"

    asyncio.run(main())


async def post(session: aiohttp.ClientSession, url: str, body: bytes) -> int:
    """One request; its status, 0 where the connection broke."""
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/x-protobuf"}) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, OSError):
        return 0


def lines(*texts: str) -> bytes:
    return LineEncoder(resource({"service.name": "shop"}), scope("test")).encode([text.encode() for text in texts], 1)


def test_a_kill_between_acknowledgement_and_delivery_loses_nothing(tmp_path: Path) -> None:
    """The destination is down, the sidecar is killed while a client sends, again and again: what was answered arrives."""

    async def main() -> None:
        async with Sink() as sink:
            sink.answer = refuse(503)
            receiving = Receiving(tmp_path, sink.url)
            answered: list[str] = []
            async with aiohttp.ClientSession() as session:
                for life in range(3):
                    async with receiving:
                        for n in range(30):
                            killing = asyncio.create_task(receiving.process.kill()) if n == 20 + life else None
                            line = f"{life} {n}"
                            if await post(session, f"{receiving.http}/v1/logs", lines(line)) == 200:
                                answered.append(line)
                            if killing is not None:
                                await killing
                                break
            assert len(answered) >= 60
            sink.answer = Sink().answer
            async with receiving:
                await until(lambda: set(answered) <= set(names(sink, Signal.LOGS)), "all that was answered has arrived")
                assert await receiving.process.terminate() == 0
            once = Counter(
                line for request in {each.key: each for each in sink.kept()}.values() for line in request.lines()
            )
            assert {line: once[line] for line in answered} == dict.fromkeys(answered, 1)

    asyncio.run(main())


def test_a_full_spool_holds_clients_back_and_everything_arrives_once(tmp_path: Path) -> None:
    """With the destination down and no room left a stock exporter is asked to come again, and in the end all of it is there."""

    async def main() -> None:
        async with Sink() as sink:
            sink.answer = refuse(503)
            limits = {"SHIPPER_RECEIVERS_SPOOL_MAX": "1MiB", "SHIPPER_RECEIVERS_OTLP_MAX_DECOMPRESSED": "1MiB"}
            limits["SHIPPER_RECEIVERS_OTLP_MAX_BODY"] = "1MiB"
            async with Receiving(tmp_path, sink.url, **limits) as receiving:
                async with aiohttp.ClientSession() as session:
                    filler = 0
                    while (
                        await post(session, f"{receiving.http}/v1/logs", lines(f"filler {filler} " + "x" * 60_000))
                        == 200
                    ):
                        filler += 1
                client = asyncio.create_task(
                    run(sys.executable, "-c", SERVICE, "grpc", receiving.http, receiving.grpc, "400", "none")
                )
                other = asyncio.create_task(
                    run(sys.executable, "-c", SERVICE, "http", receiving.http, receiving.grpc, "400", "none")
                )
                await until(
                    lambda: status(tmp_path)["receivers"]["otlp"]["refused"].get("full", 0) >= 3, "clients were refused"
                )
                sink.answer = Sink().answer
                await asyncio.gather(client, other)
                assert await receiving.process.terminate() == 0
            got = names(sink, Signal.LOGS)
            assert {line: got[line] for line in got if line.startswith("line")} == {
                f"line {n} of {kind}": 1 for n in range(400) for kind in ("http", "grpc")
            }
            assert sum(line.startswith("filler") for line in got) == filler

    asyncio.run(main())


def status(directory: Path) -> dict[str, Any]:
    """What `shipper status` says."""
    answer = shipper("status", "--json", f"--state-dir={directory / 'state'}")
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def test_requests_are_counted_from_received_spans_and_traces_left_out_afterwards(tmp_path: Path) -> None:
    """Server spans of a stock SDK are requests of its service; with `traces.keep` at nothing only those in error are shipped."""

    async def main() -> None:
        async with (
            Sink() as sink,
            Receiving(tmp_path, sink.url, SHIPPER_TRACES_KEEP="0", SHIPPER_REQUESTS_ROUTES="true") as receiving,
        ):
            await run(sys.executable, "-c", SERVICE, "grpc", receiving.http, receiving.grpc, "40", "gzip")
            assert await receiving.process.terminate() == 0
            counted = [
                (record.attributes["http.route"], record.attributes["outcome"], record.value)
                for request in sink.kept()
                if request.signal is Signal.METRICS
                for record in records(request.signal, request.body)
                if record.name == "shipper.requests" and record.resource["service.name"] == "shop"
            ]
            assert set(counted[-2:]) == {("/items/{id}", "ok", 30), ("/items/{id}", "error", 10)}
            assert names(sink, Signal.TRACES) == {f"GET /grpc/{n}": 1 for n in range(0, 40, 4)}

    asyncio.run(main())


def test_what_a_receiver_left_is_shipped_when_it_is_switched_off(tmp_path: Path) -> None:
    """A configuration without receivers does not strand what was acknowledged under one that had them."""

    async def main() -> None:
        async with Sink() as sink:
            sink.answer = refuse(503)
            async with Receiving(tmp_path, sink.url) as receiving:
                async with aiohttp.ClientSession() as session:
                    assert await post(session, f"{receiving.http}/v1/logs", lines("left behind")) == 200
                await receiving.process.kill()
            sink.answer = Sink().answer
            async with sidecar(tmp_path, sink.url) as process:
                await until(lambda: "left behind" in names(sink, Signal.LOGS), "it has arrived")
                assert await process.terminate() == 0

    asyncio.run(main())


def test_what_was_received_before_a_boot_arrives_as_the_life_that_received_it(tmp_path: Path) -> None:
    """The host goes down with records in a receiver's spool: the next life ships them with the release they were sent under."""

    async def main() -> None:
        async with Sink() as sink:
            sink.answer = refuse(503)
            machine = Machine(tmp_path, sink.port)
            machine.power_on()
            port = free_port()
            async with machine.sidecar(
                SHIPPER_RECEIVERS_OTLP_HTTP=f"127.0.0.1:{port}", SHIPPER_RECEIVERS_OTLP_GRPC="off"
            ) as process:
                await process.up()
                async with aiohttp.ClientSession() as session:
                    assert await post(session, f"http://127.0.0.1:{port}/v1/logs", lines("before the boot")) == 200
                await process.kill()
            sink.answer = Sink().answer
            machine.power_on()
            async with machine.sidecar() as process:
                await until(lambda: "before the boot" in names(sink, Signal.LOGS), "it has arrived")
                assert await process.terminate() == 0
            (record,) = [record for record in found(sink, Signal.LOGS) if record.body == "before the boot"]
            assert record.resource["service.version"] == "r1"

    asyncio.run(main())


def test_a_unix_socket_is_enough(tmp_path: Path) -> None:
    """Both doors may be sockets of a path; what an earlier run left there is in nobody's way."""
    http, grpc = tmp_path / "http.sock", tmp_path / "grpc.sock"
    doors = {"SHIPPER_RECEIVERS_OTLP_HTTP": f"unix:{http}", "SHIPPER_RECEIVERS_OTLP_GRPC": f"unix:{grpc}"}

    async def main() -> None:
        async with Sink() as sink:
            for n in range(2):
                async with sidecar(tmp_path, sink.url, **doors) as process:
                    await process.up()
                    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(http))) as session:
                        assert await post(session, "http://localhost/v1/logs", lines(f"by socket {n}")) == 200
                    assert await export(f"unix:{grpc}", lines(f"by gRPC {n}")) == b""
                    await (process.terminate() if n else process.kill())
            assert set(names(sink, Signal.LOGS)) == {f"by {how} {n}" for how in ("socket", "gRPC") for n in range(2)}

    asyncio.run(main())


async def export(where: str, body: bytes) -> bytes:
    """One call of the logs service."""
    import grpc

    async with grpc.aio.insecure_channel(where) as channel:
        answer: bytes = await channel.unary_unary(LOGS_SERVICE)(body)
        return answer


def test_a_gateway_takes_grpc_too(tmp_path: Path) -> None:
    """Where `gateway.grpc` says; nothing is added to the records of other hosts."""
    port, grpc_port = free_port(), free_port()

    async def main() -> None:
        async with gateway(tmp_path, port, SHIPPER_GATEWAY_GRPC=f"127.0.0.1:{grpc_port}") as process:
            await listening(grpc_port)
            assert await export(f"127.0.0.1:{grpc_port}", lines("off-host")) == b""
            assert await process.terminate() == 0
        printed = shipper("cat", str(tmp_path / "archive"), "--json")
        (record,) = [line for line in printed.stdout.splitlines() if "off-host" in line]
        assert "shipper.generation" not in record

    asyncio.run(main())


def test_a_sidecar_does_not_send_to_its_own_receiver(tmp_path: Path) -> None:
    """The endpoint of every service on the host is easily given to the sidecar, too; that is a circle, and said."""

    async def main() -> None:
        port = free_port()
        doors = {"SHIPPER_RECEIVERS_OTLP_HTTP": f"127.0.0.1:{port}", "SHIPPER_RECEIVERS_OTLP_GRPC": "off"}
        async with sidecar(tmp_path, f"http://127.0.0.1:{port}", **doors) as process:
            assert await process.ended() == 1
            assert "our own listener" in process.said()
            assert "Traceback" not in process.said()

    asyncio.run(main())


@pytest.mark.skipif(not OTELCOL, reason="OTELCOL_BINARY names no OpenTelemetry Collector")
@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_a_collector_delivers(tmp_path: Path, compression: str) -> None:
    """A Collector on the host, with whatever coding it was given, hands over what it was sent."""

    async def main() -> None:
        async with Sink() as sink, Receiving(tmp_path, sink.url) as receiving:
            sender = {"sender": {"compression": compression}}
            async with Collector(tmp_path / "col", free_port(), receiving.http, **sender) as collector:
                async with aiohttp.ClientSession() as session:
                    for n in range(5):
                        body = lines(*(f"line {n} {m}" for m in range(500)))
                        assert await post(session, f"{collector.url}/v1/logs", body) == 200
            assert await receiving.process.terminate() == 0
            assert names(sink, Signal.LOGS) == {f"line {n} {m}": 1 for n in range(5) for m in range(500)}

    asyncio.run(main())
