"""Server spans of ASGI applications, spoken to as a server speaks to them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind, StatusCode

from shipper.sdk.web import http
from shipper.sdk.web.asgi import asgi
from tests.sdk.http_kit import Spans, get, recording, scope, speak

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    with recording(monkeypatch) as kept:
        yield kept


def answering(status: int = 200) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


def test_a_request_makes_one_server_span_with_the_stable_conventions(spans: Spans) -> None:
    """Method, path, scheme, status, addresses, agent and protocol are there; the query string never is."""
    assert get(asgi(answering()), "/items/7", headers={"user-agent": "curl/8"}) == 200
    span = spans.server()
    assert span.name == "GET"
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/items/7",
        "server.address": "shop.example",
        "server.port": 8080,
        "client.address": "192.0.2.7",
        "user_agent.original": "curl/8",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_the_caller_is_the_parent_and_its_baggage_comes_along(spans: Spans) -> None:
    """traceparent, tracestate and baggage are read by the global propagator, also when spread over several lines."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(baggage.get_all())
        await answering()(scope, receive, send)

    request = scope(headers={"traceparent": TRACE, "tracestate": "a=1"})
    request["headers"] += [(b"baggage", b"tenant=acme"), (b"Baggage", b"plan=gold")]
    asyncio.run(speak(asgi(app), request))
    span = spans.server()
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" == TRACE[3:-3]
    assert span.context.trace_state["a"] == "1"
    assert seen == {"tenant": "acme", "plan": "gold"}


def test_what_the_application_does_is_inside_its_request(spans: Spans) -> None:
    """A span made by the handler is a child of the server span; afterwards nothing is left behind."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with trace.get_tracer("t").start_as_current_span("work"):
            await answering()(scope, receive, send)

    async def main() -> trace.Span:
        await speak(asgi(app), scope())
        return trace.get_current_span()

    assert asyncio.run(main()) is trace.INVALID_SPAN
    work = next(span for span in spans.all() if span.name == "work")
    assert work.parent is not None
    assert work.parent.span_id == spans.server().context.span_id


def test_an_open_span_tells_which_request_it_is(spans: Spans) -> None:
    """Until it ends its name holds the path: of a request that kills its process nothing else is left to tell."""
    names: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        names.append(trace.get_current_span().name)  # type: ignore[attr-defined]
        await answering()(scope, receive, send)

    get(asgi(app), "/items/7")
    assert [*names, spans.server().name] == ["GET /items/7", "GET"]


def test_a_span_around_the_whole_server_is_not_the_parent_of_its_requests(spans: Spans) -> None:
    """A server started inside a span does not make one endless trace of everything it serves."""
    with trace.get_tracer("t").start_as_current_span("main"):
        get(asgi(answering()))
    assert spans.server().parent is None


@pytest.mark.parametrize("method", ["PROPFIND", "get", ""])
def test_an_unknown_method_is_other(spans: Spans, method: str) -> None:
    """A client cannot make new span names: what is no known method is recorded beside ``_OTHER``."""
    get(asgi(answering()), method=method)
    span = spans.server()
    assert span.name == "HTTP"
    assert (span.attributes or {})["http.request.method"] == "_OTHER"
    assert (span.attributes or {})["http.request.method_original"] == method


def test_known_methods_can_be_named(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS replaces the list, as the conventions ask."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET, PROPFIND")
    get(asgi(answering()), method="PROPFIND")
    assert spans.server().name == "PROPFIND"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("shop.example", ("shop.example", 80)),
        ("[2001:db8::1]:9000", ("2001:db8::1", 9000)),
        ("user:pw@shop.example", ("10.0.0.1", 80)),
        ("shop example", ("10.0.0.1", 80)),
        ("", ("10.0.0.1", 80)),
    ],
)
def test_the_server_is_the_one_the_client_asked_for(spans: Spans, host: str, expected: tuple[str, int]) -> None:
    """The Host header names the server; where it is not one, the socket does."""
    get(asgi(answering()), headers={"host": host})
    attributes = spans.server().attributes or {}
    assert (attributes["server.address"], attributes["server.port"]) == expected


def test_a_server_error_is_an_error_and_a_client_error_is_not(spans: Spans) -> None:
    """5xx sets the status and error.type; 4xx is the client's doing."""
    get(asgi(answering(503)))
    get(asgi(answering(404)))
    down, missing = spans.servers()
    assert down.status.status_code is StatusCode.ERROR
    assert (down.attributes or {})["error.type"] == "503"
    assert missing.status.status_code is StatusCode.UNSET
    assert "error.type" not in (missing.attributes or {})


