"""The Prometheus for tests starts, takes what is written, answers, and ends."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus, QueryFailed, labels

pytestmark = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)

RULES = """
groups:
  - name: test
    interval: 1s
    rules: [{record: "one:always:sum", expr: "sum(vector(1))"}]
"""


def test_asking(tmp_path: Path) -> None:
    """Queries are answered by series, rules are evaluated, and what cannot be answered is said."""
    with Prometheus(tmp_path, rules=[RULES]) as server:
        assert server.query('label_replace(vector(2), "a", "b", "", "")') == {labels({"a": "b"}): 2.0}
        assert server.query("3") == {(): 3.0}
        assert math.isnan(server.value("absent(vector(1))"))
        now = float(int(time.time()))
        assert server.query_range("vector(1)", now - 10, now, 5) == {(): [(now - 10, 1.0), (now - 5, 1.0), (now, 1.0)]}
        assert server.get("rules")["groups"][0]["rules"][0]["name"] == "one:always:sum"
        with pytest.raises(QueryFailed, match="parse error"):
            server.query("sum(")
        with pytest.raises(QueryFailed, match="2 series"):
            server.value('vector(1) or label_replace(vector(2), "a", "b", "", "")')
    with pytest.raises(QueryFailed):
        server.query("1")


def test_it_says_why_it_does_not_start(tmp_path: Path) -> None:
    """A configuration that Prometheus does not take fails with what it says about it."""
    with pytest.raises(QueryFailed, match="no_such_section"), Prometheus(tmp_path, config="no_such_section: 1\n"):
        pass
