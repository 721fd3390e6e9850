"""All scenarios."""

from __future__ import annotations

from tests.dashboards.promtool import deploys

SCENARIOS = (*deploys.SCENARIOS,)
