"""Same minutes: Cochran-Mantel-Haenszel over minutes (and routes), by a bound that holds however often one looks.

A burst hits both generations in the same minute, so within a minute it cancels; that is the whole reason for this design.
Within each stratum the new errors are hypergeometric given all errors, if nothing differs: U is their sum over what is
expected, V its variance. For a sum of such steps the mixture of likelihood ratios over a half-normal prior of variance 1/rho
is, by Ville's inequality, above 1/alpha at any time at all with probability alpha (Robbins 1970; Howard et al. 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences", 3.2); bench shows what remains of that with real counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from shipper.fleet.verdict.model import Count

ALPHA = 0.01
"""How often a healthy candidate may be called worse, over all looks at it together."""
RHO = 5.0
"""The prior's precision: where, in units of V, the bound is tightest."""
MIN_REQUESTS = 50
MIN_ERRORS = 5
MIN_FACTOR = 1.5
"""A candidate is not called worse with fewer requests, fewer errors, or by a smaller factor."""
_INTERVAL_ALPHA = 0.05
_POWER = 0.84  # standard deviations: four times in five
_LARGEST = 1000.0
_LARGEST_FACTOR = 9900.0
_WIDEST = math.log(10_000.0)
_HALVINGS = 22


class Stratum(NamedTuple):
    """The same minute of the same route on both sides."""

    new: Count
    old: Count


@dataclass(frozen=True, slots=True)
class Score:
    """What strata add up to. ``weighted_*``: errors, each minute's at the other side's traffic, as Mantel and Haenszel have it.

    ``failing``: of strata with errors, all errors and both sides' requests. ``shape``: of the traffic alone.
    """

    u: float
    v: float
    new: Count
    old: Count
    weighted_new: float
    weighted_old: float
    failing: tuple[tuple[int, int, int], ...]
    shape: Shape

    @property
    def passes(self) -> bool:
        """Whether a difference is large enough to act on, in requests, errors and factor."""
        return _gated(self.new, self.weighted_new, self.weighted_old)

    @property
    def better(self) -> bool:
        """The same for a difference the other way."""
        return self.new.total >= MIN_REQUESTS and _gated(self.old, self.weighted_old, self.weighted_new)


class Shape(NamedTuple):
    """How the traffic of both sides was spread: requests, and sums over the strata of n1 n0/n, n1 n0 n0/n2, n1 n1 n0/n2."""

    requests: float
    weight: float
    from_old: float
    from_new: float

    def times(self, more: float) -> Shape:
        """The same spread with ``more`` times the traffic."""
        return Shape(*(value * more for value in self))


def score(strata: Iterable[Stratum]) -> Score:
    """Add up; strata that only one side served say nothing and are not in the counts either."""
    u = v = top = bottom = weight = from_old = from_new = 0.0
    new_total = new_bad = old_total = old_bad = 0
    failing: list[tuple[int, int, int]] = []
    for (n1, e1), (n0, e0) in strata:
        if not n1 or not n0:
            continue
        n, bad = n1 + n0, e1 + e0
        both = n1 * n0 / n
        new_total, new_bad, old_total, old_bad = new_total + n1, new_bad + e1, old_total + n0, old_bad + e0
        weight += both
        from_old += both * n0 / n
        from_new += both * n1 / n
        if bad:
            u += e1 - bad * n1 / n
            v += both / n * bad * ((n - bad) / (n - 1))
            top += e1 * n0 / n
            bottom += e0 * n1 / n
            failing.append((bad, n1, n0))
    shape = Shape(new_total, weight, from_old, from_new)
    return Score(u, v, Count(new_total, new_bad), Count(old_total, old_bad), top, bottom, tuple(failing), shape)


def evidence(u: float, v: float) -> float:
    """The logarithm of the mixture: how many times likelier these counts are if the new one is worse."""
    spread = v + RHO
    z = u / math.sqrt(spread)
    upper = 0.5 * math.erfc(-z / math.sqrt(2))  # of the prior, only factors above 1
    if upper <= 0.0:
        return -math.inf
    return math.log(2 * upper) + 0.5 * math.log(RHO / spread) + z * z / 2


