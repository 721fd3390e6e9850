"""Server spans of applications made with the usual frameworks, put in place by ``attach``, and never two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute

from shipper.sdk import voice
from shipper.sdk.web.apps import attach
from shipper.sdk.web.asgi import asgi
from shipper.sdk.web.wsgi import wsgi
from tests.sdk.http_kit import Spans, call, environ, get, recording, scope, speak


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    with recording(monkeypatch) as kept:
        yield kept


async def item(request: Any) -> Any:
    return PlainTextResponse("item")


async def crash(request: Any) -> Any:
    raise LookupError("no such item")


def starlette(**more: Any) -> Starlette:
    inner = Starlette(routes=[Route("/users/{user}", item), Route("/", item)])
    return Starlette(
        routes=[
            Route("/items/{id:int}", item, methods=["GET"]),
            Route("/crash", crash),
            Mount("/tenants/{tenant}", app=inner),
            Mount("/static", app=lambda scope, receive, send: PlainTextResponse("file")(scope, receive, send)),
            Host("api.example", app=Starlette(routes=[Route("/v1/{thing}", item)])),
            Route("/", item),
        ],
        **more,
    )


ROUTES = [
    ("/items/7", "GET", "GET /items/{id:int}"),
    ("/items/7", "POST", "POST /items/{id:int}"),
    ("/tenants/acme/users/ann", "GET", "GET /tenants/{tenant}/users/{user}"),
    ("/static/a.css", "GET", "GET /static"),
    ("/nowhere/7", "GET", "GET"),
    ("/", "GET", "GET /"),
]


@pytest.mark.parametrize("place", [attach, asgi], ids=["attach", "asgi"])
@pytest.mark.parametrize(("path", "method", "name"), ROUTES)
def test_a_starlette_span_has_the_route_as_it_was_written(
    spans: Spans, place: Any, path: str, method: str, name: str
) -> None:
    """Parameters, mounts with parameters and refused methods included; what matches nothing has no raw path in its name."""
    app = starlette()
    get(place(app) if place is asgi else place(app) and app, path, method)
    assert spans.server().name == name


def test_a_host_route_is_the_route_behind_it(spans: Spans) -> None:
    """An application chosen by host tells its own route."""
    app = starlette()
    attach(app)
    get(app, "/v1/books", headers={"host": "api.example"})
    assert spans.server().name == "GET /v1/{thing}"


def test_middleware_that_copies_the_scope_does_not_hide_the_route(spans: Spans) -> None:
    """Then the routes are matched once more."""

    class Copying:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(dict(scope), receive, send)

    app = starlette(middleware=[Middleware(Copying), Middleware(BaseHTTPMiddleware, dispatch=lambda r, n: n(r))])
    attach(app)
    get(app, "/items/7")
    assert spans.server().name == "GET /items/{id:int}"


@pytest.mark.parametrize("place", [attach, asgi], ids=["attach", "asgi"])
def test_a_crash_in_starlette_has_status_exception_and_route(spans: Spans, place: Any) -> None:
    """Starlette answers 500 and raises: the span knows both."""
    app = starlette()
    with pytest.raises(LookupError):
        get(place(app) if place is asgi else place(app) and app, "/crash")
    span = spans.server()
    assert span.name == "GET /crash"
    assert (span.attributes or {})["http.response.status_code"] == 500
    assert (span.attributes or {})["error.type"] == "LookupError"
    assert span.events[0].name == "exception"


def test_a_starlette_application_that_serves_already_can_be_attached(spans: Spans) -> None:
    """Its middleware was built; ours goes around it. Attaching again changes nothing."""
    app = starlette()
    get(app, "/items/7")
    assert not spans.servers()
    assert attach(app)
    assert attach(app)
    get(app, "/items/7")
    spans.server()


def test_streaming_and_websockets_of_starlette(spans: Spans) -> None:
    """A stream ends its span with its last part; a websocket is named by its route."""

    async def stream(request: Any) -> Any:
        async def parts() -> Any:
            for part in ("a", "b"):
                yield part
                assert not spans.servers()

        return StreamingResponse(parts())

    async def live(websocket: Any) -> None:
        await websocket.accept()
        await websocket.close()

    app = Starlette(routes=[Route("/stream", stream), WebSocketRoute("/live/{room}", live)])
    attach(app)
    get(app, "/stream")
    asyncio.run(speak(app, scope("/live/7", type="websocket", scheme="ws"), {"type": "websocket.connect"}))
    assert [span.name for span in spans.servers()] == ["GET /stream", "GET /live/{room}"]


def shop(**more: Any) -> FastAPI:
    app = FastAPI(**more)
    router = APIRouter(prefix="/books")

    @app.get("/items/{id}")
    def item(id: int) -> int:
        return id

    @app.get("/crash")
    def crash() -> None:
        raise LookupError("no such item")

    @router.get("/{isbn}")
    def book(isbn: str) -> str:
        return isbn

    app.include_router(router)
    sub = FastAPI(telemetry=more["telemetry"]) if "telemetry" in more else FastAPI()
    sub.include_router(router)
    app.mount("/sub", sub)
    return app


@pytest.mark.parametrize("place", [attach, asgi], ids=["attach", "asgi"])
@pytest.mark.parametrize("telemetry", [{}, {"tracing": False}], ids=["its-own", "ours"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/items/7", "GET /items/{id}"),
        ("/items/x", "GET /items/{id}"),
        ("/books/1", "GET /books/{isbn}"),
        ("/sub/books/1", "GET /sub/books/{isbn}"),
        ("/docs", "GET /docs"),
        ("/nowhere", "GET"),
    ],
)
def test_fastapi_makes_one_span_whoever_makes_it(
    spans: Spans, place: Any, telemetry: Any, path: str, name: str
) -> None:
    """FastAPI traces itself since 0.165, and ours gives way; where that is switched off, ours makes the same span."""
    app = shop(telemetry=telemetry)
    get(place(app) if place is asgi else place(app) and app, path)
    span = spans.server()
    assert span.name == name
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == ("shipper.http" if telemetry else "fastapi")


def test_fastapi_deep_inside_of_something_else_leaves_the_span_to_ours(spans: Spans) -> None:
    """Behind a closure it cannot be seen from outside; it is told that the request is traced already."""
    inner = shop()

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    get(asgi(outer), "/items/7")
    span = spans.server()
    assert span.instrumentation_scope is not None
    assert (span.name, span.instrumentation_scope.name) == ("GET /items/{id}", "shipper.http")


@pytest.mark.parametrize("place", [attach, asgi], ids=["attach", "asgi"])
def test_the_path_an_application_is_served_at_belongs_to_its_routes(spans: Spans, place: Any) -> None:
    """The server's root_path stands before the route, as the conventions ask."""
    app = shop(telemetry={"tracing": False})
    served = place(app) if place is asgi else place(app) and app
    get(served, "/api/items/7", root_path="/api")
    get(served, "/api/sub/books/1", root_path="/api")
    assert [span.name for span in spans.servers()] == ["GET /api/items/{id}", "GET /api/sub/books/{isbn}"]


