"""Server spans of applications made with the usual frameworks, put in place by ``attach``, and never two of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import fastapi
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


def run(script: str) -> str:
    """Run a script in a process of its own: instrumentors and Django's settings cannot be undone. What it printed."""
    prelude = """
import sys, asyncio, os
from pathlib import Path
from opentelemetry import trace
from shipper.sdk.web.asgi import asgi
from shipper.sdk.web.wsgi import wsgi
from shipper.sdk.web.apps import attach
from tests.sdk.http_kit import Spans, call, environ, get, recording

class Patch:
    def setattr(self, where, name, value): setattr(where, name, value)
recorded = recording(Patch())
spans = recorded.__enter__()
"""
    after = """
for span in spans.servers():
    events = [event.attributes.get("exception.type") for event in span.events]
    print(span.instrumentation_scope.name, "|", span.name, "|", span.attributes.get("http.response.status_code"), "|", *events)
"""
    script = prelude + textwrap.dedent(script) + after
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


DJANGO = """
import django
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path, re_path

def item(request, id): return HttpResponse("item")
async def aitem(request, id): return HttpResponse("item")
def crash(request): raise LookupError("no such item")
def stream(request):
    before = len(spans.servers())
    def parts():
        yield b"a"
        assert len(spans.servers()) == before
        yield b"b"
    return StreamingHttpResponse(parts())

urlpatterns = [path("items/<int:id>/", item), path("aitems/<int:id>/", aitem), path("crash", crash), path("stream", stream),
               re_path(r"^old/[0-9]+$", lambda request: HttpResponse("old"))]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None, MIDDLEWARE=[
    "django.middleware.common.CommonMiddleware"])
import logging; logging.getLogger("django").disabled = True; logging.getLogger("django.request").disabled = True
django.setup()
"""
DJANGO_SPANS = [
    "shipper.http | GET /items/<int:id>/ | 200 |",
    "shipper.http | GET /aitems/<int:id>/ | 200 |",
    "shipper.http | GET /stream | 200 |",
    "shipper.http | GET /old/[0-9]+$ | 200 |",
    "shipper.http | GET | 404 |",
    "shipper.http | GET /crash | 500 | LookupError",
]
CALLS = 'for where in ("/items/7/", "/aitems/7/", "/stream", "/old/7", "/nowhere", "/crash"):'


@pytest.mark.parametrize(
    "place",
    [
        "from django.core.wsgi import get_wsgi_application; app = get_wsgi_application(); attach(app); attach(app)",
        "attach(settings); attach(settings)\nfrom django.core.wsgi import get_wsgi_application; app = get_wsgi_application()",
        "from django.core.wsgi import get_wsgi_application; app = wsgi(get_wsgi_application())",
        "from django.core.wsgi import get_wsgi_application; app = get_wsgi_application(); attach(app); app = wsgi(app)",
    ],
    ids=["handler", "settings", "wsgi", "both"],
)
def test_django_by_wsgi(place: str) -> None:
    """The view's pattern, the status, the exception: however ours came in, there is one span a request."""
    assert run(f"{DJANGO}\n{place}\n{CALLS} call(app, environ(where))").splitlines() == DJANGO_SPANS


@pytest.mark.parametrize(
    "place",
    [
        "from django.core.asgi import get_asgi_application; app = get_asgi_application(); attach(app)",
        "attach(settings)\nfrom django.core.asgi import get_asgi_application; app = get_asgi_application()",
        "from django.core.asgi import get_asgi_application; app = asgi(get_asgi_application())",
    ],
    ids=["handler", "settings", "asgi"],
)
def test_django_by_asgi(place: str) -> None:
    """The same for asynchronous views and Django's ASGI handler."""
    assert run(f"{DJANGO}\n{place}\n{CALLS} get(app, where)").splitlines() == DJANGO_SPANS


FLASK = (
    "import flask\napp = flask.Flask('shop')\napp.add_url_rule('/items/<id>', view_func=lambda id: id, endpoint='i')\n"
)
FASTAPI = """
import fastapi
app = fastapi.FastAPI(telemetry={"tracing": False})
@app.get("/items/{id}")
def item(id: str): return id
"""
STARLETTE = """
import starlette.applications, starlette.routing, starlette.responses
async def item(request): return starlette.responses.PlainTextResponse("item")
app = starlette.applications.Starlette(routes=[starlette.routing.Route("/items/{id}", item)])
"""


