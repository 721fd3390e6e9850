"""Indexer acknowledgement: what is sent is there only once Splunk says that it is indexed, and nothing else counts as that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext, Prepared
from shipper.errors import Retryable, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._splunk.acks import NOBODYS, SHAKEN, Acks, Channel
from shipper_exporters.splunk import SplunkExporter, SplunkSettings
from tests.exporters.splunk_hec import TOKEN, HecServer, Say, code


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLUNK_HEC_TOKEN", TOKEN)


Scenario = Callable[[HecServer, SplunkExporter, FakeClock], Awaitable[None]]


def with_collector(scenario: Scenario, *, use_ack: bool = True, **settings: Any) -> None:
    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), HecServer(use_ack=use_ack) as server:
            options = SplunkSettings(endpoint=server.url, **settings)
            exporter = SplunkExporter("splunk", options, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            try:
                await scenario(server, exporter, clock)
            finally:
                await exporter.aclose()

    asyncio.run(run())


def prepared(exporter: SplunkExporter, *lines: str) -> Prepared:
    return exporter.prepare(log_request(log_batch(lines)))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for comes by a socket and has no event of its own
        await asyncio.sleep(0.001)


async def ends(clock: FakeClock, *sends: asyncio.Task[Accepted]) -> list[Accepted | BaseException]:
    """Let time pass until all have ended."""
    while not all(send.done() for send in sends):
        await clock.run(0.25)
        await asyncio.sleep(0.001)
    return list(await asyncio.gather(*sends, return_exceptions=True))


@asynccontextmanager
async def sending(exporter: SplunkExporter, *requests: Prepared) -> AsyncIterator[list[asyncio.Task[Accepted]]]:
    deadline = Deadline(exporter._context.clock)
    tasks = [asyncio.create_task(exporter.send(request, deadline)) for request in requests]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_taken_is_not_indexed() -> None:
    """Events that were taken count only once they are indexed, however long that takes, and are sent once."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        async with sending(exporter, prepared(exporter, "a"), prepared(exporter, "b")) as sends:
            await until(lambda: len(server.kept) == 2)
            await clock.run(100)
            await until(lambda: len(server.asked) > 2)
            assert not any(send.done() for send in sends)
            server.indexing = True
            assert await ends(clock, *sends) == [Accepted(), Accepted()]
        assert len(server.kept) == 2
        assert len({channel for channel, _ in server.asked}) == 1

    with_collector(scenario)


def test_asked_for_together_and_not_too_often() -> None:
    """All that is outstanding is asked for in one request, and less often the longer nothing comes."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        requests = [prepared(exporter, str(number)) for number in range(8)]
        async with sending(exporter, *requests) as sends:
            await until(lambda: len(server.kept) == 8)
            for _ in range(240):
                await clock.run(0.25)
                await asyncio.sleep(0.002)
            questions = [ids for _, ids in server.asked if ids != [NOBODYS]]
            assert 5 <= len(questions) <= 15
            assert questions[-1] == list(range(8))
            server.indexing = True
            assert await ends(clock, *sends) == [Accepted()] * 8

    with_collector(scenario)


def test_acknowledgement_never_comes() -> None:
    """What is not acknowledged in time is `Retryable`, and then sent again."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        request = prepared(exporter, "a")
        async with sending(exporter, request) as sends:
            (outcome,) = await ends(clock, *sends)
        assert isinstance(outcome, Retryable)
        assert "did not come" in str(outcome)
        assert len(server.kept) == 1
        server.indexing = True
        async with sending(exporter, request) as sends:
            assert await ends(clock, *sends) == [Accepted()]
        assert len(server.kept) == 2

    with_collector(scenario, ack_timeout=60.0)


def test_the_deadline_does_not_make_it_sent_twice() -> None:
    """A deadline that comes before the acknowledgement ends the attempt; the next one only waits on."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        request = prepared(exporter, "a")
        send = asyncio.create_task(exporter.send(request, Deadline.after(clock, 5)))
        (outcome,) = await ends(clock, send)
        assert isinstance(outcome, Retryable)
        assert "deadline" in str(outcome)
        server.indexing = True
        async with sending(exporter, request) as sends:
            assert await ends(clock, *sends) == [Accepted()]
        assert len(server.kept) == 1

    with_collector(scenario)


def test_restarted_indexer() -> None:
    """After a restart ids begin anew: an old one that is answered by what a new one stands for acknowledges nothing."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        old = prepared(exporter, "old")
        async with sending(exporter, old) as (first,):
            await until(lambda: len(server.kept) == 1)
            server.forget()
            server.indexed.clear()
            server.kept.clear()
            async with sending(exporter, prepared(exporter, "new")) as (second,):
                await until(lambda: len(server.kept) == 1)
                server.indexing = True
                outcome, answer = await ends(clock, first, second)
        assert isinstance(outcome, Retryable)
        assert "began anew" in str(outcome)
        assert answer == Accepted()
        async with sending(exporter, old) as sends:
            assert await ends(clock, *sends) == [Accepted()]
        assert [event["event"] for event in server.indexed] == ["new", "old"]

    with_collector(scenario)


