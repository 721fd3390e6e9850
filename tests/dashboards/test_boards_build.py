"""Boards are built from code and configuration: the committed files are what it builds, and what is wrong is refused in words."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from shipper.dashboards import kit, names
from shipper.dashboards.build import build, write
from shipper.dashboards.config import BoardConfig, Labels, Requests, SourceLabels, load_board_config
from shipper.dashboards.kit import Ask, looks
from shipper.dashboards.sources import LOKI, PROMETHEUS
from tests.dashboards.lint import promql
from tests.dashboards.lint.committed import DASHBOARDS

ASK = Ask(1, "Does it work?", "It says so.", "Look again.")
FOREIGN = msgspec.structs.replace(
    BoardConfig(),
    labels=Labels(service="app", env="stage", generation="rollout", release="version", instance="host"),
    requests=Requests(
        requests="istio_requests_total{reporter='destination'}",
        errors='istio_requests_total{reporter="destination",response_code=~"5.."}',
        durations="",
        labels=SourceLabels(service="destination_app", env="=prod", generation="destination_version", instance="pod"),
    ),
)


def test_the_committed_boards_are_what_the_code_builds() -> None:
    """dashboards/*.json are exactly what ``python -m shipper.dashboards.generate`` writes."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.glob("*.json")}
    built = build()
    assert sorted(committed) == sorted(built)
    differ = [name for name, text in built.items() if committed[name] != text]
    assert differ == [], "run: python -m shipper.dashboards.generate"


def test_building_twice_changes_nothing(tmp_path: Path) -> None:
    """The same configuration gives the same bytes: a second build finds nothing to write."""
    assert len(write(tmp_path)) == len(names.BOARDS)
    assert write(tmp_path) == []


def test_other_metrics_and_label_names_reach_every_query() -> None:
    """With existing request metrics and other label names, no query asks ours, and all are still PromQL."""
    for name, text in build(FOREIGN).items():
        board = json.loads(text)
        panels = [inner for panel in board["panels"] for inner in (panel, *panel.get("panels", []))]
        asked = [
            one["expr"]
            for panel in panels
            for one in panel.get("targets", [])
            if one["datasource"]["type"] == "prometheus"
        ]
        assert asked
        for expr in asked:
            promql.parsed(expr)
            assert names.REQUESTS not in expr, name
            assert names.REQUEST_DURATION not in expr, name
            assert 'env="$env"' not in expr.replace('stage="$env"', ""), name
            assert "generation=" not in expr.replace("prev_generation=", ""), name
    triage = build(FOREIGN)["shipper-triage.json"]
    assert "destination_app=" in triage
    assert 'destination_version=\\"$generation\\"' in triage


def test_time_can_be_compressed() -> None:
    """With all durations a sixtieth of what they are, every query is still PromQL and looks back as much less."""
    for text in build(BoardConfig().scaled(60)).values():
        for panel in json.loads(text)["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == "prometheus":
                    promql.parsed(target["expr"])
                    assert "[14d]" not in target["expr"]


def test_boards_without_durations_ask_for_none() -> None:
    """Where requests have no histogram, panels of slowness are left out instead of shown empty."""
    for text in build(FOREIGN).values():
        assert "shipper_slow" not in text


def test_a_title_must_ask_and_the_advice_must_be_a_sentence() -> None:
    """The kit refuses a panel that is no question or does not say what to do next."""
    with pytest.raises(ValueError, match="no question"):
        Ask(1, "Errors", "It says so.", "Look again.")
    with pytest.raises(ValueError, match="no sentence"):
        Ask(1, "Errors?", "It says so.", "look")


def test_a_legend_without_bound_is_refused() -> None:
    """A legend that names hosts needs topk; one that names roles does not."""
    with pytest.raises(ValueError, match="bound it by topk"):
        kit.prom("sum by (instance) (up)", "{{instance}}")
    kit.prom("topk(5, sum by (instance) (up))", "{{instance}}")
    kit.prom("sum by (role) (up)", "{{role}}")


def test_a_board_refuses_numbers_used_twice_and_too_many_panels() -> None:
    """Two panels with one number, and a thirteenth open panel, are errors of the board's author."""
    twice = kit.Board(uid="u", title="t", question="q?")
    twice.row("r", [kit.timeseries(ASK, [kit.prom("up")], unit=looks.COUNT)] * 2)
    with pytest.raises(ValueError, match="not unique"):
        twice.to_json()
    many = kit.Board(uid="u", title="t", question="q?")
    many.row(
        "r",
        [
            kit.timeseries(Ask(at, "Does it?", "It says so.", "Look again."), [kit.prom("up")], unit=looks.COUNT)
            for at in range(1, 14)
        ],
    )
    with pytest.raises(ValueError, match="13 panels"):
        many.to_json()


def test_a_panel_asks_one_data_source() -> None:
    """A panel over two data sources is refused: leaving one out would break it."""
    with pytest.raises(ValueError, match="several data sources"):
        kit.table(ASK, [kit.now("up"), kit.log_count("sum(rate({a=`b`} [5m]))")], [])


def test_a_table_keeps_its_columns_in_order() -> None:
    """Columns name labels or queries by letter; the value of the only Prometheus query that found something has none."""
    columns = [kit.Column("A", "When"), kit.Column("x", "X", looks.SECONDS)]
    alone = kit.table(ASK, [kit.now("up")], columns)
    assert alone.transformations is not None
    assert [one.id_val for one in alone.transformations] == ["filterFieldsByName", "organize"]
    assert alone.transformations[1].options["renameByName"] == {"Value #A": "When", "Value": "When", "x": "X"}  # type: ignore[index]
    several = kit.table(ASK, [kit.now("up"), kit.now("down")], columns)
    assert several.transformations is not None
    assert [one.id_val for one in several.transformations] == ["merge", "filterFieldsByName", "organize"]
    assert several.transformations[2].options["indexByName"] == {"Value #A": 0, "Value": 1, "x": 2}  # type: ignore[index]


def test_a_cell_without_a_value_is_a_dash_whatever_an_empty_table_says() -> None:
    """The words for a table without rows are not those of an empty cell beside others."""
    built = kit.table(ASK, [kit.now("up")], [kit.Column("A", "When"), kit.Column("x", "X")], no_value="nobody ended")
    assert built.field_config is not None
    assert built.field_config.defaults.no_value == "nobody ended"
    for column in built.field_config.overrides:
        assert [one.value for one in column.properties if one.id_val == "noValue"] == ["—"]
    assert [column.matcher.options for column in built.field_config.overrides] == ["When", "X"]


def test_variables_carry_what_the_linter_wants() -> None:
    """Data source variables have the linter's names, labels and types."""
    made = kit.datasource(LOKI)
    assert (made.name, made.label, made.query) == ("loki_datasource", "Loki data source", "loki")
    link = kit.to(kit.HOSTS, "Open", instance=kit.of_row("instance"))
    assert link.url is not None
    assert f"var-{PROMETHEUS.variable}=${{{PROMETHEUS.variable}:percentencode}}" in link.url
    assert 'var-instance=${__data.fields["instance"]:percentencode}' in link.url
    assert link.url.endswith("&from=${__from}&to=${__to}")


@pytest.mark.parametrize("missing", ["absent", "another build"])
def test_without_the_sdk_one_sentence_says_what_to_install(missing: str, tmp_path: Path) -> None:
    """Where the SDK is missing, or is the build for Grafana 10.1, the build says which extra to install."""
    package = tmp_path / "grafana_foundation_sdk"
    package.mkdir()
    text = "raise ImportError('none')" if missing == "absent" else _other_build(package)
    (package / "__init__.py").write_text(text)
    program = (
        "from shipper.errors import MissingExtra\n"
        "from shipper.dashboards.build import build\n"
        "try:\n    build()\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{tmp_path}:{DASHBOARDS.parent}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "pip install 'ephemeral-shipper[dashboards]'" in ran.stdout, ran.stderr
    assert not ran.stderr


def _other_build(package: Path) -> str:
    """The pinned SDK without what the other build lacks."""
    import grafana_foundation_sdk

    real = list(grafana_foundation_sdk.__path__)
    return (
        f"import warnings\n__path__ = {real!r}\n"
        "with warnings.catch_warnings():\n"
        "    warnings.simplefilter('ignore')\n"
        "    from grafana_foundation_sdk.builders import dashboard\n"
        "del dashboard.AnnotationQuery.use_value_for_time\n"
    )


def test_the_manual_names_every_board_and_panel() -> None:
    """docs/dashboards.md lists each board with its question, and each panel's question."""
    manual = (DASHBOARDS.parent / "docs" / "dashboards.md").read_text(encoding="utf-8")
    for text in build().values():
        board = json.loads(text)
        assert board["description"] in manual
        for panel in board["panels"]:
            for one in (panel, *panel.get("panels", [])):
                assert one["title"] in manual, f"{board['title']}: {one['title']}"


def test_the_manuals_configuration_builds(tmp_path: Path) -> None:
    """The example of own metrics in docs/dashboards.md is accepted, and every query built from it is PromQL over those metrics."""
    manual = (DASHBOARDS.parent / "docs" / "dashboards.md").read_text(encoding="utf-8")
    file = tmp_path / "boards.yaml"
    file.write_text(manual.partition("```yaml\n")[2].partition("```")[0])
    built = build(load_board_config(str(file)))
    assert "istio_request_duration_milliseconds_bucket" in built["shipper-compare.json"]
    for text in built.values():
        for panel in json.loads(text)["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == "prometheus":
                    promql.parsed(target["expr"])
