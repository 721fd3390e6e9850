"""A tag as an operator's wish, where a cloud announces nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from shipper.notices.digitalocean import PATH, POLL_SECONDS, DigitalOceanWatcher
from shipper.testing.platforms.serving import Asked, FakeService, html, status
from tests.notices.listening import CountingClock, RecordingBoard, at_work, poll


class FakeTags(FakeService):
    """The metadata service, as far as tags go: 404 without any."""

    tags: tuple[str, ...] = ()

    async def answer(self, asked: Asked) -> web.Response:
        if asked.path != PATH or not self.tags:
            return web.Response(status=404, text="not found")
        return web.Response(text="\n".join(self.tags))


def on_droplet(story: Callable[[FakeTags, RecordingBoard, CountingClock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = CountingClock()
        async with FakeTags(clock=clock) as service:
            board = RecordingBoard(clock)
            async with at_work(DigitalOceanWatcher(clock=clock, endpoint=service.url), board):
                await story(service, board, clock)

    asyncio.run(run())


def test_a_tag_drains_and_its_removal_takes_it_back() -> None:
    """The tag may state a time; other tags mean nothing."""

    async def story(service: FakeTags, board: RecordingBoard, clock: CountingClock) -> None:
        service.tags = ("web", "no-shipper-drain")
        await poll(clock, POLL_SECONDS)
        assert not board.standing()
        service.tags = ("web", "shipper-drain")
        await poll(clock, POLL_SECONDS)
        assert board.left() == pytest.approx(25)
        service.tags = ("Shipper-Drain:2m",)
        await poll(clock, POLL_SECONDS)
        assert board.left() == pytest.approx(120)
        service.tags = ()
        await poll(clock, POLL_SECONDS)
        assert not board.standing()
        assert board.complaints == []

    on_droplet(story)


def test_an_answer_that_makes_no_sense_takes_no_tag_away() -> None:
    """A page or an error is not an empty list of tags."""

    async def story(service: FakeTags, board: RecordingBoard, clock: CountingClock) -> None:
        service.tags = ("shipper-drain",)
        await poll(clock, POLL_SECONDS)
        service.script(html(), status(500))
        await poll(clock, POLL_SECONDS)
        await poll(clock, POLL_SECONDS)
        assert board.drains
        assert len(board.complaints) == 2

    on_droplet(story)
