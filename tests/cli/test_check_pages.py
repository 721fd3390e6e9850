"""The examples on our pages are for copying: each file that they show is right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from shipper.cli import main
from shipper.config.schema import Config
from shipper.dashboards.config import load_board_config
from shipper.errors import ConfigError

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = {field.encode_name for field in msgspec.structs.fields(Config)}
ENVIRONMENT = {"DD_API_KEY": "0" * 32}  # what a page says to come from there


def shown() -> Iterator[Any]:
    """Every example that by its sections is one of our files, under the page and the line where it stands."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text()
        for block in BLOCK.finditer(text):
            example = yaml.safe_load(block[1])
            if isinstance(example, dict) and SECTIONS.issuperset(example):
                line = text.count("\n", 0, block.start()) + 2
                yield pytest.param(block[1], id=f"{page.relative_to(ROOT)}:{line}")


def is_of_boards(path: Path) -> bool:
    """Whether it is a file for `shipper dashboards`, some of whose sections have the same names."""
    try:
        load_board_config(str(path))
    except ConfigError:
        return False
    return True


def elsewhere(text: str) -> dict[str, str]:
    """Variables for the destinations that an excerpt leaves to the reader: those its routes name, or one at all."""
    example = yaml.safe_load(text)
    routes = example.get("routes", [])
    there = example.get("destinations", {})
    named = {name for route in routes for name in ([route["to"]] if isinstance(route["to"], str) else route["to"])}
    names = (named - there.keys()) or (set() if there else {"primary"})
    return {f"SHIPPER_DESTINATIONS_{name.upper()}_ENDPOINT": "http://127.0.0.1:1" for name in names}


@pytest.mark.parametrize("text", list(shown()))
def test_an_example_is_right(tmp_path: Path, text: str) -> None:
    """`shipper check` finds nothing wrong with it."""
    path = tmp_path / "shipper.yaml"
    path.write_text(text)
    if is_of_boards(path):
        return
    result = CliRunner(env={**ENVIRONMENT, **elsewhere(text)}).invoke(main, ["check", str(path)])
    assert result.exit_code == 0, result.output
