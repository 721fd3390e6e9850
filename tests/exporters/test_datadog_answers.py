"""What each answer of Datadog's intakes means, what its settings and environment do, and what is done about refusals."""

from __future__ import annotations

import asyncio
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
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.datadog import DatadogExporter, DatadogSettings
from tests.exporters.datadog_intake import KEY, Intake, Say, errors

PAGE = b"<!doctype html><html><body>Sign in</body></html>"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", KEY)


def context() -> ExporterContext:
    return ExporterContext(FakeClock(), LIFE, 1, "Shipper/1.2")


@asynccontextmanager
async def exporting(intake: Intake, **options: Any) -> AsyncIterator[DatadogExporter]:
    settings = DatadogSettings(logs_endpoint=f"{intake.url}/api/v2/logs?ddtags=secret", **options)
    exporter = DatadogExporter("datadog", settings, context())
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: DatadogExporter, *lines: str) -> Accepted:
    prepared = exporter.prepare(log_request(log_batch(lines or ("line",))))
    return await exporter.send(prepared, Deadline.after(exporter._context.clock, 60))


def messages(intake: Intake) -> list[str]:
    return [entry["message"] for entry in intake.entries]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (errors(400, "Invalid JSON"), Rejected, "Invalid JSON"),
        (errors(401, "Unauthorized"), Unusable, "API key"),
        (Say(403, b'{"errors":["Forbidden"]}'), Unusable, "Forbidden"),
        (errors(404, "Not found"), Unusable, "Not found"),
        (errors(405, "Method Not Allowed"), Unusable, "405"),
        (errors(408, "Request Timeout"), Retryable, "Request Timeout"),
        (errors(413, "Payload too large"), TooLarge, "Payload too large"),
        (errors(415, "Unsupported Media Type"), Unusable, "415"),
        (errors(429, "Too many requests", headers={"X-RateLimit-Reset": "7"}), Retryable, "Too many requests"),
        (errors(429, "Too many requests", headers={"Retry-After": "7", "X-RateLimit-Reset": "9"}), Retryable, "429"),
        (errors(500, "Internal Server Error"), Retryable, "500"),
        (errors(503, "Service Unavailable"), Retryable, "503"),
        (Say(502, PAGE, "text/html"), Retryable, "502"),
        (Say(302, b"", headers={"Location": "https://elsewhere/login"}), Unusable, "https://elsewhere/login"),
        (Say(400, PAGE, "text/html"), Unusable, "400"),
        (Say(400, b"Blocked by policy 7", "text/html"), Unusable, "400"),  # a proxy's, in few words
        (Say(200, PAGE, "text/html"), Unusable, "not Datadog's"),
        (Say(202, b"", "text/plain"), Unusable, "not Datadog's"),
        (Say(200, b'{"errors":["no"]}'), Unusable, "not Datadog's"),
        (Say(200, b'{"message":"welcome"}'), Unusable, "not Datadog's"),
        (Say(400, b"[" * 100_000), Rejected, "400"),
    ],
    ids=lambda value: f"{value.status}-{value.body[:20]!r}" if isinstance(value, Say) else None,
)
def test_answers(answer: Say, error: type[DeliveryError], words: str) -> None:
    """What passes is tried again, what a person can mend holds everything, what is about the content is told from both."""

    async def scenario() -> None:
        async with Intake() as intake, exporting(intake) as exporter:
            intake.answer = answer
            with pytest.raises(error) as caught:
                await send(exporter)
            assert words in str(caught.value)
            assert KEY not in str(caught.value)
            assert "secret" not in str(caught.value)
            if isinstance(caught.value, Retryable) and answer.headers:
                assert caught.value.wait == 7

    asyncio.run(scenario())


def test_bodies_have_a_thousand_entries() -> None:
    """No body has more than 1,000 entries or 5 MB, and each record is there once, in order."""

    async def scenario() -> None:
        async with Intake() as intake, exporting(intake) as exporter:
            lines = [f"{number}" for number in range(2500)]
            assert await send(exporter, *lines) == Accepted()
            assert messages(intake) == lines
            assert len(intake.kept) == 3
            long = [f"{number} {'x' * 140_000}" for number in range(100)]
            assert await send(exporter, *long) == Accepted()
            assert messages(intake)[2500:] == long
            assert len(intake.kept) == 6

    asyncio.run(scenario())


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_refused_entry_is_found(compression: str) -> None:
    """Once some of a request is there, the entry that makes a later body be refused is found, counted and left out."""

    async def scenario() -> None:
        async with Intake() as intake, exporting(intake, compression=compression) as exporter:
            intake.refuses = frozenset({"1500", "2400"})
            lines = [f"{number}" for number in range(2500)]
            answer = await send(exporter, *lines)
            assert (answer.rejected, "malformed log" in answer.message) == (2, True)
            assert messages(intake) == [line for line in lines if line not in intake.refuses]

    asyncio.run(scenario())


