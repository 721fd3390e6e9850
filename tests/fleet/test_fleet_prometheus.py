"""A fleet's history from a real Prometheus: the words and figures that its archive would give, and bad answers in a sentence."""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.dashboards import names
from shipper.fleet.page import prometheus as asking
from shipper.testing import prometheus
from tests.fleet.verdict_series import write

pytestmark = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)

PUSH = 15
AHEAD = 120  # seconds for which whoever lives goes on, however slow these tests are
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""The marker that ends a series, https://prometheus.io/docs/specs/prw/remote_write_spec/#stale-markers"""
RUNNING, DRAINED, EXPIRED = 1, 4, 5
Written = dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]
# host, generation, release, image; born and ended so many seconds ago (0: it lives); its last state; requests, errors
HOSTS = (
    ("a1", "g1", "A", "img-a", 1500, 900, DRAINED, 400, 4),
    ("a2", "g1", "A", "img-a", 1500, 915, DRAINED, 390, 3),
    ("b1", "g2", "B", "img-b", 960, 600, EXPIRED, 200, 40),
    ("b2", "g2", "B", "img-b", 960, 630, RUNNING, 180, 30),
    ("b3", "g2", "B", "img-b", 660, 655, DRAINED, 2, 1),
    ("a3", "g3", "A", "img-a", 600, 0, RUNNING, 300, 2),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus.Prometheus]:
    """A Prometheus to which two generations and a rollback were pushed, which ended in every way."""
    with prometheus.Prometheus(tmp_path_factory.mktemp("fleet")) as one:
        now = int(time.time())
        written: Written = {}
        for host in HOSTS:
            _push(written, now, *host)
        _tell(written, now)
        write(one.write_url, written)
        yield one


def test_each_generation_has_the_counts_of_its_hosts(server: prometheus.Prometheus) -> None:
    """Last values of counters that began at zero are the counts, also of hosts that are gone."""
    told = _json(server.url)
    found = [(one["generation"], one["requests"], one["errors"], one["hosts"]) for one in told["generations"]]
    assert found == [("g1", 790, 7, 2), ("g2", 382, 71, 3), ("g3", 300, 2, 1)]
    assert [one["rollback"] for one in told["generations"]] == [False, False, True]
    assert told["unplaced_requests"] == 0


def test_each_host_ended_as_it_last_said(server: prometheus.Prometheus) -> None:
    """Drained, expired, silent or alive, in the words of the archive; a life shorter than a push is there, too."""
    told = _json(server.url)
    assert {one["host"]: one["ended"] for one in told["lives"]} == {
        "a1": "drained",
        "a2": "drained",
        "b1": "expired",
        "b2": "silent",
        "b3": "drained",
        "a3": "alive",
    }
    lived = {one["host"]: (one["end_ns"] - one["born_ns"]) / 1e9 for one in told["lives"]}
    assert lived["a1"] == pytest.approx(600, abs=PUSH)
    assert lived["b3"] == pytest.approx(5)
    assert [one["outcome"] for one in told["generations"]] == [
        "replaced by g2",
        "its deploy failed, rolled back to g3",
        "serving on 1 host",
    ]


def test_deploys_are_those_that_were_told(server: prometheus.Prometheus) -> None:
    """With what they replaced, how they ended and how long they took."""
    told = _json(server.url)["deploys"]
    found = [(one["generation"], one["rollback"], one["status"], one["inferred"], one["from_release"]) for one in told]
    assert ("g2", False, "failed", False, "A") in found
    assert ("g3", True, "succeeded", False, "B") in found


def test_nothing_is_called_missing_or_whole_where_no_archive_was_read(server: prometheus.Prometheus) -> None:
    """What only an audit knows is null in the JSON, and the table says who knows it."""
    told = _json(server.url)
    assert (told["source"], told["ok"], told["totals"], told["archive"]) == ("prometheus", None, None, None)
    assert {one["missing"] for one in told["lives"]} == {None}
    shown = _run(server.url)
    assert shown.exit_code == 0, shown.output
    assert "shipper audit says" in shown.stdout
    assert "missing 0" not in shown.stdout
    assert all(word in shown.stdout for word in ("g1", "g2", "g3, rollback", "18.6 %", "silent"))


def test_the_page_is_made_from_it_too(server: prometheus.Prometheus, tmp_path: Path) -> None:
    """The same four pictures, without an audit."""
    page = tmp_path / "page.html"
    assert _run(server.url, "--html", str(page)).exit_code == 0
    text = page.read_text()
    assert text.count("<svg") == 4
    assert "<h2>Audit</h2>" not in text
    assert "rollback A" in text


def test_an_earlier_time_is_left_out(server: prometheus.Prometheus) -> None:
    """Counters of a host that is older than what is looked at begin where they stood then."""
    told = _json(server.url, "--hours", str(300 / 3600))
    assert [one["generation"] for one in told["generations"]] == ["g3"]
    assert 0 < told["generations"][0]["requests"] < 300


