"""The release of a preemptible instance on Alibaba Cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from shipper.clock import Clock
from shipper.notices.alibaba import PATH, POLL_SECONDS, TOKEN_PATH, AlibabaWatcher
from shipper.notices.times import Times
from shipper.testing.platforms.serving import Asked, FakeService, Fault, hang_up, html, huge, raw, redirect, status
from tests.notices.listening import CountingClock, RecordingBoard, at_work, poll

IN_FIVE_MINUTES = "2023-11-14T22:18:20Z"  # 300 s after the clock's beginning


class FakeAlibaba(FakeService):
    """The metadata service: no such item until there is a time, and tokens if they are needed."""

    def __init__(self, *, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.time = ""
        self.token = ""

    async def answer(self, asked: Asked) -> web.Response:
        if asked.path == TOKEN_PATH and asked.method == "PUT":
            return web.Response(text=self.token)
        if self.token and asked.headers.get("X-aliyun-ecs-metadata-token") != self.token:
            return web.Response(status=403, text="<html>Forbidden</html>", content_type="text/html")
        if asked.path == PATH and self.time:
            return web.Response(text=self.time)
        return web.Response(status=404, text="<html>Not Found</html>", content_type="text/html")


def on_alibaba(story: Callable[[FakeAlibaba, RecordingBoard, CountingClock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeAlibaba(clock=clock) as service:
            board = RecordingBoard(clock)
            async with at_work(AlibabaWatcher(clock=clock, times=Times(clock), endpoint=service.url), board):
                await story(service, board, clock)

    asyncio.run(run())


def test_a_time_of_release_drains() -> None:
    """No such item means nothing; a time is five minutes' notice, said once."""

    async def story(service: FakeAlibaba, board: RecordingBoard, clock: CountingClock) -> None:
        await poll(clock, POLL_SECONDS)
        assert not board.standing()
        assert board.complaints == []
        service.time = IN_FIVE_MINUTES
        await poll(clock, POLL_SECONDS)
        await poll(clock, POLL_SECONDS)
        assert board.drains
        assert board.left() == pytest.approx(300 - 3 * POLL_SECONDS, abs=1)

    on_alibaba(story)


def test_tokens_are_fetched_where_they_are_needed_and_when_they_expire() -> None:
    """An instance in hardened mode is understood, and its token renewed on the first refusal."""

    async def story(service: FakeAlibaba, board: RecordingBoard, clock: CountingClock) -> None:
        service.token = "first"
        await poll(clock, POLL_SECONDS)
        service.token, service.time = "second", IN_FIVE_MINUTES
        await poll(clock, POLL_SECONDS)
        assert board.drains
        assert board.complaints == []

    on_alibaba(story)


NONSENSE = {
    "a web page": html(),
    "no time": raw(b"tomorrow", "text/plain"),
    "a flood": huge(),
    "500": status(500),
    "403": status(403),
    "elsewhere": redirect("http://127.0.0.1:1/"),
    "nothing": hang_up(),
}


@pytest.mark.parametrize("fault", NONSENSE.values(), ids=NONSENSE.keys())
def test_an_answer_of_alibaba_that_makes_no_sense_is_unknown(fault: Fault) -> None:
    """It begins nothing and takes nothing back."""

    async def story(service: FakeAlibaba, board: RecordingBoard, clock: CountingClock) -> None:
        await poll(clock, POLL_SECONDS)
        service.fault = fault
        await poll(clock, POLL_SECONDS)
        assert not board.standing()
        assert board.complaints[0].startswith("the metadata service ")
        service.fault, service.time = None, IN_FIVE_MINUTES
        await poll(clock, POLL_SECONDS)
        service.fault = fault
        await poll(clock, POLL_SECONDS)
        assert board.drains

    on_alibaba(story)
