"""From an error spike to a failing trace, its log lines and the host's last words, by following the links in the JSON."""

from typing import Any

from tests.dashboards.lint.committed import Board, Link, boards, links_of, variables_in


def query_text(panel: dict[str, Any]) -> str:
    return " ".join(str(target.get("expr") or target.get("query")) for target in panel["targets"])


def landed(link: Link, at: Board, clicked: dict[str, str]) -> tuple[Board, dict[str, str]]:
    """The board a click ends on and the variables it sets there; ``clicked`` is what the clicked thing says of itself."""
    values = {}
    for name, value in link.given.items():
        if name.startswith("var-"):
            (used,) = variables_in(value)
            if used in ("__field", "__data"):
                label = value.split('"')[1] if '"' in value else value.rsplit(".", 1)[1].split(":")[0]
                values[name.removeprefix("var-")] = clicked[label]
            else:
                assert used in at.variables
                values[name.removeprefix("var-")] = f"<{used}>"
    assert link.board is not None
    return boards()[link.board], values


def link(part: Any, start: str) -> Link:
    (found,) = [one for one in links_of(part) if one.title.startswith(start)]
    return found


def column_link(panel: dict[str, Any], column: str) -> Link:
    """The link on one column of a table, which is found by the column's title."""
    renamed = next(one["options"]["renameByName"] for one in panel["transformations"] if one["id"] == "organize")
    (override,) = [one for one in panel["fieldConfig"]["overrides"] if one["matcher"]["options"] == renamed[column]]
    (found,) = links_of(override)
    return found


def test_three_clicks_lead_from_a_spike_to_the_last_words_of_a_host() -> None:
    """A point of the error lines, a failing trace, the host of a log line: each click sets what the next panel asks by."""
    triage = boards()["shipper-triage"]
    spike = triage.panel("Whose errors are they?")

    first = link(spike["fieldConfig"]["defaults"], "Failing traces")
    board, values = landed(first, triage, {"generation": "42"})
    assert board is triage
    assert values["generation"] == "42"
    assert first.given["time"] == "${__value.time}"
    failing = board.panel("Which requests failed?")
    assert 'resource.shipper.generation="$generation"' in query_text(failing)
    assert "status=error" in query_text(failing)

    second = column_link(failing, "traceID")
    board, values = landed(second, triage, {"traceID": "4bf92f"})
    assert values["trace"] == "4bf92f"
    trace, lines = board.panel("What happened in this request?"), board.panel("What did the hosts log about it?")
    assert trace["type"] == "traces"
    assert query_text(trace) == "$trace"
    assert 'trace_id="$trace"' in query_text(lines)

    third = column_link(lines, "shipper_host")
    board, values = landed(third, triage, {"shipper_host": "h-9f3"})
    assert board.uid == "shipper-hosts"
    assert values["instance"] == "h-9f3"
    last_words = [
        panel
        for panel in board.panels
        if panel.get("datasource", {}).get("type") == "loki" and "$instance" in query_text(panel)
    ]
    assert last_words


def test_the_same_path_works_over_elasticsearch() -> None:
    """Lines kept in Elasticsearch or OpenSearch lead to the same host."""
    triage = boards()["shipper-triage"]
    lines = triage.panel("What did the hosts write about it?")
    assert "$trace" in query_text(lines)
    board, values = landed(
        column_link(lines, "resource.attributes.shipper.host"), triage, {"resource.attributes.shipper.host": "h-9f3"}
    )
    assert (board.uid, values["instance"]) == ("shipper-hosts", "h-9f3")


def test_a_generation_is_one_click_from_its_comparison() -> None:
    """The scoreboard's rows, the last changes and the error lines all lead to Compare with that generation chosen."""
    scoreboard = boards()["shipper-generations"].panel("Which generation started badly?")
    changes = boards()["shipper-triage"].panel("What changed last, and what would a rollback go to?")
    for board, panel in (("shipper-generations", scoreboard), ("shipper-triage", changes)):
        target, values = landed(column_link(panel, "generation"), boards()[board], {"generation": "42"})
        assert (target.uid, values["generation"]) == ("shipper-compare", "42")
