"""All scenarios."""

from __future__ import annotations

from tests.dashboards.promtool import budget, deploys, first, rollouts, shipping, verdicts

SCENARIOS = (
    *deploys.SCENARIOS,
    *rollouts.SCENARIOS,
    *first.SCENARIOS,
    *shipping.SCENARIOS,
    *budget.SCENARIOS,
    *verdicts.SCENARIOS,
)
