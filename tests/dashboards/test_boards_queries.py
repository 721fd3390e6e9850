"""Every PromQL query of every committed board, asked of a fleet's history under the committed rules: none fails, none is empty."""

import math
import re
from pathlib import Path

import pytest

from shipper.dashboards.config import BoardConfig
from shipper.dashboards.preview.fields import looks
from tests.dashboards.lint import promql, story
from tests.dashboards.lint.committed import Board, boards
from tests.dashboards.promtool.run import needs_promtool

pytestmark = needs_promtool
ALL = pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.uid)
MOMENTS = (story.YOUNG, story.ACCUSED, story.AFTER)
# A legend that shows more would not be read; tables say their own limit.
MOST_LINES = 20


def asked_by(board: Board) -> dict[str, str]:
    """What the board asks Prometheus, by where it asks it."""
    asked = {
        f"{board.uid} {query.panel['title']} {query.json['refId']}": query.text
        for query in board.queries
        if query.source == "prometheus"
    }
    asked |= {
        f"{board.uid} marker {marker['name']}": marker["expr"]
        for marker in board.markers
        if marker["datasource"]["type"] == "prometheus"
    }
    asked |= {
        f"{board.uid} variable {variable['name']}": promql.asked_by_variable(variable)
        for variable in board.variables.values()
        if variable["type"] == "query"
    }
    return {name: promql.filled(text, story.VALUES) for name, text in asked.items() if text}


Answers = dict[tuple[str, int], story.Answer]


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Each query's answers by its text and step, those of all boards from one run of promtool."""
    texts = sorted({text for board in boards().values() for text in asked_by(board).values()})
    return story.asked(texts, MOMENTS, tmp_path_factory.getbasetemp().parent)


@ALL
def test_no_query_fails(board: Board, answers: Answers) -> None:
    """No query of a board is refused by Prometheus at any moment of a rollout."""
    failed = {
        name: answer.error
        for name, text in asked_by(board).items()
        for at in MOMENTS
        if (answer := answers.get((text, at))) and answer.error
    }
    assert failed == {}


@ALL
def test_no_query_is_empty(board: Board, answers: Answers) -> None:
    """Each query finds something at some moment of a story that has everything: deploys, errors, a rollback, hosts that die."""
    empty = [name for name, text in asked_by(board).items() if not any((text, at) in answers for at in MOMENTS)]
    assert empty == []


@ALL
def test_no_graph_shows_more_lines_than_can_be_read(board: Board, answers: Answers) -> None:
    """A graph's query finds a handful of series, however many hosts and generations there were."""
    for query in board.queries:
        if query.source == "prometheus" and not query.instant and query.json.get("format") != "heatmap":
            text = promql.filled(query.text, story.VALUES)
            for at in MOMENTS:
                answer = answers.get((text, at))
                assert answer is None or answer.series <= MOST_LINES, text


def test_the_chosen_generation_and_the_one_before_are_found(answers: Answers) -> None:
    """The newest generation, the one before it that was not withdrawn, and the time between both starts are found first."""
    board = boards()["shipper-compare"]
    found = {
        name: answers[(asked_by(board)[f"shipper-compare variable {name}"], story.ACCUSED)].found
        for name in ("generation", "prev", "shift")
    }
    latest = {
        name: max(_values(text), key=_values(text).__getitem__) for name, text in found.items() if name != "shift"
    }
    assert latest == {"generation": "7", "prev": "6"}
    assert float(found["shift"].removeprefix("{} ")) == (story.SEVEN - story.SIX) * story.STEP


def _values(found: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r'generation="(\w+)"} ([^,]+)', found)}


def test_the_bad_generation_is_drawn_in_red(answers: Answers) -> None:
    """While an alert accuses the new generation, its line is the accused one, and only its."""
    board = boards()["shipper-triage"]
    accused, newest, before = (
        answers.get((asked_by(board)[f"shipper-triage Whose errors are they? {letter}"], story.ACCUSED))
        for letter in "ABC"
    )
    assert accused is not None
    assert 'generation="7"' in accused.found
    assert newest is None
    assert before is not None
    assert 'generation="6"' in before.found
    assert 'generation="7"' not in before.found


def _number(answers: Answers, board: str, panel: str, letter: str, at: int) -> float:
    """The one number a query found."""
    answer = answers[(asked_by(boards()[board])[f"{board} {panel} {letter}"], at)]
    assert answer.series == 1, answer
    return float(answer.found.rpartition(" ")[2])


