"""Server spans for Django: a middleware of its own, because only there the matched view and the exception are known.

It is put in front of all others, by name in ``settings.MIDDLEWARE`` or around a handler that is loaded already. Where the
application is also wrapped with `shipper.asgi` or `shipper.wsgi`, it adds route and exception to the span that is there.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from shipper.sdk.web import asgi, http, routes, wsgi
from shipper.sdk.web.chain import Others

NAME = f"{__name__}.middleware"
_guard = http.Guard("django")


def middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Django middleware: one server span a request. Name it first in ``settings.MIDDLEWARE``; works sync and async."""
    _hear_exceptions()
    others = Others(get_response)
    # asgiref's, because Django marks its adapted handlers in a way that `inspect` knows only since Python 3.12
    if not importlib.import_module("asgiref.sync").iscoroutinefunction(get_response):

        def handle(request: Any) -> Any:
            exchange, own = _begin(request, others)
            if exchange is None:
                return get_response(request)
            with http.Inside(exchange):
                try:
                    response = get_response(request)
                except BaseException as error:
                    _raised(exchange, error, own)
                    raise
            return _answered(exchange, request, response, own)

        handle.__wrapped__ = get_response  # type: ignore[attr-defined]  # for `chain.walk`
        return handle

    async def handle_async(request: Any) -> Any:
        exchange, own = _begin(request, others)
        if exchange is None:
            return await get_response(request)
        with http.Inside(exchange):
            try:
                response = await get_response(request)
            except BaseException as error:
                _raised(exchange, error, own)
                raise
        return _answered(exchange, request, response, own)

    handle_async.__wrapped__ = get_response  # type: ignore[attr-defined]  # for `chain.walk`
    return handle_async


middleware.sync_capable = True  # type: ignore[attr-defined]
middleware.async_capable = True  # type: ignore[attr-defined]


def into_handler(handler: Any) -> None:
    """Put the middleware around what a loaded WSGIHandler or ASGIHandler serves. Applied twice it does nothing."""
    chain: Callable[[Any], Any | Awaitable[Any]] = handler._middleware_chain
    if not getattr(handler, "_shipper", False):
        handler._middleware_chain = middleware(chain)
        handler._shipper = True


def into_settings(settings: Any) -> None:
    """Name the middleware first in ``settings.MIDDLEWARE``, for the handlers that will be made from now on."""
    if NAME not in settings.MIDDLEWARE:
        settings.MIDDLEWARE = [NAME, *settings.MIDDLEWARE]


def _place(request: Any) -> Any:
    """Where the exchange of a request is kept: the same place that `shipper.asgi` and `shipper.wsgi` use."""
    return request.scope if hasattr(request, "scope") else request.META


def _begin(request: Any, others: Others) -> tuple[http.Exchange | None, bool]:
    with _guard:
        place = _place(request)
        if (exchange := place.get(http.KEY)) is not None:
            return exchange, False
        begin = asgi.begin if hasattr(request, "scope") else wsgi.begin
        return begin(place, others), True
    return None, False


def _raised(exchange: http.Exchange, error: BaseException, own: bool) -> None:
    with _guard:
        exchange.failed(error)
        if own:
            exchange.end()


def _answered(exchange: http.Exchange, request: Any, response: Any, own: bool) -> Any:
    with _guard:
        exchange.route = routes.django(request)
        exchange.status = response.status_code
        closers = getattr(response, "_resource_closers", None)
        if own and closers is not None:
            closers.append(lambda: _closed(exchange))  # every server closes a response, sent or not
        elif own:
            exchange.end()
    return response


def _closed(exchange: http.Exchange) -> None:
    with _guard:
        exchange.end()


def _hear_exceptions() -> None:
    """Django turns what a view raises into a response; the signal is where the exception itself can still be had."""
    signals = importlib.import_module("django.core.signals")
    signals.got_request_exception.connect(_heard, dispatch_uid=NAME)


def _heard(request: Any = None, **_: Any) -> None:
    with _guard:
        exchange = _place(request).get(http.KEY) if request is not None else None
        error = sys.exc_info()[1]
        if exchange is not None and error is not None:
            exchange.failed(error)