def test_refused_from_the_start() -> None:
    """While nothing of a request is there, a refusal or a size is for the caller to halve."""

    async def scenario() -> None:
        async with Intake() as intake, exporting(intake) as exporter:
            intake.refuses = frozenset({"bad"})
            with pytest.raises(Rejected) as caught:
                await send(exporter, "a", "bad")
            assert caught.value.isolate
            assert intake.received == 1
            intake.max_entries = 1
            with pytest.raises(TooLarge):
                await send(exporter, "a", "b")

    asyncio.run(scenario())


def test_what_was_accepted_is_not_sent_again() -> None:
    """After a fault in the middle of a request only what is not there yet is sent; a revoked key loses nothing."""

    async def scenario() -> None:
        async with Intake() as intake, exporting(intake) as exporter:
            lines = [f"{number}" for number in range(2500)]
            request = exporter.prepare(log_request(log_batch(lines)))
            deadline = Deadline.after(exporter._context.clock, 60)
            for fault, error in ((errors(503, "later"), Retryable), (errors(403, "Forbidden"), Unusable)):
                intake.faults[len(intake.kept) + 1] = fault
                with pytest.raises(error):
                    await exporter.send(request, deadline)
            assert await exporter.send(request, deadline) == Accepted()
            assert messages(intake) == lines

    asyncio.run(scenario())


def test_key_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API key stands in a file, by option or by environment, and counts as it is now."""
    key = tmp_path / "key"
    key.write_text("wrong\n")
    monkeypatch.delenv("DD_API_KEY")

    async def scenario(**options: Any) -> None:
        key.write_text("wrong\n")
        async with Intake() as intake, exporting(intake, **options) as exporter:
            with pytest.raises(Unusable, match="Forbidden"):
                await send(exporter, "a")
            key.write_text(f"{KEY}\n")
            assert await send(exporter, "a") == Accepted()

    asyncio.run(scenario(token_file=str(key)))
    monkeypatch.setenv("DD_API_KEY_FILE", str(key))
    asyncio.run(scenario())


def test_endpoints_by_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site decides where everything goes; an option counts before the environment."""

    def urls(**options: Any) -> dict[Signal, str]:
        exporter = DatadogExporter("datadog", DatadogSettings(**options), context())
        assert exporter.signals == set(exporter._urls)
        return {signal: str(url) for signal, url in exporter._urls.items()}

    assert urls() == {
        Signal.LOGS: "https://http-intake.logs.datadoghq.com/api/v2/logs",
        Signal.METRICS: "https://otlp.datadoghq.com/v1/metrics",
    }
    monkeypatch.setenv("DD_SITE", "us5.datadoghq.com")
    assert urls(traces_source="org")[Signal.TRACES] == "https://otlp.us5.datadoghq.com/v1/traces"
    assert urls(site="datadoghq.eu")[Signal.LOGS] == "https://http-intake.logs.datadoghq.eu/api/v2/logs"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"site": "https://datadoghq.eu"}, "site"),
        ({"logs_endpoint": "http-intake"}, "logs_endpoint"),
        ({"headers": {"DD-API-KEY": "secret"}}, "headers.DD-API-KEY"),
        ({"tags": {"team:a": "b"}}, "tags.team:a"),
        ({"tags": {"team": "a,b"}}, "tags.team"),
        ({"timeout": 0}, "timeout"),
        ({"api_key": "secret"}, "api_key"),
    ],
)
def test_wrong_settings(options: dict[str, Any], path: str) -> None:
    """What cannot work is said with the option's path before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        make_exporter("datadog", "datadog", options, context(), where="destinations.datadog")
    assert path in str(caught.value)
    assert "secret" not in str(caught.value)


def test_no_key_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an API key there is nothing that Datadog would take."""
    monkeypatch.delenv("DD_API_KEY")
    with pytest.raises(ConfigError, match="DD_API_KEY"):
        DatadogExporter("datadog", DatadogSettings(), context())
