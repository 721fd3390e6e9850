"""Server spans for an application object that exists already, put in place: what ``shipper.init(app=app)`` does."""

from __future__ import annotations

import sys
from typing import Any

from shipper.sdk import voice
from shipper.sdk.web import flask
from shipper.sdk.web.asgi import AsgiMiddleware
from shipper.sdk.web.chain import is_a
from shipper.sdk.web.wsgi import WsgiMiddleware


def attach(app: Any) -> bool:
    """Make ``app`` produce one server span a request, changing it in place; True when it will.

    Knows FastAPI and Starlette, Flask, Django (a handler, or ``django.conf.settings`` before the handler is made), and
    whatever keeps its application in ``wsgi_app`` or ``asgi_app`` (Quart). Any other object cannot be changed in
    place: that is said, with the line that helps. Applied twice it does nothing. Never raises.
    """
    try:
        return _attach(app)
    except Exception as error:
        voice.fault(f"init(app={type(app).__name__})", error)
        return False


def _attach(app: Any) -> bool:
    if isinstance(app, AsgiMiddleware | WsgiMiddleware) or getattr(app, "_shipper", False) is True:
        return True
    if is_a(app, "starlette.applications", "Starlette"):
        return _starlette(app)
    if is_a(app, "django.core.handlers.base", "BaseHandler") or is_a(app, "django.conf", "LazySettings"):
        return _django(app)
    if is_a(app, "flask", "Flask"):
        flask.hear_exceptions(app)
    for name, wrapper in (("wsgi_app", WsgiMiddleware), ("asgi_app", AsgiMiddleware)):
        if callable(inner := getattr(app, name, None)):
            setattr(app, name, wrapper(inner, app))
            app._shipper = True
            return True
    kind = type(app).__name__
    voice.say(
        f"init(app={kind}): a {kind} cannot be changed in place, so there are no server spans for it. Write "
        f"`app = shipper.asgi(app)` (or `shipper.wsgi(app)` for WSGI) where it is made"
    )
    return False


def _starlette(app: Any) -> bool:
    """Ours becomes the outermost of the middleware that Starlette builds at its first request."""
    build = app.build_middleware_stack
    errors = sys.modules["starlette.middleware.errors"].ServerErrorMiddleware

    def build_middleware_stack() -> Any:
        # OpenTelemetry's FastAPI instrumentor, when it comes after us, insists on this class being outermost
        return errors(AsgiMiddleware(build(), app))

    if app.middleware_stack is not None:
        app.middleware_stack = AsgiMiddleware(app.middleware_stack, app)
    app.build_middleware_stack = build_middleware_stack
    app._shipper = True
    return True


def _django(app: Any) -> bool:
    from shipper.sdk.web import django

    if hasattr(app, "_middleware_chain"):
        django.into_handler(app)
    else:
        django.into_settings(app)
    return True
