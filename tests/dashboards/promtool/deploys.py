"""Deploys that go wrong in one way or another, hosts being replaced all the while."""

from __future__ import annotations

from dataclasses import replace

from shipper.dashboards import names
from tests.dashboards.promtool.counting import errors, summed, z
from tests.dashboards.promtool.run import BY_SERVICE, Check, Scenario, fires, recorded
from tests.dashboards.promtool.series import STEP, Fleet, Host, hosts, roll

SHOP = ("prod", "shop")
OLD, NEW, BACK = (*SHOP, "7"), (*SHOP, "8"), (*SHOP, "9")
RATE, ROLE = 20, 40  # 5m and 10m in steps
_G = ("env", "service", "generation")
_PREV = (*_G, "prev_generation")


def bad_roll() -> Scenario:
    """A release that fails 4 % of its requests replaces one that fails 0.5 %, host by host, and is rolled back."""
    before = hosts("7", 10, born=4, serves=200, fails=1, late=2, built=1000)
    during = roll(before, "8", start=44, fails=8, late=4, release="r2", built=2000)
    went = [host for host in during if host.generation == "7"]
    came = [host for host in during if host.generation == "8"]
    after = roll(came, "9", start=100, every=1, fails=1, release="r1", built=1000)
    fleet = Fleet([*went, *after], 150)
    at = 56  # three minutes after the first bad host
    checks = [
        fires("ShipperNewGenerationErrors", 45),
        fires("ShipperNewGenerationErrors", at, NEW),
        fires("ShipperNewGenerationErrors", 149),
        fires("ShipperOneHostErrors", at),
        fires("ShipperRollback", at),
        fires("ShipperRollback", 104, BACK),
        fires("ShipperRollback", 149),
        fires("ShipperGenerationWithdrawn", 149),
        recorded(names.HOSTS_COUNT, at, {OLD: 7, NEW: 4}),
        recorded(names.HOSTS_COUNT, 90, {NEW: 10}),
        recorded(names.STARTED, at, {OLD: 4 * STEP, NEW: 44 * STEP}),
        recorded(names.STARTED, 110, {OLD: 4 * STEP, NEW: 44 * STEP, BACK: 100 * STEP}),  # its last host ended at 81
        recorded(names.STARTED, 130, {NEW: 44 * STEP, BACK: 100 * STEP}),
        recorded(names.AGE, at, {OLD: (at - 4) * STEP, NEW: (at - 44) * STEP}),
        recorded(names.AGE, 149, {NEW: 105 * STEP, BACK: 49 * STEP}),  # remembered for a while
        recorded(names.AGE, 3, {}),
        recorded(names.NEWEST, 43, {OLD: 1}),
        recorded(names.NEWEST, 44, {NEW: 1}),
        recorded(names.NEWEST_STARTED, 44, {SHOP: 44 * STEP}, by=BY_SERVICE),
        recorded(names.NEWEST_STARTED, 3, {}, by=BY_SERVICE),
        recorded(names.RELEASE_INFO, 90, {(*NEW, "r2"): 1}, by=(*_G, "release")),
        recorded(names.RELEASE_INFO, 3, {}),
        recorded(names.RELEASE_BUILT_CURRENT, 43, {SHOP: 1000}, by=BY_SERVICE),
        recorded(names.RELEASE_BUILT_CURRENT, 90, {SHOP: 2000}, by=BY_SERVICE),
        recorded(names.RELEASE_BUILT_CURRENT, 3, {}, by=BY_SERVICE),
        recorded(names.PREV_INFO, 43, {}),
        recorded(names.PREV_INFO, at, {(*NEW, "7"): 1}, by=_PREV),
        recorded(names.PREV_INFO, 99, {(*NEW, "7"): 1}, by=_PREV),
        recorded(names.PREV_INFO, 149, {(*BACK, "8"): 1}, by=_PREV),
        *_traffic(fleet, at),
        *_traffic(fleet, 104),
        *_roles(fleet, at),
        *(recorded(name, 3, {}) for name in (names.HOSTS_COUNT, names.HOSTS_SEEN, names.STARTED, names.NEWEST)),
        recorded(names.REQUESTS_RATE, 3, {}),
        recorded(names.ERRORS_RATE, 3, {}),
        recorded(names.ERRORS_RATIO, 3, {}),
        recorded(names.SLOW_RATE, 3, {}),
        recorded(names.SLOW_RATIO, 3, {}),
        recorded(names.REQUESTS_INCREASE, 3, {}),
        recorded(names.ERRORS_INCREASE, 3, {}),
        recorded(names.SLOW_INCREASE, 3, {}),
        recorded(names.ONE_HOST_ERRORS, 3, {}),
        recorded(names.ERRORS_Z, 43, {}, by=BY_SERVICE),
        recorded(names.ERRORS_REST_Z, 43, {}, by=BY_SERVICE),
        recorded(names.SLOW_Z, 43, {}, by=BY_SERVICE),
        recorded(names.ROLE_REQUESTS, 43, {}, by=BY_SERVICE, where='role="old"'),
        recorded(names.ROLE_ERRORS, 43, {}, by=BY_SERVICE, where='role="old"'),
        recorded(names.ROLE_SLOW, 43, {}, by=BY_SERVICE, where='role="old"'),
    ]
    return Scenario(fleet, checks)


