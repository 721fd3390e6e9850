"""What Django and Flask know of a request beyond ASGI and WSGI, asked for where one of them is found inside an application.

Both make a response of an exception themselves, and Django keeps the view it matched to itself.
"""

from __future__ import annotations

from typing import Any

from shipper.sdk.web import chain, django, flask


def listen(app: Any) -> None:
    """Have routes and exceptions of a Django handler or Flask application inside ``app`` told to the request's span."""
    for part in chain.walk(app):
        if chain.is_a(part, "django.core.handlers.base", "BaseHandler"):
            django.into_handler(part)
        elif chain.is_a(part, "flask", "Flask"):
            flask.hear_exceptions(part)
