"""A real Prometheus takes every query in the way Grafana sends it: graphs over a range, tables and numbers at its end."""

from pathlib import Path

import pytest

from shipper.testing.prometheus import MISSING, Prometheus, QueryFailed, available
from tests.dashboards.lint import promql, story
from tests.dashboards.lint.committed import boards

pytestmark = pytest.mark.skipif(not available(), reason=MISSING)
START, END, STEP = 1_700_000_000.0, 1_700_007_200.0, 30.0


def test_prometheus_takes_every_query_as_grafana_sends_it(tmp_path: Path) -> None:
    """No graph is refused over a range and no table at its end, whatever there is to find."""
    refused = []
    with Prometheus(tmp_path) as prometheus:
        for board in boards().values():
            for query in board.queries:
                if query.source != "prometheus":
                    continue
                text = promql.filled(query.text, story.VALUES)
                try:
                    if query.instant:
                        prometheus.query(text, END)
                    else:
                        prometheus.query_range(text, START, END, STEP)
                except QueryFailed as error:
                    refused.append(str(error))
    assert refused == []
