"""What each of Loki's answers means, what its settings do, and what is on the wire."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from shipper.contracts import Accepted, ExporterContext
from shipper.errors import ConfigError, DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.pump.load import make_exporter
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Answer, Sink, html, not_http, raw, redirect, refuse
from shipper.testing.streams import LIFE
from shipper_exporters._loki.settings import check
from shipper_exporters.loki import LokiSettings
from tests.exporters.loki_kit import at, exporting, plain, request_of, send
from tests.exporters.loki_server import PUSH_PATHS, STORED

STREAM = '{deployment_environment_name="prod", service_name="a"}'


def said(status: int, words: str) -> Answer:
    return raw(status, words.encode(), "text/plain; charset=utf-8")


OLD = f"entry for stream '{STREAM}' has timestamp too old: 2023-10-24T19:51:51Z, oldest acceptable timestamp is: 2023-11-07T"
NEW = f"entry for stream '{STREAM}' has timestamp too new: 2026-11-24T19:51:51Z"
LONG = f"max entry size '262144' bytes exceeded for stream '{STREAM}' while adding an entry with length '300000' bytes"
WIDE = f"stream '{STREAM}' has structured metadata too large: '70001' bytes, limit: '65536' bytes. Please see `limits_config`"
MANY = f"stream '{STREAM}' has too many structured metadata labels: '200', limit: '128'. Please see `limits_config`"
NAMES = f"entry for stream '{STREAM}' has 20 label names; limit 15"
VALUE = f"stream '{STREAM}' has label value too long: 'vvvvv'"
UNSUPPORTED = (
    f"stream '{STREAM}' includes structured metadata, but this feature is disallowed. Please see `limits_config."
)
ENFORCED = f"missing required labels 'team' for user 'fake' for stream '{STREAM}' (policy: '')"
RATE = "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest '9' lines totaling"
STREAMS = (
    f"maximum active stream limit exceeded when trying to create stream {STREAM}, reduce the number of active streams"
)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (refuse(429, retry_after="7"), Retryable, "429"),
        (said(429, RATE), Retryable, "ingestion rate limit"),
        (said(429, STREAMS), Retryable, "maximum active stream limit"),
        (refuse(503, retry_after="7"), Retryable, "503"),
        (
            said(500, "rpc error: code = Unavailable desc = at least 1 live replicas required"),
            Retryable,
            "live replicas",
        ),
        (said(504, "context deadline exceeded"), Retryable, "504"),
        (said(499, "context canceled"), Retryable, "499"),
        (said(402, "trial is over"), Unusable, "402"),
        (refuse(410), Unusable, "410"),
        (refuse(408), Retryable, "408"),
        (raw(503, b"<html>down</html>", "text/html"), Retryable, "503"),
        (said(401, "no org id"), Unusable, "set tenant"),
        (refuse(403), Unusable, "403"),
        (said(404, "404 page not found"), Unusable, "404"),
        (refuse(405), Unusable, "405"),
        (redirect("https://elsewhere/login"), Unusable, "https://elsewhere/login"),
        (html(), Unusable, "not what Loki says"),
        (html(400), Unusable, "not what Loki says"),
        (said(200, "ok"), Unusable, "not what Loki says"),
        (
            said(260, "ingestion blocked for user 'fake' until '2027' with status code '260'"),
            Unusable,
            "ingestion blocked",
        ),
        (said(403, "ingestion blocked for user 'fake' (policy: 'p') until '2027'"), Unusable, "ingestion blocked"),
        (said(400, UNSUPPORTED), Unusable, "allow_structured_metadata"),
        (said(400, ENFORCED), Unusable, "set them by labels"),
        (not_http(), Unusable, "HTTP"),
        (said(413, "request body too large: 9 bytes, limit: 8 bytes"), TooLarge, "413"),
        (said(500, "rpc error: desc = grpc: received message larger than max (9 vs. 8)"), TooLarge, "larger than max"),
        (said(400, LONG), Rejected, "line_too_long"),
        (said(400, OLD), Rejected, "greater_than_max_sample_age"),
        (said(400, NEW), Rejected, "too_far_in_future"),
        (said(400, WIDE), Rejected, "structured_metadata_too_large"),
        (said(400, MANY), Rejected, "structured_metadata_too_many"),
        (said(400, NAMES), Rejected, "invalid_labels"),
        (said(400, VALUE), Rejected, "invalid_labels"),
        (said(422, "no"), Rejected, "422"),
        (said(400, "snappy: corrupt input"), Rejected, "corrupt"),
    ],
    ids=lambda value: str(getattr(value, "status", "")) or None,
)
def test_answers(answer: Answer, error: type[DeliveryError], words: str) -> None:
    """What passes is tried again, what a person can mend holds everything, what is about the content is told from both."""

    async def scenario() -> None:
        async with Sink(paths=PUSH_PATHS) as sink, exporting(sink.url) as exporter:
            sink.answer = answer
            with pytest.raises(error) as caught:
                await send(exporter, plain(["line"]))
            assert words in str(caught.value)
            if isinstance(caught.value, Retryable) and answer.headers:
                assert caught.value.wait == 7
            if isinstance(caught.value, Rejected):
                assert not caught.value.isolate

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (LONG, {"line_too_long": 1}),
        (f"3 errors like: {LONG}", {"line_too_long": 3}),
        (f"2 errors like: {OLD}; 1 errors like: {NEW}; 4 errors like: {WIDE}", {
            "greater_than_max_sample_age": 2, "too_far_in_future": 1, "structured_metadata_too_large": 4,
        }),
        (f"1 errors like: {LONG}; 1 errors like: {LONG.replace('300000', '400000')}", {"line_too_long": 2}),
    ],
)  # fmt: skip
def test_entries_that_break_a_limit(words: str, lost: dict[str, int]) -> None:
    """Of a push that Loki took but for some entries, these are counted by cause, and nothing is sent again."""

    async def scenario() -> None:
        async with Sink(paths=PUSH_PATHS) as sink, exporting(sink.url) as exporter:
            sink.answer = said(400, words + "\n")
            answer = await send(exporter, plain([f"line {n}" for n in range(20)]))
            assert answer.rejected == sum(lost.values())
            assert all(f"{count} x {why}: " in answer.message for why, count in lost.items())
            assert len(sink.received) == 1

    asyncio.run(scenario())


def test_what_a_log_says_is_no_answer() -> None:
    """Words of an answer in a label's value are not taken for Loki's own."""
    mine = STREAM.replace("prod", "9 errors like: max entry size")

    async def scenario() -> None:
        async with Sink(paths=PUSH_PATHS) as sink, exporting(sink.url) as exporter:
            sink.answer = said(400, f"2 errors like: {LONG.replace(STREAM, mine)}")
            assert (await send(exporter, plain(["a", "b", "c"]))).rejected == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize(
    "words",
    [
        f"entry with timestamp 2026-13-99 99:99:99 +0000 UTC ignored, reason: 'x',\ntotal ignored: 9 out of 9 for stream {STREAM}",
        f"total ignored: {'9' * 5000} out of 1 for stream {STREAM}",
        "Per stream rate limit exceeded (limit: 1.2.3MB/sec)",
        f"Per stream rate limit exceeded (limit: {'9' * 400}PB/sec)",
        f"ingestion rate limit exceeded for user x (limit: {'9' * 5000} bytes/sec)",
        f"{'9' * 5000} errors like: {LONG}",
        "entry for stream '{" * 50_000,
        "entry for stream '{a=\"" * 50_000,
        "ingestion rate limit exceeded for user " * 20_000,
        "entry with timestamp 2026-11-24 10:00:00 +0000 UTC ignored, reason: '" * 20_000,
    ],
    ids=lambda words: str(words)[:30] if isinstance(words, str) else None,
)
def test_nonsense_is_no_riddle(status: int, words: str) -> None:
    """Numbers and days that there are not, and sentences without an end, are answers like any other, and read as fast."""

    async def scenario() -> None:
        async with Sink(paths=PUSH_PATHS) as sink, exporting(sink.url) as exporter:
            sink.answer = said(status, words)
            (found,) = await asyncio.gather(send(exporter, plain(["a"])), return_exceptions=True)
            assert isinstance(found, DeliveryError) or found == Accepted(1, found.message)

    asyncio.run(scenario())


def test_a_long_answer_is_repeated_in_part() -> None:
    """However much is said, an error is a line."""

    async def scenario() -> None:
        async with Sink(paths=PUSH_PATHS) as sink, exporting(sink.url) as exporter:
            sink.answer = raw(400, b"x" * (8 << 20), "text/plain")
            with pytest.raises(Rejected) as caught:
                await send(exporter, plain(["a"]))
            assert len(str(caught.value)) < 400

    asyncio.run(scenario())


def test_what_is_on_the_wire() -> None:
    """A push has its type, our name, the tenant and the user's headers, and no credentials unless there are some."""

    async def scenario() -> None:
        async with Sink(paths=PUSH_PATHS) as sink:
            sink.answer = STORED
            async with exporting(sink.url + "/", tenant="team-a", headers={"X-More": "1"}) as exporter:
                await send(exporter, plain(["a"]))
                assert exporter.describe() == f"Loki at {sink.url}"
                assert not exporter.trusted()
            (got,) = sink.kept()
            assert got.headers["Content-Type"] == "application/x-protobuf"
            assert (got.headers["X-Scope-OrgID"], got.headers["X-More"]) == ("team-a", "1")
            assert got.headers["User-Agent"] == "Shipper/1.2"
            assert "Authorization" not in got.headers

    asyncio.run(scenario())


