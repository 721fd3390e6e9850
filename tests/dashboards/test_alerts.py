"""Alerts: each is tested firing and silent, has a page to turn to, and says in words and numbers what is wrong."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from shipper.dashboards import names
from shipper.dashboards.alerts import alert_groups
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.rulefiles import rule_files
from shipper.dashboards.rules import recording_groups
from tests.dashboards.promtool import deploys, shipping
from tests.dashboards.promtool.run import PROMTOOL, Scenario, needs_promtool
from tests.dashboards.promtool.scenarios import SCENARIOS
from tests.dashboards.promtool.series import Fleet, roll
from tests.dashboards.promtool.series import hosts as equal_hosts

SHIPPED = Path(__file__).parents[2] / "dashboards"
CONFIG = BoardConfig()
ALERTS = [alert for group in alert_groups(CONFIG) for alert in group.alerts]
RULES = [rule for group in recording_groups(CONFIG) for rule in group.rules]


def test_every_rule_and_alert_is_tested_for_what_it_says_and_for_what_it_does_not() -> None:
    """A rule or alert without a scenario that sees it, and one that does not see it, does not pass."""
    seen: dict[str, set[bool]] = defaultdict(set)
    for scenario in SCENARIOS:
        for check in scenario().checks:
            seen[check.of].add(check.positive)
    wanted = {rule.record for rule in RULES} | {alert.name for alert in ALERTS}
    assert {name: seen[name] for name in wanted if seen[name] != {True, False}} == {}


def test_every_recorded_name_is_one_that_the_list_of_names_has() -> None:
    """Boards name recorded metrics by that list; what it has is recorded, and nothing else is."""
    assert {rule.record for rule in RULES} == names.RECORDED


def test_shipped_rule_files_are_what_the_configuration_makes() -> None:
    """Whoever edits a generated file is told to build it anew: python -m shipper.dashboards.generate."""
    for name, text in rule_files(CONFIG).items():
        assert (SHIPPED / "rules" / name).read_text() == text, name


@needs_promtool
@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        CONFIG.scaled(10),
        BoardConfig(grafana="https://grafana.example/x/", runbooks="https://wiki.example/{alert}"),
    ],
    ids=["default", "compressed", "addresses"],
)
def test_rule_files_are_valid_for_prometheus(config: BoardConfig, tmp_path: Path) -> None:
    """promtool, of the oldest version we promise, finds no fault."""
    for name, text in rule_files(config).items():
        (tmp_path / name).write_text(text)
    assert PROMTOOL
    told = subprocess.run(
        [PROMTOOL, "check", "rules", *map(str, tmp_path.iterdir())], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_says_what_it_needs_to() -> None:
    """A severity that people route by, one line for a phone, numbers in the description, a runbook and a dashboard."""
    for alert in ALERTS:
        assert alert.severity in ("page", "ticket", "info")
        assert "$value" in alert.summary + alert.description, f"{alert.name} has no number"
        assert len(re.sub(r"{{.*?}}", "", alert.summary)) < 100, alert.name
        assert alert.description.endswith("."), alert.name
        assert not alert.summary.endswith("."), alert.name
        assert alert.board in names.BOARDS


@needs_promtool
def test_the_page_about_a_bad_generation_has_both_sides_in_numbers(tmp_path: Path) -> None:
    """Who is woken reads the release, both error ratios with what they are made of, and how sure that is."""
    (said,) = deploys.bad_roll().said(tmp_path, ("ShipperNewGenerationErrors", 56))["ShipperNewGenerationErrors"]
    assert 'summary="generation 8 of shop in prod (release r2) fails more than the one it replaces"' in said
    assert re.search(r"4% of its requests \(\d+(\.\d+)? of [\d.]+k\) failed; .* serve beside it, 0\.5% \(", said), said
    assert re.search(r"That is [\d.]+ standard deviations apart", said)
    assert "/d/shipper-triage?var-env=prod&var-service=shop&var-generation=8&" in said
    assert 'severity="page"' in said


@needs_promtool
def test_labels_of_any_kind_neither_break_the_words_nor_the_links(tmp_path: Path) -> None:
    """A generation with quotes, slashes and 300 characters is told as it is, and escaped where it becomes an address."""
    odd = 'a"b\\c/d?e&f=' + "x" * 288
    fleet = Fleet(roll(equal_hosts("7", 4, serves=200, fails=1), odd, start=44, fails=8, release='r"2'), 60)
    (said,) = Scenario(fleet).said(tmp_path, ("ShipperNewGenerationErrors", 56))["ShipperNewGenerationErrors"]
    assert "error expanding" not in said
    assert "4% of its requests" in said
    assert "var-generation=a%22b%5Cc%2Fd%3Fe%26f%3Dxxx" in said


@needs_promtool
def test_hosts_that_ended_in_silence_are_told_in_numbers(tmp_path: Path) -> None:
    """How many of how many, without a word about whose fault it was."""
    (said,) = shipping.silence().said(tmp_path, ("ShipperHostsEndedSilently", 50))["ShipperHostsEndedSilently"]
    assert "4 hosts of generation 7 of shop in prod ended without a farewell" in said
    assert "Of 40 hosts heard of in the last 10m, 4 fell silent" in said


@needs_promtool
def test_a_bad_release_is_named_within_three_minutes_of_its_first_host(tmp_path: Path) -> None:
    """At steps of 15 seconds, also where errors are ten times as rare as in the demo and only one host has it."""
    old = equal_hosts("7", 10, serves=200, fails=1)
    fleet = Fleet([*old, *equal_hosts("8", 1, born=44, serves=200, fails=8)], 60)
    scenario = Scenario(fleet)
    assert scenario.said(tmp_path, ("ShipperNewGenerationErrors", 44 + 12))["ShipperNewGenerationErrors"]
    healthy = replace(fleet.hosts[-1], fails=1)
    silent = Scenario(Fleet([*old, healthy], 60)).said(tmp_path, ("ShipperNewGenerationErrors", 59))
    assert silent == {"ShipperNewGenerationErrors": []}
