"""What the fakes of metadata services have in common: a real socket, a record of what was asked, and faults on request.

    async with FakeGce() as gce:
        gce.script(html(), status(503))   # the next two requests get these, whatever they ask
        ... point the client at gce.url ...
        assert gce.asked[0].path == "/computeMetadata/v1/instance/"

Time (delays, long polls, the ``Date`` header) is the time of the clock that the fake was given.
"""

from __future__ import annotations

import asyncio
import json
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from shipper.clock import Clock, SystemClock
from shipper.testing.http_server import HttpServer, break_off


@dataclass(frozen=True, slots=True)
class Fault:
    """What a request gets in place of the true answer; made by the functions below."""

    status: int = 0  # 0: the true answer
    body: bytes = b""
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds of the fake's clock before the answer
    end: str = ""  # "silence": never answers; "hang up": closes the connection without a word


def late(seconds: float) -> Fault:
    """The true answer as it is ``seconds`` later, by the fake's clock."""
    return Fault(delay=seconds)


def silence() -> Fault:
    """No answer at all; the connection stays open, as behind a hop limit or a firewall that drops."""
    return Fault(end="silence")


def hang_up() -> Fault:
    """The connection is closed without a word."""
    return Fault(end="hang up")


def status(code: int, body: bytes = b"") -> Fault:
    """An error of the service itself."""
    return Fault(code, body)


def html(code: int = 200) -> Fault:
    """A web page, as a captive portal or a proxy answers."""
    return Fault(code, b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "text/html")


def raw(body: bytes, content_type: str = "application/json", **headers: str) -> Fault:
    """Exactly this, with status 200; underscores in the names of headers become hyphens."""
    return Fault(200, body, content_type, {name.replace("_", "-"): value for name, value in headers.items()})


def huge(size: int = 1 << 20) -> Fault:
    """Valid JSON, but ``size`` bytes of it."""
    return raw(b'{"filler":"' + b"x" * size + b'"}')


def redirect(to: str, code: int = 302) -> Fault:
    """Pointed elsewhere."""
    return Fault(code, headers={"Location": to})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    at: float  # monotonic seconds of the fake's clock
    method: str
    path: str  # without the query
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in any case
    body: bytes = field(repr=False)


class FakeService(HttpServer):
    """An HTTP server on loopback that answers as one platform's service does, on as many connections as there are.

    ``fault``: what every request gets, until it is None again; `script` puts faults in front of it, one request each, and
    ``faults`` has those that only requests for one path get.
    ``date_skew``: seconds by which the ``Date`` header differs from the clock's wall time; ``date``: exactly this header,
    if not None.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__()
        self.clock: Clock = clock or SystemClock()
        self.asked: list[Asked] = []
        self.fault: Fault | None = None
        self.faults: dict[str, Fault] = {}
        self.date_skew = 0.0
        self.date: str | None = None
        self._script: deque[Fault] = deque()
        self._news = asyncio.Condition()
        self._changed = asyncio.Event()

    def script(self, *faults: Fault) -> None:
        """The next requests get these, one each; then it is ``fault`` again."""
        self._script.extend(faults)

    async def until_asked(self, count: int) -> None:
        """Wait, in real time, until at least ``count`` requests have come in."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.asked) >= count)

    def changed(self) -> None:
        """Wake all requests that wait for a change; the fakes' own methods do this themselves."""
        self._changed.set()
        self._changed = asyncio.Event()

    @abstractmethod
    async def answer(self, asked: Asked) -> web.Response:
        """What the real service would say."""

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """See `HttpServer.serve`."""
        body = await request.read()
        asked = Asked(self.clock.monotonic(), request.method, request.path, request.query, request.headers, body)
        fault = self._script.popleft() if self._script else self.faults.get(request.path, self.fault)
        self.asked.append(asked)
        async with self._news:
            self._news.notify_all()
        response = await self.answer(asked) if fault is None else await self._go_wrong(fault, request, asked)
        now = datetime.fromtimestamp(self.clock.wall_ns() / 1e9 + self.date_skew, UTC)
        response.headers["Date"] = format_datetime(now, usegmt=True) if self.date is None else self.date
        return response

    async def _go_wrong(self, fault: Fault, request: web.BaseRequest, asked: Asked) -> web.Response:
        if fault.delay:
            await self.clock.sleep(fault.delay)
        if fault.end == "silence":
            await asyncio.Event().wait()
        if fault.end == "hang up":
            return break_off(request)
        if not fault.status and not fault.end:
            return await self.answer(asked)
        headers = {"Content-Type": fault.content_type, **fault.headers}
        return web.Response(status=fault.status or 200, body=fault.body, headers=headers)

    async def _wait_for_change(self, seconds: float) -> None:
        """Return at the next `changed`, at the latest after ``seconds`` of the fake's clock."""
        change = asyncio.ensure_future(self._changed.wait())
        end = asyncio.ensure_future(self.clock.sleep(seconds))
        try:
            await asyncio.wait({change, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
            end.cancel()


def as_json(content: object, code: int = 200, **headers: str) -> web.Response:
    """A JSON answer; underscores in the names of headers become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=code, text=json.dumps(content), content_type="application/json", headers=named)
