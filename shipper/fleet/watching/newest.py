"""Whom to look at: the newest generation of each service and environment, by one question.

Where the rules run they say it. Where they do not, it is the generation of the hosts that are there which began last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shipper.fleet.verdict.client import Found
from shipper.fleet.verdict.queries import Series, quoted

_BY = "env, service, generation"


@dataclass(frozen=True, slots=True, order=True)
class Newest:
    """One service in one environment (empty: it says none), and its newest generation."""

    service: str
    env: str
    generation: str

    @property
    def where(self) -> str:
        """The service for people."""
        return f"{self.service} in {self.env}" if self.env else self.service


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which services and environments are watched; none given: all of them."""

    services: Sequence[str] = ()
    envs: Sequence[str] = ()

    @property
    def matchers(self) -> str:
        """In a selector."""
        asked = (("service", self.services), ("env", self.envs))
        some = (f"{label}=~{quoted('|'.join(map(re.escape, values)))}" for label, values in asked if values)
        return ",".join((*some, 'generation!=""', 'service!=""'))


def about_newest(series: Series, wanted: Wanted) -> str:
    """One series for each service and environment, with its newest generation; its value: how many serve, 0 for not known."""
    serving = f"count by (env, service) ({series.hosts}{{{wanted.matchers}}})"
    newest = f"{series.newest}{{{wanted.matchers}}}"
    there = f"min by ({_BY}) ({series.generation_started}{{{wanted.matchers}}})"
    parts = (
        f"{newest} * on (env, service) group_left () {serving}",
        f"0 * {newest}",
        f"0 * topk by (env, service) (1, {there})",
    )
    return "\nor on (env, service)\n".join(parts)


def read_newest(found: Iterable[Found]) -> dict[Newest, int]:
    """The answer, in a fixed order; of two newest generations of one service the one of the larger name."""
    by_service: dict[tuple[str, str], tuple[Newest, int]] = {}
    for one in found:
        named = one.labels
        newest = Newest(named.get("service", ""), named.get("env", ""), named.get("generation", ""))
        value = one.points[-1][1] if one.points else math.nan
        if newest.service and newest.generation and math.isfinite(value):
            key = newest.service, newest.env
            by_service[key] = max((newest, round(value)), by_service.get(key, (newest, 0)))
    return dict(sorted(by_service.values()))
