"""What is sent as a remote write, what its settings do, and what each answer means."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Signal
from shipper.errors import ConfigError, DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.pump.load import make_exporter
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Answer, Sink, html, not_http, raw, redirect, refuse
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.exporters.metrickit import LIFE, counter, gauge, payload, request
from tests.exporters.remote_write import values_of

NOW = 1_700_000_000_000
STORED = Answer(204, b"")
MIMIR = (
    "failed pushing to ingester mimir-ingester-0: user=anonymous: the sample has been rejected because another sample with "
    "a more recent timestamp has already been ingested and out-of-order samples are not allowed "
    "(err-mimir-sample-out-of-order). The affected sample has timestamp 2023-11-14T22:13:20Z and is from series up"
)


def context(**more: Any) -> ExporterContext:
    return ExporterContext(FakeClock(), LIFE, 1, "Shipper/1.2", **more)


@asynccontextmanager
async def exporting(sink: Sink, **settings: Any) -> AsyncIterator[PrometheusExporter]:
    sink.answer = STORED
    exporter = PrometheusExporter(
        "prom",
        PrometheusSettings(endpoint=f"{sink.url}/v1/metrics?key=secret", **{"protocol": "1.0", **settings}),
        context(),
    )
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: PrometheusExporter, *payloads: bytes) -> Accepted:
    prepared = exporter.prepare(request(*(payloads or (payload(gauge("g", 1.0, NOW)),))))
    return await exporter.send(prepared, Deadline.after(exporter._context.clock, 60))


def test_what_is_on_the_wire() -> None:
    """A remote write has the headers of version 1.0, ours and the user's, and the samples of each series in order of time."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink, headers={"X-Scope-OrgID": "team-a"}) as exporter:
            await send(exporter, payload(counter("hits", 2, NOW + 5)), payload(counter("hits", 1, NOW)))
            (got,) = sink.kept()
            assert got.headers["Content-Encoding"] == "snappy"
            assert got.headers["Content-Type"] == "application/x-protobuf"
            assert got.headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
            assert got.headers["User-Agent"] == "Shipper/1.2"
            assert got.headers["X-Scope-OrgID"] == "team-a"
            assert "Authorization" not in got.headers
            assert list(values_of(got.wire).values()) == [[(NOW, 1.0), (NOW + 5, 2.0)]]

    asyncio.run(scenario())


def test_credentials_are_read_again(tmp_path: Path) -> None:
    """A token or a password stands in a file and counts as it is now."""
    secret = tmp_path / "secret"
    secret.write_text("first\n")

    async def scenario() -> None:
        async with Sink() as sink:
            async with exporting(sink, token_file=str(secret)) as exporter:
                await send(exporter)
                secret.write_text("the second\n")
                await send(exporter)
            async with exporting(sink, username="me", password_file=str(secret)) as exporter:
                await send(exporter)
            basic = base64.b64encode(b"me:the second").decode()
            sent = [got.headers["Authorization"] for got in sink.kept()]
            assert sent == ["Bearer first", "Bearer the second", f"Basic {basic}"]

    asyncio.run(scenario())


