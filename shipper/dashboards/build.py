"""Builds all boards from one configuration: ``python -m shipper.dashboards.build`` writes the committed dashboards/*.json anew.

The same configuration gives the same bytes, so that a test can hold the committed files to this code.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shipper.dashboards.config import BoardConfig

if TYPE_CHECKING:
    from shipper.dashboards.kit import Board

# Modules of shipper.dashboards.boards with a function ``board(config)``; in the order readers meet them.
BOARDS = ("triage", "generations", "compare", "hosts", "rollout", "slo", "shipping")


def boards(config: BoardConfig) -> "list[Board]":
    """The boards before they are written.

    Raises:
        MissingExtra: the optional part ``dashboards`` is not installed.
    """
    made = []
    for name in BOARDS:
        module = importlib.import_module(f"shipper.dashboards.boards.{name}")
        made.append(module.board(config))
    return made


def build(config: BoardConfig | None = None) -> dict[str, str]:
    """Every board's file name and JSON text.

    Raises:
        MissingExtra: the optional part ``dashboards`` is not installed.
    """
    return {f"{board.uid}.json": board.to_json() for board in boards(config or BoardConfig())}


def write(directory: Path, config: BoardConfig | None = None) -> list[str]:
    """Writes the boards into ``directory``; returns the names of the files whose content changed."""
    changed = []
    for name, text in build(config).items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "dashboards"
    for written in write(where):
        print(where / written)
