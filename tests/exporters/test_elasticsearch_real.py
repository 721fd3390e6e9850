"""Real nodes of OpenSearch and Elasticsearch have what the exporter says they have, also when answers get lost on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, Batch, Cut, ExporterContext, Request, Signal
from shipper.errors import Retryable, Unusable
from shipper.ids import uuid7
from shipper.testing.streams import log_batch
from shipper_exporters._elasticsearch.ecs_text import timestamp
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from tests.exporters.relay import Relay, until_answered
from tests.exporters.search_nodes import Elasticsearch, Node, OpenSearch

pytestmark = pytest.mark.peer

CLOCK = SystemClock()
BEGAN = 1_700_000_000_123_456_000


@pytest.fixture(scope="module", params=[OpenSearch, Elasticsearch], ids=lambda kind: str(kind.name))
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    kind: type[Node] = request.param
    if not kind.home:
        pytest.skip(f"needs {kind.name.upper()}_HOME, a folder made by tests/peers/{kind.name}/assemble.sh")
    with kind(tmp_path_factory.mktemp(kind.name)) as running:
        yield running


@asynccontextmanager
async def exporting(url: str, life: str, **settings: Any) -> AsyncIterator[ElasticsearchExporter]:
    context = ExporterContext(CLOCK, life, 1, "Shipper/test")
    exporter = ElasticsearchExporter("os", ElasticsearchSettings(endpoint=url, **settings), context)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: ElasticsearchExporter, one: Request) -> Accepted:
    return await until_answered(exporter, one, CLOCK)


def new_life() -> str:
    return uuid7(time.time_ns())


def request(*batches: Batch) -> Request:
    return Request(uuid7(time.time_ns()), batches[0].signal, batches)


def identity(message: Any, life: str) -> None:
    pairs = {
        "service.name": "checkout", "service.version": "1.4.2", "deployment.environment.name": "prod", "host.id": "i-0abc",
        "host.name": "ip-10-0-0-1", "shipper.generation": "g7", "shipper.life.id": life, "process.pid": 77,
    }  # fmt: skip
    for key, value in pairs.items():
        put(message.attributes, key, value)


def put(attributes: Any, key: str, value: str | int | float) -> None:
    added = attributes.add(key=key).value
    if isinstance(value, str):
        added.string_value = value
    elif isinstance(value, int):
        added.int_value = value
    else:
        added.double_value = value


def logs(life: str, count: int, start: int = 0) -> Batch:
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add()
    identity(resource.resource, life)
    scope = resource.scope_logs.add()
    scope.scope.name = "shop.cart"
    for number in range(count):
        log = scope.log_records.add(time_unix_nano=BEGAN + number, observed_time_unix_nano=BEGAN + 5 * 10**9)
        log.severity_number, log.severity_text = (17, "ERROR") if number % 7 == 0 else (9, "INFO")
        log.body.string_value = f'line "{number}" é漢🚀\twith \\ and\nmore'
        log.trace_id, log.span_id = (number + 1).to_bytes(16, "big"), (number + 1).to_bytes(8, "big")
        put(log.attributes, "http.response.status_code", 500 + number)
        put(log.attributes, "cart.items", number)
        put(log.attributes, "cart.total", number + 0.5)
        put(log.attributes, "cart", "x" if number % 2 else "y")  # beside cart.items: a value and an object at once
        put(log.attributes, "exception.stacktrace", f"Traceback {number}")
    return batch(life, Signal.LOGS, message.SerializeToString(), count, start)


def batch(life: str, signal: Signal, payload: bytes, count: int, start: int = 0) -> Batch:
    return Batch(life, "file-1", signal, Cut(start, start + count * 9, start, start + count * 9, count, BEGAN), payload)


def test_round_trip_ecs(node: Node) -> None:
    """N distinct records in, N out, each field as it was, found by what Kibana's users filter by and by their life."""
    life = new_life()

    async def scenario() -> None:
        async with exporting(node.url, life) as exporter:
            assert await send(exporter, request(logs(life, 600), logs(life, 400, 90_000))) == Accepted()

    asyncio.run(scenario())
    index = "logs-generic-default"
    assert node.count(index, {"term": {"labels.shipper_life_id": life}}) == 1000
    errors = {"bool": {"filter": [{"term": {"labels.shipper_life_id": life}}, {"term": {"log.level": "ERROR"}}]}}
    assert node.count(index, errors) == 144
    found = node.search(index, {"term": {"labels.shipper_life_id": life}})
    assert sorted(one["event"]["sequence"] for one in found) == [*range(600), *range(90_000, 90_400)]
    for one in found:
        number = one["event"]["sequence"] % 90_000
        assert one == {
            "@timestamp": timestamp(BEGAN + number),
            "message": f'line "{number}" é漢🚀\twith \\ and\nmore',
            "event": {
                "sequence": one["event"]["sequence"], "created": timestamp(BEGAN + 5 * 10**9),
                "severity": 17 if number % 7 == 0 else 9,
            },
            "log": {"level": "ERROR" if number % 7 == 0 else "INFO", "logger": "shop.cart"},
            "trace": {"id": f"{number + 1:032x}"},
            "span": {"id": f"{number + 1:016x}"},
            "error": {"stack_trace": f"Traceback {number}"},
            "http": {"response": {"status_code": 500 + number}},
            "service": {"name": "checkout", "version": "1.4.2", "environment": "prod"},
            "host": {"id": "i-0abc", "name": "ip-10-0-0-1"},
            "process": {"pid": 77},
            "labels": {"cart": "x" if number % 2 else "y", "shipper_generation": "g7", "shipper_life_id": life},
            "numeric_labels": {"cart_items": number, "cart_total": number + 0.5},
            "data_stream": {"type": "logs", "dataset": "generic", "namespace": "default"},
            "agent": {"name": "otlp"},
            "ecs": {"version": "8.11.0"},
        }  # fmt: skip