def _traffic(fleet: Fleet, at: int) -> list[Check]:
    """Everything recorded of requests at one moment, added up from the hosts."""
    requests, failed = (
        summed(fleet, "shipper_requests_total", at, RATE, "rate", where=where) for where in (lambda _: True, errors)
    )
    slow = _late(fleet, at, RATE, "rate")
    many, bad = _increases(fleet, at)
    by_host = summed(fleet, "shipper_requests_total", at, ROLE, "increase", where=errors, by=(*_G, "instance"))
    worst: dict[tuple[str, ...], float] = {}
    for key, value in by_host.items():
        worst[key[:3]] = max(worst.get(key[:3], 0.0), value)
    services = {SHOP: sum(requests.values())}
    return [
        recorded(names.REQUESTS_RATE, at, requests),
        recorded(names.ERRORS_RATE, at, failed),
        recorded(names.ERRORS_RATIO, at, {key: failed[key] / requests[key] for key in requests}),
        recorded(names.SLOW_RATE, at, slow),
        recorded(names.SLOW_RATIO, at, {key: slow[key] / requests[key] for key in requests}),
        recorded(names.REQUESTS_INCREASE, at, many),
        recorded(names.ERRORS_INCREASE, at, bad),
        recorded(names.SLOW_INCREASE, at, _late(fleet, at, ROLE, "increase")),
        recorded(names.ONE_HOST_ERRORS, at, {key: worst[key] / bad[key] for key in bad}),
        recorded(names.SERVICE_REQUESTS_RATE, at, services, by=BY_SERVICE),
        recorded(names.SERVICE_ERRORS_RATE, at, {SHOP: sum(failed.values())}, by=BY_SERVICE),
        recorded(names.SERVICE_SLOW_RATE, at, {SHOP: sum(slow.values())}, by=BY_SERVICE),
        recorded(names.SERVICE_REQUESTS_RATE, 3, {}, by=BY_SERVICE),
        recorded(names.SERVICE_ERRORS_RATE, 3, {}, by=BY_SERVICE),
        recorded(names.SERVICE_SLOW_RATE, 3, {}, by=BY_SERVICE),
    ]


def _increases(fleet: Fleet, at: int) -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
    many, bad = (
        summed(fleet, "shipper_requests_total", at, ROLE, "increase", where=where) for where in (lambda _: True, errors)
    )
    return many, bad


def _late(fleet: Fleet, at: int, window: int, taken: str) -> dict[tuple[str, ...], float]:
    name = "shipper_request_duration_seconds"
    counted = summed(fleet, f"{name}_count", at, window, taken)  # type: ignore[arg-type]
    within = summed(
        fleet,
        f"{name}_bucket",
        at,
        window,
        taken,  # type: ignore[arg-type]
        where=lambda labels: labels["le"] == "0.5",
    )
    return {key: max(0.0, value - within[key]) for key, value in counted.items()}


def _roles(fleet: Fleet, at: int) -> list[Check]:
    """New against old while both serve, and the new one without its worst host."""
    many, bad = _increases(fleet, at)
    slow = _late(fleet, at, ROLE, "increase")
    by = (*_G, "instance")
    hosts_many = summed(fleet, "shipper_requests_total", at, ROLE, "increase", by=by)
    hosts_bad = summed(fleet, "shipper_requests_total", at, ROLE, "increase", by=by, where=errors)
    worst = max((key for key in hosts_bad if key[:3] == NEW), key=lambda key: hosts_bad[key])
    rest = (bad[NEW] - hosts_bad[worst], many[NEW] - hosts_many[worst])
    checks = []
    for name, values in ((names.ROLE_REQUESTS, many), (names.ROLE_ERRORS, bad), (names.ROLE_SLOW, slow)):
        for role, key in (("new", NEW), ("old", OLD)):
            checks.append(recorded(name, at, {SHOP: values[key]}, by=BY_SERVICE, where=f'role="{role}"'))
    return [
        *checks,
        recorded(names.ROLE_ERRORS, at, {SHOP: rest[0]}, by=BY_SERVICE, where='role="rest"'),
        recorded(names.ROLE_REQUESTS, at, {SHOP: rest[1]}, by=BY_SERVICE, where='role="rest"'),
        recorded(names.ERRORS_Z, at, {SHOP: z((bad[NEW], many[NEW]), (bad[OLD], many[OLD]))}, by=BY_SERVICE),
        recorded(names.ERRORS_REST_Z, at, {SHOP: z(rest, (bad[OLD], many[OLD]))}, by=BY_SERVICE),
        recorded(names.SLOW_Z, at, {SHOP: z((slow[NEW], many[NEW]), (slow[OLD], many[OLD]))}, by=BY_SERVICE),
    ]


