"""docs/metrics.md names every metric that a host ships, with its type and labels, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from shipper.measure.catalogue import CATALOGUE, EXPOSURE_EDGES, FAREWELLS, NOTICE_KINDS, OUTCOMES, STATES, Own

PAGE = Path(__file__).parents[2] / "docs/metrics.md"


def row(own: Own) -> str:
    labels = ", ".join(f"`{label}`" for label in own.labels)
    meaning = f"{own.meaning[:-1]}; {own.when}." if own.when else own.meaning
    return f"| `{own.in_prometheus}` | {own.kind.value} | {labels} | {meaning} |"


def test_the_page_has_a_row_for_each_metric_and_no_other() -> None:
    """Whoever adds a metric describes it: these are the rows the page must have."""
    page = PAGE.read_text().splitlines()
    rows = [line for line in page if re.match(r"\| `(shipper|process)_", line)]
    assert rows == [row(own) for own in CATALOGUE]


def test_the_page_names_the_values_of_labels_and_the_edges() -> None:
    """Outcomes, kinds, states and buckets are those of the code."""
    page = PAGE.read_text()
    for word in (*NOTICE_KINDS, *FAREWELLS, *set(OUTCOMES.values())):
        assert f"`{word}`" in page
    assert ", ".join(f"{edge:g}" for edge in EXPOSURE_EDGES[:-1]) + f" and {EXPOSURE_EDGES[-1]:g} s" in page
    assert "; ".join(f"{number} {state}" for state, number in STATES.items()).replace(";", ",") in page


def test_names_in_prometheus_are_what_the_rules_of_opentelemetry_make_of_them() -> None:
    """Units and `_total` are appended once, and no two metrics get one name."""
    names = [own.in_prometheus for own in CATALOGUE]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"(shipper|process)_[a-z_]+", name)
        assert not re.search(r"(total|bytes|seconds)_(total_)?\1", name)
    assert {"shipper_host_info", "shipper_acknowledged_bytes_total", "process_cpu_seconds_total"} <= set(names)
