"""A Pushgateway for tests, on a real socket, that refuses what the real one refuses and can be told to misbehave."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from shipper.testing.contract import Fault
from shipper.testing.http_server import HttpServer, break_off


@dataclass(frozen=True)
class Call:
    """One request as it came."""

    method: str
    path: str
    body: str
    authorization: str = ""


class FakePushgateway(HttpServer):
    """From ``__aenter__`` to ``__aexit__``. ``groups``: by path, what was pushed last; ``stored``: each push that was taken."""

    unpacks = True

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, str] = {}
        self.stored: list[str] = []  # what was pushed, each time
        self.calls: list[Call] = []
        self.answers: list[web.Response] = []
        self.fault: Fault | None = None

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.calls.append(Call(request.method, request.raw_path, body, request.headers.get("Authorization", "")))
        if self.fault is not None:
            answer = await self._misbehave(request, self.fault)
            if answer is not None:
                return answer
        if self.answers:
            return self.answers.pop(0)
        if request.method == "DELETE":
            self.groups.pop(request.raw_path, None)
            return web.Response(status=202)
        return self._push(request, body)

    def _push(self, request: web.BaseRequest, body: str) -> web.Response:
        if request.method != "PUT" or not request.raw_path.startswith(("/metrics/job/", "/metrics/job@base64/")):
            return web.Response(status=404, text="404 page not found\n")
        try:
            families = list(text_string_to_metric_families(body))
        except ValueError as error:
            return web.Response(status=400, text=f"text format parsing error: {error}")
        if any(sample.timestamp is not None for family in families for sample in family.samples):
            return web.Response(status=400, text="pushed metrics must not have timestamps")
        self.groups[request.raw_path] = body
        self.stored.append(body)
        return web.Response(status=200)

    async def _misbehave(self, request: web.BaseRequest, fault: Fault) -> web.StreamResponse | None:
        if fault is Fault.STUCK:
            await asyncio.Event().wait()
        if fault is Fault.SLOW:
            await self.held()
        if fault is Fault.BROKEN:
            return break_off(request, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        return {
            Fault.BUSY: web.Response(status=503, headers={"Retry-After": "7"}),
            Fault.MISCONFIGURED: web.Response(status=401, text="Unauthorized"),
            Fault.STRANGER: web.Response(text="<!DOCTYPE html><html>Sign in</html>", content_type="text/html"),
            Fault.TOO_LARGE: web.Response(status=413),
            Fault.REFUSING: web.Response(status=400, text="pushed metrics are invalid or inconsistent"),
            Fault.LYING: web.Response(status=200),
        }.get(fault)
