"""What the recording rules and alerts say of fleets whose hosts come and go, by promtool, against what the tests count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.dashboards import names
from tests.dashboards.promtool.counting import errors, summed
from tests.dashboards.promtool.first import everybody_dies, truth
from tests.dashboards.promtool.run import Scenario, needs_promtool, recorded
from tests.dashboards.promtool.scenarios import SCENARIOS


@needs_promtool
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_rules_and_alerts_say_what_happened(scenario: Callable[[], Scenario], tmp_path: Path) -> None:
    """Each scenario's own sentence says what happens; every value is counted from its hosts."""
    scenario().run(tmp_path)


@needs_promtool
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_error_ratio_is_the_truth_although_every_host_dies(seed: int, tmp_path: Path) -> None:
    """It is the truth itself: counted, not extrapolated, in whatever window saw all of them."""
    scenario = everybody_dies(seed)
    window, at = 40, 42  # the ten minutes in which most of them lived
    scenario.fleet.hosts = [host for host in scenario.fleet.hosts if (host.ends or 0) < at and host.born > at - window]
    requests, failed = truth(scenario.fleet)
    assert requests
    many = summed(scenario.fleet, "shipper_requests_total", at, window, "increase")
    bad = summed(scenario.fleet, "shipper_requests_total", at, window, "increase", where=errors)
    for key, count in requests.items():
        assert bad[key] / many[key] == pytest.approx(failed[key] / count, rel=1e-9)
    scenario.checks = [recorded(names.REQUESTS_INCREASE, at, many), recorded(names.ERRORS_INCREASE, at, bad)]
    scenario.run(tmp_path)
