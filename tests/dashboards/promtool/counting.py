"""The tests' own arithmetic: what a rule ought to say, added up from the hosts and not from what Prometheus said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from tests.dashboards.promtool.series import STEP, Fleet

Key = tuple[str, ...]
Taken = Literal["rate", "increase", "max", "extrapolated"]
LOOKBACK = 20  # five minutes in steps


def increase(values: Mapping[int, float | str], at: int, window: int) -> float | None:
    """PromQL's ``increase`` over the ``window`` steps before ``at``, by its description: extrapolated, never below zero.

    Prometheus 2.x counts both ends of a range as inside. None: fewer than two samples.
    """
    there = [(step, v) for step, v in sorted(values.items()) if at - window <= step <= at and not isinstance(v, str)]
    if len(there) < 2:
        return None
    (first, begin), (last, finish) = there[0], there[-1]
    result = float(finish) - float(begin)
    sampled = float(last - first)
    mean = sampled / (len(there) - 1)
    to_start, to_end = float(first - (at - window)), float(at - last)
    if result > 0:
        to_start = min(to_start, sampled * float(begin) / result)
    spanned = (
        sampled + (to_start if to_start < mean * 1.1 else mean / 2) + (to_end if to_end < mean * 1.1 else mean / 2)
    )
    return result * spanned / sampled


def grown(values: Mapping[int, float | str], at: int, window: int) -> float | None:
    """What a counter that begins at 0 grew by in the window: what it has, less what it had when the window began.

    None: it has no sample in the window. What Prometheus sees at the window's begin is at most 5 minutes old.
    """
    there = [(step, v) for step, v in values.items() if at - window <= step <= at and not isinstance(v, str)]
    if not there:
        return None
    before = [step for step in values if at - window - LOOKBACK < step <= at - window]
    had = values[max(before)] if before else 0.0
    return float(max(there)[1]) - (0.0 if isinstance(had, str) else float(had))


def last(values: Mapping[int, float | str], at: int, window: int) -> float | None:
    """The last value in the window; for counters that never fall also the largest."""
    there = [(step, v) for step, v in values.items() if at - window <= step <= at and not isinstance(v, str)]
    return float(max(there)[1]) if there else None


_TAKEN = {"rate": grown, "increase": grown, "max": last, "extrapolated": increase}


def summed(
    fleet: Fleet,
    metric: str,
    at: int,
    window: int,
    taken: Taken,
    *,
    by: tuple[str, ...] = ("env", "service", "generation"),
    where: Callable[[dict[str, str]], bool] = lambda labels: True,
) -> dict[Key, float]:
    """What each series grew by (or reached), summed by labels."""
    totals: dict[Key, float] = {}
    for (name, labels), values in fleet.series().items():
        named = dict(labels)
        if name != metric or not where(named):
            continue
        got = _TAKEN[taken](values, at, window)
        if got is None:
            continue
        key = tuple(named.get(label, "") for label in by)
        totals[key] = totals.get(key, 0.0) + (got / (window * STEP) if taken == "rate" else got)
    return totals


def errors(labels: dict[str, str]) -> bool:
    """Which of the request series count errors."""
    return labels["outcome"] == "error"


def z(new: tuple[float, float], old: tuple[float, float], design_effect: float = 3.0) -> float:
    """The pooled two-proportion statistic for (errors, requests) of each side, its variance inflated."""
    pooled = (new[0] + old[0]) / (new[1] + old[1])
    variance = design_effect * pooled * (1 - pooled) * (1 / new[1] + 1 / old[1])
    return (new[0] / new[1] - old[0] / old[1]) / math.sqrt(variance)
