"""What every committed dashboard must hold: the dashboard-linter's rules that apply to hosts that are replaced, and ours.

Left out of the linter's rules, and why: template-job, template-instance, target-job, target-instance (our keys are environment,
service and generation; a job or an address means nothing for a host that lives ten minutes).
"""

import re

import promql_parser
import pytest

from shipper.dashboards import names
from shipper.dashboards.kit.queries import BOUNDED_LABELS
from shipper.dashboards.sources import PROMETHEUS, SOURCES
from tests.dashboards.lint import promql
from tests.dashboards.lint.committed import ROOT, Board, boards, links_of, regex_free, variables_in
from tests.dashboards.lint.grammars import NoGrammars, syntax_errors
from tests.dashboards.lint.units import is_unit

ALL = pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.uid)
# Written by Prometheus itself from our alerts.
ALERT_STATES = {"ALERTS", "ALERTS_FOR_STATE"}
# A counter's value means nothing by itself; these functions ask for what it grew by, or for a count known to be exact.
FOR_COUNTERS = {"rate", "irate", "increase", "resets", "max_over_time"}
NO_QUERY = {"row", "text"}


def queries_of(board: Board, source: str) -> list[str]:
    return [query.text for query in board.queries if query.source == source]


def promql_of(board: Board) -> list[str]:
    """Everything a board asks Prometheus: panels, markers and variables."""
    asked = queries_of(board, "prometheus")
    asked += [marker["expr"] for marker in board.markers if marker["datasource"]["type"] == "prometheus"]
    asked += [promql.asked_by_variable(one) for one in board.variables.values() if one["type"] == "query"]
    return [text for text in asked if text]


@ALL
def test_a_board_is_found_by_its_fixed_uid(board: Board) -> None:
    """A board's file, its uid and the uid that alerts and links use are the same, and it is not edited by hand."""
    assert board.path.name == f"{board.uid}.json"
    assert board.uid in names.BOARDS
    assert board.json["editable"] is False
    assert board.json["schemaVersion"] == 42
    assert board.json["timezone"] == "utc"
    assert "shipper" in board.json["tags"]


@ALL
def test_panel_numbers_are_written_down_and_unique(board: Board) -> None:
    """No two panels or rows of a board share a number, so that links and alerts reach the one they mean."""
    ids = [panel["id"] for panel in (*board.rows, *board.panels)]
    assert len(ids) == len(set(ids))
    assert all(ids)