def test_whom_nobody_knows_is_a_sentence(server: prometheus.Prometheus) -> None:
    """A service that pushes nothing is told as such, by exit code 2; one with a quote in its name is no way into the query."""
    for service in ("nobody", 'x"} or {__name__=~".+'):
        ran = _run(server.url, "--service", service, "--env", "prod")
        assert ran.exit_code == 2
        assert f"no host of {service} prod pushed to" in ran.output
    assert _run(server.url, "--service", "shop").exit_code == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"<html>log in</html>", "does not answer as Prometheus does"),
        (
            b'{"status":"success","warnings":["half is missing"],"data":{"resultType":"vector","result":[]}}',
            "not be whole",
        ),
        (b'{"status":"error","error":"too many samples"}', "too many samples"),
    ],
)
def test_an_answer_that_is_none_is_a_sentence(answer: bytes, words: str) -> None:
    """A login page, a partial answer and a refusal give no table."""
    with _answering(answer) as url:
        ran = _run(url)
    assert ran.exit_code == 2
    assert words in ran.output
    assert "Generations" not in ran.output


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["/tmp", "--prometheus", "http://127.0.0.1:9"],
        ["/tmp", "--service", "x"],
        ["--prometheus", "http://127.0.0.1:9", "--silence", "3"],
        ["--prometheus", "http://127.0.0.1:9", "--hours", "0"],
    ],
)
def test_a_command_that_is_not_meant_so_is_refused(words: list[str]) -> None:
    """An archive or a Prometheus, with what goes with it."""
    ran = CliRunner().invoke(main, ["fleet", *words])
    assert ran.exit_code == 2
    assert "Usage:" in ran.output


def test_nobody_there_is_a_sentence() -> None:
    """A refused connection and a word that is no URL are told in one line."""
    for url, words in (("http://127.0.0.1:9", "cannot be asked"), ("prometheus", "is no URL")):
        ran = _run(url)
        assert ran.exit_code == 2
        assert words in ran.output
        assert "Traceback" not in ran.output


def test_series_are_called_as_on_the_boards() -> None:
    """The room of the fleet spells names that the room of the boards has; they are the same."""
    for name in ("REQUESTS", "HOST_INFO", "HOST_STARTED", "HOST_STATE"):
        assert getattr(asking, name) == getattr(names, name)
    for name in ("DEPLOY_STARTED", "DEPLOY_FINISHED", "DEPLOY_WITHDRAWN"):
        assert getattr(asking, name) == getattr(names, name)


def _run(url: str, *more: str) -> Result:
    return CliRunner().invoke(main, ["fleet", "--prometheus", url, *more])


def _json(url: str, *more: str) -> dict[str, Any]:
    ran = _run(url, "--json", *more)
    assert ran.exit_code == 0, ran.output
    form: dict[str, Any] = json.loads(ran.stdout)
    return form


def _push(
    written: Written,
    now: int,
    host: str,
    generation: str,
    release: str,
    image: str,
    born: int,
    ended: int,
    state: int,
    requests: int,
    errors: int,
) -> None:
    """One life: its counters from zero to their last values, and the end of its series where it said farewell."""
    start, end = now - born, now - ended
    about = {"service": "shop", "env": "prod", "generation": generation, "release": release, "instance": host}
    later = range(end, end + AHEAD, PUSH) if not ended else ()
    moments = sorted({*range(start, end, PUSH), end, *later})

    def put(name: str, values: Mapping[int, float], **more: str) -> None:
        labels = tuple(sorted({"__name__": name, **about, **more}.items()))
        gone = [(end + 1, STALE)] if state != RUNNING else []
        written[labels] = [*values.items(), *gone]

    shares = {at: min(1.0, (at - start) / max(1, end - start)) for at in moments}
    put(names.REQUESTS, {at: round(share * (requests - errors)) for at, share in shares.items()}, outcome="ok")
    put(names.REQUESTS, {at: round(share * errors) for at, share in shares.items()}, outcome="error")
    put(names.HOST_INFO, dict.fromkeys(moments, 1), image=image)
    put(names.HOST_STARTED, dict.fromkeys(moments, start))
    put(names.HOST_STATE, {at: RUNNING if at != end else state for at in moments})


def _tell(written: Written, now: int) -> None:
    """A failed deploy and the rollback, as a gateway keeps them alive."""
    for generation, release, before, action, status, began, took in (
        ("g2", "B", "A", "deploy", "failed", 962, 300),
        ("g3", "A", "B", "rollback", "succeeded", 602, 30),
    ):
        about = {"service": "shop", "env": "prod", "generation": generation, "release": release}
        about |= {"action": action, "from_release": before, "inferred": "false"}
        facts = ((names.DEPLOY_STARTED, began, {}), (names.DEPLOY_FINISHED, began - took, {"status": status}))
        for name, ago, more in facts:
            labels = tuple(sorted({"__name__": name, **about, **more}.items()))
            written[labels] = [(at, now - ago) for at in range(now - ago, now, PUSH)]


@contextmanager
def _answering(body: bytes) -> Iterator[str]:
    """A server that says the same to whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