def test_an_exception_is_recorded_and_raised_on(spans: Spans) -> None:
    """Type, message and stack are on the span, and the server sees the very same exception."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("no such item")

    with pytest.raises(LookupError, match="no such item"):
        get(asgi(app))
    span = spans.server()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "LookupError: no such item"
    (event,) = span.events
    assert (event.attributes or {})["exception.type"] == "LookupError"
    assert "test_asgi.py" in str((event.attributes or {})["exception.stacktrace"])
    assert (span.attributes or {})["error.type"] == "LookupError"


def test_a_span_ends_with_the_body_and_not_with_what_runs_after_it(spans: Spans) -> None:
    """A background task runs when the client has everything: it is not part of what the client waited for."""
    ended: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        ended.append(len(spans.servers()))
        await send({"type": "http.response.body", "body": b"b"})
        ended.append(len(spans.servers()))
        raise RuntimeError("in the background")

    with pytest.raises(RuntimeError):
        get(asgi(app))
    assert ended == [0, 1]
    assert spans.server().status.status_code is StatusCode.UNSET


def test_trailers_and_files_sent_by_the_server_end_a_body_too(spans: Spans) -> None:
    """The extensions of ASGI that end a response otherwise are known."""
    ended: list[int] = []

    async def trailers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"a"})
        ended.append(len(spans.servers()))
        await send({"type": "http.response.trailers", "headers": []})
        ended.append(len(spans.servers()))

    async def file(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/a"})
        ended.append(len(spans.servers()))

    get(asgi(trailers))
    get(asgi(file))
    assert ended == [0, 1, 2]


def test_the_reason_of_a_500_that_was_sent_first_is_still_recorded(spans: Spans) -> None:
    """Starlette sends the response of a crash and raises afterwards; the span has both, and the earlier end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering(500)(scope, receive, send)
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        get(asgi(app))
    span = spans.server()
    assert (span.attributes or {})["http.response.status_code"] == 500
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert len(span.events) == 1


def test_a_client_that_goes_away_is_noted_and_is_no_error(spans: Spans) -> None:
    """The service did nothing wrong: an event says what happened, the status stays unset."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(speak(asgi(app), scope(), {"type": "http.disconnect"}))
    span = spans.server()
    assert [event.name for event in span.events] == ["client.disconnected"]
    assert span.status.status_code is StatusCode.UNSET


def test_a_request_that_is_cancelled_by_the_server_is_an_error(spans: Spans) -> None:
    """Whoever cancels a request whose client still waits has cost it the answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(speak(asgi(app), scope()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    span = spans.server()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "asyncio.exceptions.CancelledError"


def test_a_request_that_is_thrown_away_ends_its_span_quietly(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine that nobody awaits any more is closed in another context: the span ends, and nothing is complained about."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def begin() -> Any:
        coroutine = asgi(app)(scope(), None, None)  # type: ignore[arg-type]
        coroutine.send(None)  # type: ignore[attr-defined]
        return coroutine

    coroutine = asyncio.run(begin())
    coroutine.close()
    gc.collect()
    assert len(spans.servers()) == 1
    assert not caplog.records


def test_concurrent_requests_do_not_see_each_other(spans: Spans) -> None:
    """Each of many interleaved requests has its own current span, before and after it waits."""
    wrong: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        mine = trace.get_current_span()
        for _ in range(3):
            await asyncio.sleep(0)
            if trace.get_current_span() is not mine:
                wrong.append(scope["path"])
        await answering()(scope, receive, send)

    async def main() -> None:
        middleware = asgi(app)
        await asyncio.gather(*(speak(middleware, scope(f"/{n}")) for n in range(20)))

    asyncio.run(main())
    assert not wrong
    assert len({span.context.trace_id for span in spans.servers()}) == 20


def test_a_websocket_is_one_span(spans: Spans) -> None:
    """From handshake to close; a conversation that ends with code 1000 ended well."""

    class Disconnected(Exception):
        code = 1000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        raise Disconnected

    request = scope("/live", type="websocket", scheme="ws")
    with pytest.raises(Disconnected):
        asyncio.run(speak(asgi(app), request, {"type": "websocket.connect"}))
    span = spans.server()
    attributes = span.attributes or {}
    assert (attributes["network.protocol.name"], attributes["http.response.status_code"]) == ("websocket", 101)
    assert span.status.status_code is StatusCode.UNSET


def test_lifespan_and_unknown_protocols_pass_through(spans: Spans) -> None:
    """Only requests make spans."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    for kind in ("lifespan", "mqtt"):
        asyncio.run(speak(asgi(app), {"type": kind}))
    assert seen == ["lifespan", "mqtt"]
    assert not spans.all()


def test_twice_is_once(spans: Spans) -> None:
    """An application that was wrapped twice makes one span."""
    get(asgi(asgi(answering())))
    spans.server()


@pytest.mark.parametrize(("setting", "made"), [("healthz,/metrics$", 0), ("healthy", 1), ("[", 1), (" , ", 1)])
def test_excluded_urls_make_no_span(spans: Spans, monkeypatch: pytest.MonkeyPatch, setting: str, made: int) -> None:
    """OTEL_PYTHON_EXCLUDED_URLS are searched for in the URL; a bad expression excludes nothing."""
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", setting)
    assert get(asgi(answering()), "/healthz") == 200
    assert len(spans.servers()) == made


def test_without_a_provider_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that never called init pays a look at the provider and gets its scope as the server made it."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    request = scope()
    asyncio.run(speak(asgi(answering()), request))
    assert http.KEY not in request


def test_a_fault_of_ours_costs_the_span_and_not_the_request(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is served, the fault is counted."""
    monkeypatch.setattr(http, "begin", lambda *_: 1 / 0)
    before = http.faults["asgi"]
    assert get(asgi(answering())) == 200
    assert http.faults["asgi"] == before + 1


def test_a_scope_of_a_strange_server_is_served(spans: Spans) -> None:
    """Missing and odd optional keys (no client, a unix socket, headers read once) cost nothing but their attribute."""
    lines = [(b"\xff", b"\xfe"), (b"host", b"\xff\xfe")]
    request: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": iter(lines),
        "client": ("", 0),
        "server": ("/run/app.sock", None),
    }
    asyncio.run(speak(asgi(answering()), request))
    assert spans.server().kind is SpanKind.SERVER
    assert list(request["headers"]) == lines
