"""Which nodes are asked, by which credentials, who they are, and settings that cannot work."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from shipper.contracts import Accepted, ExporterContext, Request, Signal
from shipper.errors import ConfigError, Rejected, Retryable, Unusable
from shipper.ids import uuid7
from shipper.pump.load import make_exporter
from shipper.testing.clock import START_WALL_NS, FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from tests.exporters.elastic_kit import STREAM, context, exporting, request, send, until
from tests.exporters.fake_elastic import OPENSEARCH_2, FakeElastic, Whole


def test_several_nodes() -> None:
    """A node that is down is passed over at once, one that fails is left, and calls stay with the one that answers."""

    async def scenario() -> None:
        async with FakeElastic() as first, FakeElastic() as second:
            await first.go_down()
            async with exporting(first, second) as exporter:
                assert await send(exporter, request("one")) == Accepted()
                second.script.append(Whole(503))
                await first.come_up()
                with pytest.raises(Retryable):
                    await send(exporter, request("two", start=10))
                assert await send(exporter, request("two", start=10)) == Accepted()
                assert await send(exporter, request("three", start=20)) == Accepted()
            assert (len(second.kept), len(first.kept)) == (1, 2)

    asyncio.run(scenario())


def test_all_nodes_down() -> None:
    """With no node to reach it is said which, and nothing is given up."""

    async def scenario() -> None:
        async with FakeElastic() as first, FakeElastic() as second:
            async with exporting(first, second) as exporter:
                await first.go_down()
                await second.go_down()
                with pytest.raises(Retryable, match="cannot connect") as caught:
                    await send(exporter, request("one"))
                assert caught.value.unsent

    asyncio.run(scenario())


def test_credentials(tmp_path: Path) -> None:
    """An API key, in either form, a token or a password stands in a file and counts as it is now."""
    secret = tmp_path / "secret"

    async def sent_with(node: FakeElastic, text: str, **options: Any) -> str:
        secret.write_text(text)
        async with exporting(node, **options) as exporter:
            await send(exporter, request("x"))
        return node.seen[-1].headers["Authorization"]

    async def scenario() -> None:
        async with FakeElastic() as node:
            encoded = base64.b64encode(b"id:key").decode()
            assert await sent_with(node, f"{encoded}\n", api_key_file=str(secret)) == f"ApiKey {encoded}"
            assert await sent_with(node, "id:key\n", api_key_file=str(secret)) == f"ApiKey {encoded}"
            assert await sent_with(node, "t0ken", token_file=str(secret)) == "Bearer t0ken"
            basic = base64.b64encode(b"me:pw").decode()
            assert await sent_with(node, "pw", username="me", password_file=str(secret)) == f"Basic {basic}"
            async with exporting(node, api_key_file=str(secret)) as exporter:
                await send(exporter, request("x"))
                secret.write_text("another")
                await send(exporter, request("x"))
                assert node.seen[-1].headers["Authorization"] == "ApiKey another"
                secret.unlink()
                with pytest.raises(Unusable, match="cannot read"):
                    await send(exporter, request("x"))

    asyncio.run(scenario())


def test_a_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the API key of the environment is used, unless the header is set otherwise; it is never shown."""
    monkeypatch.setenv("ELASTIC_API_KEY", "s3cret")

    async def scenario() -> None:
        async with FakeElastic() as node:
            for headers, sent in (({}, "ApiKey s3cret"), ({"authorization": "AWS4 x"}, "AWS4 x")):
                async with exporting(node, headers=headers) as exporter:
                    await send(exporter, request("x"))
                    assert node.seen[-1].headers["Authorization"] == sent
                    assert "s3cret" not in exporter.describe()

    asyncio.run(scenario())


def test_who_it_is() -> None:
    """It is found out in the background what the destination is, and what only one of them understands is told only to that."""

    async def scenario() -> None:
        clock = FakeClock()
        async with FakeElastic() as elastic, FakeElastic(OPENSEARCH_2) as other:
            async with exporting(elastic, clock=clock, pipeline="clean") as exporter:
                await until(lambda: exporter._product is not None)
                assert exporter.describe() == f"Elasticsearch 8.17 at {elastic.url}"
                await send(exporter, request("x"))
                assert elastic.seen[-1].query["require_data_stream"] == "true"
                assert elastic.seen[-1].query["pipeline"] == "clean"
                assert elastic.seen[-1].path == f"/{STREAM}/_bulk"
                assert elastic.seen[-1].headers["Content-Encoding"] == "gzip"
                assert elastic.seen[-1].headers["User-Agent"] == "Shipper/1.2"
            async with exporting(other, clock=clock, compression="none", namespace="{env}") as exporter:
                await until(lambda: exporter._product is not None)
                assert exporter.describe() == f"OpenSearch 2.19 at {other.url}"
                await send(exporter, request("x"))
                assert "require_data_stream" not in other.seen[-1].query
                assert other.seen[-1].path == "/_bulk"
                assert "Content-Encoding" not in other.seen[-1].headers

    asyncio.run(scenario())