def factor(found: Score) -> tuple[float | None, tuple[float, float | None] | None]:
    """The Mantel-Haenszel ratio of the error ratios, and its 95 % interval: the factors that the same bound does not exclude.

    So it holds at every look, too, and has ends where counts are small: without errors on the old side there is no factor
    and no upper end, without any on the new one the lower end is 0, and without both there is no interval.
    """
    top, bottom = found.weighted_new, found.weighted_old
    if not found.failing:
        return None, None
    low = _end(found, -1.0) if found.new.bad else 0.0
    high = _end(found, 1.0) if found.old.bad else _LARGEST_FACTOR
    return top / bottom if bottom else None, (
        low if low > 1 / _LARGEST_FACTOR else 0.0,
        high if high < _LARGEST_FACTOR else None,
    )


def _end(found: Score, side: float) -> float:
    """The smallest (-1) or largest (+1) factor that is not excluded, by halving."""
    inside, outside = (
        math.log(found.weighted_new / found.weighted_old) if _both(found) else -side * _WIDEST,
        side * _WIDEST,
    )
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if _excluded(found, math.exp(middle)):
            outside = middle
        else:
            inside = middle
    return math.exp(outside)


def _both(found: Score) -> bool:
    return found.weighted_new > 0 and found.weighted_old > 0


def _excluded(found: Score, times: float) -> bool:
    """Whether the counts are too far from what this factor makes one expect, at any look."""
    u, v = float(found.new.bad), 0.0
    for bad, n1, n0 in found.failing:
        expected = bad * (times * n1 / (times * n1 + n0))
        u -= expected
        v += expected * (1 - expected / bad)
    spread = v + RHO
    return u * u > spread * (math.log(spread / RHO) - 2 * math.log(_INTERVAL_ALPHA))


def smallest_seen(shape: Shape, ratio: float, log_weight: float) -> float | None:
    """The smallest factor that this traffic shows four times in five, at the old side's ``ratio``; None: none does.

    ``log_weight``: the logarithm of the weight that the decision gives to this evidence.
    """
    if shape.requests < MIN_REQUESTS or shape.weight <= 0 or ratio <= 0:
        return None
    low, high = MIN_FACTOR, min(_LARGEST, 1 / ratio)
    if high <= low or not _would_be_seen(shape, ratio, high, log_weight):
        return None
    if _would_be_seen(shape, ratio, low, log_weight):
        return low
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _would_be_seen(shape, ratio, middle, log_weight) else (middle, high)
    return high


def requests_needed(shape: Shape, ratio: float, enough: float, log_weight: float) -> int | None:
    """About how many more requests the candidate needs until a factor ``enough`` is seen, were both to go on as they did."""
    if shape.weight <= 0 or enough * ratio > 1:
        return None
    low, high = 1.0, 1.0
    while not _would_be_seen(shape.times(high), ratio, enough, log_weight):
        low, high = high, high * 2
        if high > _LARGEST**2:
            return None
    for _ in range(20):
        middle = (low + high) / 2
        seen = _would_be_seen(shape.times(middle), ratio, enough, log_weight)
        low, high = (low, middle) if seen else (middle, high)
    return math.ceil((high - 1) * shape.requests)


def _would_be_seen(shape: Shape, ratio: float, times: float, log_weight: float) -> bool:
    if shape.requests < MIN_REQUESTS or times * ratio * shape.requests < MIN_ERRORS:
        return False
    u = shape.weight * ratio * (times - 1)
    v = ratio * (shape.from_old + times * shape.from_new)
    deviation = math.sqrt(ratio * (times * shape.from_old + shape.from_new))
    return evidence(u - _POWER * deviation, v) + log_weight >= -math.log(ALPHA)


def _gated(worse: Count, weighted: float, other: float) -> bool:
    return worse.total >= MIN_REQUESTS and worse.bad >= MIN_ERRORS and weighted >= MIN_FACTOR * other
