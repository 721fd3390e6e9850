"""``shipper top --prometheus``: a real Prometheus with and without our rules, and servers that answer badly."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.server
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import ExporterContext
from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.rulefiles import rule_files
from shipper.testing.prometheus import MISSING, Prometheus, available
from shipper.top.fleet import FleetSource
from shipper.top.layout import View
from shipper.top.query import Queries
from shipper.top.watch import State, framed
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.e2e.kit import free_port, until
from tests.exporters.metrickit import LIFE, counter, gauge, payload, request
from tests.top.inside import once
from tests.top.screen import Screen

CLOCK = SystemClock()
TIMES = 15  # as fast as in life
real = pytest.mark.skipif(not available(), reason=MISSING)


@asynccontextmanager
async def exporting(url: str) -> AsyncIterator[PrometheusExporter]:
    context = ExporterContext(CLOCK, LIFE, 1, "Shipper/test")
    exporter = PrometheusExporter("prom", PrometheusSettings(endpoint=url), context)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


async def push(exporter: PrometheusExporter, began: float) -> None:
    """What two generations of two hosts, one of them draining, and the keeper of a deploy say of this moment."""
    at = time.time_ns() // 1_000_000
    for generation, release, age, error in (("g1", "1.0", 3600, 0), ("g2", "1.1", 120, 30)):
        about = {
            "service.name": "api",
            "deployment.environment.name": "prod",
            "shipper.generation": generation,
            "service.version": release,
        }
        for number in range(2):
            host = {**about, "service.instance.id": f"{generation}-h{number}"}
            state = 3.0 if (generation, number) == ("g1", 1) else 1.0
            metrics = (
                counter("shipper.requests", 600 - error, at, outcome="ok"),
                counter("shipper.requests", error, at, outcome="error"),
                gauge("shipper.host.info", 1.0, at, image="img"),
                gauge("shipper.host.state", state, at),
                gauge("shipper.generation.started_timestamp", began - age, at, "s"),
            )
            await send(exporter, payload(*metrics, resource=host))
    facts = {"action": "deploy", "from_release": "1.0", "inferred": "false"}
    deploy = (
        gauge("shipper.deploy.started_timestamp", began - 130, at, "s", **facts),
        gauge("shipper.deploy.finished_timestamp", began - 70, at, "s", **facts, status="succeeded"),
    )
    await send(exporter, payload(*deploy, resource=about))


async def send(exporter: PrometheusExporter, content: bytes) -> None:
    await exporter.send(exporter.prepare(request(content)), Deadline(CLOCK))


def row(output: str, generation: str) -> list[str]:
    """The cells of a generation's row."""
    (line,) = (line for line in output.splitlines() if line.split()[2:3] == [generation])
    return line.split()


@real
def test_without_our_rules_it_counts_from_hosts_series_and_says_so(tmp_path: Path) -> None:
    """Hosts, their states, requests a second, error ratio, release, the newest, and the deploy with its outcome."""

    async def scenario(server: Prometheus) -> str:
        async with exporting(server.write_url) as exporter:
            await push(exporter, time.time())
        answer = await asyncio.to_thread(once, f"--prometheus={server.url}/")
        assert answer.exit_code == 0, answer.stderr
        return answer.stdout

    with Prometheus(tmp_path) as server:
        output = asyncio.run(scenario(server))
        other = once(f"--prometheus={server.url}", "--service=nobody")
    assert "hosts: 3 running, 1 draining" in output
    assert "our rules are not evaluated there" in output
    assert row(output, "g2")[:7] == ["api", "prod", "g2", "1.1", "2", "4.0", "5.00%"]
    assert row(output, "g2")[-1] == "newest"
    assert row(output, "g1")[:7] == ["api", "prod", "g1", "1.0", "2", "4.0", "0.00%"]
    assert row(output, "g1")[-1] != "newest"
    (deploy,) = (line for line in output.splitlines() if " ago " in line)
    assert deploy.split()[3:] == ["api", "prod", "deploy", "1.1", "1.0", "succeeded", "after", "1m", "00s"]
    assert "no host of nobody pushes to" in other.stdout