def test_fastapi_keeps_its_own_metrics_where_only_its_tracing_is_off(spans: Spans) -> None:
    """Ours makes the span and leaves the rest of FastAPI's telemetry alone."""
    request = scope("/items/7")
    seen: list[bool] = []
    app = shop(telemetry={"tracing": False})

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append("fastapi.telemetry" in scope)

    app.router.routes.insert(0, Mount("/items", app=look))
    asyncio.run(speak(asgi(app), request))
    assert seen == [False]


def test_a_crash_in_fastapi_is_recorded_by_ours(spans: Spans) -> None:
    """Status, exception and route of an unhandled exception."""
    app = shop(telemetry={"tracing": False})
    attach(app)
    with pytest.raises(LookupError):
        get(app, "/crash")
    span = spans.server()
    assert (span.name, (span.attributes or {})["error.type"]) == ("GET /crash", "LookupError")


def flask_app() -> flask.Flask:
    app = flask.Flask("shop")
    app.add_url_rule("/items/<int:id>", view_func=lambda id: str(id), endpoint="item")
    app.add_url_rule("/stream", view_func=lambda: (part for part in "ab"), endpoint="stream")

    @app.route("/crash")
    def crash() -> str:
        raise LookupError("no such item")

    return app


@pytest.mark.parametrize("place", [attach, wsgi], ids=["attach", "wsgi"])
@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        ("/items/7", "GET /items/<int:id>", 200),
        ("/stream", "GET /stream", 200),
        ("/nowhere", "GET", 404),
        ("/crash", "GET /crash", 500),
    ],
)
def test_a_flask_span_has_the_rule(spans: Spans, place: Any, path: str, name: str, status: int) -> None:
    """Flask's own notation; a request that matches none has no route."""
    app = flask_app()
    assert call(place(app) if place is wsgi else place(app) and app, environ(path))[0] == status
    assert spans.server().name == name


def test_a_crash_in_flask_is_recorded_with_its_exception(spans: Spans) -> None:
    """Flask makes a 500 of it itself; its signal tells what it was."""
    app = flask_app()
    attach(app)
    attach(app)
    call(app, environ("/crash"))
    span = spans.server()
    assert span.status.status_code is StatusCode.ERROR
    assert [(event.attributes or {})["exception.type"] for event in span.events] == ["LookupError"]


class Quartish:
    """Keeps its application in ``asgi_app``, as Quart does."""

    async def asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("ok")(scope, receive, send)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.asgi_app(scope, receive, send)


def test_what_keeps_its_application_inside_can_be_attached(spans: Spans) -> None:
    """The habit of Flask and Quart is enough."""
    app = Quartish()
    assert attach(app)
    get(app)
    spans.server()


@pytest.mark.parametrize("app", [lambda environ, start: [], object(), None, 7, "app"])
def test_what_cannot_be_changed_in_place_is_said(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence holds the line to write; nothing is raised."""
    said: list[str] = []
    monkeypatch.setattr(voice, "say", lambda text, *_: said.append(text))
    assert attach(app) is False
    assert "`app = shipper.asgi(app)`" in said[0]
