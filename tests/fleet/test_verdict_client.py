"""Whatever answers in Prometheus' place, slowly, partly or not at all: one sentence, and no number."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shipper.cli.verdict import SERIES
from shipper.errors import ConfigError
from shipper.fleet.questions import NoAnswer
from shipper.fleet.verdict.client import Client
from shipper.fleet.verdict.look import look
from shipper.fleet.verdict.model import Kind
from shipper.fleet.verdict.queries import Asked, about_generations, about_hosts, edge
from shipper.fleet.verdict.words import sentence

EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


class Server:
    """Answers with what it is told to; keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body = json.dumps(EMPTY).encode()
        self.headers: dict[str, str] = {"Content-Type": "application/json"}
        self.length: int | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append((self.path, dict(self.headers)))
                outer.hold.wait()
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body) if outer.length is None else outer.length))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, whole: object) -> None:
        self.body = json.dumps(whole).encode()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def vector(*results: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": "vector", "result": list(results)}}


BAD = {
    "html": (b"<html>Log in</html>", {"Content-Type": "text/html"}, 200, "answers with a web page"),
    "not JSON": (b"ok", {}, 200, "does not answer as Prometheus does: 'ok'"),
    "other JSON": (b"[1]", {}, 200, "does not answer as Prometheus does"),
    "deep": (b"[" * 100_000, {}, 200, "does not answer as Prometheus does"),
    "error": (b'{"status":"error","error":"boom"}', {}, 200, "could not answer: boom"),
    "422": (b'{"status":"error","error":"too many samples"}', {}, 422, "answered 422: too many samples"),
    "503": (b"<html>", {}, 503, "answered 503: Service Unavailable"),
    "401": (b"", {}, 401, "answered 401: Unauthorized"),
    "redirect": (b"", {"Location": "https://login.example"}, 302, "sends us on to https://login.example"),
    "matrix": (json.dumps({**EMPTY, "data": {"resultType": "matrix", "result": []}}).encode(), {}, 200, "matrix"),
    "no data": (b'{"status":"success","data":null}', {}, 200, "does not answer as Prometheus does"),
    "no value": (json.dumps(vector({"metric": {}})).encode(), {}, 200, "does not answer as Prometheus does"),
    "text": (json.dumps(vector({"metric": {}, "value": [1, "x"]})).encode(), {}, 200, "does not answer as"),
    "warnings": (json.dumps({**EMPTY, "warnings": ["store gone"]}).encode(), {}, 200, "may not be whole: store gone"),
    "partial": (json.dumps({**EMPTY, "isPartial": True}).encode(), {}, 200, "it is marked as partial"),
}


@pytest.mark.parametrize("case", BAD)
def test_no_answer_is_a_sentence(server: Server, case: str) -> None:
    """Web pages, errors, warnings, parts and nonsense: each ends in a judgement that says it cannot be told, and why."""
    server.body, headers, server.status, said = BAD[case]
    server.headers = {"Content-Type": "application/json"} | headers
    found = look(Client(server.url), SERIES, Asked("shop"), "2")
    assert found.kind is Kind.CANNOT_TELL
    assert said in sentence(found.errors)
    assert found.errors.factor is None


def test_an_answer_that_breaks_off(server: Server) -> None:
    """Half an answer is none."""
    server.length = len(server.body) + 10
    with pytest.raises(NoAnswer, match=r"broke off|cannot be asked"):
        Client(server.url, seconds=2).instant("1")


def test_a_server_that_does_not_answer(server: Server) -> None:
    """It is waited for as long as was said, not longer, and that is what is said."""
    server.hold.clear()
    with pytest.raises(NoAnswer, match=r"did not answer within 0\.2 s"):
        Client(server.url, seconds=0.2).instant("1")


def test_a_server_that_trickles(server: Server) -> None:
    """An answer that comes byte by byte is given up when the time is over, though each byte comes in time."""
    server.body = b" " * 5000
    ticks = iter([0.0, *[float(tick) for tick in range(100, 1000)]])
    with pytest.raises(NoAnswer, match="did not answer within 30 s"):
        Client(server.url, seconds=30, now=lambda: next(ticks)).instant("1")


def test_numbers_that_are_none(server: Server) -> None:
    """A NaN or an infinity in an answer is no count, and a server that does not say its time is not believed."""
    about = {"service": "shop", "env": "prod", "generation": "2", "shipper_part": "started"}
    server.answer(vector({"metric": about, "value": [1, "NaN"]}))
    assert "gives nan for started" in sentence(look(Client(server.url), SERIES, Asked("shop"), "2").errors)
    server.answer(vector())
    assert "does not say what time it is" in sentence(look(Client(server.url), SERIES, Asked("shop"), "2").errors)


def test_a_counter_that_is_none(server: Server) -> None:
    """A counter below zero is no counter."""
    from shipper.fleet.verdict.client import Found
    from shipper.fleet.verdict.reading import read_hosts

    labels = {"__name__": SERIES.requests, "generation": "2", "instance": "a", "outcome": "ok"}
    for value in (-1.0, float("inf")):
        with pytest.raises(NoAnswer, match="which no counter can be"):
            read_hosts([Found(labels, ((60.0, value),))], 0, 5, time.time())


def test_the_token_and_the_path(server: Server) -> None:
    """The token goes along, and a path before the API is kept, also where the API itself was given."""
    for base in ("/prometheus", "/prometheus/", "/prometheus/api/v1/"):
        Client(server.url + base, token="secret").instant("1")
    paths = {path for path, _ in server.asked}
    assert paths == {"/prometheus/api/v1/query"}
    assert server.asked[0][1]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "url", ["prometheus:9090", "ftp://x", "http://", "http://a b", "http://h:x", "http://u:p@h", ""]
)
def test_what_is_no_url(url: str) -> None:
    """A wrong URL is a wrong call, told as such; a password in it is not repeated."""
    with pytest.raises(ConfigError, match="--prometheus") as told:
        Client(url)
    assert "u:p" not in str(told.value)


def test_names_that_need_quoting() -> None:
    """Whatever a service or generation is called, the query stays one; bucket ends match however they are spelled."""
    asked = Asked('a"b\\', "p\nq")
    assert asked.matchers == 'service="a\\"b\\\\",env="p\\nq"'
    assert asked.matchers in about_generations(SERIES, asked, "2")
    assert asked.matchers in about_hosts(SERIES, asked)
    assert (edge(0.5), edge(1), edge(2.0)) == ("0[.]5", "1([.]0)?", "2([.]0)?")