@real
def test_with_our_rules_it_says_what_they_record_and_which_alerts_fire(tmp_path: Path) -> None:
    """On a terminal of 80x24, which it fits; when the Prometheus is gone the view stays, with its age and the reason."""
    config = tmp_path / "boards.yaml"
    config.write_text(f"compression: {TIMES}\n")
    rules = list(rule_files(BoardConfig().scaled(TIMES)).values())
    rules.append(
        "groups: [{name: test, interval: 1s, rules: [{alert: ShipperTest, expr: "
        f"{names.NEWEST}, labels: {{severity: page}}}}]}}]\n"
    )

    async def scenario(server: Prometheus) -> None:
        async with exporting(server.write_url) as exporter:
            began = time.time()

            async def keep_pushing() -> None:
                while True:
                    await push(exporter, began)
                    await asyncio.sleep(0.05)

            pushing = asyncio.create_task(keep_pushing())
            await until(lambda: server.query('ALERTS{alertname="ShipperTest",alertstate="firing"}'), "it fires")
            arguments = (f"--prometheus={server.url}", f"--config={config}")
            other = await asyncio.to_thread(once, *arguments, "--service=other")
            assert "no host of other pushes to" in other.stdout
            assert "alerts: none fires" in other.stdout
            assert "api" not in other.stdout
            with Screen(*arguments) as screen:
                text = await screen.shows("newest", "ShipperTest", "succeeded", "hosts: 3 running, 1 draining")
                assert screen.fits()
                assert "hosts heard of" in text
                assert row(text, "g2")[:5] == ["api", "prod", "g2", "1.1", "2"]
                server.stop()
                pushing.cancel()
                text = await screen.shows("NOT UP TO DATE", "does not answer")
                assert "newest" in text
                assert screen.fits()
                screen.press(b"q")
                assert screen.ended() == 0
                assert screen.as_it_was()
            with contextlib.suppress(asyncio.CancelledError):
                await pushing

    with Prometheus(tmp_path / "prometheus", rules=rules) as server:
        asyncio.run(scenario(server))


Reply = tuple[int, str, bytes]
HTML: Reply = (200, "text/html", b"<html><body>Please log in</body></html>")


def vector(*series: tuple[dict[str, str], str], **more: object) -> Reply:
    """The answer to an instant query."""
    result = [{"metric": labels, "value": [time.time(), value]} for labels, value in series]
    data = {"status": "success", "data": {"resultType": "vector", "result": result}, **more}
    return 200, "application/json", json.dumps(data).encode()


def error(status: int, said: str) -> Reply:
    answer = {"status": "error", "errorType": "execution", "error": said}
    return status, "application/json", json.dumps(answer).encode()


def healthy(query: str) -> Reply:
    """One generation of a host."""
    of = {"service": "api", "env": "prod", "generation": "g1"}
    if names.HOSTS_COUNT not in query:
        return vector()
    return vector(
        ({"__name__": names.HOSTS_COUNT, **of}, "1"),
        ({"__name__": names.REQUESTS_RATE, **of}, "12.5"),
        ({"__name__": names.ERRORS_RATE, **of}, "NaN"),
    )


class Server:
    """Something on a port that answers queries as ``reply`` says; waits for ``go`` first."""

    def __init__(self) -> None:
        self.reply: Callable[[str], Reply] = healthy
        self.waiting = 0
        self.authorization = ""
        self.go = threading.Event()
        self.go.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                outer.authorization = self.headers.get("Authorization", "")
                outer.waiting += 1
                outer.go.wait()
                outer.waiting -= 1
                status, kind, body = outer.reply(asked["query"][0])
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def asked_and_waiting(self) -> bool:
        return self.waiting > 0 and not self.go.is_set()

    def close(self) -> None:
        self.go.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    try:
        yield one
    finally:
        one.close()


def test_bad_answers_are_one_sentence_each(server: Server) -> None:
    """HTML, a refused query, JSON of another shape, nobody there: who and why, exit status 1."""
    for reply, said in (
        (HTML, "not as a Prometheus does"),
        (error(422, "query timed out"), "query timed out"),
        ((200, "application/json", b'{"status": "success"}'), "refuses"),
        (
            (200, "application/json", b'{"status": "success", "data": {"resultType": "matrix", "result": [{}]}}'),
            "not as",
        ),
        ((502, "text/plain", b""), "status 502"),
    ):
        server.reply = lambda _, reply=reply: reply
        answer = once(f"--prometheus={server.url}")
        assert answer.exit_code == 1
        assert said in answer.stderr
        assert answer.stderr.startswith("Error: ")
        assert answer.stderr.count("\n") == 1


