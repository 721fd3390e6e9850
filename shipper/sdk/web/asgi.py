"""Server spans for ASGI applications: one span a request or websocket, own code, no further package.

The span ends when the body has been handed to the server, not when the application returns: what runs afterwards
(background tasks) is not what the client waited for, and a span that ended is one that survives the process.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any

from opentelemetry.propagators.textmap import Getter

from shipper.sdk.web import http, routes
from shipper.sdk.web.chain import Others

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_guard = http.Guard("asgi")
_LAST = {
    "http.response.body": "more_body",
    "http.response.trailers": "more_trailers",
    "http.response.pathsend": "",
    "http.response.zerocopysend": "more_body",
}
_HANDSHAKE_REFUSED = 403


def asgi(app: AsgiApp) -> AsgiApp:
    """Wrap an ASGI application so that each HTTP request and each websocket makes one server span.

    Safe to apply twice, and beside OpenTelemetry's instrumentations: where one of them traces ``app``, requests pass
    through. Lifespan events and unknown protocols pass through. What the application raises is recorded and re-raised.
    """
    from shipper.sdk.web import hooks  # what Django's part of it needs stands in this file

    with _guard:
        hooks.listen(app)
    return AsgiMiddleware(app)


class AsgiMiddleware:
    """The application ``app`` with server spans."""

    def __init__(self, app: AsgiApp, owner: object = None) -> None:
        """``owner``: the framework's application, where ``app`` is only what it keeps inside."""
        self.app = app
        self._owner = owner
        self._others = Others(owner, app)

    @cached_property
    def framework(self) -> Any:
        """The part of the application that has Starlette's table of routes, or None."""
        return routes.table(self._owner, self.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of the server."""
        exchange = None
        if scope["type"] in ("http", "websocket"):
            with _guard:
                exchange = begin(scope, self._others)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        watch = (_Websocket if scope["type"] == "websocket" else _Http)(exchange, scope, self, receive, send)
        with http.Inside(exchange):
            try:
                await self.app(scope, watch.receive, watch.send)
            except BaseException as error:
                with _guard:
                    watch.raised(error)
                raise
            finally:
                with _guard:
                    watch.returned()


def begin(scope: Scope, others: Others) -> http.Exchange | None:
    """The exchange of an HTTP request or websocket, kept in its scope; None where no span of ours is to be made."""
    if http.KEY in scope or not http.wanted() or others():
        return None
    headers = _headers(scope)
    if http.exclusions() and http.excluded(_url(scope, headers)):
        return None
    exchange = http.begin(_method(scope), _attributes(scope, headers), headers, _GETTER)
    scope[http.KEY] = exchange
    if "fastapi" in sys.modules and not others.native:
        scope["fastapi.telemetry"] = None  # an application deeper inside (mounted, behind a closure) leaves it to us
    if "starlette.middleware.opentelemetry" in sys.modules:
        scope["starlette.opentelemetry"] = True
    return exchange


class _Http:
    """What passes between the server and the application during one request."""

    def __init__(self, exchange: http.Exchange, scope: Scope, by: AsgiMiddleware, receive: Receive, send: Send) -> None:
        self._exchange = exchange
        self._scope = scope
        self._by = by
        self._mount = scope.get("root_path", "")
        self._path = scope.get("path", "")
        self._receive = receive
        self._send = send
        self._trailers = False
        self._complete = False
        self._gone = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._exchange.status = message.get("status")
            self._trailers = bool(message.get("trailers"))
        await self._send(message)
        if kind in _LAST and not message.get(_LAST[kind]) and (kind.endswith("trailers") or not self._trailers):
            with _guard:
                self._complete = True
                self._name()
                self._exchange.responded()

    def raised(self, error: BaseException) -> None:
        """The application raised. After a client went away it is expected to be cancelled, and that is no error."""
        if isinstance(error, Exception) or not (self._gone or self._complete):
            self._exchange.failed(error)

    def returned(self) -> None:
        """The application is done, one way or another."""
        if self._gone and not self._complete:
            self._exchange.aborted()
        self._name()
        self._exchange.end()

    def _name(self) -> None:
        if not self._exchange.over and self._exchange.route is None:
            self._exchange.route = routes.starlette(self._scope, self._by.framework, self._path, self._mount)


class _Websocket(_Http):
    """A websocket: one span from the handshake to the close. Codes 1000 and 1001 are how a conversation ends well."""

    async def receive(self) -> Message:
        return await self._receive()

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._exchange.status = 101
        elif kind == "websocket.close" and self._exchange.status is None:
            self._exchange.status = _HANDSHAKE_REFUSED
        elif kind == "websocket.http.response.start":
            self._exchange.status = message.get("status")
        await self._send(message)

    def raised(self, error: BaseException) -> None:
        if getattr(error, "code", None) not in (1000, 1001):
            self._exchange.failed(error)


class _Headers(Getter[dict[str, list[str]]]):
    def get(self, carrier: dict[str, list[str]], key: str) -> list[str] | None:
        found = carrier.get(key.lower())
        if found and len(found) > 1 and key.lower() in ("baggage", "tracestate"):
            return [",".join(found)]  # lists that may be spread over several header lines
        return found

    def keys(self, carrier: dict[str, list[str]]) -> list[str]:
        return list(carrier)


_GETTER = _Headers()


def _headers(scope: Scope) -> dict[str, list[str]]:
    lines = scope.get("headers") or ()
    if not isinstance(lines, list | tuple):
        lines = scope["headers"] = list(lines)  # what can be read only once is the application's
    headers: dict[str, list[str]] = {}
    for name, value in lines:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


def _method(scope: Scope) -> str:
    return "GET" if scope["type"] == "websocket" else str(scope.get("method", ""))


def _attributes(scope: Scope, headers: dict[str, list[str]]) -> dict[str, Any]:
    websocket = scope["type"] == "websocket"
    scheme = scope.get("scheme") or ("ws" if websocket else "http")
    attributes: dict[str, Any] = {"url.scheme": scheme, "url.path": scope.get("path", "")}
    attributes.update(http.server_attributes(scheme, headers.get("host", [None])[0], scope.get("server")))
    if (client := scope.get("client")) and client[0]:
        attributes["client.address"] = client[0]
    if agent := headers.get("user-agent"):
        attributes["user_agent.original"] = agent[0]
    if version := scope.get("http_version"):
        attributes["network.protocol.version"] = version
    if websocket:
        attributes["network.protocol.name"] = "websocket"
    return attributes


def _url(scope: Scope, headers: dict[str, list[str]]) -> str:
    host = headers.get("host", [""])[0] or ":".join(map(str, scope.get("server") or ()))
    return f"{scope.get('scheme') or 'http'}://{host}{scope.get('path', '')}"
