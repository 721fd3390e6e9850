"""An HTTP relay in front of a real receiver, which loses answers and gives others in its place."""

from __future__ import annotations

from collections import deque

import aiohttp
from aiohttp import web

from shipper.clock import Clock, Deadline
from shipper.contracts import Accepted, Exporter, Request
from shipper.errors import Retryable
from shipper.testing.http_server import HttpServer, break_off


class Relay(HttpServer):
    """Forwards to ``upstream`` (a base URL). ``script``: what the next requests get, one word each; then they are passed on.

    ``lose``: passed on, and the connection closed instead of an answer. ``drop``: closed without passing on. A number: answered
    with this status, not passed on. ``page``: a web page. ``pass``: as without a script.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._upstream = upstream
        self.script: deque[str] = deque()
        self.headers: dict[str, str] = {}  # of the answers it makes up
        self.seen: list[dict[str, str]] = []  # the headers of each request

    async def come_up(self) -> None:
        """See `HttpServer.come_up`."""
        self._session = aiohttp.ClientSession()
        await super().come_up()

    async def go_down(self) -> None:
        """See `HttpServer.go_down`."""
        await self._session.close()
        await super().go_down()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(dict(request.headers))
        what = self.script.popleft() if self.script else "pass"
        if what.isdigit():
            return web.Response(status=int(what), text="said by the relay", headers=self.headers)
        if what == "page":
            return web.Response(text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
        if what != "drop":
            headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
            async with self._session.request(
                request.method, f"{self._upstream}{request.path}", data=body, headers=headers
            ) as answer:
                passed = web.Response(status=answer.status, body=await answer.read())
                passed.headers["Content-Type"] = answer.headers.get("Content-Type", "text/plain")
            if what == "pass":
                return passed
        return break_off(request)


async def until_answered(exporter: Exporter, request: Request, clock: Clock) -> Accepted:
    """Send it as a pump does: the same again until there is an answer about it."""
    prepared = exporter.prepare(request)
    while True:
        try:
            return await exporter.send(prepared, Deadline(clock))
        except Retryable:
            continue