def test_unreachable_meanwhile() -> None:
    """When the collector was away, what is then not acknowledged soon is sent again, long before the usual time."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        async with sending(exporter, prepared(exporter, "a")) as (send,):
            await until(lambda: len(server.kept) == 1)
            await server.go_down()
            await clock.run(5)
            await until(lambda: exporter._acks._current.shaken)
            await server.come_up()
            began = clock.monotonic()
            (outcome,) = await ends(clock, send)
            assert isinstance(outcome, Retryable)
            assert clock.monotonic() - began < SHAKEN + 60

    with_collector(scenario, ack_timeout=3600.0)


def test_another_channel_after_a_failure() -> None:
    """A request that got no answer leaves its channel behind; what was taken on it before is still asked for there."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        async with sending(exporter, prepared(exporter, "a")) as (first,):
            await until(lambda: len(server.kept) == 1)
            server.script(Say(fault="hang up"), Say(fault="hang up"))
            failed = prepared(exporter, "b")
            with pytest.raises(Retryable):
                await exporter.send(failed, Deadline(clock))
            server.indexing = True
            async with sending(exporter, failed) as (second,):
                assert await ends(clock, first, second) == [Accepted(), Accepted()]
        assert len({post.headers["X-Splunk-Request-Channel"] for post, _ in server.kept}) == 2

    with_collector(scenario)


@pytest.mark.parametrize("number", [10, 11])
def test_channel_lost(number: int) -> None:
    """When the channel is not known any more, what waited for it is sent again on another."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        request = prepared(exporter, "a")
        async with sending(exporter, request) as sends:
            await until(lambda: len(server.kept) == 1)
            server.ack_answer = code(number)
            (outcome,) = await ends(clock, *sends)
        assert isinstance(outcome, Retryable | Unusable)
        server.ack_answer, server.indexing = None, True
        async with sending(exporter, request) as sends:
            assert await ends(clock, *sends) == [Accepted()]
        assert len(server.kept) == (2 if number == 11 else 1)

    with_collector(scenario)


def test_token_revoked_while_waiting() -> None:
    """Who may not ask any more is told so, and nothing is sent twice once the token is back."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.indexing = False
        request = prepared(exporter, "a")
        async with sending(exporter, request) as sends:
            await until(lambda: len(server.kept) == 1)
            server.ack_answer = code(4)
            (outcome,) = await ends(clock, *sends)
        assert isinstance(outcome, Unusable)
        server.ack_answer, server.indexing = None, True
        async with sending(exporter, request) as sends:
            assert await ends(clock, *sends) == [Accepted()]
        assert len(server.kept) == 1

    with_collector(scenario)


def test_token_without_acknowledgement() -> None:
    """With a token that has no acknowledgement nothing is sent, not even once, and the two ways out are said."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        for _ in range(2):
            with pytest.raises(Unusable, match="acknowledgement: false"):
                await exporter.send(prepared(exporter, "a"), Deadline(clock))
        assert not server.posts

    with_collector(scenario, use_ack=False)


def test_taken_without_an_id() -> None:
    """An answer without an id to ask for acknowledges nothing."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.answer = code(0)
        with pytest.raises(Unusable, match="gave no id"):
            await exporter.send(prepared(exporter, "a"), Deadline(clock))

    with_collector(scenario)