def test_metrics_to_time_series() -> None:
    """Elasticsearch makes ids of time series itself; OpenSearch gets ours. A point sent twice is there once in both."""

    async def scenario() -> None:
        for product, own in ((None, False), (OPENSEARCH_2, True)):
            async with FakeElastic(product) if product else FakeElastic() as node, exporting(node) as exporter:
                points = log_request(log_batch(["a", "b"], signal=Signal.METRICS))
                for _ in range(2):
                    assert await send(exporter, points) == Accepted()
                action, document = node.seen[-1].items[0]
                assert ("_id" in action, "dynamic_templates" in action) == (own, not own)
                if not own:
                    assert action["dynamic_templates"] == {"metrics.line": "gauge_long"}
                assert document["data_stream"] == {"type": "metrics", "dataset": "generic.otel", "namespace": "default"}
                assert len(node.documents()) == 2

    asyncio.run(scenario())


def test_what_is_no_otlp_is_refused() -> None:
    """A batch that is no OTLP is refused for good before anything is sent."""
    batch = log_batch(["x"])
    object.__setattr__(batch, "payload", b"\x0a\x05no")
    exporter = ElasticsearchExporter("es", ElasticsearchSettings(endpoint="http://es:9200"), context())
    for signal in Signal:
        with pytest.raises(Rejected, match="not valid OTLP"):
            exporter.prepare(Request(uuid7(START_WALL_NS), signal, (batch,)))


def test_trust() -> None:
    """A node on this host is not trusted unless it is said to be."""
    here = {"endpoint": "http://127.0.0.1:9200"}
    made = [
        ElasticsearchExporter("es", ElasticsearchSettings(**options), context())
        for options in (here, {**here, "trust_local": True}, {"endpoint": "https://192.0.2.1:9200/es?"})
    ]
    assert [one.trusted() for one in made] == [False, True, True]
    assert made[2].describe() == "bulk API at https://192.0.2.1:9200"
    assert made[2].signals == frozenset(Signal)


@pytest.mark.parametrize("kind", ["elasticsearch", "opensearch"])
@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "endpoint"),
        ({"endpoint": "es:9200"}, "endpoint"),
        ({"endpoint": "http://es", "endpoints": ["http://es"]}, "endpoint"),
        ({"endpoints": ["http://es:9200", "nowhere"]}, "endpoints[1]"),
        ({"endpoint": "http://me:secret@es:9200"}, "endpoint"),
        ({"endpoint": "http://es:9200/_bulk"}, "endpoint"),
        ({"endpoint": "http://es:9200?a=secret"}, "endpoint"),
        ({"endpoint": "http://es", "api_key_file": "k", "token_file": "t"}, "api_key_file"),
        ({"endpoint": "http://es", "username": "me"}, "username"),
        ({"endpoint": "http://es", "password_file": "p"}, "username"),
        ({"endpoint": "http://es", "username": "m:e", "password_file": "p"}, "username"),
        (
            {"endpoint": "http://es", "api_key_file": "k", "headers": {"Authorization": "secret"}},
            "headers.Authorization",
        ),
        ({"endpoint": "http://es", "dataset": "a-b"}, "dataset"),
        ({"endpoint": "http://es", "dataset": "App"}, "dataset"),
        ({"endpoint": "http://es", "dataset": ""}, "dataset"),
        ({"endpoint": "http://es", "namespace": "a b"}, "namespace"),
        ({"endpoint": "http://es", "namespace": "{service.name"}, "namespace"),
        ({"endpoint": "http://es", "index": "_x"}, "index"),
        ({"endpoint": "http://es", "index": "x", "dataset": "y"}, "index"),
        ({"endpoint": "http://es", "mapping": "raw"}, "mapping"),
        ({"endpoint": "http://127.0.0.1:4318"}, "endpoint"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_cannot_work(kind: str, options: dict[str, Any], path: str) -> None:
    """A setting that cannot work is said with its path, before anything is sent and without secrets."""
    own = ExporterContext(FakeClock(), LIFE, 1, "S", frozenset({("127.0.0.1", 4318)}))
    with pytest.raises(ConfigError) as caught:
        make_exporter(kind, "es", options, own, where="destinations.es")
    assert caught.value.path.startswith("destinations.es")
    assert path in str(caught.value)
    assert "secret" not in str(caught.value)
