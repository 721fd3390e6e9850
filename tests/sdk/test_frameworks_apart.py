"""Server spans of Django, and beside OpenTelemetry's instrumentors: each in a process of its own, as they cannot be undone."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import fastapi
import pytest


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
