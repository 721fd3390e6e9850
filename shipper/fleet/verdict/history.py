"""Same age: a candidate that serves alone, held against what earlier generations had at its age.

One after the other, every test of requests lies, the more the more there are: errors come in bursts, and a burst at another
time is no difference of releases. Only the spread *between generations* is honest. So each generation's error ratio is taken
to be drawn from one beta distribution, whose spread is what earlier generations had (method of moments), held towards a
coefficient of variation of 0.3 as if four more generations had shown it; the question is how far out the candidate lies.

The spread is wider the younger they are, as bursts have had less time to average out. And a spread that eight generations
show is itself a guess with a long tail above it, so it is taken half as large again. What matters is this and `ALPHA`
together: pairs from (1.2, 0.00003) to (1.5, 0.0003) see bad releases equally soon at one false alarm in two hundred, wider
ones let more small services' through. Ratios taken as log-normal, with Student's t for the guess, see them later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shipper.fleet.verdict.mantel import MIN_ERRORS, MIN_FACTOR, MIN_REQUESTS
from shipper.fleet.verdict.model import Count, added

KEPT = 8
"""Earlier generations that count; older ones say little of today."""
NEEDED = 3
"""With fewer, their spread is a guess."""
PRIOR_CV = 0.3
PRIOR_MINUTES = 30
PRIOR_GENERATIONS = 4
WIDER = 1.5
MIN_MINUTES = 5
"""Younger candidates are not judged by it alone."""
ALPHA = 0.0003
"""At each look; bench shows that over all looks, and with bursts, about one healthy release in two hundred is called worse."""
_LARGEST = 1000.0
_MANY = 1000
"""Of more errors a smaller sample is as good: chance is then 3 %, the spread of generations ten times that."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What to expect of one more generation. ``cv``: of its error ratio, what is not known of the mean included."""

    mean: float
    cv: float
    generations: int
    total: Count


def spread_of(counts: Sequence[Count], minutes: int) -> Spread | None:
    """What the newest `KEPT` of these say, all of them ``minutes`` old.

    None when fewer than `NEEDED` served enough requests to say anything.
    """
    known = [count for count in counts if count.total >= MIN_REQUESTS][:KEPT]
    if len(known) < NEEDED:
        return None
    k, total = len(known), added(iter(known))
    mean = (total.bad + 0.5) / (total.total + 1)
    ratios = [count.ratio for count in known]
    centre = sum(ratios) / k
    by_chance = sum(mean * (1 - mean) / count.total for count in known) / k
    between = max(0.0, sum((ratio - centre) ** 2 for ratio in ratios) / (k - 1) - by_chance)
    prior = PRIOR_CV**2 * max(1.0, PRIOR_MINUTES / max(minutes, 1))
    squared = (k * between / mean**2 + PRIOR_GENERATIONS * prior) / (k + PRIOR_GENERATIONS)
    return Spread(mean, WIDER * math.sqrt(squared * (1 + 1 / k)), k, total)


def is_rarer(spread: Spread, count: Count, alpha: float) -> bool:
    """Whether a generation like the others has as many errors, or more, of as many requests with probability ``alpha`` or less.

    The tail of the beta-binomial is added up only until it is over ``alpha``, or what is left of it cannot bring it there.
    """
    n, e = count
    if e <= 0:
        return alpha >= 1.0
    if e > _MANY:
        n, e = round(n * _MANY / e), _MANY
    mean = min(spread.mean, 0.5)
    precision = max(2.0, (1 - mean) / (mean * spread.cv**2) - 1)
    a, b = mean * precision, (1 - mean) * precision
    term, upper = math.exp(_log_probability(n, e, a, b)), 0.0
    for x in range(e, n + 1):
        upper += term
        if upper > alpha:
            return False
        falls = (n - x) / (n - x - 1 + b) if x < n else 0.0  # b is 1 at least: later terms fall no less steeply
        steepest = falls * max(1.0, (x + a) / (x + 1))
        term *= falls * ((x + a) / (x + 1))
        if steepest < 1.0 and upper + term / (1.0 - steepest) <= alpha:
            return True
    return True


def is_worse(spread: Spread, count: Count, alpha: float = ALPHA) -> bool:
    """Whether it is further out than chance and the usual spread explain, and far enough to act on."""
    if count.total < MIN_REQUESTS or count.bad < MIN_ERRORS or count.ratio < MIN_FACTOR * spread.mean:
        return False
    return is_rarer(spread, count, alpha)


def factor(spread: Spread, count: Count) -> tuple[float, tuple[float, float | None]]:
    """The candidate's ratio over the mean of the others, and the 95 % interval of that."""
    times = count.ratio / spread.mean
    if not count.bad:
        return 0.0, (0.0, 3.0 / max(count.total, 1) / spread.mean * math.exp(1.96 * spread.cv))
    half = 1.96 * math.sqrt(1 / count.bad + spread.cv**2)
    return times, (times * math.exp(-half), times * math.exp(half))


def smallest_seen(spread: Spread, requests: int) -> float | None:
    """The smallest factor that is seen four times in five with so many requests; None: none is."""
    low, high = MIN_FACTOR, min(_LARGEST, 1 / spread.mean)
    if high <= low or not _would_be_seen(spread, requests, high):
        return None
    if _would_be_seen(spread, requests, low):
        return low
    for _ in range(20):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _would_be_seen(spread, requests, middle) else (middle, high)
    return high


def requests_needed(spread: Spread, requests: int, enough: float) -> int | None:
    """About how many more requests until a factor ``enough`` is seen; None: the spread between generations hides it."""
    low = high = max(requests, MIN_REQUESTS)
    while not _would_be_seen(spread, high, enough):
        low, high = high, high * 2
        if high * spread.mean > 100 * _MANY:
            return None
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if _would_be_seen(spread, middle, enough) else (middle, high)
    return high - requests


def _would_be_seen(spread: Spread, requests: int, times: float) -> bool:
    expected = times * spread.mean * requests
    own_cv = spread.cv / WIDER  # what is likely, not what has to be feared
    likely = int(expected - 0.84 * math.sqrt(expected * (1 + expected * own_cv**2)))
    return is_worse(spread, Count(requests, min(likely, requests)))


def _log_probability(n: int, x: int, a: float, b: float) -> float:
    choose = math.lgamma(n + 1) - math.lgamma(x + 1) - math.lgamma(n - x + 1)
    return choose + _log_beta(x + a, n - x + b) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
