"""The base of fakes of HTTP services: its port, what is held, and what becomes of a request whose client hangs up."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from shipper.testing.http_server import HttpServer, break_off


class Service(HttpServer):
    """Answers with the size of what came; ``/held`` later, ``/broken`` in part."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.served = asyncio.Event()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.path == "/broken":
            return break_off(request, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        self.began.set()
        if request.path == "/held":
            await self.held()
        self.served.set()
        return web.Response(text=str(len(body)))


async def ask(service: HttpServer, path: str = "/") -> str:
    async with aiohttp.ClientSession() as session, session.post(service.url + path, data=b"four") as answer:
        return await answer.text()


def test_it_comes_back_on_its_port() -> None:
    """Down, connecting is refused; up again it is where it was; coming up twice is coming up once."""

    async def story() -> None:
        async with Service() as service:
            port = service.port
            assert await ask(service) == "4"
            await service.go_down()
            assert not service.up
            with pytest.raises(aiohttp.ClientConnectorError):
                await ask(service)
            await service.come_up()
            await service.come_up()
            assert (service.port, await ask(service)) == (port, "4")

    asyncio.run(story())


def test_what_is_held_is_answered_when_released() -> None:
    """A held answer comes with the release, and from then on nothing is held."""

    async def story() -> None:
        async with Service() as service:
            asking = asyncio.create_task(ask(service, "/held"))
            await service.began.wait()
            assert not asking.done()
            service.release()
            assert (await asking, await ask(service, "/held")) == ("4", "4")

    asyncio.run(story())


def test_an_answer_that_is_broken_off() -> None:
    """The client gets the head and less than it was promised."""

    async def story() -> None:
        async with Service() as service:
            with pytest.raises(aiohttp.ClientPayloadError):
                await ask(service, "/broken")

    asyncio.run(story())


def test_a_client_that_hangs_up() -> None:
    """Its request is served to the end all the same."""

    async def story() -> None:
        async with asyncio.timeout(30), Service() as service:
            asking = asyncio.create_task(ask(service, "/held"))
            await service.began.wait()
            asking.cancel()
            await asyncio.wait([asking])
            service.release()
            await service.served.wait()

    asyncio.run(story())