@pytest.mark.parametrize("prefix", ["", "/", "/loki-a", "/of%2Fteam/"])
def test_a_prefix_stays_as_it_is(prefix: str) -> None:
    """Loki may be behind a proxy's prefix; what is encoded in that is sent so."""
    url = check("loki", LokiSettings(endpoint=f"http://[::1]:3100{prefix}"))
    assert str(url) == f"http://[::1]:3100{prefix.rstrip('/')}/loki/api/v1/push"


def test_credentials_are_read_again(tmp_path: Path) -> None:
    """A token or a password stands in a file and counts as it is now."""
    secret = tmp_path / "secret"
    secret.write_text("first\n")

    async def scenario() -> None:
        async with Sink(paths=PUSH_PATHS) as sink:
            sink.answer = STORED
            async with exporting(sink.url, token_file=str(secret), trust_local=True) as exporter:
                await send(exporter, plain(["a"]))
                secret.write_text("the second\n")
                await send(exporter, plain(["a"]))
                assert exporter.trusted()
            async with exporting(sink.url, username="me", password_file=str(secret)) as exporter:
                await send(exporter, plain(["a"]))
            basic = base64.b64encode(b"me:the second").decode()
            sent = [got.headers["Authorization"] for got in sink.kept()]
            assert sent == ["Bearer first", "Bearer the second", f"Basic {basic}"]

    asyncio.run(scenario())