def test_a_verdict_is_shown_in_words_and_not_for_long(tmp_path: Path) -> None:
    """Triage has the verdict on the newest generation in words, and says 'not computed' two minutes after the last one."""
    board = boards()["shipper-triage"]
    panel = "Is the newest generation worse?"
    asked = [asked_by(board)[f"shipper-triage {panel} {letter}"] for letter in "AB"]
    steps = (story.SEVEN + 2, story.ACCUSED, story.AFTER, story.AFTER + 5)
    found = story.asked(asked, steps, tmp_path)
    shown = {
        at: [_words(board, panel, letter, found[(text, at)]) for letter, text in zip("AB", asked, strict=True)]
        for at in steps
    }
    assert shown == {
        story.SEVEN + 2: ["not computed", "not computed"],
        story.ACCUSED: ["worse", "not enough data"],
        story.AFTER: ["no difference seen", "not enough data"],
        story.AFTER + 5: ["not computed", "not computed"],
    }


def _words(board: Board, title: str, letter: str, answer: story.Answer) -> str:
    """What the panel shows for the one number that a query found."""
    (panel,) = [one for one in board.panels if one["title"] == title]
    value = float(answer.found.rpartition(" ")[2])
    return looks(panel, 0.0, ref=letter).written(value)


def test_the_scoreboard_counts_what_happened(answers: Answers) -> None:
    """Deploys, the share that failed and how long the bad release stayed are those of the story."""
    board, at = "shipper-generations", story.AFTER
    deploys, undone = 4, 2  # 5, 6, 7 and the canary; the rollback of 7 and the withdrawal of the canary
    assert _number(answers, board, "Which share of deploys failed?", "A", at) == undone / deploys
    assert _number(answers, board, "How often is it deployed?", "A", at) == deploys * 12  # in a range of two hours
    stayed = (story.EIGHT - story.SEVEN) * story.STEP
    assert _number(answers, board, "How long did a bad release stay?", "A", at) == stayed
    assert 0 < _number(answers, board, "How long until an alert knew?", "A", at) <= 180


def test_what_could_have_been_seen_follows_from_the_counts(answers: Answers) -> None:
    """The smallest factor that would have shown is computed from both generations' first requests and errors."""
    at, limits = story.ACCUSED, BoardConfig().thresholds
    board = "shipper-compare"
    counts = {}
    for letter, what in (("D", "requests"), ("E", "errors")):
        answer = answers[(asked_by(boards()[board])[f"{board} What is compared with what? {letter}"], at)]
        counts[what] = _values(answer.found)
    new, old = counts["requests"]["7"], counts["requests"]["6"]
    ratio = max(counts["errors"]["6"], 0.5) / old
    expected = 1 + limits.z * math.sqrt(limits.design_effect * (1 / new + 1 / old) * (1 - ratio) / ratio)
    assert math.isclose(_number(answers, board, "What could have been seen at all?", "A", at), expected, rel_tol=1e-9)


def test_hosts_share_all_errors_of_their_generation(answers: Answers) -> None:
    """The shares of the worst hosts add up to all errors, and each host's ratio is that of its own requests."""
    board, at = "shipper-triage", story.ACCUSED
    asked = asked_by(boards()[board])
    shares, ratios = (
        {host: float(value) for host, value in re.findall(r'instance="([^"]+)"} ([^,]+)', answers[(text, at)].found)}
        for text in (asked[f"{board} One host, or all of them? {letter}"] for letter in "BC")
    )
    assert math.isclose(sum(shares.values()), 1)
    assert set(shares) == set(ratios)
    assert all(math.isclose(ratio, 0.1) for ratio in ratios.values())  # 6 of 60, each


def test_a_generation_that_came_back_comes_up_from_then_on(answers: Answers) -> None:
    """Half of its hosts, and the last one, were born so long after it came back; those of its first time do not count."""
    asked = asked_by(boards()["shipper-hosts"])
    for letter in "CD":
        answer = answers[(asked[f"shipper-hosts How fast does a generation come up? {letter}"], story.AFTER)]
        after = _values(answer.found)
        assert after["canary"] == story.STEP
        assert min(after.values()) >= 0


def test_answers_of_promtool_are_read(tmp_path: Path) -> None:
    """A query that fails, one that finds nothing and one that finds a series are told apart."""
    fails = "count by (instance) (shipper_host_info) * on() count by (instance) (shipper_host_info)"
    found = story.asked([fails, "nothing_here", "vector(7)"], [20], tmp_path)
    assert "many-to-many" in found[(fails, 20)].error
    assert ("nothing_here", 20) not in found
    assert found[("vector(7)", 20)] == story.Answer("{} 7E+00")
