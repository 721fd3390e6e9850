"""All scenarios."""

from __future__ import annotations

from tests.dashboards.promtool import budget, deploys, first, shipping

SCENARIOS = (*deploys.SCENARIOS, *first.SCENARIOS, *shipping.SCENARIOS, *budget.SCENARIOS)
