"""The first minutes of generations, kept and compared after their hosts are gone."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace

from shipper.dashboards import names
from tests.dashboards.promtool.counting import summed
from tests.dashboards.promtool.run import BY_SERVICE, Scenario, fires, recorded
from tests.dashboards.promtool.series import Fleet, Host, hosts

SHOP = ("prod", "shop")
SHORT, LONG = 20, 120  # 5m and 30m in steps


def first_minutes() -> Scenario:
    """Hosts that live for 45 seconds are counted to their last request, and the old lives of a key that returns are not."""
    brief = [
        Host(f"8-{index}", "8", born=10 + 2 * index, ends=13 + 2 * index, serves=35, fails=7, late=3)
        for index in range(5)
    ]
    young = Host("8-last", "8", born=22, serves=100, fails=1, ends=40)
    fleet = Fleet([*brief, young], 150)
    lived = [min(host.ends or 0, 30) - host.born for host in brief]
    requests, failed, late = (35 * sum(lived), 7 * sum(lived), 3 * sum(lived))
    after = {"requests": requests + 1800, "errors": failed + 18, "slow": late}
    key = (*SHOP, "8")
    checks = []
    for name, now, then in (
        (names.REQUESTS_FIRST, requests + 800, after["requests"]),
        (names.ERRORS_FIRST, failed + 8, after["errors"]),
        (names.SLOW_FIRST, late, after["slow"]),
    ):
        checks += [
            recorded(name, 9, {}, where='age="5m"'),
            recorded(name, 10 + SHORT, {key: now}, where='age="5m"'),
            recorded(name, 10 + SHORT, {key: now}, where='age="30m"'),
            recorded(name, 11 + SHORT, {}, where='age="5m"'),
            recorded(name, 60, {key: then}, where='age="30m"'),
            recorded(name, 11 + LONG, {}, where='age="30m"'),
        ]
    return Scenario(fleet, checks)


def everybody_dies(seed: int = 7) -> Scenario:
    """Of hosts that live for one to three minutes each, some of them ill, every request and every error is counted."""
    rng = random.Random(seed)
    fleet = Fleet([], 60)
    for generation, ill in (("7", 0.01), ("8", 0.2)):
        for index in range(12):
            born, serves = rng.randrange(2, 40), rng.randrange(50, 400)
            fleet.hosts.append(
                Host(
                    f"{generation}-{index}", generation, born=born, ends=born + rng.randrange(4, 13),
                    serves=serves, fails=round(serves * ill * rng.random() * 2), farewell=rng.choice(["drained", ""]),
                )
            )  # fmt: skip
    requests, failed = truth(fleet)
    return Scenario(
        fleet,
        [
            recorded(names.REQUESTS_FIRST, 58, requests, where='age="30m"'),
            recorded(names.ERRORS_FIRST, 58, failed, where='age="30m"'),
        ],
    )


def truth(fleet: Fleet) -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
    """Requests and errors by generation, from what each host did in its life."""
    requests: dict[tuple[str, ...], float] = {}
    failed: dict[tuple[str, ...], float] = {}
    for host in fleet.hosts:
        key = (host.env, host.service, host.generation)
        lived = (fleet.end if host.ends is None else host.ends) - host.born
        requests[key] = requests.get(key, 0) + host.serves * lived
        failed[key] = failed.get(key, 0) + host.fails * lived
    return requests, failed


def key_returns() -> Scenario:
    """A key that comes back is counted from its new beginning: lives longer than the window are no part of it."""
    old = Host("7-old", "7", ends=60, serves=1000)
    back = Host("7-new", "7", born=110, serves=10)
    return Scenario(
        Fleet([old, back], 125),
        [recorded(names.REQUESTS_FIRST, 120, {(*SHOP, "7"): 100}, where='age="5m"')],
    )


def worse_than_before() -> Scenario:
    """With the old one gone at once, a generation is held to how the ones before it began; fewer than three are no measure."""
    fails = (1, 2, 3, 3, 8)
    fleet = Fleet([], 110)
    for index, count in enumerate(fails):
        born, ends = 2 + 12 * index, 14 + 12 * index
        fleet.hosts += hosts(str(index), 2, born=born, ends=ends, serves=200, fails=count, release=f"r{index}")
    fleet.hosts[-2:] = [replace(host, ends=80) for host in fleet.hosts[-2:]]
    fleet.hosts += hosts("5", 2, born=80, serves=200, fails=1, release="r3")
    bad = (*SHOP, "4")
    ratios = [_ratio(fleet, str(index), 70) for index in range(4)]
    early = [_ratio(fleet, "0", 20)]
    return Scenario(
        fleet,
        [
            recorded(names.FIRST_MEDIAN_PREV, 10, {}, by=BY_SERVICE),
            recorded(names.FIRST_COUNT_PREV, 10, {}, by=BY_SERVICE),
            recorded(names.FIRST_MEDIAN_PREV, 20, {SHOP: statistics.median(early)}, by=BY_SERVICE),
            recorded(names.FIRST_MEDIAN_PREV, 70, {SHOP: statistics.median(ratios)}, by=BY_SERVICE),
            recorded(names.FIRST_COUNT_PREV, 70, {SHOP: 4}, by=BY_SERVICE),
            fires("ShipperYoungGenerationErrors", 20),  # twice as bad, but only one before it
            fires("ShipperYoungGenerationErrors", 48),  # three before it, and not twice as bad
            fires("ShipperYoungGenerationErrors", 62, bad),
            fires("ShipperYoungGenerationErrors", 79, bad),
            fires("ShipperYoungGenerationErrors", 109),  # kept for five minutes after the rollback, then over
        ],
    )


def _ratio(fleet: Fleet, generation: str, at: int) -> float:
    def of(labels: dict[str, str]) -> bool:
        return labels["generation"] == generation

    def failed(labels: dict[str, str]) -> bool:
        return of(labels) and labels["outcome"] == "error"

    key = (*SHOP, generation)
    metric = "shipper_requests_total"
    return (
        summed(fleet, metric, at, LONG, "max", where=failed)[key]
        / summed(fleet, metric, at, LONG, "max", where=of)[key]
    )


SCENARIOS = (first_minutes, everybody_dies, key_returns, worse_than_before)
