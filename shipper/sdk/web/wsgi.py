"""Server spans for WSGI applications: one span a request, own code, no further package.

The context is attached while the application or its body runs and never across the server's own code: a server may iterate
a body in another thread or greenlet than the one that called the application.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from opentelemetry.propagators.textmap import Getter

from shipper.sdk.web import http, routes
from shipper.sdk.web.chain import Others

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

_guard = http.Guard("wsgi")


def wsgi(app: WsgiApp) -> WsgiApp:
    """Wrap a WSGI application so that each request makes one server span.

    Safe to apply twice, and beside OpenTelemetry's instrumentations: where one of them traces ``app``, requests pass
    through. What the application raises is recorded and re-raised. A body that streams ends the span when it is closed.
    """
    from shipper.sdk.web import hooks  # what Django's part of it needs stands in this file

    with _guard:
        hooks.listen(app)
    return WsgiMiddleware(app)


class WsgiMiddleware:
    """The application ``app`` with server spans."""

    def __init__(self, app: WsgiApp, owner: object = None) -> None:
        """``owner``: the framework's application, where ``app`` is only what it keeps inside."""
        self.app = app
        self._others = Others(owner, app)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        exchange = None
        with _guard:
            exchange = begin(environ, self._others)
        if exchange is None:
            return self.app(environ, start_response)

        def watched(status: str, headers: Any, *exc_info: Any) -> Any:
            with _guard:
                exchange.status = int(status[:3])
                exchange.route = exchange.route or routes.flask(environ)
                if exc_info and exc_info[0]:
                    exchange.failed(exc_info[0][1])
            return start_response(status, headers, *exc_info)

        with http.Inside(exchange):
            try:
                body = self.app(environ, watched)
            except BaseException as error:
                with _guard:
                    exchange.failed(error)
                    exchange.end()
                raise
        return _ending(body, exchange, environ)


def begin(environ: Environ, others: Others) -> http.Exchange | None:
    """The exchange of a request, kept in its environ; None where no span of ours is to be made."""
    if http.KEY in environ or not http.wanted() or others():
        return None
    if http.exclusions() and http.excluded(_url(environ)):
        return None
    exchange = http.begin(environ.get("REQUEST_METHOD", ""), _attributes(environ), environ, _GETTER)
    environ[http.KEY] = exchange
    return exchange


def _ending(body: Iterable[bytes], exchange: http.Exchange, environ: Environ) -> Iterable[bytes]:
    """``body``, made so that the span ends with it. What servers look at (a list's length, a file to send) stays as it is."""
    with _guard:
        if isinstance(body, list | tuple):
            exchange.end()
            return body
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(body, wrapper):
            return _file(body, exchange)
    return _Body(body, exchange)


def _file(body: Any, exchange: http.Exchange) -> Iterable[bytes]:
    close = getattr(body, "close", None)

    def closing() -> None:
        with _guard:
            exchange.end()
        if close:
            close()

    body.close = closing
    return body  # type: ignore[no-any-return]


class _Body:
    """The application's body while the server iterates it."""

    def __init__(self, body: Iterable[bytes], exchange: http.Exchange) -> None:
        self._body = body
        self._exchange = exchange
        self._parts: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with http.Inside(self._exchange):
            try:
                if self._parts is None:
                    self._parts = iter(self._body)
                return next(self._parts)
            except StopIteration:
                with _guard:
                    self._exchange.responded()
                raise
            except BaseException as error:
                with _guard:
                    self._exchange.failed(error)
                    self._exchange.end()
                raise

    def close(self) -> None:
        """What the server calls at the end, also when the client went away before it."""
        try:
            if close := getattr(self._body, "close", None):
                with http.Inside(self._exchange):
                    close()
        except BaseException as error:
            with _guard:
                self._exchange.failed(error)
            raise
        finally:
            with _guard:
                self._exchange.end()

    def __del__(self) -> None:
        with _guard:
            self._exchange.end()  # a server that never closed it


class _Environ(Getter[Environ]):
    def get(self, carrier: Environ, key: str) -> list[str] | None:
        value = carrier.get("HTTP_" + key.upper().replace("-", "_"))
        return [value] if value is not None else None

    def keys(self, carrier: Environ) -> list[str]:
        return [key[5:].lower().replace("_", "-") for key in carrier if key.startswith("HTTP_")]


_GETTER = _Environ()


def _attributes(environ: Environ) -> dict[str, Any]:
    scheme = environ.get("wsgi.url_scheme", "http")
    attributes: dict[str, Any] = {"url.scheme": scheme, "url.path": _path(environ)}
    port = str(environ.get("SERVER_PORT", ""))
    server = (environ.get("SERVER_NAME", ""), int(port) if port.isdecimal() else None)
    attributes.update(http.server_attributes(scheme, environ.get("HTTP_HOST"), server))
    if client := environ.get("REMOTE_ADDR"):
        attributes["client.address"] = client
    if agent := environ.get("HTTP_USER_AGENT"):
        attributes["user_agent.original"] = agent
    protocol = environ.get("SERVER_PROTOCOL", "")
    if protocol.startswith("HTTP/"):
        attributes["network.protocol.version"] = protocol[5:]
    return attributes


def _path(environ: Environ) -> str:
    # WSGI hands over the bytes of the path as latin-1 (PEP 3333)
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _url(environ: Environ) -> str:
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}{_path(environ)}"
