"""What is pushed, what each answer means, and how a host leaves a Pushgateway."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import ConfigError, DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.pump.load import make_exporter
from shipper.testing.clock import FakeClock
from shipper_exporters.pushgateway import PushgatewayExporter, PushgatewaySettings
from tests.exporters.fake_pushgateway import FakePushgateway
from tests.exporters.metrickit import LIFE, counter, exponential, gauge, payload, request

NOW = 1_700_000_000_000
GROUP = f"/metrics/job/shipper/life/{LIFE}"


def context(**more: Any) -> ExporterContext:
    return ExporterContext(FakeClock(), LIFE, 1, "Shipper/1.2", **more)


@asynccontextmanager
async def pushing(server: FakePushgateway, **settings: Any) -> AsyncIterator[PushgatewayExporter]:
    exporter = PushgatewayExporter("push", PushgatewaySettings(endpoint=server.url, **settings), context())
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def send(exporter: PushgatewayExporter, *payloads: bytes, seconds: float = 600) -> Accepted:
    prepared = exporter.prepare(request(*(payloads or (payload(gauge("g", 1.0, NOW)),))))
    return await exporter.send(prepared, Deadline.after(exporter._context.clock, seconds))


async def with_time(exporter: PushgatewayExporter, task: asyncio.Task[Accepted]) -> Accepted:
    """Let time pass until it is over."""
    clock = exporter._context.clock
    assert isinstance(clock, FakeClock)
    while not task.done():
        await asyncio.sleep(0.001)
        if not task.done():
            await clock.run(1)
    return await task


def host(at: int, *, over: bool = False) -> bytes:
    return payload(gauge("shipper.host.info", None if over else 1.0, at, flags=int(over), image="img"))


def test_each_push_has_everything() -> None:
    """A push replaces the one before: the newest value of every series there is, in one group of this life."""

    async def scenario() -> None:
        async with FakePushgateway() as server, pushing(server) as exporter:
            assert await send(exporter, payload(gauge("g", 1.0, NOW), counter("hits", 1, NOW))) == Accepted()
            assert await send(exporter, payload(counter("hits", 5, NOW + 1))) == Accepted()
            first, second = server.calls
            assert {first.method, second.method} == {"PUT"}
            assert {first.path, second.path} == {GROUP}
            values = [line.rsplit(" ", 1)[1] for line in second.body.splitlines() if line[0] != "#"]
            assert values == ["1.0", "5.0"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (lambda: web.Response(status=429, headers={"Retry-After": "7"}), Retryable, "429"),
        (lambda: web.Response(status=500, text="no room"), Retryable, "no room"),
        (lambda: web.Response(status=503, headers={"Retry-After": "7"}), Retryable, "503"),
        (lambda: web.Response(status=401, text="Unauthorized"), Unusable, "401"),
        (lambda: web.Response(status=403), Unusable, "403"),
        (lambda: web.Response(status=404, text="404 page not found"), Unusable, "right endpoint"),
        (lambda: web.Response(status=405), Unusable, "405"),
        (lambda: web.Response(status=302, headers={"Location": "https://elsewhere/"}), Unusable, "https://elsewhere/"),
        (lambda: web.Response(text="<html>hello", content_type="text/html"), Unusable, "as a Pushgateway does not"),
        (lambda: web.Response(text='{"status":"success"}'), Unusable, "as a Pushgateway does not"),
        (lambda: web.Response(status=400, text="<html>no", content_type="text/html"), Unusable, "400"),
        (lambda: web.Response(status=413), TooLarge, "413"),
        (lambda: web.Response(status=400, text="gathered metric family g has type GAUGE"), Rejected, "has type GAUGE"),
    ],
)
def test_answers(answer: Any, error: type[DeliveryError], words: str) -> None:
    """What passes is tried again, what a person can mend holds everything, what is about the content is told from both."""

    async def scenario() -> None:
        async with FakePushgateway() as server, pushing(server) as exporter:
            server.answers = [answer()]
            with pytest.raises(error) as caught:
                await send(exporter)
            assert words in str(caught.value)
            if isinstance(caught.value, Retryable) and "Retry-After" in answer().headers:
                assert caught.value.wait == 7
            assert await send(exporter) == Accepted()

    asyncio.run(scenario())


def test_queued_is_taken() -> None:
    """A Pushgateway that does not look into what it gets says 202, and has it."""

    async def scenario() -> None:
        async with FakePushgateway() as server, pushing(server) as exporter:
            server.answers = [web.Response(status=202)]
            assert await send(exporter) == Accepted()

    asyncio.run(scenario())


def test_what_was_refused_is_not_pushed_again() -> None:
    """What a push was refused for goes with the request that brought it; the next ones are as if it had not come."""

    async def scenario() -> None:
        async with FakePushgateway() as server, pushing(server) as exporter:
            await send(exporter, payload(counter("hits", 1, NOW)))
            server.answers = [web.Response(status=400, text="inconsistent")]
            with pytest.raises(Rejected):
                await send(exporter, payload(gauge("bad", 1.0, NOW), counter("hits", 2, NOW + 1)))
            await send(exporter, payload(gauge("good", 1.0, NOW)))
            body = server.groups[GROUP]
            assert ("bad" in body, "good" in body) == (False, True)
            assert "} 2.0" not in body

    asyncio.run(scenario())


def test_counts_since_the_last_point() -> None:
    """Deltas are added up, once each, whatever the answers; what has no form is counted."""

    async def scenario() -> None:
        async with FakePushgateway() as server, pushing(server) as exporter:
            one = exporter.prepare(request(payload(counter("hits", 3, NOW, temporality=1))))
            server.answers = [web.Response(status=503), web.Response(status=500)]
            for _ in range(2):
                with pytest.raises(Retryable):
                    await exporter.send(one, Deadline(exporter._context.clock))
            await exporter.send(one, Deadline(exporter._context.clock))
            answer = await send(
                exporter, payload(counter("hits", 4, NOW + 1, temporality=1), exponential("e", NOW, [1]))
            )
            assert answer.rejected == 1
            assert server.groups[GROUP].splitlines()[-1].endswith(" 7.0")

    asyncio.run(scenario())


def test_a_host_that_ends_is_deleted() -> None:
    """With the end of the host its last values stay for a while, then its group is deleted; no earlier push ends it."""

    async def scenario() -> None:
        async with FakePushgateway() as server, pushing(server, linger=15.0) as exporter:
            await send(exporter, host(NOW), payload(counter("hits", 1, NOW)))
            last = asyncio.create_task(send(exporter, payload(counter("hits", 9, NOW + 5)), host(NOW + 6, over=True)))
            while not server.groups[GROUP].splitlines()[-1].endswith(" 9.0"):  # noqa: ASYNC110 - it comes by a socket
                await asyncio.sleep(0.001)
            assert not last.done()
            began = exporter._context.clock.monotonic()
            assert await with_time(exporter, last) == Accepted()
            assert exporter._context.clock.monotonic() - began >= 14
            assert server.groups == {}
            assert server.calls[-1].method == "DELETE"
            await send(exporter, payload(gauge("late", 1.0, NOW)))
            assert server.groups == {}, "what is left of a backlog does not bring the dead back"
            await send(exporter, host(NOW + 20))
            assert GROUP in server.groups, "a host may outlive its farewell"

    asyncio.run(scenario())


def test_the_end_has_little_time() -> None:
    """Before a deadline the values stay for a part of what is left, and are deleted in time."""

    async def scenario() -> None:
        async with FakePushgateway() as server, pushing(server, linger=60.0) as exporter:
            await send(exporter, host(NOW))
            last = asyncio.create_task(send(exporter, host(NOW + 6, over=True), seconds=4))
            assert await with_time(exporter, last) == Accepted()
            assert server.groups == {}

    asyncio.run(scenario())


def test_a_deletion_that_fails() -> None:
    """Where the deletion gets no answer it is tried again, without another push."""

    async def scenario() -> None:
        async with FakePushgateway() as server, pushing(server, linger=0.0) as exporter:
            await send(exporter, host(NOW))
            one = exporter.prepare(request(host(NOW + 1, over=True)))
            server.answers = [web.Response(status=200), web.Response(status=503)]
            with pytest.raises(Retryable):
                await exporter.send(one, Deadline(exporter._context.clock))
            assert await exporter.send(one, Deadline(exporter._context.clock)) == Accepted()
            assert [call.method for call in server.calls] == ["PUT", "PUT", "DELETE", "DELETE"]

    asyncio.run(scenario())


def test_credentials(tmp_path: Path) -> None:
    """A token or a password stands in a file and counts as it is now; a job with a slash is a group too."""
    secret = tmp_path / "secret"
    secret.write_text("first\n")

    async def scenario() -> None:
        async with FakePushgateway() as server:
            async with pushing(server, token_file=str(secret), job="a/b") as exporter:
                await send(exporter)
                secret.write_text("the second\n")
                await send(exporter)
            async with pushing(server, username="me", password_file=str(secret)) as exporter:
                await send(exporter)
            basic = base64.b64encode(b"me:the second").decode()
            assert [call.authorization for call in server.calls] == [
                "Bearer first",
                "Bearer the second",
                f"Basic {basic}",
            ]
            assert server.calls[0].path == f"/metrics/job@base64/YS9i/life/{LIFE}"

    asyncio.run(scenario())


def test_what_it_is() -> None:
    """It pushes one thing at a time and seldom, and a Pushgateway on this host is not trusted unless it is said to be."""
    here = PushgatewayExporter("p", PushgatewaySettings(endpoint="http://127.0.0.1:9091"), context())
    said = PushgatewayExporter("p", PushgatewaySettings(endpoint="http://127.0.0.1:9091", trust_local=True), context())
    away = PushgatewayExporter("p", PushgatewaySettings(endpoint="https://192.0.2.1/push/"), context())
    assert [one.trusted() for one in (here, said, away)] == [False, True, True]
    assert away.describe() == "Pushgateway at https://192.0.2.1"
    assert (away.limits.max_in_flight, away.limits.requests_per_second) == (1, 0.2)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "endpoint"),
        ({"endpoint": "pushgateway:9091"}, "endpoint"),
        ({"endpoint": "http://me:secret@p:9091"}, "endpoint"),
        ({"endpoint": "http://127.0.0.1:4318"}, "endpoint"),
        ({"endpoint": "http://p:9091/metrics/job/x"}, "endpoint"),
        ({"endpoint": "http://p:9091/metrics/"}, "endpoint"),
        ({"endpoint": "http://p:9091", "job": ""}, "job"),
        ({"endpoint": "http://p:9091", "timeout": "0s"}, "timeout"),
        ({"endpoint": "http://p:9091", "linger": -1}, "linger"),
        ({"endpoint": "http://p:9091", "username": "me"}, "username"),
        ({"endpoint": "http://p:9091", "username": "me", "password_file": "p", "token_file": "t"}, "username"),
        ({"endpoint": "http://p:9091", "token_file": "t", "headers": {"Authorization": "x"}}, "headers.Authorization"),
        ({"endpoint": "http://p:9091", "external_labels": {"le": "x"}}, "external_labels.le"),
        ({"endpoint": "http://p:9091", "jobb": "x"}, "jobb"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, Any], path: str) -> None:
    """A setting that cannot work is said with its path, before anything is sent and without secrets."""
    own = context(own_addresses=frozenset({("127.0.0.1", 4318)}))
    with pytest.raises(ConfigError) as caught:
        make_exporter("pushgateway", "push", options, own, where="destinations.push")
    assert caught.value.path.startswith("destinations.push")
    assert path in str(caught.value)
    assert "secret" not in str(caught.value)
