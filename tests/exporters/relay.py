"""An HTTP relay in front of a real receiver, which loses answers and gives others in its place."""

from __future__ import annotations

from collections import deque
from types import TracebackType

import aiohttp
from aiohttp import web


class Relay:
    """Forwards to ``upstream`` (a base URL). ``script``: what the next requests get, one word each; then they are passed on.

    ``lose``: passed on, and the connection closed instead of an answer. ``drop``: closed without passing on. A number: answered
    with this status, not passed on. ``page``: a web page. ``pass``: as without a script.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.script: deque[str] = deque()
        self.headers: dict[str, str] = {}  # of the answers it makes up
        self.seen: list[dict[str, str]] = []  # the headers of each request
        self.url = ""

    async def __aenter__(self) -> Relay:
        self._runner = web.ServerRunner(web.Server(self._serve, auto_decompress=False), shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
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
        assert request.transport is not None
        request.transport.close()
        return web.Response()