def test_many_samples_are_several_requests() -> None:
    """No request has more samples than set, the oldest go first, and each waits for the answer to the one before."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink, max_samples_per_send=4) as exporter:
            metrics = [payload(gauge("g", 1.0, NOW + 10 - n)) for n in range(10)]
            assert await send(exporter, *metrics) == Accepted()
            times = [[at for samples in values_of(got.wire).values() for at, _ in samples] for got in sink.kept()]
            assert times == [[NOW + n for n in (1, 2, 3, 4)], [NOW + n for n in (5, 6, 7, 8)], [NOW + 9, NOW + 10]]

    asyncio.run(scenario())


def test_nothing_to_send() -> None:
    """Of a request that has nothing which remote write can carry nothing is sent, and all of it is counted."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            answer = await send(exporter, payload(counter("d", 1, NOW, temporality=0)))
            assert (answer.rejected, "since when" in answer.message) == (1, True)
            assert not sink.received

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (refuse(429, retry_after="7"), Retryable, "429"),
        (refuse(503, retry_after="7"), Retryable, "503"),
        (refuse(500), Retryable, "500"),
        (refuse(408), Retryable, "408"),
        (raw(503, b"<html>down</html>", "text/html"), Retryable, "503"),
        (refuse(401), Unusable, "401"),
        (refuse(403), Unusable, "403"),
        (raw(404, b"404 page not found", "text/plain"), Unusable, "--web.enable-remote-write-receiver"),
        (refuse(405), Unusable, "read-only"),
        (refuse(415), Unusable, "415"),
        (redirect("https://elsewhere/login"), Unusable, "https://elsewhere/login"),
        (html(), Unusable, "web page"),
        (html(400), Unusable, "web page"),
        (raw(200, b"<!doctype html><p>hello", "text/plain"), Unusable, "web page"),
        (not_http(), Unusable, "HTTP"),
        (raw(400, b'requestURI: /x; unsupported path requested: "/x"', "text/plain"), Unusable, "unsupported path"),
        (refuse(413), TooLarge, "413"),
        (raw(400, b"label name too long", "text/plain"), Rejected, "label name too long"),
        (raw(422, b"no", "text/plain"), Rejected, "422"),
    ],
    ids=lambda value: str(getattr(value, "status", "")) or None,
)
def test_answers(answer: Answer, error: type[DeliveryError], words: str) -> None:
    """What passes is tried again, what a person can mend holds everything, what is about the content is told from both."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.answer = answer
            with pytest.raises(error) as caught:
                await send(exporter)
            assert words in str(caught.value)
            assert "secret" not in str(caught.value)
            if isinstance(caught.value, Retryable) and answer.headers:
                assert caught.value.wait == 7

    asyncio.run(scenario())


def test_a_long_answer_is_not_read_to_its_end() -> None:
    """Of an answer a bounded part is read, and a bounded part of that is repeated."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.answer = raw(400, b"x" * (8 << 20), "text/plain")
            with pytest.raises(Rejected) as caught:
                await send(exporter)
            assert len(str(caught.value)) < 400

    asyncio.run(scenario())


def test_several_requests_that_wait() -> None:
    """Of each request that failed on its way it is known how far it got, whatever is sent in between."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink, max_samples_per_send=1) as exporter:
            deadline = Deadline.after(exporter._context.clock, 60)
            waiting = []
            for number in range(3):
                metrics = [payload(gauge(f"g{number}", 1.0, NOW + at)) for at in range(2)]
                waiting.append(exporter.prepare(request(*metrics)))
                sink.script(STORED, refuse(503))
                with pytest.raises(Retryable):
                    await exporter.send(waiting[-1], deadline)
            for prepared in waiting:
                assert await exporter.send(prepared, deadline) == Accepted()
            assert len(sink.kept()) == 6

    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "words"), [(400, MIMIR), (409, "store: out of order")])
def test_receivers_that_store_the_rest(status: int, words: str) -> None:
    """Where the receiver took all that it could (Mimir, Thanos), nothing is sent again and the loss it names is counted."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink) as exporter:
            sink.answer = raw(status, words.encode(), "text/plain")
            answer = await send(exporter, payload(gauge("g", 1.0, NOW), gauge("h", 1.0, NOW)))
            assert answer.rejected == 1
            assert len(sink.received) == 1

    asyncio.run(scenario())


