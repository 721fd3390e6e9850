"""The statistics of the verdict against counts small enough to check by hand, and against each other."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.fleet.verdict import history, mantel
from shipper.fleet.verdict.hosts import odd_host, without
from shipper.fleet.verdict.mantel import Stratum, evidence, score
from shipper.fleet.verdict.model import Cell, Count, Group, Host

counts = st.integers(0, 400).flatmap(lambda total: st.builds(Count, st.just(total), st.integers(0, total)))
strata = st.lists(st.builds(Stratum, counts, counts), max_size=12)


def test_u_and_v_are_those_of_the_hypergeometric() -> None:
    """For one minute they are what enumerating all ways to place the errors gives."""
    n1, n0, bad = 4, 6, 3
    ways = {e: math.comb(n1, e) * math.comb(n0, bad - e) for e in range(4)}
    mean = sum(e * way for e, way in ways.items()) / sum(ways.values())
    variance = sum((e - mean) ** 2 * way for e, way in ways.items()) / sum(ways.values())
    found = score([Stratum(Count(n1, 2), Count(n0, 1))])
    assert found.u == pytest.approx(2 - mean)
    assert found.v == pytest.approx(variance)


def test_the_factor_is_the_ratio_of_ratios() -> None:
    """Minutes of other traffic and other error levels leave the common factor as it is."""
    minutes = [Stratum(Count(1000 * k, 40 * k * b), Count(500, 5 * b)) for k, b in product((1, 2), (1, 3))]
    found, interval = mantel.factor(score(minutes))
    assert found == pytest.approx(4.0)
    assert interval is not None
    assert interval[1] is not None
    assert interval[0] < 4 < interval[1]


def test_no_factor_where_nothing_failed_before() -> None:
    """Without old errors there is a lower end and no upper one; without any errors there is nothing to say."""
    found, interval = mantel.factor(score([Stratum(Count(1000, 30), Count(1000, 0))]))
    assert found is None
    assert interval is not None
    assert interval[0] > 1
    assert interval[1] is None
    assert mantel.factor(score([Stratum(Count(10, 0), Count(10, 0))])) == (None, None)
    assert mantel.factor(score([Stratum(Count(1000, 0), Count(1000, 30))]))[0] == 0.0


@given(strata)
def test_both_sides_mirror_each_other(some: list[Stratum]) -> None:
    """Exchanging new and old turns U round, keeps V, and inverts the factor; nothing is NaN, whatever the counts."""
    there, back = score(some), score([Stratum(one.old, one.new) for one in some])
    assert there.u == pytest.approx(-back.u, abs=1e-9)
    assert there.v == pytest.approx(back.v, abs=1e-9)
    factor, interval = mantel.factor(there)
    inverse, _ = mantel.factor(back)
    if factor and inverse:
        assert factor == pytest.approx(1 / inverse)
    assert interval is None or all(end is None or math.isfinite(end) for end in interval)
    assert not math.isnan(evidence(there.u, there.v))


@given(st.floats(-50, 50), st.floats(0, 200), st.floats(0, 20))
def test_evidence_grows_with_the_excess(u: float, v: float, more: float) -> None:
    """More errors than expected never speak less for a worse release."""
    assert evidence(u + more, v) >= evidence(u, v) - 1e-9


def test_evidence_is_the_bound_of_the_normal_mixture() -> None:
    """Where it reaches 1 / alpha, U stands at the known two-sided bound for twice alpha."""
    v, alpha = 40.0, 0.01
    bound = math.sqrt((v + mantel.RHO) * (math.log((v + mantel.RHO) / mantel.RHO) + 2 * math.log(1 / (2 * alpha))))
    assert evidence(bound, v) == pytest.approx(-math.log(alpha), abs=1e-3)


@given(st.integers(50, 20_000), st.integers(50, 20_000), st.floats(0.0005, 0.1))
def test_more_traffic_shows_smaller_factors(new: int, old: int, ratio: float) -> None:
    """What ten times the traffic shows is no larger a factor, and the requests said to be needed are enough."""
    shape = score([Stratum(Count(new, 0), Count(old, 0))]).shape
    seen, then = (mantel.smallest_seen(shape.times(k), ratio, math.log(0.5)) for k in (1, 10))
    assert then is not None or seen is None
    assert seen is None or then is None or then <= seen * 1.0001
    needed = mantel.requests_needed(shape, ratio, 4.0, math.log(0.5))
    assert needed is not None
    enough = mantel.smallest_seen(shape.times(1 + (needed + 1) / new), ratio, math.log(0.5))
    assert enough is not None
    assert enough <= 4.0001


def test_rare_is_what_the_tail_of_the_beta_binomial_says() -> None:
    """With a wide and a narrow spread, a count is rarer than just over the sum of all probabilities, and not than just below."""
    for mean, cv in ((0.1, 0.3), (0.02, 0.8)):
        spread = history.Spread(mean, cv, 8, Count(1000, 20))
        precision = (1 - mean) / (mean * cv**2) - 1
        a, b, n = mean * precision, (1 - mean) * precision, 60
        each = [math.comb(n, x) * math.exp(_beta(x + a, n - x + b) - _beta(a, b)) for x in range(n + 1)]
        assert sum(each) == pytest.approx(1)
        for errors in (1, 5, 12, 60):
            tail = sum(each[errors:])
            assert history.is_rarer(spread, Count(n, errors), tail * (1 + 1e-6))
            assert not history.is_rarer(spread, Count(n, errors), tail * (1 - 1e-6))


def _beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def test_a_thousand_errors_stand_for_more() -> None:
    """Where a smaller sample stands for many errors, the smallest count that is rare stays what it was."""
    spread = history.Spread(0.005, 0.4, 8, Count(1_000_000, 5000))
    for requests in (60_000, 100_000, 140_000):
        first = next(bad for bad in range(200, 5000) if history.is_rarer(spread, Count(requests, bad), 0.001))
        assert first / requests == pytest.approx(0.0135, rel=0.03)


def test_few_or_small_generations_are_no_measure() -> None:
    """Two earlier generations, or ones with hardly a request, tell nothing; more than eight are not looked at."""
    known = [Count(10_000, 50), Count(9000, 44), Count(8000, 45)]
    assert history.spread_of(known[:2], 30) is None
    assert history.spread_of([*known[:2], Count(49, 3)], 30) is None
    spread = history.spread_of([*known * 3, Count(10_000, 9000)], 30)
    assert spread is not None
    assert (spread.generations, round(spread.mean, 4)) == (8, 0.0051)


def test_the_spread_is_what_generations_show() -> None:
    """Generations that differ widely give a wider spread than ones alike, young ones a wider one than old."""
    alike = [Count(10_000, 50)] * 8
    wide = [Count(10_000, bad) for bad in (10, 20, 40, 50, 60, 80, 90, 50)]
    found = [history.spread_of(some, minutes) for some, minutes in ((alike, 30), (wide, 30), (alike, 5))]
    cvs = [spread.cv for spread in found if spread is not None]
    assert cvs[0] < cvs[1]
    assert cvs[0] < cvs[2]


def group(*errors: int, total: int = 1000) -> Group:
    return Group("2", tuple(Host(f"h{index}", {Cell(1): Count(total, bad)}) for index, bad in enumerate(errors)))


def test_an_odd_host_is_found_and_left_out() -> None:
    """A host with most of the errors is odd; hosts that all fail alike, two hosts, or few errors have no odd one."""
    odd = odd_host(group(3, 4, 90, 2, 3))
    assert odd is not None
    assert (odd.name, odd.requests, odd.errors, round(odd.share, 2)) == ("h2", 1000, 90, 0.88)
    assert [host.name for host in without(group(3, 4, 90, 2, 3), odd).hosts] == ["h0", "h1", "h3", "h4"]
    assert odd_host(group(40, 44, 51, 38, 42)) is None
    assert odd_host(group(0, 90)) is None
    assert odd_host(group(0, 0, 3, 0)) is None


def test_a_busy_host_is_not_odd() -> None:
    """A host that served most requests may have most errors, also when it alone served in the bad minutes."""
    busy = Host("busy", {Cell(1): Count(10_000, 100), Cell(2): Count(1000, 300)})
    others = tuple(Host(f"h{index}", {Cell(1): Count(500, 5)}) for index in range(4))
    assert odd_host(Group("2", (busy, *others))) is None
