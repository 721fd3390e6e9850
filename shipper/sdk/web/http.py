"""One HTTP request being served, as a server span: what the middleware for ASGI, WSGI and Django have in common.

Attributes follow the stable HTTP conventions of OpenTelemetry (semantic conventions 1.44, "HTTP server span"). The query
string is not recorded: it carries tokens and personal data, and nobody asks for it until it is too late to take it back.

Nothing here may ever fail into the service. The middleware call this file inside a `Guard`, which counts a fault of our
own, says it once, and lets the request go on without its span.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from shipper import __version__
from shipper.sdk import voice

Carrier = TypeVar("Carrier")

KEY = "shipper.request"
"""Where an `Exchange` is found in an ASGI scope or a WSGI environ."""

_METHODS = "CONNECT,DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,QUERY,TRACE"
_PATH = 200  # characters
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_here: ContextVar[Exchange] = ContextVar("shipper.request")

faults: Counter[str] = Counter()
"""Faults of our own while serving, by where they happened. They cost a span, never a request."""


class Guard:
    """The outermost border between us and the service's request: what goes wrong inside is counted, said, and forgotten."""

    __slots__ = ("_where",)

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, Exception):
            return False
        faults[self._where] += 1
        voice.fault(f"the span of a request ({self._where})", error)
        return True


class Exchange:
    """One request: its span, the context it is handled in, and what becomes known while it is handled."""

    __slots__ = ("_ended_ns", "_method", "_over", "context", "route", "span", "status")

    def __init__(self, span: Span, inside: Context, method: str) -> None:
        self.span = span
        self.context = inside
        self.route: str | None = None
        self.status: int | None = None
        self._method = method
        self._ended_ns: int | None = None
        self._over = False

    @property
    def over(self) -> bool:
        """True when the span has ended."""
        return self._over

    def responded(self) -> None:
        """The last byte of the body was handed to the server.

        After a server error the span waits for `end`, at this time: Starlette sends the 500 before it raises its reason.
        """
        if self._ended_ns is None:
            self._ended_ns = time.time_ns()
        if self.status is not None and self.status < 500:
            self.end()

    def failed(self, error: BaseException) -> None:
        """The application raised (also where a framework made a response of it): the span says so, with the stack."""
        if self._over:
            return
        if isinstance(error, Exception):
            self.span.record_exception(error)
        self.span.set_attribute("error.type", _type_name(error))
        self.span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")

    def aborted(self) -> None:
        """The client went away before the response was complete: noted, and no fault of the service."""
        if not self._over:
            self.span.add_event("client.disconnected")

    def end(self) -> None:
        """End the span, once: name, route and status are final now."""
        if self._over:
            return
        self._over = True
        span = self.span
        if span.is_recording():
            span.update_name(f"{self._method} {self.route}" if self.route else self._method)
            if self.route:
                span.set_attribute("http.route", self.route)
            if self.status is not None:
                span.set_attribute("http.response.status_code", self.status)
                if self.status >= 500 and not _is_error(span):
                    span.set_attribute("error.type", str(self.status))
                    span.set_status(StatusCode.ERROR)
        span.end(self._ended_ns)


def begin(method: str, attributes: dict[str, Any], carrier: Carrier, getter: Getter[Carrier]) -> Exchange:
    """Start the span of a request. ``attributes`` are completed with the method; the parent is what the headers say.

    Until it ends the span's name holds the path: should the process die of this request, that name is all there is to tell
    which one it was. At the end the route takes its place, and where there is none the name is the method alone.

    A span that happens to be current is not the parent: a server started inside a span would make one trace of its life.
    """
    known = method if method in known_methods() else "_OTHER"
    attributes["http.request.method"] = known
    if known == "_OTHER":
        attributes["http.request.method_original"] = method
    verb = "HTTP" if known == "_OTHER" else known
    outside = context.get_current()
    if outside:
        outside = trace.set_span_in_context(trace.INVALID_SPAN, outside)
    parent = propagate.extract(carrier, outside, getter)
    span = _tracer(trace.get_tracer_provider()).start_span(
        f"{verb} {attributes.get('url.path', '')[:_PATH]}", parent, SpanKind.SERVER, attributes
    )
    return Exchange(span, trace.set_span_in_context(span, parent), verb)


class Inside:
    """Makes the span of an exchange the current one for a while.

    A coroutine or body can be closed in another `contextvars` context than it ran in (by the garbage collector, in another
    greenlet); then there is nothing to go back to there, and asking OpenTelemetry to would log a traceback.
    """

    __slots__ = ("_exchange", "_mark", "_token")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        self._mark = _here.set(self._exchange)
        self._token = context.attach(self._exchange.context)

    def __exit__(self, *_: object) -> None:
        try:
            _here.reset(self._mark)
        except ValueError:
            return
        context.detach(self._token)


def wanted() -> bool:
    """Whether a server span is to be made now: there is a provider, and no server span is running here already.

    The second is how an instrumentation that stands outside of ours is seen, whatever it is made of.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return False
    current = trace.get_current_span()
    return not (getattr(current, "kind", None) is SpanKind.SERVER and current.is_recording())


def excluded(url: str) -> bool:
    """Whether OTEL_PYTHON_EXCLUDED_URLS (regular expressions, comma-separated, found anywhere in the URL) names it."""
    pattern = _exclusion(os.environ.get("OTEL_PYTHON_EXCLUDED_URLS", ""))
    return pattern is not None and pattern.search(url) is not None


def exclusions() -> bool:
    """Whether any URL is excluded at all; building one to ask about costs more than this."""
    return bool(os.environ.get("OTEL_PYTHON_EXCLUDED_URLS"))


def known_methods() -> frozenset[str]:
    """The methods that are recorded as they are; all others are ``_OTHER``."""
    return _split(os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "") or _METHODS)


def server_attributes(scheme: str, host: str | None, server: tuple[str, int | None] | None) -> Mapping[str, Any]:
    """``server.address`` and ``server.port``, from the Host header, else from the socket."""
    if host and (parsed := _authority(host)):
        address, port = parsed
        return {"server.address": address, "server.port": port or _PORTS.get(scheme, 80)}
    if server and server[0]:
        return {"server.address": server[0]} | ({"server.port": server[1]} if server[1] else {})
    return {}


@lru_cache(maxsize=64)
def _authority(host: str) -> tuple[str, int | None] | None:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^\s:/?#@\[\]]+)(?::(\d{1,5}))?", host)
    return (match[1].strip("[]"), int(match[2]) if match[2] else None) if match else None


@lru_cache(maxsize=4)
def _split(names: str) -> frozenset[str]:
    return frozenset(name.strip() for name in names.split(",") if name.strip())


@lru_cache(maxsize=4)
def _exclusion(patterns: str) -> re.Pattern[str] | None:
    parts = [part.strip() for part in patterns.split(",") if part.strip()]
    try:
        return re.compile("|".join(parts)) if parts else None
    except re.error as error:
        voice.say(f"OTEL_PYTHON_EXCLUDED_URLS excludes nothing, because it is not a regular expression: {error}")
        return None


@lru_cache(maxsize=1)
def _tracer(provider: trace.TracerProvider) -> Tracer:
    return provider.get_tracer("shipper.http", __version__)


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _is_error(span: Span) -> bool:
    status = getattr(span, "status", None)
    return status is not None and status.status_code is StatusCode.ERROR
