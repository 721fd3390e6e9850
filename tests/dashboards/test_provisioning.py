"""What is made beside the boards, held to its makers and readers: provisioning files, Grafana-managed alerts, manifests, Terraform."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from shipper.dashboards import provisioning, shipped
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.generate import generate
from shipper.dashboards.grafana_alerts import alerting_files
from shipper.dashboards.kubernetes import MOST_BYTES
from shipper.fleet.deploys.model import DeployEvent
from shipper.fleet.deploys.wire import sentence

ROOT = Path(__file__).parents[2] / "dashboards"
CONFIG = BoardConfig()


def interpolated(value: Any) -> Any:
    """A value of a provisioning file as Grafana reads it: ``$$`` is a dollar, ``$x`` and ``${x}`` are environment variables."""
    if isinstance(value, dict):
        return {name: interpolated(one) for name, one in value.items()}
    if isinstance(value, list):
        return [interpolated(one) for one in value]
    if isinstance(value, str):
        return "$".join(re.sub(r"\$(\w+|\{[^}]*\})", "", part) for part in value.split("$$"))
    return value


@pytest.fixture(scope="module")
def sources() -> dict[str, dict[str, Any]]:
    """The provisioned data sources by uid, as Grafana understands the file."""
    read = interpolated(yaml.safe_load((ROOT / provisioning.DATASOURCES).read_text()))
    assert read["apiVersion"] == 1
    return {source["uid"]: source for source in read["datasources"]}


@cache
def made() -> dict[str, str]:
    """Everything, made once."""
    return generate(CONFIG)


def test_the_committed_files_are_what_their_makers_make() -> None:
    """``python -m shipper.dashboards.generate`` was run after the last change."""
    changed = [path for path, text in made().items() if (ROOT / path).read_text(encoding="utf-8") != text]
    assert changed == []


def test_nothing_is_shipped_that_nobody_makes_any_more() -> None:
    """A board, rule or manifest that was renamed leaves no file behind."""
    kept = {
        path
        for path in shipped.files()
        if path.startswith(("rules/", "provisioning/", "kubernetes/")) or "/" not in path
    }
    assert kept == set(made())


def test_each_data_source_leads_to_the_next(sources: dict[str, dict[str, Any]]) -> None:
    """Exemplar to trace, trace to lines and to its generation's errors, line to trace; every uid that is named exists."""
    named = re.findall(r'"(?:datasourceUid|targetUID)": "([^"]*)"', json.dumps(list(sources.values())))
    assert len(named) == 5
    assert set(named) <= set(sources)
    prometheus = sources["prometheus"]["jsonData"]
    assert prometheus["exemplarTraceIdDestinations"][0]["name"] == "trace_id"
    assert prometheus["timeInterval"] == "15s"
    assert sources["loki"]["jsonData"]["derivedFields"][0]["url"] == "${__value.raw}"
    assert sources["tempo"]["jsonData"]["tracesToMetrics"]["queries"][0]["query"].endswith("{$__tags}")
    assert sources["tempo"]["jsonData"]["tracesToLogsV2"]["tags"] == [{"key": "service.name", "value": "service_name"}]


def test_no_dollar_is_left_to_the_environment() -> None:
    """Interpolating the files loses nothing: every dollar in them is doubled."""
    for path in (provisioning.DATASOURCES, provisioning.ELASTICSEARCH, provisioning.PROVIDER):
        values = "\n".join(line for line in (ROOT / path).read_text().splitlines() if not line.lstrip().startswith("#"))
        assert "$" not in values.replace("$$", ""), path


def test_links_of_log_lines_set_variables_that_their_boards_have(sources: dict[str, dict[str, Any]]) -> None:
    """A click on a line's generation or host opens a board that knows what to do with it."""
    boards = {board["uid"]: board for board in shipped.boards(shipped.files()).values()}
    links = [field["url"] for field in sources["loki"]["jsonData"]["derivedFields"] if field["url"].startswith("/d/")]
    assert links
    for link in links:
        board, variable = re.fullmatch(r"/d/([\w-]+)\?var-(\w+)=\$\{__value\.raw:percentencode\}", link).groups()  # type: ignore[union-attr]
        assert variable in {one["name"] for one in boards[board]["templating"]["list"]}