@ALL
def test_panels_do_not_overlap_and_are_few(board: Board) -> None:
    """At most twelve panels are open, and each has a place of its own on the grid."""
    opened = [panel for panel in board.json["panels"] if panel["type"] != "row"]
    assert len(opened) <= 12
    taken: set[tuple[int, int]] = set()
    for panel in board.json["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@ALL
def test_every_panel_asks_a_question_and_says_what_to_do_next(board: Board) -> None:
    """A title is a question, asked once, and the description ends with the next step."""
    questions = [panel["title"] for panel in board.panels]
    assert len(questions) == len(set(questions))
    for panel in board.panels:
        assert panel["title"].endswith("?"), panel["title"]
        says, _, then = panel["description"].partition("**Next:** ")
        assert says.strip(), panel["title"]
        assert then.endswith("."), panel["title"]


@ALL
def test_every_panel_has_a_query_a_unit_and_words_for_no_data(board: Board) -> None:
    """No panel shows bare numbers, asks nothing, or is blank without saying why."""
    for panel in board.panels:
        if panel["type"] in NO_QUERY:
            continue
        assert panel["targets"], panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert is_unit(defaults["unit"]), panel["title"]
        assert defaults["noValue"], panel["title"]
        for override in panel["fieldConfig"]["overrides"]:
            for one in override["properties"]:
                assert one["id"] != "unit" or is_unit(one["value"]), panel["title"]


@ALL
def test_data_sources_are_variables_with_the_usual_names(board: Board) -> None:
    """Each kind of data source is one variable, named and labelled as the dashboard linter wants it."""
    known = {source.type: source for source in SOURCES}
    offered = [one for one in board.variables.values() if one["type"] == "datasource"]
    assert PROMETHEUS.variable in board.variables
    for variable in offered:
        source = known[variable["query"]]
        assert (variable["name"], variable["label"]) == (source.variable, source.label)
    for query in board.queries:
        assert query.json["datasource"]["uid"] == known[query.source].uid
        assert query.panel["datasource"] == query.json["datasource"]
    for marker in board.markers:
        assert marker["datasource"]["uid"] == known[marker["datasource"]["type"]].uid


@ALL
def test_rows_of_one_optional_source_stand_apart(board: Board) -> None:
    """A row asks Prometheus or one other source, so that leaving a source out leaves no half-empty row."""
    from shipper.dashboards.layout import rows

    for row in rows(board.json["panels"]):
        assert len(row.types - {"prometheus"}) <= 1
        assert len(row.types) <= 1, row.heading


@ALL
def test_variables_follow_the_time_range(board: Board) -> None:
    """Query variables are asked again when the time range changes, for generations come and go."""
    for variable in board.variables.values():
        if variable["type"] == "query":
            assert variable["refresh"] == 2, variable["name"]
            if variable["name"] in ("env", "service"):
                assert variable["label"]


@ALL
def test_every_variable_is_used_and_every_used_one_exists(board: Board) -> None:
    """A board uses all of its variables and no other."""
    defined = set(board.variables)
    used = set().union(
        *(variables_in(panel) for panel in board.json["panels"]),
        *(variables_in(marker) for marker in board.markers),
        *(variables_in(regex_free(variable)) for variable in board.variables.values()),
    )
    assert {name for name in used if not name.startswith("__")} == defined


@ALL
def test_every_promql_query_parses(board: Board) -> None:
    """What panels, markers and variables ask Prometheus is PromQL."""
    for text in promql_of(board):
        try:
            promql.parsed(text)
        except ValueError as error:
            pytest.fail(f"{error}: {text}")


@ALL
def test_every_metric_is_one_we_emit_or_record(board: Board) -> None:
    """No query names a metric that nobody writes."""
    known = names.EMITTED | names.RECORDED | ALERT_STATES
    for text in promql_of(board):
        unknown = {read.metric for read in promql.reads(text)} - known
        assert not unknown, text


@ALL
def test_counters_are_asked_for_what_they_grew(board: Board) -> None:
    """A counter is never shown as it stands, and never summed before its rate."""
    for text in promql_of(board):
        for read in promql.reads(text):
            if read.metric.endswith(("_total", "_bucket", "_sum", "_count")):
                assert FOR_COUNTERS & set(read.within), text
                assert "subquery" not in read.within, text


@ALL
def test_rates_follow_the_resolution_of_the_graph(board: Board) -> None:
    """``rate`` in a graph is taken over ``$__rate_interval``, which no zoom makes shorter than four pushes."""
    for query in board.queries:
        if query.source == "prometheus" and not query.instant:
            assert set(promql.ranges(query.text, {"rate", "irate"})) <= {"$__rate_interval"}, query.text


@ALL
def test_logs_counted_over_time_follow_the_resolution(board: Board) -> None:
    """LogQL graphs count over ``$__auto``; only tables, asked once, name their window."""
    for query in board.queries:
        if query.source == "loki" and not query.instant:
            assert set(re.findall(r"\[([^\]]+)\]", query.text)) <= {"$__auto"}, query.text


@ALL
def test_legends_and_tables_are_bounded(board: Board) -> None:
    """A label without bound in a legend, and every table, stands under topk, a limit or an aggregation to bounded labels."""
    for query in board.queries:
        if query.source != "prometheus":
            continue
        assert "{{" in query.json.get("legendFormat", "") or query.json.get("legendFormat") != "" or query.instant
        named = set(re.findall(r"{{\s*(\w+)\s*}}", query.json.get("legendFormat", "")))
        if not named <= BOUNDED_LABELS:
            assert re.search(r"\b(topk|bottomk)\b", query.text), query.text


@ALL
def test_logs_and_traces_are_limited(board: Board) -> None:
    """Lists of lines, documents and traces say how many they want."""
    for query in board.queries:
        if query.source == "loki" and not query.instant:
            assert query.json["maxLines"] <= 1000
        if query.source == "tempo" and query.json.get("tableType"):
            assert query.json["limit"] <= 100


@ALL
def test_links_reach_a_board_and_carry_its_variables(board: Board) -> None:
    """A link to another board names one that exists and variables it has, filled from what is known where it stands."""
    for link in board.links():
        unknown = {name for name in variables_in(link.url) if not name.startswith("__")} - set(board.variables)
        assert not unknown, link
        if link.board is None:
            continue
        target = boards()[link.board]
        given = {name.removeprefix("var-") for name in link.given if name.startswith("var-")}
        assert given <= set(target.variables), link
        assert {PROMETHEUS.variable, "env", "service"} <= given, link
        assert {"from", "to"} <= set(link.given) or "time.window" in link.given, link


@ALL
def test_a_row_is_linked_by_columns_it_shows(board: Board) -> None:
    """A link of a table row takes its values from columns of that table, which Grafana shows as text and not as numbers."""
    for panel in board.panels:
        if panel["type"] != "table":
            continue
        (shown,) = [
            one["options"]["include"]["names"] for one in panel["transformations"] if one["id"] == "filterFieldsByName"
        ]
        for link in links_of(panel["fieldConfig"]):
            assert set(re.findall(r'__data\.fields\["([^"]+)"\]', link.url)) <= set(shown), link
        assert panel["fieldConfig"]["defaults"]["unit"] == "string"


@ALL
def test_markers_are_lines_not_blocks(board: Board) -> None:
    """Deploy markers stand at the time their series says, in milliseconds, one a deploy whatever the number of hosts."""
    colors = {marker["name"]: marker["iconColor"] for marker in board.markers}
    assert len({colors[name] for name in ("Deploys", "Rollbacks", "Withdrawals")}) == 3
    for marker in board.markers:
        if marker["datasource"]["type"] == "prometheus":
            assert marker["expr"].endswith("* 1000")
            assert marker["useValueForTime"] is True
            assert "instance" not in marker["expr"]
            assert marker["titleFormat"]


def test_every_recorded_metric_is_read_by_a_board_or_an_alert() -> None:
    """Nothing is recorded that no board, alert or further rule reads."""
    read = {one.metric for board in boards().values() for text in promql_of(board) for one in promql.reads(text)}
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dashboards" / "rules").glob("*.yml"))
    exprs = re.sub(r"^\s*- record: .*$", "", rules, flags=re.MULTILINE)
    read |= {name for name in names.RECORDED if re.search(rf"{re.escape(name)}(?![\w:])", exprs)}
    assert sorted(names.RECORDED - read) == []


def test_every_alert_a_board_names_exists() -> None:
    """Boards that colour or count by alerts name alerts that the rules define."""
    rules = (ROOT / "dashboards" / "rules" / "shipper-alerts.yml").read_text(encoding="utf-8")
    defined = set(re.findall(r"alert: (\w+)", rules))
    named = {
        name
        for board in boards().values()
        for text in promql_of(board)
        for alternatives in re.findall(r'alertname=~?"([^"]+)"', text)
        for name in alternatives.split("|")
        if re.fullmatch(r"\w+", name)
    }
    assert {"ShipperNewGenerationErrors", "ShipperYoungGenerationErrors"} <= named <= defined


def test_every_linked_board_is_there() -> None:
    """All boards that alerts and boards link to are committed."""
    assert set(boards()) == set(names.BOARDS)


@pytest.mark.parametrize(("language", "source"), [("logql", "loki"), ("traceql", "tempo")])
def test_log_and_trace_queries_parse(language: str, source: str) -> None:
    """LogQL and TraceQL are valid by the grammars of Grafana's own editors."""
    asked = [
        promql.filled(query.text)
        for board in boards().values()
        for query in board.queries
        if query.source == source and not _is_trace_id(query.text)
    ]
    asked += [
        promql.filled(marker["expr"])
        for board in boards().values()
        for marker in board.markers
        if marker["datasource"]["type"] == source
    ]
    try:
        wrong = syntax_errors(language, asked)
    except NoGrammars as error:
        pytest.skip(str(error))
    assert [text for text, errors in zip(asked, wrong, strict=True) if errors] == []


def _is_trace_id(text: str) -> bool:
    """Tempo takes a bare trace id where it takes TraceQL."""
    return text in ("$trace", "${trace}")


def test_the_checks_find_what_they_look_for() -> None:
    """The readers behind these tests see a wrong query, a metric inside functions, and a variable in any spelling."""
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse("sum by (")
    assert promql.reads("sum(rate(a_total[$__rate_interval])) / b") == [
        promql.Read("a_total", ("rate",)),
        promql.Read("b", ()),
    ]
    assert variables_in('a="$x" b="${y:regex}" ${__data.fields["z"]:percentencode} [[w]]') == {"x", "y", "__data", "w"}
    assert promql.ranges("rate(a[5m]) + rate(sum(b)[$__rate_interval:])", {"rate"}) == ["5m"]