def slow_roll() -> Scenario:
    """A release that fails no more than the old one and takes too long: said as slowness, not as errors."""
    during = roll(hosts("7", 6, serves=200, fails=1, late=2), "8", start=44, late=20, release="r2")
    return Scenario(
        Fleet(during, 80),
        [
            fires("ShipperNewGenerationSlow", 43),
            fires("ShipperNewGenerationSlow", 56, NEW),
            fires("ShipperNewGenerationErrors", 56),
        ],
    )


def healthy_roll() -> Scenario:
    """The same release built anew: not worse, and not stuck before three quarters of an hour."""
    during = roll(hosts("7", 6, serves=200, fails=1, late=2), "8", start=44)
    return Scenario(
        Fleet(during, 90),
        [
            *(
                fires(name, at)
                for at in (50, 60, 89)
                for name in (
                    "ShipperNewGenerationErrors",
                    "ShipperNewGenerationSlow",
                    "ShipperYoungGenerationErrors",
                    "ShipperOneHostErrors",
                    "ShipperGenerationWithdrawn",
                    "ShipperRolloutStuck",
                    "ShipperImageDrift",
                    "ShipperHostsEndedSilently",
                    "ShipperFleetSilent",
                )
            ),
        ],
    )


def one_bad_host() -> Scenario:
    """One of eight new hosts fails a third of its requests: the host is named, the generation is not."""
    old = hosts("7", 8, serves=200, fails=1)
    new = hosts("8", 8, born=44, serves=200, fails=1, release="r2")
    new[3] = replace(new[3], fails=66)
    host = (*NEW, "8-3")
    return Scenario(
        Fleet([*old, *new], 70),
        [
            fires("ShipperOneHostErrors", 60, host, by=(*_G, "instance")),
            fires("ShipperNewGenerationErrors", 60),
            fires("ShipperNewGenerationErrors", 69),
        ],
    )


def canary_withdrawn() -> Scenario:
    """A canary of one host is taken back: named as withdrawn, and not taken for a rollback; nor is one that only begins."""
    old = hosts("7", 4, built=1000)
    canary = [Host("8-0", "8", born=20, ends=60, release="r2", built=2000)]
    beside = [replace(host, service="cart", instance=f"c{host.instance}") for host in old]
    fleet = Fleet([*old, *canary, *beside], 140)
    fleet.fact("shipper_generation_started_timestamp_seconds", 70 * STEP, since=70, generation="8", service="cart")
    return Scenario(
        fleet,
        [
            fires("ShipperGenerationWithdrawn", 50),
            fires("ShipperGenerationWithdrawn", 75, NEW),
            fires("ShipperGenerationWithdrawn", 130),
            fires("ShipperRollback", 75),
            recorded(names.NEWEST_STARTED, 50, {SHOP: 20 * STEP}, by=BY_SERVICE, where='service="shop"'),
            recorded(names.NEWEST_STARTED, 75, {SHOP: 0}, by=BY_SERVICE, where='service="shop"'),
            recorded(names.NEWEST, 75, {OLD: 1}, where='service="shop"'),
        ],
    )


def same_key_again() -> Scenario:
    """A key that comes back after its hosts were gone for long begins anew; the keeper's episode counts at once."""
    first = Host("7-a", "7", ends=20, began=None)
    between = Host("8-a", "8", born=18, ends=110, release="r2")
    again = Host("7-b", "7", born=100)
    other = Fleet([first, between, again], 140)
    prod = {(*SHOP, "7"): 100 * STEP, (*SHOP, "8"): 18 * STEP}
    undone = [
        replace(host, service="cart", instance=f"c{host.instance}", **change)  # type: ignore[arg-type]
        for host, change in ((first, {"ends": None}), (between, {"ends": 40}))
    ]
    other.hosts += undone
    other.fact(names.EPISODE_STARTED, 30 * STEP, since=30, generation="7", service="cart", episode="2")
    return Scenario(
        other,
        [
            recorded(names.STARTED, 19, {(*SHOP, "7"): 0, (*SHOP, "8"): 18 * STEP}, where='service="shop"'),
            recorded(names.STARTED, 105, prod, where='service="shop"'),
            recorded(names.NEWEST, 105, {(*SHOP, "7"): 1}, where='service="shop"'),
            recorded(names.NEWEST, 25, {("prod", "cart", "8"): 1}, where='service="cart"'),
            recorded(names.NEWEST, 31, {("prod", "cart", "7"): 1}, where='service="cart"'),
            recorded(
                names.PREV_INFO,
                33,
                {("prod", "cart", "7", "8"): 1},
                by=_PREV,
                where='generation="7",service="cart"',
            ),
        ],
    )


SCENARIOS = (bad_roll, slow_roll, healthy_roll, one_bad_host, canary_withdrawn, same_key_again)
