"""Rollouts: what the deploy log tells of them, and whether they get anywhere."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as replace_fields

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from tests.dashboards.promtool.run import BY_SERVICE, Scenario, fires
from tests.dashboards.promtool.series import STEP, Fleet, Host, hosts, roll

SHOP = ("prod", "shop")
OLD, NEW, BACK = (*SHOP, "7"), (*SHOP, "8"), (*SHOP, "9")


def told_by_keeper() -> Scenario:
    """Rollback and withdrawal as the deploy log tells them, where hosts alone show neither."""
    fleet = Fleet(hosts("9", 2), 100)
    fleet.fact(
        names.DEPLOY_STARTED, 30 * STEP, since=30, generation="9", release="r1", action="rollback", inferred="false"
    )
    fleet.fact(names.DEPLOY_WITHDRAWN, 30 * STEP, since=30, generation="8", release="r2", inferred="true")
    return Scenario(
        fleet,
        [
            fires("ShipperRollback", 29),
            fires("ShipperRollback", 32, BACK),
            fires("ShipperRollback", 90),
            fires("ShipperGenerationWithdrawn", 32, NEW),
            fires("ShipperGenerationWithdrawn", 90),
        ],
    )


def two_images() -> Scenario:
    """One release from two images is drift; a new release from a new image is none."""
    shop = [*hosts("7", 2), Host("7-x", "7", image="sha256:2")]
    cart = [*hosts("7", 2, service="cart"), *hosts("8", 2, service="cart", release="r2", image="sha256:2", born=2)]
    return Scenario(
        Fleet([*shop, *cart], 60),
        [
            fires("ShipperImageDrift", 10, by=BY_SERVICE),
            fires("ShipperImageDrift", 40, SHOP, by=BY_SERVICE),
        ],
    )


def _hasty() -> BoardConfig:
    """A rollout may take a quarter of an hour and a boot five minutes, so that the scenario is short."""
    config = BoardConfig()
    return replace_fields(config, windows=replace_fields(config.windows, rollout=900.0, boot=300.0))


def never_up() -> Scenario:
    """Six hosts were wanted and four came. A roll that is slow and goes on is left alone, and a deploy that was withdrawn."""
    fleet = Fleet(
        [
            *hosts("8", 4, born=8),
            *(Host(f"c{index}", "8", born=8 + 8 * index, service="cart") for index in range(12)),
            *hosts("8", 1, born=8, ends=20, service="pay"),
        ],
        95,
    )
    for service, desired in (("shop", 6), ("cart", 12), ("pay", 6), ("mail", 3), ("bill", 2)):
        fleet.fact(
            names.DEPLOY_STARTED, 4 * STEP, since=4, generation="8", service=service, action="deploy", release="r2"
        )
        fleet.fact(names.DESIRED_HOSTS, desired, since=4, generation="8", service=service)
    fleet.fact(names.DEPLOY_WITHDRAWN, 30 * STEP, since=30, generation="8", service="pay", inferred="false")
    # taken back once, and then deployed again
    fleet.fact(names.DEPLOY_WITHDRAWN, 2 * STEP, since=2, generation="8", service="bill", inferred="false")
    return Scenario(
        fleet,
        [
            fires("ShipperHostsNeverUp", 20),
            fires("ShipperHostsNeverUp", 50, NEW, ("prod", "mail", "8"), ("prod", "bill", "8")),
            fires("ShipperHostsNeverUp", 94),
        ],
        _hasty(),
    )


def stuck() -> Scenario:
    """Two old hosts that stay for as long as a rollout may take beside the new ones are a rollout that got stuck."""
    during = roll(hosts("7", 4), "8", start=20)
    during[0] = replace(during[0], ends=None)
    during[2] = replace(during[2], ends=None)
    return Scenario(
        Fleet(during, 90), [fires("ShipperRolloutStuck", 70), fires("ShipperRolloutStuck", 89, OLD)], _hasty()
    )


SCENARIOS = (told_by_keeper, two_images, never_up, stuck)