def test_a_token_that_loses_its_acknowledgement() -> None:
    """Once a token has it no more, that is found out without sending the events again and again."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        async with sending(exporter, prepared(exporter, "a")) as sends:
            assert await ends(clock, *sends) == [Accepted()]
        server.use_ack = False
        one = prepared(exporter, "b")
        for _ in range(3):
            with pytest.raises(Unusable, match="acknowledgement: false"):
                await exporter.send(one, Deadline(clock))
        assert len(server.kept) == 2
        server.use_ack = True
        async with sending(exporter, one) as sends:
            assert await ends(clock, *sends) == [Accepted()]

    with_collector(scenario)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"acks": []}', b'{"acks": {"7": true, "x": true, "0": "true"}}'])
def test_nonsense_and_unknown_ids(body: bytes) -> None:
    """Acknowledgements of ids nobody asked for, and answers that are none, acknowledge nothing."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        async with sending(exporter, prepared(exporter, "a")) as (send,):
            server.indexing = False
            await until(lambda: len(server.kept) == 1)
            server.ack_answer = Say(body=body)
            (outcome,) = await ends(clock, send)
            assert isinstance(outcome, Retryable | Unusable)

    with_collector(scenario, ack_timeout=30.0)


def test_cookies_keep_to_one_indexer() -> None:
    """The cookie by which a balancer knows the indexer goes with every later request."""

    async def scenario(server: HecServer, exporter: SplunkExporter, clock: FakeClock) -> None:
        server.cookie = "AWSALB=abc/def+g=; Expires=Mon, 30 Nov 2026 00:00:00 GMT; Path=/"
        async with sending(exporter, prepared(exporter, "a")) as sends:
            await ends(clock, *sends)
        async with sending(exporter, prepared(exporter, "b")) as sends:
            await ends(clock, *sends)
        first, second = server.kept
        assert "Cookie" not in first[0].headers
        assert second[0].headers["Cookie"] == "AWSALB=abc/def+g="

    with_collector(scenario)


def test_a_word_of_what_may_be_another_request() -> None:
    """While a request is under way its id may be the one that is spoken of: the word counts when that is answered."""
    clock = FakeClock()
    acks = Acks(clock, _Nobody(), "seed", 1.0, 60.0)

    async def scenario() -> None:
        with acks.posting() as channel:
            pass
        pending = acks.expect(channel, 0)
        with acks.posting():
            channel.indexed({0})
            assert pending.there is None
        assert pending.there is True
        other = acks.expect(channel, 1)
        with suppress(Retryable), acks.posting():
            channel.indexed({1})
            raise Retryable("no answer")
        assert other.lost
        assert acks.channel != channel.guid
        await acks.aclose()

    asyncio.run(scenario())


class LateQuestion(HecServer):
    """Its second question is on its way for as long as nothing was taken."""

    questions = 0

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/ack"):
            self.questions += 1
            if self.questions == 2:
                await until(lambda: bool(self.kept))
        return await super().serve(request)


def test_finding_out_uses_up_nobodys_acknowledgement() -> None:
    """A "true" is said once: whoever asks whether there is acknowledgement at all does not ask by an id that somebody waits for."""

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), LateQuestion(use_ack=True) as server:
            exporter = SplunkExporter(
                "splunk", SplunkSettings(endpoint=server.url), ExporterContext(clock, LIFE, 1, "test")
            )
            await exporter.start()
            began = clock.monotonic()
            async with sending(exporter, prepared(exporter, "one"), prepared(exporter, "two")) as sends:
                assert all(isinstance(answer, Accepted) for answer in await ends(clock, *sends))
            assert clock.monotonic() - began < 30
            await exporter.aclose()

    asyncio.run(run())


def test_answers_out_of_order_are_no_restart() -> None:
    """Requests that are under way at once may be answered in another order than their ids."""
    channel = Channel("guid", 1.0)
    assert not any(channel.began_anew(ack) for ack in (3, 0, 2, 1, 5, 4, *range(6, 2000)))
    assert channel.began_anew(0)
    assert not channel.began_anew(1)


def test_a_bug_leaves_nobody_waiting() -> None:
    """Should asking break by a bug, what waits is sent again, and the bug surfaces."""
    clock = FakeClock()
    acks = Acks(clock, _Broken(), "seed", 1.0, 60.0)

    async def scenario() -> None:
        with acks.posting() as channel:
            pass
        pending = acks.expect(channel, 0)
        with pytest.raises(Retryable, match="broke"):
            await acks.wait(pending, Deadline(clock))
        assert "ask" in acks._tasks
        with pytest.raises(ZeroDivisionError):
            await acks._tasks["ask"]

    asyncio.run(scenario())


class _Broken:
    async def acknowledged(self, channel: str, ids: object, deadline: Deadline) -> set[int]:
        raise ZeroDivisionError


class _Nobody:
    async def acknowledged(self, channel: str, ids: object, deadline: Deadline) -> set[int]:
        raise Retryable("nobody there")