def test_a_flood_of_labels() -> None:
    """New series beyond the bound are refused and counted, the known ones go on."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink, max_series=10) as exporter:
            flood = [payload(gauge("g", 1.0, NOW + at, user=f"u{n}")) for at in (0, 1) for n in range(50)]
            answer = await send(exporter, *flood)
            assert (answer.rejected, "max_series (10)" in answer.message) == (80, True)
            assert sum(len(values_of(got.wire)) for got in sink.kept()) == 10

    asyncio.run(scenario())


def test_a_flood_takes_no_place_of_hosts_numbers() -> None:
    """What Shipper measures has room of its own, bounded too: a host that is born after the flood is seen."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink, max_series=10) as exporter:
            await send(exporter, *(payload(gauge("g", 1.0, NOW, user=f"u{n}")) for n in range(50)))
            born = [payload(gauge("shipper.backlog", 1.0, NOW, unit="By", destination=f"d{n}")) for n in range(12)]
            answer = await send(exporter, *born)
            assert answer.rejected == 2
            named = [dict(labels)["__name__"] for got in sink.kept() for labels in values_of(got.wire)]
            assert (named.count("g"), named.count("shipper_backlog_bytes")) == (10, 10)

    asyncio.run(scenario())


def test_what_it_is() -> None:
    """It takes metrics only, one request at a time, and a Prometheus on this host is not trusted unless it is said to be."""
    here = PrometheusExporter("p", PrometheusSettings(endpoint="http://127.0.0.1:9090/api/v1/write"), context())
    said = PrometheusExporter(
        "p", PrometheusSettings(endpoint="http://127.0.0.1:9090/api/v1/write", trust_local=True), context()
    )
    away = PrometheusExporter("p", PrometheusSettings(endpoint="https://192.0.2.1/api/v1/push?key=secret"), context())
    assert [one.trusted() for one in (here, said, away)] == [False, True, True]
    assert away.describe() == "remote write to https://192.0.2.1"
    assert away.signals == {Signal.METRICS}
    assert away.limits.max_in_flight == 1


def test_the_endpoint_is_understood_by_its_older_name() -> None:
    """Configurations that were written with `url` go on working; both at once are refused, as nobody can tell which is meant."""
    there = "http://prometheus.example/api/v1/write"
    make_exporter("prometheus", "prom", {"url": there}, context())
    make_exporter("prometheus", "prom", {"url": there, "endpoint": None}, context())
    with pytest.raises(
        ConfigError, match=r"^destinations\.prom\.url: is the older name of endpoint; give one of them$"
    ):
        make_exporter("prometheus", "prom", {"url": there, "endpoint": there}, context(), where="destinations.prom")


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "endpoint"),
        ({"endpoint": "prometheus:9090"}, "endpoint"),
        ({"endpoint": "http://p:9090"}, "endpoint"),
        ({"endpoint": "http://me:secret@p/api/v1/write"}, "endpoint"),
        ({"endpoint": "http://127.0.0.1:4318/api/v1/write"}, "endpoint"),
        ({"endpoint": "http://p/w", "timeout": "0s"}, "timeout"),
        ({"endpoint": "http://p/w", "key_file": "k"}, "key_file"),
        ({"endpoint": "http://p/w", "username": "me"}, "username"),
        ({"endpoint": "http://p/w", "username": "m:e", "password_file": "p"}, "username"),
        ({"endpoint": "http://p/w", "username": "me", "password_file": "p", "token_file": "t"}, "username"),
        ({"endpoint": "http://p/w", "headers": {"Content-Type": "x"}}, "headers.Content-Type"),
        ({"endpoint": "http://p/w", "token_file": "t", "headers": {"Authorization": "x"}}, "headers.Authorization"),
        ({"endpoint": "http://p/w", "external_labels": {"a-b": "x"}}, "external_labels.a-b"),
        ({"endpoint": "http://p/w", "external_labels": {"le": "x"}}, "external_labels.le"),
        ({"endpoint": "http://p/w", "max_series": 0}, "max_series"),
        ({"endpoint": "http://p/w", "max_serie": 5}, "max_serie"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_cannot_work(options: dict[str, Any], path: str) -> None:
    """A setting that cannot work is said with its path, before anything is sent and without secrets."""
    own = context(own_addresses=frozenset({("127.0.0.1", 4318)}))
    with pytest.raises(ConfigError) as caught:
        make_exporter("prometheus", "prom", options, own, where="destinations.prom")
    assert caught.value.path.startswith("destinations.prom")
    assert path in str(caught.value)
    assert "secret" not in str(caught.value)
