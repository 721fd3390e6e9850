"""AWS Lambda's Extensions API and, as far as its platform events go, the Telemetry API, for one external extension.

async with FakeLambda(clock=clock) as api:
    os.environ["AWS_LAMBDA_RUNTIME_API"] = api.runtime_api
    await api.until_ready()                    # the extension asked for the next event: from here on it may be frozen
    api.invoke("r-1", timeout=3.0)
    await api.runtime_done("r-1")              # the function is done; the extension has until it asks again
    api.shut_down("SPINDOWN", within=2.0)
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Collection

import aiohttp
from aiohttp import web

from shipper.clock import Clock
from shipper.testing.platforms.serving import Asked, FakeService, as_json

EXTENSION = "/2020-01-01/extension"
TELEMETRY = "/2022-07-01/telemetry"


class FakeLambda(FakeService):
    """The API. Traps: only names of executables in /opt/extensions may register; every other request needs the identifier that
    registering gave; ``event/next`` hangs until there is an event, and says that the extension is ready to be frozen.

    ``errors``: what the extension said on init/error and exit/error, as (path, error type). ``subscribed``: where platform
    events go; with ``telemetry`` False the subscription is answered 202, as outside of Lambda.
    """

    def __init__(
        self, *, clock: Clock | None = None, executables: Collection[str] = ("shipper",), telemetry: bool = True
    ) -> None:
        super().__init__(clock=clock)
        self.registered: dict[str, list[str]] = {}
        self.errors: list[tuple[str, str]] = []
        self.subscribed: list[str] = []
        self.asked_next = 0
        self._executables = frozenset(executables)
        self._telemetry = telemetry
        self._events: deque[dict[str, object]] = deque()
        self._ready = asyncio.Condition()

    @property
    def runtime_api(self) -> str:
        """The value for ``AWS_LAMBDA_RUNTIME_API``: host and port, no scheme."""
        return f"{self.host}:{self.port}"

    async def until_ready(self, times: int = 1) -> None:
        """Wait, in real time, until the extension has asked for the next event that often."""
        async with self._ready:
            await self._ready.wait_for(lambda: self.asked_next >= times)

    def invoke(self, request_id: str, *, timeout: float = 3.0) -> None:
        """The function is invoked, and may take ``timeout`` seconds."""
        self.say({"eventType": "INVOKE", "requestId": request_id, "deadlineMs": self._epoch_ms(timeout)})

    def shut_down(self, reason: str = "SPINDOWN", *, within: float = 2.0, remaining: bool = False) -> None:
        """The environment ends (``SPINDOWN``, ``TIMEOUT``, ``FAILURE``) in ``within`` seconds.

        ``remaining``: state milliseconds that are left, as the documentation has it, rather than the time of the end.
        """
        stated = round(within * 1000) if remaining else self._epoch_ms(within)
        self.say({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": stated})

    def say(self, event: dict[str, object]) -> None:
        """Exactly this event is next."""
        self._events.append(event)
        self.changed()

    async def runtime_done(self, request_id: str, status: str = "success") -> None:
        """The function is done: tell whoever subscribed."""
        record = {"requestId": request_id, "status": status}
        event = {"time": "2026-11-23T12:00:00.000Z", "type": "platform.runtimeDone", "record": record}
        async with aiohttp.ClientSession() as session:
            for place in self.subscribed:
                async with session.post(place, json=[event]) as response:
                    await response.read()

    async def answer(self, asked: Asked) -> web.Response:
        """See `FakeService.answer`."""
        if asked.path == f"{EXTENSION}/register" and asked.method == "POST":
            return self._register(asked)
        ident = asked.headers.get("Lambda-Extension-Identifier", "")
        if ident not in self.registered:
            return self._refuse(403, "Extension.InvalidExtensionIdentifier")
        if asked.path == f"{EXTENSION}/event/next" and asked.method == "GET":
            return await self._next()
        if asked.path in (f"{EXTENSION}/init/error", f"{EXTENSION}/exit/error") and asked.method == "POST":
            kind = asked.headers.get("Lambda-Extension-Function-Error-Type", "")
            self.errors.append((asked.path.removeprefix(EXTENSION), kind))
            return as_json({"status": "OK"}, 202)
        if asked.path == TELEMETRY and asked.method == "PUT":
            return self._subscribe(asked)
        return self._refuse(404, "Extension.NotFound")

    def _register(self, asked: Asked) -> web.Response:
        name = asked.headers.get("Lambda-Extension-Name", "")
        if name not in self._executables:
            return self._refuse(403, "Extension.InvalidExtensionName")
        ident = f"00000000-0000-4000-8000-{len(self.registered) + 1:012d}"
        self.registered[ident] = list(json.loads(asked.body)["events"])
        described = {"functionName": "web", "functionVersion": "$LATEST", "handler": "web.handler"}
        return as_json(described, Lambda_Extension_Identifier=ident)

    async def _next(self) -> web.Response:
        self.asked_next += 1
        async with self._ready:
            self._ready.notify_all()
        while not self._events:
            await self._wait_for_change(3600.0)
        return as_json(self._events.popleft(), Lambda_Extension_Event_Identifier="e-1")

    def _subscribe(self, asked: Asked) -> web.Response:
        if not self._telemetry:
            return web.Response(status=202, text="Telemetry API is not supported")
        wanted = json.loads(asked.body)
        limits = wanted.get("buffering", {})
        if limits.get("timeoutMs", 1000) < 25 or limits.get("maxItems", 10_000) < 1000:
            return self._refuse(400, "ValidationError")
        self.subscribed.append(str(wanted["destination"]["URI"]))
        return web.Response(text="OK")

    def _refuse(self, code: int, kind: str) -> web.Response:
        return as_json({"errorMessage": f"refused: {kind}", "errorType": kind}, code)

    def _epoch_ms(self, seconds: float) -> int:
        return self.clock.wall_ns() // 1_000_000 + round(seconds * 1000)
