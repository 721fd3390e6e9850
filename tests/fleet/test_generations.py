"""Generations as an archive tells them, and the page that describes how deploys are known."""

from __future__ import annotations

import io
from pathlib import Path

from shipper.fleet.audit import audit
from shipper.fleet.deploys.environment import SYSTEMS
from shipper.fleet.deploys.series import _UNITS
from shipper.fleet.generations import generations
from shipper.fleet.table import console, show
from shipper.testing.clock import START_WALL_NS
from tests.fleet.archives import NOW, SECOND, Writer, statement

PAGE = Path(__file__).parents[2] / "docs" / "deploys.md"


def test_a_generation_that_came_back_is_listed_twice(tmp_path: Path) -> None:
    """Hosts of g1, of g2, and of g1 again are three generations, also in the audit's table, which says what is inferred."""
    writer = Writer(tmp_path)
    for number, generation in enumerate(("g1", "g2", "g1")):
        born = START_WALL_NS + 100 * number * SECOND
        labels = {"host": f"h{number}", "release": f"r-{generation}", "generation": generation, "service": "api"}
        more = {"labels": labels, "born_ns": born}
        writer.put(statement(f"h{number}", "birth", 1, at_ns=born, **more))
        writer.put(statement(f"h{number}", "farewell", 2, at_ns=born + 90 * SECOND, ends_life=True, **more))
    report = audit(str(tmp_path), now_ns=NOW)
    rows = generations(report)
    assert [(row.generation, row.episode, row.rollback, row.hosts) for row in rows] == [
        ("g1", 1, False, {"h0"}),
        ("g2", 1, False, {"h1"}),
        ("g1", 2, True, {"h2"}),
    ]
    out = io.StringIO()
    show(report, console(out))
    assert out.getvalue().count("the 2. time, rollback") == 1


def test_the_page_names_every_system_and_every_series() -> None:
    """Who looks for a pipeline's system or a series finds it in docs/deploys.md."""
    page = PAGE.read_text()
    assert [system.name for system in SYSTEMS if system.name not in page] == []
    for name, unit in _UNITS.items():
        assert name.replace(".", "_") + ("_seconds" if unit == "s" else "") in page
