"""A preview asks a server that is no Prometheus, or one in trouble: each is a sentence, and no number that is not one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.cli.preview import records_of
from shipper.contracts import Batch, Cut, Signal
from shipper.dashboards.preview.asking import NotAnswered, NotReached, Prometheus
from shipper.dashboards.preview.fields import Looks, looks
from shipper.dashboards.preview.panels import Shown, draw
from shipper.dashboards.preview.variables import Window, filled
from shipper.drawing.scale import duration, ticks
from shipper.otlp.encode import export_logs, log_record, scope
from shipper.testing.clock import START_WALL_NS
from tests.fleet.archives import Writer, batch, host_resource

Answer = Callable[[str, dict[str, list[str]]], tuple[int, bytes]]
EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


def test_a_server_that_is_no_prometheus_is_named(tmp_path: Path) -> None:
    """What answers with a page of HTML, as proxies that ask for a login do, is told to be no Prometheus."""
    with _serving(lambda _, __: (200, b"<html>log in</html>")) as url:
        ran = _run(url, tmp_path)
    assert ran.exit_code == 1
    assert "is no Prometheus: HTTP status 200, '<html>log in</html>'" in ran.output
    assert not (tmp_path / "page.html").exists()


def test_nobody_at_the_address_is_a_sentence(tmp_path: Path) -> None:
    """Nothing is written when there is nobody to ask."""
    with _serving(lambda _, __: (200, b"")) as url:
        pass
    ran = _run(url, tmp_path)
    assert ran.exit_code == 1
    assert "cannot be reached" in ran.output


@pytest.mark.parametrize("url", ["localhost:9090", "ftp://x", "http://", "http://[::1"])
def test_what_is_no_address_is_refused(url: str, tmp_path: Path) -> None:
    """It says what an address looks like."""
    ran = _run(url, tmp_path)
    assert ran.exit_code == 1
    assert "no address" in ran.output


def test_one_refused_query_leaves_the_other_panels(tmp_path: Path) -> None:
    """The panel says what Prometheus said, the page is written, and the exit code tells of it."""

    def answer(_: str, asked: dict[str, list[str]]) -> tuple[int, bytes]:
        if "shipper_errors_new_vs_old" in asked.get("query", [""])[0]:
            return 422, json.dumps({"status": "error", "errorType": "execution", "error": "too many samples"}).encode()
        return _empty(_, asked)

    with _serving(answer) as url:
        ran = _run(url, tmp_path, "--board", "triage")
    assert ran.exit_code == 1
    assert "1 panels could not be asked, the first: execution: too many samples" in ran.output
    page = (tmp_path / "page.html").read_text()
    assert page.count("not asked: execution: too many samples") == 1


def test_warnings_of_a_partial_answer_are_told(tmp_path: Path) -> None:
    """What Prometheus says of an answer stands on the page and in the command's output."""
    warned = json.dumps({**EMPTY, "warnings": ["a store was not reached"]}).encode()

    def answer(path: str, asked: dict[str, list[str]]) -> tuple[int, bytes]:
        return (200, warned) if path.endswith("/query") else _empty(path, asked)

    with _serving(answer) as url:
        ran = _run(url, tmp_path, "--board", "triage")
    assert ran.exit_code == 0
    assert "Prometheus warns: a store was not reached" in ran.output
    assert "Prometheus warns: a store was not reached" in (tmp_path / "page.html").read_text()


def test_a_slow_server_is_given_up() -> None:
    """The time to wait is told, and that it has passed."""
    done = threading.Event()

    def answer(_: str, __: dict[str, list[str]]) -> tuple[int, bytes]:
        done.wait(10)
        return 200, b""

    with _serving(answer) as url:
        with pytest.raises(NotAnswered, match=r"did not answer within 0\.1 s"):
            Prometheus(url, 0.1).instant("up", 0)
        done.set()


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"resultType": "vector"},
        {"resultType": "vector", "result": [{"metric": {}, "value": [1]}]},
        {"resultType": "vector", "result": [{"metric": {}, "value": [1, "one"]}]},
        {"resultType": "string", "result": [1, "x"]},
        {"resultType": "scalar", "result": "x"},
    ],
)
def test_an_answer_that_is_not_one_is_refused(data: Any) -> None:
    """Whatever a server sends, it is a sentence and no traceback."""
    with (
        _serving(lambda _, __: (200, json.dumps({"status": "success", "data": data}).encode())) as url,
        pytest.raises(NotAnswered),
    ):
        Prometheus(url).instant("up", 0)


def test_a_cut_answer_is_refused() -> None:
    """Half a JSON document counts for nothing."""
    with _serving(lambda _, __: (200, json.dumps(EMPTY).encode()[:-5])) as url, pytest.raises(NotReached):
        Prometheus(url).instant("up", 0)


def test_values_cannot_leave_their_quotes() -> None:
    """A variable's value with quotes or backslashes stays a string in the query."""
    query = filled('up{a="$name"}[$__range] $1', {"name": 'x"} or vector(1) or up{a="\\'}, Window(0, 60))
    assert query == 'up{a="x\\"} or vector(1) or up{a=\\"\\\\"}[60s] $1'