def test_round_trip_otel(node: Node) -> None:
    """The same with documents of the OpenTelemetry mapping, in a namespace that the records say."""
    life = new_life()

    async def scenario() -> None:
        settings = {"mapping": "otel", "namespace": "{deployment.environment.name}"}
        async with exporting(node.url, life, **settings) as exporter:
            assert await send(exporter, request(logs(life, 300))) == Accepted()

    asyncio.run(scenario())
    found = node.search("logs-generic.otel-prod", {"term": {"resource.attributes.shipper.life.id": life}})
    assert [one["body"]["text"] for one in found] == [f'line "{n}" é漢🚀\twith \\ and\nmore' for n in range(300)]
    assert found[14] == {
        "@timestamp": timestamp(BEGAN + 14),
        "observed_timestamp": timestamp(BEGAN + 5 * 10**9),
        "severity_text": "ERROR",
        "severity_number": 17,
        "trace_id": f"{15:032x}",
        "span_id": f"{15:016x}",
        "attributes": {
            "http.response.status_code": 514, "cart.items": 14, "cart.total": 14.5, "cart": "y",
            "exception.stacktrace": "Traceback 14",
        },
        "body": {"text": 'line "14" é漢🚀\twith \\ and\nmore'},
        "data_stream": {"type": "logs", "dataset": "generic.otel", "namespace": "prod"},
        "resource": {"attributes": found[0]["resource"]["attributes"]},
        "scope": {"name": "shop.cart"},
    }  # fmt: skip