def test_a_password_in_the_url_is_sent_and_never_shown(server: Server) -> None:
    """As basic authentication; neither the view nor an error has it."""
    url = server.url.replace("//", "//me:secret@")
    for reply in (healthy, lambda _: HTML):
        server.reply = reply
        answer = once(f"--prometheus={url}")
        assert base64.b64decode(server.authorization.removeprefix("Basic ")) == b"me:secret"
        assert "secret" not in answer.stdout + answer.stderr
    refused = once(f"--prometheus=http://me:secret@127.0.0.1:{free_port()}")
    assert "does not answer: Connection refused\n" in refused.stderr
    assert "secret" not in refused.stderr


def test_what_a_part_of_the_answers_cannot_tell_is_said_and_the_rest_shown(server: Server) -> None:
    """A query that fails costs its own part only; warnings are passed on; a NaN is not a number."""

    def partly(query: str) -> Reply:
        if "ALERTS" in query:
            return error(503, "overloaded")
        if "count_values" in query:
            return HTML
        return healthy(query)

    server.reply = partly
    answer = once(f"--prometheus={server.url}")
    assert answer.exit_code == 0, answer.stderr
    assert "alerts are not known: " in answer.stdout
    assert "overloaded" in answer.stdout
    assert "hosts by state are not known: " in answer.stdout
    assert row(answer.stdout, "g1")[:5] == ["api", "prod", "g1", "1", "12.5"]
    assert "%" not in answer.stdout
    server.reply = lambda query: vector(warnings=["a store did not answer"])
    assert "warns: a store did not answer" in once(f"--prometheus={server.url}").stdout


def test_a_server_that_turns_bad_leaves_the_last_view_with_its_age(server: Server) -> None:
    """The numbers are there, and that they are old, and why."""

    async def scenario() -> None:
        with Screen(f"--prometheus={server.url}") as screen:
            await screen.shows("12.5")
            server.reply = lambda _: HTML
            text = await screen.shows("NOT UP TO DATE", "not as a Prometheus does")
            assert "12.5" in text
            assert screen.fits()
            screen.press(b"q")
            assert screen.ended() == 0

    asyncio.run(scenario())


def test_one_can_quit_while_an_answer_is_waited_for(server: Server) -> None:
    """At once, however slow the server is; the terminal is as it was."""
    server.go.clear()

    async def scenario() -> None:
        with Screen(f"--prometheus={server.url}") as screen:
            await screen.shows("waiting for the first answer")
            await screen.until(server.asked_and_waiting, "it is asked")
            screen.press(b"q")
            assert screen.ended() == 0
            assert screen.as_it_was()

    asyncio.run(scenario())


def test_a_view_that_is_older_than_it_should_be_says_so() -> None:
    """An answer that takes long is no reason to show old numbers as new ones."""
    view = View()
    view.say("12.5")
    state, source = State(view, read_at=100.0), FleetSource(Queries("http://prometheus:9090"))
    fresh, late = ("\n".join(line.plain for line in framed(state, source, now, 80, 24)) for now in (109.0, 100.0 + 60))
    assert "NOT UP TO DATE" not in fresh
    assert "NOT UP TO DATE: this is 1m 00s old: no answer yet" in late
    assert "12.5" in late


def test_a_wrong_call_is_a_usage_error() -> None:
    """Exit status 2, and the sentence names the option."""
    for arguments, named in (
        (["--prometheus=http://x", "--archive=y"], "not both"),
        (["--archive=y", "--socket=z"], "--socket"),
        (["--service=api"], "--service"),
        (["--option=a=b"], "--option"),
    ):
        answer = once(*arguments)
        assert answer.exit_code == 2
        assert named in answer.stderr
    for url in ("prometheus:9090", "ftp://x", "http://", "http://x:99999", "http://[x"):
        answer = once(f"--prometheus={url}")
        assert answer.exit_code == 1
        assert "--prometheus: " in answer.stderr
