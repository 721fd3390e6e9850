"""docs/tailing.md: every case of both lists is on the page, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [line for line in (ROOT / "docs/tailing.md").read_text().splitlines() if re.match(r"\| (?:T-)?\d", line)]
OF_THE_JOURNAL = {"T-67"}


def test_every_case_is_on_the_page() -> None:
    """No case of the two lists is missing but those that are not about files."""
    named = {case.strip() for row in ROWS for case in row.split("|")[1].split(",")}
    cases = {str(number) for number in range(1, 54)} | {f"T-{number:02d}" for number in range(1, 79)}
    assert named == cases - OF_THE_JOURNAL


def test_every_test_on_the_page_exists() -> None:
    """Each row names at least one test, and a rename of a test changes the page."""
    texts: dict[str, str] = {}
    for row in ROWS:
        tests = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert tests, row
        for path, name in tests:
            text = texts.setdefault(path, (ROOT / "tests" / path).read_text())
            assert re.search(rf"^(?:async )?def {name}\(|^{name} = ", text, re.MULTILINE), f"{path}::{name}"