def test_spans_and_data_points(node: Node) -> None:
    """Spans with their events, and data points, are there by their life."""
    life = new_life()
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    identity(resource.resource, life)
    scope = resource.scope_spans.add()
    for number in range(50):
        span = scope.spans.add(name=f"GET /{number}", kind=2, start_time_unix_nano=BEGAN, end_time_unix_nano=BEGAN + 7)
        span.trace_id, span.span_id = b"t" * 16, number.to_bytes(8, "big")
        put(span.attributes, "http.route", f"/{number}")
        event = span.events.add(name="exception", time_unix_nano=BEGAN + 5)
        put(event.attributes, "exception.message", "no")
    points = log_batch([f"p{number}" for number in range(50)], life=life, signal=Signal.METRICS)

    async def scenario() -> None:
        async with exporting(node.url, life) as exporter:
            spans = batch(life, Signal.TRACES, message.SerializeToString(), 50)
            for _ in range(2):
                assert await send(exporter, request(spans)) == Accepted()
                assert await send(exporter, request(points)) == Accepted()

    asyncio.run(scenario())
    mine = {"term": {"resource.attributes.shipper.life.id": life}}
    spans = node.search("traces-generic.otel-default", mine)
    assert sorted(one["name"] for one in spans) == sorted(f"GET /{number}" for number in range(50))
    assert {one["duration"] for one in spans} == {7}
    assert node.count("logs-generic.otel-default", mine) == 50
    assert node.count("metrics-generic.otel-default", {"term": {"metrics.line": 1}}) == 50


@pytest.mark.parametrize("roll_over", [False, True], ids=["same index", "rolled over"])
@pytest.mark.parametrize("trouble", ["lose", "drop", "503", "429"])
def test_trouble_on_the_way(node: Node, trouble: str, roll_over: bool) -> None:
    """Whatever happens to single answers, and to the index in between, each record is there once."""
    if roll_over and not node.lists_data_streams:
        pytest.skip("this node is without the module that lists data streams")
    life = new_life()
    stream = f"logs-trouble_{trouble}_{roll_over}-default".lower()

    async def scenario() -> None:
        async with Relay(node.url) as relay:
            async with exporting(relay.url, life, dataset=stream.split("-")[1]) as exporter:
                assert await send(exporter, request(log_batch(["first"], life=life))) == Accepted()
                for number in range(3):
                    relay.script.extend([trouble, trouble])  # the second for a kept connection that broke
                    lines = [f"{number} {at}" for at in range(20)]
                    prepared = exporter.prepare(request(log_batch(lines, life=life, start=1000 * (1 + number))))
                    with pytest.raises(Retryable):
                        await exporter.send(prepared, Deadline(CLOCK))
                    relay.script.clear()
                    if roll_over:
                        node.call("POST", f"/{stream}/_rollover")
                    assert await exporter.send(prepared, Deadline(CLOCK)) == Accepted()

    asyncio.run(scenario())
    found = [one["message"] for one in node.search(stream, {"match_all": {}})]
    assert sorted(found) == sorted(["first", *(f"{number} {at}" for number in range(3) for at in range(20))])


def test_documents_that_do_not_fit(node: Node) -> None:
    """Of a request in which some documents do not fit the index those are counted with the reason, the others are stored."""
    life = new_life()
    mappings = {"mappings": {"properties": {"message": {"type": "ip"}}}}
    node.call("PUT", "/picky", mappings)

    async def scenario() -> None:
        async with exporting(node.url, life, index="picky") as exporter:
            accepted = await send(exporter, request(log_batch(["10.0.0.1", "no", "10.0.0.2", "nor that"], life=life)))
            assert accepted.rejected == 2
            assert "parsing_exception" in accepted.message
            assert "failed to parse field [message] of type [ip]" in accepted.message

    asyncio.run(scenario())
    assert sorted(one["message"] for one in node.search("picky", {"match_all": {}})) == ["10.0.0.1", "10.0.0.2"]


def test_a_full_disk(node: Node) -> None:
    """While the index is read-only because the disk is nearly full everything is held, and once it is not all is there."""
    life = new_life()
    node.call("PUT", "/full", {"settings": {"index.blocks.read_only_allow_delete": True}})

    async def scenario() -> None:
        async with exporting(node.url, life, index="full") as exporter:
            prepared = exporter.prepare(request(log_batch(["one", "two"], life=life)))
            with pytest.raises(Unusable, match="flood-stage"):
                await exporter.send(prepared, Deadline(CLOCK))
            node.call("PUT", "/full/_settings", {"index.blocks.read_only_allow_delete": None})
            assert await exporter.send(prepared, Deadline(CLOCK)) == Accepted()

    asyncio.run(scenario())
    assert node.count("full", {"match_all": {}}) == 2
