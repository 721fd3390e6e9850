"""The shipped boards drawn without Grafana, from a real Prometheus that has a history in which every panel has something to show."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.dashboards import shipped
from shipper.dashboards.preview.asking import Prometheus as Asked
from shipper.dashboards.preview.board import Preview, preview
from shipper.dashboards.preview.variables import Window, resolved
from shipper.testing import prometheus
from tests.dashboards.lint import story
from tests.dashboards.promtool.run import PROMTOOL
from tests.dashboards.promtool.series import STEP, written

pytestmark = pytest.mark.skipif(not (PROMTOOL and prometheus.available()), reason=prometheus.MISSING)

RECORDED = '{__name__=~"(service|fleet).*:.*|ALERTS.*"}'
END = story.AFTER * STEP
DAY = 86400
HOST = {"instance": "7-0"}
_ENTRY = re.compile(r'\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\} (\S+?)(?:,|$)')
_LABEL = re.compile(r'(\w+="(?:[^"\\]|\\.)*")(?:, )?')
_NAME = re.compile(r'^__name__="([^"]*)"(?:, )?')


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus.Prometheus]:
    """A Prometheus with the story of the boards' lint: what hosts push, and what the rules record of it, in 1970."""
    where = tmp_path_factory.mktemp("preview")
    text = where / "story.txt"
    text.write_text("\n".join([*_openmetrics(tmp_path_factory.getbasetemp().parent), "# EOF\n"]))
    assert PROMTOOL
    command = [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", str(text), str(where / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    # backfilled series have no ends: without this the dead would live on for five minutes
    with prometheus.Prometheus(where, flags=("--query.lookback-delta=40s",)) as server:
        yield server


@pytest.fixture(scope="module")
def pictures(told: prometheus.Prometheus) -> list[Preview]:
    """All boards while the bad generation comes up, while it is accused, after the rollback, and at the end of that day."""
    boards = list(shipped.boards(shipped.files()).values())
    asked = Asked(told.url)
    moments = [_drawn(boards, asked, at * STEP) for at in (story.YOUNG, story.ACCUSED, story.AFTER)]
    return [*moments, _drawn(boards, asked, END, generation="7"), _drawn(boards, asked, DAY)]


def test_no_panel_that_asks_prometheus_is_empty(pictures: list[Preview]) -> None:
    """Each finds something at some moment of a rollout, a failure and a rollback (days are told at their end); none fails."""
    empty = [{(panel.board, panel.title) for panel in one.empty} for one in pictures]
    assert set.intersection(*empty) == set()
    assert [panel for one in pictures for panel in one.failed] == []


def test_every_panel_of_every_board_is_there(pictures: list[Preview]) -> None:
    """Those of closed rows too; panels that ask a store of logs or traces say why they are bare."""
    boards = shipped.boards(shipped.files()).values()
    titles = [
        (board["uid"], panel["title"])
        for board in boards
        for row in board["panels"]
        for panel in (row.get("panels", []) if row["type"] == "row" else [row])
    ]
    assert sorted((panel.board, panel.title) for panel in pictures[0].panels) == sorted(titles)
    assert "This panel asks loki: a preview has metrics only." in pictures[0].html


def test_the_page_says_that_it_is_a_preview_and_needs_nothing_else(pictures: list[Preview]) -> None:
    """It is one file of well-formed pictures, without a script, and without an address to load from."""
    page = pictures[-1].html
    assert "This is a preview and not Grafana" in page
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(picture)
    assert _tags(page).isdisjoint({"script", "img", "iframe", "a", "object", "link", "base", "form"})
    assert not re.search(r"\bsrc=|\bhref=|@import|url\(", page)


def test_deploys_and_the_rollback_are_marked(pictures: list[Preview]) -> None:
    """The boards' own annotations are drawn over time."""
    assert re.search(r"rollback\b[^<]*r6", pictures[-1].html)


def test_variables_are_found_by_their_own_queries(told: prometheus.Prometheus) -> None:
    """The newest generation, the one before it that was not withdrawn, and the time between their starts."""
    board = shipped.boards(shipped.files())["shipper-compare.json"]
    values = resolved(board, {}, Asked(told.url), Window(0, story.ACCUSED * STEP))
    chosen = {name: values[name] for name in ("env", "service", "generation", "prev", "shift")}
    shift = str((story.SEVEN - story.SIX) * STEP)
    assert chosen == {"env": "prod", "service": "shop", "generation": "7", "prev": "6", "shift": shift}


def test_the_command_writes_the_chosen_board(told: prometheus.Prometheus, tmp_path: Path) -> None:
    """It says where the page is and which panels are bare."""
    page = tmp_path / "page.html"
    ran = _run(told.url, page, "--board", "triage", "--from", "1970-01-01T00:00", "--to", _iso(story.ACCUSED))
    assert ran.exit_code == 0, ran.output
    assert str(page) in ran.output
    assert page.read_text().count("<h1") == 1


def test_a_variable_can_be_given(told: prometheus.Prometheus, tmp_path: Path) -> None:
    """What is chosen stands in the page's head; a name that no board has is refused."""
    page = tmp_path / "page.html"
    when = ("--from", "1970-01-01T00:00", "--to", _iso(story.AFTER))
    ran = _run(told.url, page, "--board", "hosts", "--var", "generation=6", *when)
    assert ran.exit_code == 0, ran.output
    assert "generation 6" in page.read_text()
    assert "no variable 'nope'" in _run(told.url, page, "--var", "nope=1").output


def _drawn(boards: list[dict[str, Any]], asked: Asked, end: int, **given: str) -> Preview:
    return preview(boards, asked, window=lambda _: Window(0, end), given=HOST | given)


def _openmetrics(shared: Path) -> Iterator[str]:
    fleet = story.fleet()
    for (metric, labels), values in (fleet.series() | story._sidecars(fleet)).items():
        for step, value in values.items():
            if not isinstance(value, str):
                yield f"{metric}{{{written(labels)}}} {value:.12g} {step * STEP}"
    answers = story.asked([RECORDED], range(story.AFTER + 1), shared)
    for (_, step), answer in sorted(answers.items(), key=lambda one: one[0][1]):
        assert not answer.error
        for inside, value in _ENTRY.findall(answer.found):
            name = _NAME.match(inside)
            assert name
            unspaced = _LABEL.sub(r"\1,", inside[name.end() :]).rstrip(",")
            yield f"{name[1]}{{{unspaced}}} {value} {step * STEP}"


def _run(url: str, page: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["dashboards", "preview", "--prometheus", url, "--html", str(page), *more])


def _iso(step: int) -> str:
    seconds = step * STEP
    return f"1970-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _tags(page: str) -> set[str]:
    found: set[str] = set()

    class _Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.add(tag)

    _Parser().feed(page)
    return found
