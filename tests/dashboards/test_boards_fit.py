"""A board for a Grafana that lacks a data source: its row is gone, and nothing else is."""

import copy
import json
from typing import Any

import pytest

from shipper.dashboards.fit import fit
from shipper.dashboards.layout import rows
from shipper.dashboards.sources import SOURCES
from tests.dashboards.lint.committed import Board, boards, links_of

ALL = pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.uid)
SETS = pytest.mark.parametrize(
    "present",
    [
        ("prometheus",),
        ("prometheus", "loki"),
        ("prometheus", "tempo"),
        ("prometheus", "elasticsearch"),
        ("prometheus", "loki", "tempo", "elasticsearch"),
        ("prometheus", "grafana-opensearch-datasource"),
    ],
    ids="+".join,
)


def types_in(part: Any) -> set[str]:
    """Every data source type that anything under ``part`` asks."""
    text = json.dumps(part)
    return {type_ for source in SOURCES for type_ in (source.type, *source.others) if f'"type": "{type_}"' in text}


@ALL
@SETS
def test_nothing_of_an_absent_source_is_left(board: Board, present: tuple[str, ...]) -> None:
    """No panel, marker, variable or link of a source that is not there remains, and no variable loses its definition."""
    fitted = fit(board.json, present)
    assert types_in(fitted) <= set(present)
    variables = {one["name"] for one in fitted["templating"]["list"]}
    absent = {source.variable for source in SOURCES} - variables
    assert not [name for name in absent if f"${{{name}" in json.dumps(fitted)]
    assert all(link.url for link in links_of(fitted))


@ALL
@SETS
def test_what_is_there_stays_and_opens(board: Board, present: tuple[str, ...]) -> None:
    """Rows of Prometheus stay as they were, rows of sources that are there are open, and all stand without gaps."""
    fitted = fit(board.json, present)
    kept = {panel["id"] for row in rows(fitted["panels"]) for panel in row.panels}
    for row in rows(board.json["panels"]):
        if row.types == {"prometheus"}:
            assert {panel["id"] for panel in row.panels} <= kept
    for row in rows(fitted["panels"]):
        if row.heading and row.types - {"prometheus"}:
            assert row.heading["collapsed"] is False
    at = 0
    for panel in fitted["panels"]:
        assert panel["gridPos"]["y"] <= at
        at = max(at, panel["gridPos"]["y"] + panel["gridPos"]["h"])


def test_the_committed_board_is_not_changed() -> None:
    """Fitting makes a copy."""
    board = boards()["shipper-triage"].json
    before = copy.deepcopy(board)
    fit(board, {"prometheus"})
    assert board == before


def test_opensearch_stands_in_for_elasticsearch() -> None:
    """Where only the OpenSearch plugin is there, queries and the variable name its type."""
    fitted = fit(boards()["shipper-triage"].json, {"prometheus", "grafana-opensearch-datasource"})
    (variable,) = [one for one in fitted["templating"]["list"] if one["name"] == "elasticsearch_datasource"]
    assert variable["query"] == "grafana-opensearch-datasource"
    assert types_in(fitted["panels"]) == {"prometheus", "grafana-opensearch-datasource"}