def test_windows_follow_the_pushes_of_a_compressed_story() -> None:
    """Hosts that push ten times as often are looked at as much more closely; rates are of four pushes at least."""
    usual, compressed = Window(0, 3600), Window(0, 60, push=1.5)
    assert (usual.step(), usual.builtin()["__rate_interval"]) == (15, "1m")
    assert (compressed.step(), compressed.builtin()["__rate_interval"]) == (2, "6s")
    assert compressed.builtin()["__range"] == "60s"


def test_a_day_is_drawn_all_along_a_story_that_is_shorter() -> None:
    """A step that is longer than the time shown has no moment in it: what there is of it is asked at the end."""
    asked = []

    def answer(path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        asked.append((path, query))
        result = [{"metric": {"release": "A"}, "value": [90, "0.25"]}]
        return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()

    target = {"refId": "A", "expr": "up", "interval": "1d", "legendFormat": "$name of {{release}}"}
    panel = {"type": "timeseries", "title": "Which days were bad?", "targets": [target]}
    with _serving(answer) as url:
        drawn = draw(panel, Prometheus(url), Shown({"name": "ratio"}, Window(0, 90)))
    assert [(path, query["time"]) for path, query in asked] == [("/api/v1/query", ["90.000"])]
    assert drawn.found == 1
    assert "<polyline" in drawn.markup
    assert "ratio of A" in drawn.markup


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.123, "percentunit", "12.3 %"),
        (55.25, "percentunit", "5,525 %"),
        (75, "s", "1 min 15 s"),
        (0, "s", "0 s"),
        (2048, "bytes", "2 KiB"),
        (2.5, "suffix:×", "2.5×"),
        (100_000, "dateTimeAsIso", "1970-01-01 00:01:40Z"),
        (100_000, "dateTimeFromNow", "20 s ago"),
        (float("nan"), "short", "nothing"),
        (float("inf"), "s", "+Inf"),
    ],
)
def test_values_are_written_with_their_units(value: float, unit: str, written: str) -> None:
    """As people read them; what is no number is told as the panel tells it."""
    assert looks({"fieldConfig": {"defaults": {"unit": unit, "noValue": "nothing"}}}, 120).written(value) == written


def test_a_threshold_that_was_reached_colours_a_value() -> None:
    """The last one that is not above the value counts; a name of Grafana's is a colour, anything else grey."""
    steps = [{"color": "green", "value": None}, {"color": "#E02F44", "value": 3}]
    how = Looks({"thresholds": {"steps": steps}}, 0)
    assert (how.colour(2.9), how.colour(3.0)) == ("#73bf69", "#E02F44")
    assert Looks({"thresholds": {"steps": [{"color": 'x"onload="', "value": None}]}}, 0).colour(1.0) == "#8e8e8e"


def test_axes_go_in_handy_steps() -> None:
    """About five marks that hold all values; things that one counts have no halves; nonsense has an axis too."""
    assert ticks(0, 3, whole=True) == [0, 1, 2, 3]
    assert ticks(0, 0.13) == pytest.approx([0, 0.05, 0.1, 0.15])
    assert ticks(-3, 8) == [-5, 0, 5, 10]
    assert ticks(0, float("nan"))[0] == 0
    assert duration(90061) == "1 d 1 h"


def test_an_archive_stands_in_for_a_store_of_logs(tmp_path: Path) -> None:
    """Its newest failures are shown, of the chosen service; lines that tell no severity are none."""
    about = host_resource("h")
    records = [
        log_record(time_ns=START_WALL_NS + at, observed_ns=0, body=body, severity=severity, attributes={})
        for at, body, severity in ((1, "first failure", 17), (2, "all is well", 9), (3, "last failure", 21))
    ]
    cut = Cut(0, 9, 0, 9, 3, START_WALL_NS)
    failing = Batch("life-h", "otlp", Signal.LOGS, cut, export_logs(about, scope("x"), records))
    Writer(tmp_path).put(batch("h", 0, 3), failing)
    asked = records_of(str(tmp_path))
    window = Window(0, START_WALL_NS / 1e9 + 60)
    shown = asked({"generation": "g1", "trace": "x"}, window, "loki")
    assert [line.partition("1.0 ")[2] for line in shown] == ["last failure", "first failure"]
    assert asked({"generation": "g2"}, window, "loki") == []
    assert asked({"generation": "g1"}, window, "tempo") == []


def _run(url: str, directory: Path, *more: str) -> Result:
    page = str(directory / "page.html")
    return CliRunner().invoke(main, ["dashboards", "preview", "--prometheus", url, "--html", page, *more])


def _empty(path: str, _: dict[str, list[str]]) -> tuple[int, bytes]:
    if path.endswith("/values"):
        return 200, b'{"status": "success", "data": []}'
    kind = "matrix" if path.endswith("query_range") else "vector"
    return 200, json.dumps({"status": "success", "data": {"resultType": kind, "result": []}}).encode()


@contextmanager
def _serving(answer: Answer) -> Iterator[str]:
    class _Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            self._answer(path, query)

        def do_POST(self) -> None:
            self._answer(self.path, self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _answer(self, path: str, query: str) -> None:
            status, body = answer(path, parse_qs(query))
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                return  # who asked has gone

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