@pytest.mark.parametrize("action", ["started", "finished", "failed", "rollback", "withdrawn"])
def test_the_correlation_finds_service_and_generation_in_what_a_deploy_event_says(
    sources: dict[str, dict[str, Any]], action: Any
) -> None:
    """The pattern of the provisioned correlation reads the sentence that the deploy log event really has."""
    (correlation,) = sources["loki"]["correlations"]
    pattern = correlation["config"]["transformations"][0]["expression"].strip("/").replace("(?<", "(?P<")
    event = DeployEvent(
        id="1", service="checkout", env="prod", generation="42-b/x", release="1.4.2", action=action, at_ns=1, actor="ci"
    )
    found = re.match(pattern, sentence(event))
    assert found is not None, sentence(event)
    assert found.groupdict() == {"service": "checkout", "generation": "42-b/x"}
    assert correlation["config"]["target"]["expr"].endswith('{service="${service}",generation="${generation}"}')


def test_own_label_names_are_in_the_data_sources_too() -> None:
    """A span leads to the metrics of its generation whatever the label is called."""
    config = BoardConfig(labels=type(CONFIG.labels)(generation="deployment"))
    tempo = yaml.safe_load(provisioning.provisioning(config)[provisioning.DATASOURCES])["datasources"][2]
    assert {"key": "shipper.generation", "value": "deployment"} in tempo["jsonData"]["tracesToMetrics"]["tags"]


def test_the_elasticsearch_variant_is_no_file_that_grafana_reads_unasked() -> None:
    """It ends so that only who renames it gets it, and is valid when renamed."""
    assert not provisioning.ELASTICSEARCH.endswith((".yaml", ".yml"))
    (source,) = interpolated(yaml.safe_load((ROOT / provisioning.ELASTICSEARCH).read_text()))["datasources"]
    assert source["type"] == "elasticsearch"
    assert source["jsonData"]["dataLinks"][0] == {
        "field": "trace_id",
        "datasourceUid": "tempo",
        "url": "${__value.raw}",
        "urlDisplayLabel": "Show the trace",
    }


def test_the_dashboards_provider_puts_the_boards_into_the_folder_that_install_uses() -> None:
    """The same folder by the same uid, so that who changes the way of installing gets no second one."""
    (provider,) = yaml.safe_load((ROOT / provisioning.PROVIDER).read_text())["providers"]
    assert (provider["folder"], provider["folderUid"]) == ("Shipper", "shipper")
    assert provider["options"]["path"] == provisioning.BOARDS_PATH
    assert provider["allowUiUpdates"] is False


# --- Grafana-managed alerts ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def groups() -> list[dict[str, Any]]:
    """The groups of the alerting provisioning file."""
    read = yaml.safe_load((ROOT / shipped.ALERTING).read_text())  # as Grafana reads it, JSON or not
    groups: list[dict[str, Any]] = read["groups"]
    return groups


def rules_of(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for group in groups for rule in group["rules"]]


def test_grafana_asks_just_what_prometheus_is_asked(groups: list[dict[str, Any]]) -> None:
    """Every alert of the rule file is there, with its query, waiting time, severity and group."""
    prometheus = yaml.safe_load((ROOT / "rules/shipper-alerts.yml").read_text())["groups"]
    assert [group["name"] for group in groups] == [group["name"] for group in prometheus]
    for theirs, ours in zip(rules_of(groups), rules_of(prometheus), strict=True):
        assert theirs["title"].partition("-")[0] == ours["alert"]
        assert theirs["data"][0]["model"]["expr"] == ours["expr"]
        assert theirs["for"] == ours.get("for", "0s")
        assert theirs.get("keepFiringFor") == ours.get("keep_firing_for")
        assert theirs["labels"] == ours["labels"]
        assert set(theirs["annotations"]) == set(ours["annotations"])


