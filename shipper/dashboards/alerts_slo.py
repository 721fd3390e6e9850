"""Alerts on the error budget by several windows: the net for what no comparison of generations can see.

A first deploy has no predecessor and a slow leak no beginning; the budget is spent all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.expressions import Expressions
from shipper.dashboards.ruleset import Alert
from shipper.dashboards.words import SHARE, Words


def burning(config: BoardConfig) -> Iterator[Alert]:
    """One alert a line of the table, for errors and for latency."""
    yield from _burning(config, "ShipperErrorBudgetBurn", names.BURN_ERRORS, config.objective.availability, "failed")
    if config.requests.durations:
        late = f"took longer than {duration(config.requests.objective)}"
        yield from _burning(config, "ShipperLatencyBudgetBurn", names.BURN_SLOW, config.objective.latency, late)


def _burning(config: BoardConfig, name: str, recorded: str, promised: float, what: str) -> Iterator[Alert]:
    e, words = Expressions(config), Words(config)
    for window in config.burn:
        limit = f"{window.factor * (1 - promised):.12g}"
        long, short = duration(window.long), duration(window.short)
        left = duration(config.objective.period / window.factor)
        yield Alert(
            name,
            f'{recorded}{{window="{long}"}} > {limit}\nand on ({e.service}) {recorded}{{window="{short}"}} > {limit}',
            window.severity,
            f"{words.service} spends its error budget {window.factor:g} times too fast",
            f"{SHARE} of the requests of the last {long} {what}, and it goes on. Promised are {promised:.6g}; at this pace the "
            f"budget of {duration(config.objective.period)} is spent in {left}.",
            names.BOARD_SLO if window.severity == "ticket" else names.BOARD_TRIAGE,
            wait=config.wait(60),
            labels={"window": long},
            variables=("env", "service"),
        )
