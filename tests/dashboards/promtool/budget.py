"""The error budget, spent fast and slowly."""

from __future__ import annotations

import math

from msgspec.structs import replace

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from tests.dashboards.promtool.counting import summed
from tests.dashboards.promtool.run import BY_SERVICE, Scenario, fires, recorded
from tests.dashboards.promtool.series import STEP, Fleet, hosts

SHOP = ("prod", "shop")
WINDOW = (*BY_SERVICE, "window")
RATE = 20


def burning() -> Scenario:
    """Four of a hundred requests fail and a third is late, for a while: each line of the table is told while it lasts."""
    config = BoardConfig()
    shorter = [replace(window, long=window.long / 6, short=window.short / 5) for window in config.burn]
    config = replace(config, burn=shorter)
    good = hosts("7", 2, ends=40, serves=100)
    bad = hosts("8", 2, born=40, ends=90, serves=100, fails=4, late=33)
    again = hosts("9", 2, born=90, serves=100)
    fleet = Fleet([*good, *bad, *again], 160)
    at = 80
    checks = []
    lines = [(*SHOP, duration(window.long)) for window in shorter]
    for alert in ("ShipperErrorBudgetBurn", "ShipperLatencyBudgetBurn"):
        checks += [
            fires(alert, 40, by=WINDOW),
            fires(alert, at, *lines, by=WINDOW),
            fires(alert, 159, *lines[2:], by=WINDOW),  # the fast ones are over, what was spent slowly still counts
        ]
    for name, metric in ((names.BURN_ERRORS, "error"), (names.BURN_SLOW, "slow")):
        for window in shorter[:2]:
            steps = round(window.long / STEP)
            value = _share(fleet, metric, at, steps)
            checks.append(recorded(name, at, {SHOP: value}, by=BY_SERVICE, where=f'window="{duration(window.long)}"'))
        checks.append(recorded(name, 30, {SHOP: 0}, by=BY_SERVICE, where=f'window="{duration(shorter[0].long)}"'))
    return Scenario(fleet, checks, config)


def _share(fleet: Fleet, metric: str, at: int, steps: int) -> float:
    """The sum of what each evaluation in the window saw, errors to requests."""
    bad, all_of_them = [], []
    for step in range(max(0, at - steps), at + 1):
        requests = summed(fleet, "shipper_requests_total", step, RATE, "rate")
        if metric == "error":
            failed = summed(
                fleet, "shipper_requests_total", step, RATE, "rate", where=lambda e: e["outcome"] == "error"
            )
        else:
            name = "shipper_request_duration_seconds"
            counted = summed(fleet, f"{name}_count", step, RATE, "rate")
            within = summed(fleet, f"{name}_bucket", step, RATE, "rate", where=lambda e: e["le"] == "0.5")
            failed = {key: value - within[key] for key, value in counted.items()}
        bad.append(math.fsum(failed.values()))
        all_of_them.append(math.fsum(requests.values()))
    return math.fsum(bad) / math.fsum(all_of_them)


SCENARIOS = (burning,)
