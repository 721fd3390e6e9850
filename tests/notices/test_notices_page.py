"""The page that SREs read says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from shipper.notices.budgets import BUDGETS
from shipper.notices.choose import PLATFORMS

PAGE = (Path(__file__).parents[2] / "docs" / "notices.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    part = PAGE.split(f"## {heading}")[1].split("\n## ")[0]
    found = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in found[2:]]


def test_the_page_has_every_budget_with_its_seconds() -> None:
    """No budget is missing, and none is another one than the program's."""
    stated = {row[0].strip("`"): float(row[1]) for row in rows("How long there is, where nobody says")}
    assert stated == dict(BUDGETS)


def test_the_page_has_every_platform() -> None:
    """What can stand in `notices.watch` is in the table, and nothing else."""
    assert {row[0].strip("`") for row in rows("What each platform says")} == set(PLATFORMS)


def test_pages_it_points_to_exist() -> None:
    """Every docs page it names is there."""
    for name in re.findall(r"docs/[a-z-]+\.md", PAGE):
        assert (Path(__file__).parents[2] / name).exists(), name
