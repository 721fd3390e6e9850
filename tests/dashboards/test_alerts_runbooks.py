"""Runbooks: every alert has a page, and whatever a page sends its reader to is there."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from shipper.cli import VERBS
from shipper.config.schema import Config
from shipper.dashboards.alerts import alert_annotations, alert_groups
from shipper.dashboards.config import BoardConfig

SHIPPED = Path(__file__).parents[2] / "dashboards"
PAGES = sorted((SHIPPED / "runbooks").glob("*.md"))
CONFIG = BoardConfig()
ALERTS = {alert.name: alert for group in alert_groups(CONFIG) for alert in group.alerts}
PARTS = ["Is it the deploy?", "Look at", "Do", "Make it quiet, honestly"]


@cache
def titles(board: Path) -> frozenset[str]:
    found = json.loads(board.read_text())["panels"]
    return frozenset(panel["title"] for top in found for panel in [top, *top.get("panels", [])])


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    """The page is named as the alert, and the alert's link leads to it from where the rules are shipped."""
    assert {page.stem for page in PAGES} == set(ALERTS)
    for name, alert in ALERTS.items():
        assert (SHIPPED / alert_annotations(CONFIG, alert)["runbook_url"]).is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_answers_the_same_questions_in_the_same_order(page: Path) -> None:
    """What it means, whether it is the deploy, where to look, what to do in order, how to make it quiet."""
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n\n")
    assert re.findall(r"^## (.*)$", text, re.M) == PARTS
    assert re.search(r"^1\. ", text.split("## Do\n")[1], re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_to_a_page_or_to_a_panel_that_is_there(page: Path) -> None:
    """A panel is named by its board and title, so whoever renames one mends the runbooks."""
    for text, target in re.findall(r"\[([^]]+)\]\(([^)]+)\)", page.read_text()):
        there = page.parent / target
        assert there.is_file(), target
        if there.suffix == ".json":
            panel = text.partition(": ")[2]
            assert panel in titles(there), f"{page.stem}: no panel '{panel}' on {there.name}"
        else:
            assert there.stem == text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_and_commands_that_a_page_names_exist(page: Path) -> None:
    """A threshold to raise is one that can be raised; a command to type is one that runs."""
    sections = "thresholds|windows|objective|requests|burn"
    for setting in re.findall(rf"`((?:{sections})\.\w+)`", page.read_text()):
        section, name = setting.split(".")
        assert hasattr(getattr(CONFIG, section), name) or hasattr(getattr(Config(), section, None), name), setting
    for verb in re.findall(r"`shipper (\w+)", page.read_text()):
        assert verb in VERBS, verb