def test_grafana_takes_the_groups(groups: list[dict[str, Any]]) -> None:
    """Unique titles and uids of at most 40 characters, intervals its scheduler has, a condition that exists, no data is fine."""
    rules = rules_of(groups)
    assert len({rule["uid"] for rule in rules}) == len({rule["title"] for rule in rules}) == len(rules)
    assert all(re.fullmatch(r"[\w-]{1,40}", rule["uid"]) for rule in rules)
    assert all(int(group["interval"].removesuffix("s")) % 10 == 0 for group in groups)
    for rule in rules:
        query, math, threshold = rule["data"]
        assert rule["condition"] == threshold["refId"] == "C"
        assert query["model"]["instant"] is True
        assert math["model"]["expression"].count("$A") == 3
        assert threshold["model"]["expression"] == math["refId"]
        assert (rule["noDataState"], rule["execErrState"]) == ("OK", "Error")


def test_words_of_alerts_are_templates_that_grafana_answers(groups: list[dict[str, Any]]) -> None:
    """Labels and values by Grafana's names, nothing for its environment to fill in, and no query that it never answers."""
    for rule in rules_of(groups):
        for text in [*rule["annotations"].values(), *rule["labels"].values()]:
            assert "$" not in text
            assert "| query" not in text
            assert ".Value " not in text.replace(".Values.A.Value ", "")
            assert text.strip(), rule["title"]
            opened = re.findall(r"\{\{ (if|with|range)\b", text)
            assert len(opened) == text.count("{{ end }}")


def test_sentences_without_an_answer_are_left_out_and_the_others_kept() -> None:
    """Whatever needs no further query is said; for the rest there is the dashboard."""
    rules = json.loads(alerting_files(CONFIG)[shipped.ALERTING])["groups"][0]["rules"]
    said = next(rule["annotations"]["description"] for rule in rules if rule["title"] == "ShipperNewGenerationErrors")
    assert said.startswith("That is {{ .Values.A.Value | humanize }} standard deviations apart")
    assert said.endswith("The numbers are on the dashboard.")
    whole = next(rule["annotations"]["description"] for rule in rules if rule["title"] == "ShipperImageDrift")
    assert "dashboard" not in whole


# --- Kubernetes and Terraform ----------------------------------------------------------------------------------------


def test_each_board_is_a_config_map_that_the_sidecar_of_grafanas_chart_finds() -> None:
    """Labelled, in the folder, small enough, and the very JSON of the board."""
    boards = shipped.boards(shipped.files())
    maps = [yaml.safe_load(path.read_text()) for path in ROOT.glob("kubernetes/*-dashboard.yaml")]
    held = {name: json.loads(text) for one in maps for name, text in one["data"].items()}
    assert held == boards
    for one in maps:
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"]["grafana_folder"] == "Shipper"
        assert len(json.dumps(one).encode()) < MOST_BYTES
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", one["metadata"]["name"])


def test_each_rule_file_is_a_prometheus_rule() -> None:
    """Group by group, what Prometheus would load."""
    manifests = {path.name: yaml.safe_load(path.read_text()) for path in ROOT.glob("kubernetes/*-rules.yaml")}
    files = {path.stem: yaml.safe_load(path.read_text()) for path in ROOT.glob("rules/*.yml")}
    assert {name.removesuffix("-rules.yaml"): one["spec"] for name, one in manifests.items()} == files
    assert {one["kind"] for one in manifests.values()} == {"PrometheusRule"}
    assert len({one["metadata"]["name"] for one in manifests.values()}) == len(files)


def test_the_terraform_module_makes_a_folder_and_a_dashboard_of_every_board() -> None:
    """It parses, and reads the files beside it unless told of others."""
    text = (ROOT / "terraform/main.tf").read_text()
    parsed = hcl2.loads(text)
    resources = {kind.strip('"') for one in parsed["resource"] for kind in one}
    assert resources == {"grafana_folder", "grafana_dashboard"}
    assert '"${path.module}/.."' in text
    assert 'fileset(local.directory, "*.json")' in text


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_the_terraform_module_is_written_as_terraform_writes_it() -> None:
    """Terraform's own formatter, which parses what it formats, has nothing to change."""
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(ROOT / "terraform")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
