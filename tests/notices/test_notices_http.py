"""How a metadata service is asked: bounded in size and time, and never by way of somebody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from shipper.clock import SystemClock
from shipper.labels.metadata import MAX_BODY, NoMetadata
from shipper.notices import http
from shipper.notices.http import Asker, within
from shipper.testing.clock import FakeClock
from shipper.testing.platforms.serving import Asked, FakeService, raw, redirect, silence


class Echo(FakeService):
    """Says which path was asked for."""

    async def answer(self, asked: Asked) -> web.Response:
        return web.Response(text=asked.path)


def asking(story: Callable[[Echo, Asker, FakeClock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = FakeClock()
        async with Echo(clock=clock) as service:
            asker = Asker(f"127.0.0.1:{service.port}/", clock=clock, headers={"X-Own": "yes"})
            try:
                await story(service, asker, clock)
            finally:
                await asker.aclose()

    asyncio.run(run())


def test_an_answer_comes_whole_with_its_headers() -> None:
    """An endpoint may lack its scheme; header names are lower case; a failed status is an answer as well."""

    async def story(service: Echo, asker: Asker, clock: FakeClock) -> None:
        answer = await asker.ask("GET", "/a/b", timeout=1, params={"c": "d e"})
        assert (answer.status, answer.body) == (200, b"/a/b")
        assert "date" in answer.headers
        assert service.asked[0].query == {"c": "d e"}
        assert service.asked[0].headers["x-own"] == "yes"

    asking(story)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metadata service is this host's own: a proxy would ask for its own host."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def story(service: Echo, asker: Asker, clock: FakeClock) -> None:
        assert (await asker.ask("GET", "/", timeout=1)).status == 200

    asking(story)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """Who sends us elsewhere is no metadata service, and may not choose whom we ask."""

    async def story(service: Echo, asker: Asker, clock: FakeClock) -> None:
        service.script(redirect("/elsewhere"))
        assert (await asker.ask("GET", "/", timeout=1)).status == 302
        assert [asked.path for asked in service.asked] == ["/"]

    asking(story)


@pytest.mark.parametrize(("size", "good"), [(MAX_BODY, True), (MAX_BODY + 1, False)])
def test_a_body_is_bounded(size: int, good: bool) -> None:
    """What is longer than any true answer is none."""

    async def story(service: Echo, asker: Asker, clock: FakeClock) -> None:
        service.script(raw(b"x" * size))
        if good:
            assert len((await asker.ask("GET", "/", timeout=1)).body) == size
        else:
            with pytest.raises(NoMetadata, match="more than 64 KiB"):
                await asker.ask("GET", "/", timeout=1)

    asking(story)


def test_a_compressed_body_is_not_unfolded() -> None:
    """Nobody asked for one, so it is text that makes no sense, of the size it came in."""

    async def story(service: Echo, asker: Asker, clock: FakeClock) -> None:
        service.script(raw(b"\x1f\x8b\x08\x00", Content_Encoding="gzip"))
        assert (await asker.ask("GET", "/", timeout=1)).body == b"\x1f\x8b\x08\x00"
        assert service.asked[0].headers["Accept-Encoding"] == "identity"

    asking(story)


def test_silence_ends_by_the_injected_clock() -> None:
    """The time-out is the clock's, and leaves nothing running; the next question is answered."""

    async def story(service: Echo, asker: Asker, clock: FakeClock) -> None:
        service.script(silence())
        question = asyncio.create_task(asker.ask("GET", "/", timeout=3))
        await service.until_asked(1)
        clock.advance(3)
        with pytest.raises(NoMetadata, match="no answer within 3 s"):
            await question
        assert (await asker.ask("GET", "/", timeout=3)).status == 200

    asking(story)


def test_nobody_there_is_a_sentence() -> None:
    """A refused connection, a port that is none, an address that is none: each says what it was."""

    async def story() -> None:
        for endpoint in ("http://127.0.0.1:1", "http://:x", "http://127.0.0.1:99999"):
            asker = Asker(endpoint, clock=SystemClock())
            with pytest.raises(NoMetadata, match=r"^cannot be reached \(.+\)$"):
                await asker.ask("GET", "/", timeout=5)
            await asker.aclose()

    asyncio.run(story())


def test_a_connection_that_does_not_come_is_given_up_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first answer may take minutes, a connection may not: packets that are lost at boot are sent anew soon."""
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.05)

    async def story() -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = []
            for _ in range(4):  # the queue is full: the kernel drops what more comes
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(full.getsockname())
                waiting.append(one)
            asker = Asker(f"http://127.0.0.1:{full.getsockname()[1]}", clock=FakeClock())
            with pytest.raises(NoMetadata, match="no connection within"):
                await asker.ask("GET", "/", timeout=150)
            await asker.aclose()
            for one in waiting:
                one.close()

    asyncio.run(story())


def test_what_is_cut_short_has_ended_when_it_is_said() -> None:
    """`within` leaves no task behind, whether time is up, the work is done, or the caller is cancelled."""

    async def story() -> None:
        clock = FakeClock()
        ended: list[str] = []

        async def work(seconds: float) -> str:
            try:
                await clock.sleep(seconds)
                return "done"
            finally:
                ended.append("ended")

        late = asyncio.create_task(within(clock, 1, work(5)))
        await clock.run(1)
        with pytest.raises(TimeoutError):
            await late
        soon = asyncio.create_task(within(clock, 5, work(1)))
        await clock.run(1)
        assert await soon == "done"
        cancelled = asyncio.create_task(within(clock, 5, work(5)))
        await clock.settle()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert len(ended) == 3
        assert clock.sleeping() == 0

    asyncio.run(story())
