"""A small HTTP server on loopback that misbehaves on request: the ground under the fakes of metadata services.

What a fake answers of its own is one thing (`Loopback.reply`); what goes wrong on the way is another, and the same for all of
them: a *trap* takes the place of the answer, or delays it, for one path or for all, once or until it is lifted.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal

from aiohttp import web

from shipper.clock import Clock, SystemClock
from shipper.testing.http_server import HttpServer, break_off

EVERYWHERE = "*"  # as a path: all paths
_HALF = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n{"
_PAGE = """<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>{status} - {reason}</title>
 </head>
 <body>
  <h1>{status} - {reason}</h1>
 </body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it goes over the wire."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trap:
    """What goes wrong with a request. Without a ``reply`` the true answer is given, after ``delay`` seconds of the clock."""

    reply: Reply | None = None
    delay: float = 0.0
    fault: Literal["", "hang", "hang up", "cut off"] = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came: when (the clock's monotonic seconds), what, and with which headers and body."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


def text(body: str, status: int = 200) -> Trap:
    """Answer with this text, whatever the truth is."""
    return Trap(Reply(status, body.encode()))


def page(status: int, reason: str = "Error") -> Trap:
    """Answer with an error and an XHTML page, as the EC2 metadata service does."""
    return Trap(Reply(status, _PAGE.format(status=status, reason=reason).encode(), "text/html"))


def web_page() -> Trap:
    """Answer 200 with a web page, as captive portals and wrong proxies do."""
    return Trap(Reply(200, b"<!DOCTYPE html><html><title>Sign in</title><body>hello</body></html>", "text/html"))


def huge(size: int = 8 << 20) -> Trap:
    """Answer 200 with ``size`` bytes of nothing."""
    return Trap(Reply(200, b" " * size))


def redirect(to: str) -> Trap:
    """Point elsewhere."""
    return Trap(Reply(302, b"", headers={"Location": to}))


def slow(seconds: float) -> Trap:
    """The true answer, late (by the fake's clock)."""
    return Trap(delay=seconds)


def hang() -> Trap:
    """No answer, ever; the connection stays open."""
    return Trap(fault="hang")


def hang_up() -> Trap:
    """Close the connection without an answer."""
    return Trap(fault="hang up")


def cut_off() -> Trap:
    """Promise 1000 bytes, send some, close the connection."""
    return Trap(fault="cut off")


class Loopback(HttpServer):
    """The server; an async context manager. ``asked`` records all requests; ``date_skew`` makes the ``Date`` header wrong
    by so many seconds against the clock (None: empty, as good as none)."""

    def __init__(self, *, clock: Clock | None = None, ipv6: bool = False) -> None:
        super().__init__(host="::1" if ipv6 else "127.0.0.1")
        self.asked: list[Asked] = []
        self.date_skew: float | None = 0.0
        self.clock: Clock = clock or SystemClock()
        self._once: defaultdict[str, deque[Trap]] = defaultdict(deque)
        self._always: dict[str, Trap] = {}
        self._news = asyncio.Condition()

    def trap(self, path: str, *traps: Trap) -> None:
        """The next requests to ``path`` (or `EVERYWHERE`) get these, one each."""
        self._once[path].extend(traps)

    def trap_always(self, path: str, trap: Trap | None) -> None:
        """Every request to ``path`` (or `EVERYWHERE`) gets this, until None lifts it."""
        if trap is None:
            self._always.pop(path, None)
        else:
            self._always[path] = trap

    def count(self, path: str, method: str = "GET") -> int:
        """How many requests came for that path so far."""
        return sum(one.path == path and one.method == method for one in self.asked)

    async def until_asked(self, path: str, count: int = 1, method: str = "GET") -> None:
        """Wait, in real time, until ``path`` was asked for at least ``count`` times since the start."""
        async with self._news:
            await self._news.wait_for(lambda: self.count(path, method) >= count)

    @abstractmethod
    def reply(self, asked: Asked) -> Reply:
        """The true answer."""

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """See `HttpServer.serve`."""
        body = await request.read()
        asked = Asked(self.clock.monotonic(), request.method, request.path, request.headers.copy(), body)
        self.asked.append(asked)
        async with self._news:
            self._news.notify_all()
        trap = self._trap_for(request.path)
        if trap is None:
            return self._give(self.reply(asked))
        if trap.delay:
            await self.clock.sleep(trap.delay)
        if trap.fault == "hang":
            await asyncio.Event().wait()
        if trap.fault:
            return break_off(request, _HALF if trap.fault == "cut off" else b"")
        return self._give(trap.reply if trap.reply is not None else self.reply(asked))

    def _trap_for(self, path: str) -> Trap | None:
        for where in (path, EVERYWHERE):
            if self._once[where]:
                return self._once[where].popleft()
            if where in self._always:
                return self._always[where]
        return None

    def _give(self, reply: Reply) -> web.Response:
        headers = dict(reply.headers)
        response = web.Response(status=reply.status, body=reply.body, content_type=reply.content_type, headers=headers)
        if self.date_skew is None:
            response.headers["Date"] = ""
        else:
            response.headers["Date"] = formatdate(self.clock.wall_ns() / 1e9 + self.date_skew, usegmt=True)
        return response
