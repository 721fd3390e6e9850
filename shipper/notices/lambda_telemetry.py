"""Hears from Lambda when a function is done with an invocation: the moment after which its last words can be sent.

An extension is told of an invocation when it begins, and everything is frozen once the function and all extensions are done.
One that asked for the next event at once would be frozen with the last records unsent, perhaps for hours. So Lambda is asked
to say ``platform.runtimeDone`` (Telemetry API 2022-07-01), which it does by HTTP to a listener of ours.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque

from aiohttp import web

from shipper.clock import Clock
from shipper.notices.http import within

HOST = "sandbox.localdomain"  # the one name that Lambda delivers to
SUBSCRIPTION_PATH = "/2022-07-01/telemetry"
REMEMBERED = 64


class RuntimeEnds:
    """Listens for the ends of invocations. Whatever else is delivered is taken and forgotten."""

    def __init__(self, *, clock: Clock, host: str = HOST) -> None:
        self._clock = clock
        self._host = host
        self._done: deque[str] = deque(maxlen=REMEMBERED)
        self._news = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    async def listen(self) -> bytes:
        """Begin to listen; returns the subscription to send. Raises OSError where the name or the socket cannot be had."""
        runner = web.ServerRunner(web.Server(self._take), shutdown_timeout=0.01)
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, self._host, 0).start()
        place = f"http://{self._host}:{runner.addresses[0][1]}"
        return json.dumps(
            {
                "schemaVersion": "2022-07-01",
                "types": ["platform"],
                "buffering": {"maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 25},  # the least that is allowed
                "destination": {"protocol": "HTTP", "URI": place},
            }
        ).encode()

    async def until_done(self, request_id: str, seconds: float) -> bool:
        """Wait for the end of an invocation; False when it was not heard of within ``seconds``."""
        try:
            await within(self._clock, seconds, self._heard(request_id))
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _heard(self, request_id: str) -> None:
        while request_id not in self._done:
            self._news.clear()
            await self._news.wait()

    async def _take(self, request: web.BaseRequest) -> web.Response:
        try:
            events = json.loads(await request.read())
        except (ValueError, RecursionError):
            return web.Response(status=400)
        for event in events if isinstance(events, list) else []:
            if isinstance(event, dict) and event.get("type") == "platform.runtimeDone":
                record = event.get("record")
                if isinstance(record, dict) and isinstance(record.get("requestId"), str):
                    self._done.append(record["requestId"])
        self._news.set()
        return web.Response()
