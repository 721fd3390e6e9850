"""What the recording rules and alerts say of fleets whose hosts come and go, by promtool, against what the tests count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.dashboards.promtool.run import Scenario, needs_promtool
from tests.dashboards.promtool.scenarios import SCENARIOS


@needs_promtool
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_rules_and_alerts_say_what_happened(scenario: Callable[[], Scenario], tmp_path: Path) -> None:
    """Each scenario's own sentence says what happens; every value is counted from its hosts."""
    scenario().run(tmp_path)
