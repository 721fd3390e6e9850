"""Server spans of WSGI applications, spoken to as a server speaks to them."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import StatusCode

from shipper.sdk.web import http
from shipper.sdk.web.wsgi import wsgi
from tests.sdk.http_kit import Spans, call, environ, recording

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    with recording(monkeypatch) as kept:
        yield kept


def answering(status: str = "200 OK", body: Any = (b"ok",)) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, [])
        return body

    return app


def test_a_request_makes_one_server_span_with_the_stable_conventions(spans: Spans) -> None:
    """Method, path, scheme, status, addresses, agent and protocol are there; the query string never is."""
    assert call(wsgi(answering()), environ("/items/7", headers={"user-agent": "curl/8"})) == (200, b"ok")
    assert dict(spans.server().attributes or {}) == {
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


def test_the_path_is_text_as_the_client_wrote_it(spans: Spans) -> None:
    """WSGI's latin-1 bytes become UTF-8 text again; the part the application is mounted at belongs to it."""
    path = "/käse".encode().decode("latin-1")
    call(wsgi(answering()), environ(path, SCRIPT_NAME="/shop"))
    assert (spans.server().attributes or {})["url.path"] == "/shop/käse"


def test_the_caller_is_the_parent_and_its_baggage_comes_along(spans: Spans) -> None:
    """traceparent and baggage are read by the global propagator."""
    seen: dict[str, Any] = {}

    def app(environ: Any, start_response: Any) -> Any:
        seen.update(baggage.get_all())
        return answering()(environ, start_response)

    call(wsgi(app), environ(headers={"traceparent": TRACE, "baggage": "tenant=acme"}))
    span = spans.server()
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" == TRACE[3:-3]
    assert seen == {"tenant": "acme"}
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_server_error_is_an_error_and_a_client_error_is_not(spans: Spans) -> None:
    """5xx sets the status and error.type; 4xx is the client's doing."""
    call(wsgi(answering("503 Down")), environ())
    call(wsgi(answering("404 Not Found")), environ())
    down, missing = spans.servers()
    assert (down.status.status_code, (down.attributes or {})["error.type"]) == (StatusCode.ERROR, "503")
    assert missing.status.status_code is StatusCode.UNSET


def test_an_exception_is_recorded_and_raised_on(spans: Spans) -> None:
    """Type, message and stack are on the span, and the server sees the very same exception."""

    def app(environ: Any, start_response: Any) -> Any:
        raise LookupError("no such item")

    with pytest.raises(LookupError, match="no such item"):
        call(wsgi(app), environ())
    span = spans.server()
    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (StatusCode.ERROR, "LookupError")
    assert (span.events[0].attributes or {})["exception.message"] == "no such item"


def test_an_exception_that_became_a_response_is_recorded_too(spans: Spans) -> None:
    """start_response with exc_info is how an application says that it failed in the middle."""

    def app(environ: Any, start_response: Any) -> Any:
        try:
            raise LookupError("no such item")
        except LookupError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    assert call(wsgi(app), environ()) == (500, b"sorry")
    assert (spans.server().attributes or {})["error.type"] == "LookupError"


def test_a_streamed_body_ends_its_span_when_it_is_exhausted(spans: Spans) -> None:
    """While the body streams the span is the current one inside it, and only there."""
    inside: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        for part in (b"a", b"b"):
            inside.append(trace.get_current_span().get_span_context().span_id)
            yield part

    body = wsgi(app)(environ(), lambda *_: None)
    parts = iter(body)
    assert next(parts) == b"a"
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert not spans.servers()
    assert list(parts) == [b"b"]
    assert inside == [spans.server().context.span_id] * 2


def test_a_body_that_fails_is_an_error(spans: Spans) -> None:
    """What a streaming body raises is recorded and reaches the server."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"a"
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        call(wsgi(app), environ())
    assert (spans.server().attributes or {})["error.type"] == "OSError"


def test_a_body_that_is_closed_early_ends_its_span(spans: Spans) -> None:
    """A client that goes away makes the server close the body: its generator is told, the span ends without error."""
    told: list[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        try:
            yield b"a"
            yield b"b"
        finally:
            told.append("closed")

    body: Any = wsgi(app)(environ(), lambda *_: None)
    next(iter(body))
    body.close()
    assert told == ["closed"]
    assert spans.server().status.status_code is StatusCode.UNSET


def test_a_body_that_nobody_closes_ends_its_span(spans: Spans) -> None:
    """A server that breaks the rules leaves it to the garbage collector."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"a"

    wsgi(app)(environ(), lambda *_: None)
    gc.collect()
    spans.server()


def test_a_body_iterated_in_another_thread_is_fine(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    """The context is put in place where the body runs, and taken away there."""
    seen: list[int] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        seen.append(trace.get_current_span().get_span_context().span_id)
        yield b"a"

    body: Any = wsgi(app)(environ(), lambda *_: None)

    def drain() -> None:
        list(body)
        body.close()

    thread = threading.Thread(target=drain)
    thread.start()
    thread.join()
    assert seen == [spans.server().context.span_id]
    assert not caplog.records


def test_what_a_server_optimises_stays_what_it_is(spans: Spans) -> None:
    """A list keeps its length, a file stays one the server can send by itself; both end their span."""
    one = [b"whole"]
    assert wsgi(answering(body=one))(environ(), lambda *_: None) is one
    assert len(spans.servers()) == 1
    with open(__file__, "rb") as file:
        wrapped = FileWrapper(file)
        served = wsgi(answering(body=wrapped))(environ(**{"wsgi.file_wrapper": FileWrapper}), lambda *_: None)
        assert served is wrapped
        assert len(spans.servers()) == 1
        wrapped.close()
        assert file.closed
    assert len(spans.servers()) == 2


def test_twice_is_once_and_excluded_is_none(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrapping twice makes one span; an excluded URL none."""
    call(wsgi(wsgi(answering())), environ())
    spans.server()
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "shop.example:8080/healthz")
    call(wsgi(answering()), environ("/healthz"))
    spans.server()


def test_without_a_provider_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that never called init gets its environment as the server made it, and its body unwrapped."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    request, body = environ(), iter([b"a"])
    assert wsgi(answering(body=body))(request, lambda *_: None) is body
    assert http.KEY not in request


def test_a_fault_of_ours_costs_the_span_and_not_the_request(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is served, the fault is counted."""
    monkeypatch.setattr(http, "begin", lambda *_: 1 / 0)
    before = http.faults["wsgi"]
    assert call(wsgi(answering()), environ()) == (200, b"ok")
    assert http.faults["wsgi"] == before + 1


def test_greenlets_have_a_context_each() -> None:
    """Under gevent many requests wait at once in one thread; each sees its own span, and nothing is complained about."""
    script = """
from gevent import monkey; monkey.patch_all()
import gevent
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from shipper.sdk.web.wsgi import wsgi
from tests.sdk.http_kit import call, environ
trace.set_tracer_provider(TracerProvider())

def app(environ, start_response):
    mine = trace.get_current_span()
    for _ in range(3):
        gevent.sleep(0)
        assert trace.get_current_span() is mine and mine.is_recording()
    start_response("200 OK", [])
    def body():
        for _ in range(3):
            gevent.sleep(0)
            assert trace.get_current_span() is mine
            yield str(mine.get_span_context().trace_id).encode()
            return
    return body()

served = [gevent.spawn(call, wsgi(app), environ(f"/{n}")) for n in range(20)]
gevent.joinall(served, raise_error=True)
print(len({greenlet.value for greenlet in served}))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (answer.stdout.strip(), answer.stderr) == ("20", "")