def instrumentor(name: str, call: str) -> str:
    module = {"Flask": "flask", "FastAPI": "fastapi", "Starlette": "starlette", "Django": "django"}[name]
    return f"from opentelemetry.instrumentation.{module} import {name}Instrumentor\n{name}Instrumentor().{call}\n"


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("flask", instrumentor("Flask", "instrument()") + FLASK + "attach(app); call(app, environ('/items/7'))"),
        ("flask", FLASK + instrumentor("Flask", "instrument_app(app)") + "attach(app); call(app, environ('/items/7'))"),
        (
            "flask",
            FLASK + "attach(app)\n" + instrumentor("Flask", "instrument_app(app)") + "call(app, environ('/items/7'))",
        ),
        ("flask", FLASK + instrumentor("Flask", "instrument_app(app)") + "call(wsgi(app), environ('/items/7'))"),
        (
            "flask",
            FLASK + instrumentor("Flask", "instrument_app(app)") + "call(wsgi(app.wsgi_app), environ('/items/7'))",
        ),
        ("fastapi", instrumentor("FastAPI", "instrument()") + FASTAPI + "attach(app); get(app, '/items/7')"),
        ("fastapi", instrumentor("FastAPI", "instrument()") + FASTAPI + "app = asgi(app); get(app, '/items/7')"),
        (
            "fastapi",
            FASTAPI + "attach(app)\n" + instrumentor("FastAPI", "instrument_app(app)") + "get(app, '/items/7')",
        ),
        ("fastapi", FASTAPI + instrumentor("FastAPI", "instrument_app(app)") + "attach(app); get(app, '/items/7')"),
        ("starlette", instrumentor("Starlette", "instrument()") + STARLETTE + "attach(app); get(app, '/items/7')"),
        (
            "starlette",
            STARLETTE + "attach(app)\n" + instrumentor("Starlette", "instrument_app(app)") + "get(app, '/items/7')",
        ),
        ("starlette", STARLETTE + instrumentor("Starlette", "instrument_app(app)") + "get(asgi(app), '/items/7')"),
        (
            "asgi",
            STARLETTE + "from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as M\n"
            "attach(app); get(M(app), '/items/7')",
        ),
        (
            "asgi",
            STARLETTE + "from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware as M\n"
            "get(asgi(M(app)), '/items/7')",
        ),
        (
            "wsgi",
            FLASK + "from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as M\n"
            "app.wsgi_app = M(app.wsgi_app); attach(app); call(app, environ('/items/7'))",
        ),
        (
            "wsgi",
            FLASK + "from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware as M\n"
            "attach(app); app.wsgi_app = M(app.wsgi_app); call(app, environ('/items/7'))",
        ),
        (
            "starlette",
            STARLETTE + "from starlette.middleware.opentelemetry import OpenTelemetryMiddleware as M\n"
            "attach(app); app.add_middleware(M); get(app, '/items/7')",
        ),
        (
            "django",
            DJANGO + instrumentor("Django", "instrument()") + "from django.core.wsgi import get_wsgi_application\n"
            "app = get_wsgi_application(); attach(app); call(app, environ('/items/7/'))",
        ),
        (
            "django",
            DJANGO + "attach(settings)\n" + instrumentor("Django", "instrument()") + "from django.core.asgi import "
            "get_asgi_application\napp = get_asgi_application(); get(app, '/items/7/')",
        ),
        (
            "django",
            DJANGO + instrumentor("Django", "instrument()") + "from django.core.wsgi import get_wsgi_application\n"
            "call(wsgi(get_wsgi_application()), environ('/items/7/'))",
        ),
    ],
)
def test_an_instrumentor_of_opentelemetry_is_never_doubled(name: str, script: str) -> None:
    """Before ours or after, around it or inside: there is one server span, and it is the instrumentor's."""
    (line,) = run(script).splitlines()
    assert name in line.split(" | ")[0]
    assert "shipper" not in line


def test_an_instrumentor_that_came_too_late_does_not_take_our_span_away() -> None:
    """FastAPI's sets its flag even where the middleware was built before and nothing is traced by it."""
    late = FASTAPI + "attach(app); get(app, '/items/7')\n" + instrumentor("FastAPI", "instrument_app(app)")
    assert [line.split(" | ")[0] for line in run(late + "get(app, '/items/7')").splitlines()] == ["shipper.http"] * 2


def test_fastapi_is_the_version_whose_own_telemetry_is_meant() -> None:
    """These tests need a FastAPI that traces itself; an older one would make them pass for another reason."""
    assert hasattr(fastapi.FastAPI(), "_native_telemetry")