def test_nothing_to_send() -> None:
    """A request without records is stored, and nothing is sent for it."""

    async def scenario() -> None:
        async with Sink(paths=PUSH_PATHS) as sink, exporting(sink.url) as exporter:
            assert await send(exporter, request_of(b"")) == Accepted()
            assert not sink.received

    asyncio.run(scenario())


def test_what_is_no_otlp() -> None:
    """Bytes that are no request are refused before anything is sent."""

    async def scenario() -> None:
        async with exporting("http://127.0.0.1:9") as exporter:
            with pytest.raises(Rejected, match="not valid OTLP"):
                exporter.prepare(request_of(b"\xff\xff"))

    asyncio.run(scenario())


def test_otlp_records_get_a_time() -> None:
    """Over OTLP, too, lines that were written twice are two: each has a time of its own."""

    async def scenario() -> None:
        async with Sink() as sink, exporting(sink.url, protocol="otlp", tenant="t") as exporter:
            await send(exporter, plain(["same", "same"]))
            (got,) = sink.kept()
            assert got.lines() == ["same", "same"]
            assert got.headers["X-Scope-OrgID"] == "t"
            own = request_of(at(1_700_000_000_000_000_000, "x"))
            await send(exporter, own)
            assert sink.kept()[1].body == own.batches[0].payload

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "endpoint: is missing"),
        ({"endpoint": "loki:3100"}, "endpoint: is no URL"),
        ({"endpoint": "http://h:3100/loki/api/v1/push"}, "leave that part out"),
        ({"endpoint": "http://h:3100/otlp"}, "leave that part out"),
        ({"endpoint": "http://h:3100?x=1"}, "base URL"),
        ({"endpoint": "http://me:secret@h:3100"}, "has a password"),
        ({"endpoint": "http://h:3100", "protocol": "grpc"}, "protocol"),
        ({"endpoint": "http://h:3100", "tenant": "a b"}, "tenant"),
        ({"endpoint": "http://h:3100", "tenant": "a", "headers": {"X-Scope-OrgID": "b"}}, "headers.X-Scope-OrgID"),
        ({"endpoint": "http://h:3100", "username": "me"}, "password_file"),
        ({"endpoint": "http://h:3100", "username": "a:b", "password_file": "/p"}, "username"),
        ({"endpoint": "http://h:3100", "username": "me", "password_file": "/p", "token_file": "/t"}, "exclude"),
        ({"endpoint": "http://h:3100", "token_file": "/t", "headers": {"Authorization": "x"}}, "exclude"),
        ({"endpoint": "http://h:3100", "labels": {"a-b": "service.name"}}, "labels.a-b"),
        ({"endpoint": "http://h:3100", "labels": {"__x": "service.name"}}, "labels.__x"),
        ({"endpoint": "http://h:3100", "labels": {"shipper_late": "service.name"}}, "labels.shipper_late"),
        ({"endpoint": "http://h:3100", "labels": {"life": "shipper.life.id"}}, "stream of every host"),
        ({"endpoint": "http://h:3100", "labels": {f"l{n}": "service.name" for n in range(11)}}, "more than 10"),
        ({"endpoint": "http://h:3100", "labels": {"a": "b"}, "protocol": "otlp"}, "otlp_config"),
        ({"endpoint": "http://h:3100", "max_push_bytes": 10}, "max_push_bytes"),
        ({"endpoint": "http://127.0.0.1:4318"}, "our own listener"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], path: str) -> None:
    """What is wrong is said with its place, before anything is sent, and without secrets."""
    own = ExporterContext(FakeClock(), LIFE, 1, "test", frozenset({("127.0.0.1", 4318)}))
    with pytest.raises(ConfigError) as caught:
        make_exporter("loki", "logs", options, own, where="destinations.logs")
    assert caught.value.path.startswith("destinations.logs")
    assert path in str(caught.value)
    assert "secret" not in str(caught.value)
