"""How hosts end, what they leave behind, and destinations that do not answer."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as replace_fields

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from tests.dashboards.promtool.run import BY_SERVICE, Check, Scenario, fires, recorded
from tests.dashboards.promtool.series import Fleet, Host, hosts

SHOP, CART = ("prod", "shop"), ("prod", "cart")
DESTINATION = (*BY_SERVICE, "destination")


def silence() -> Scenario:
    """Four of forty hosts that end without a farewell are told; one of ten, and any number of farewells, are not."""
    shop = hosts("7", 40, plain=True)
    for index in range(4):
        shop[index] = replace(shop[index], ends=20 + 4 * index, farewell="")
    for index in range(10, 20):
        shop[index] = replace(shop[index], ends=20)
    cart = hosts("7", 10, service="cart", plain=True)
    cart[0] = replace(cart[0], ends=20, farewell="")
    fleet = Fleet([*shop, *cart], 90)
    at = 50
    return Scenario(
        fleet,
        [
            recorded(names.HOSTS_COUNT, 26, {(*SHOP, "7"): 29, (*CART, "7"): 9}),  # 7-1 is 30 s late only
            recorded(names.HOSTS_COUNT, at, {(*SHOP, "7"): 26, (*CART, "7"): 9}),
            recorded(names.HOSTS_SEEN, at, {(*SHOP, "7"): 40, (*CART, "7"): 10}),
            recorded(names.HOSTS_SEEN, 89, {(*SHOP, "7"): 26, (*CART, "7"): 9}),
            recorded(names.HOSTS_SILENT, 20, {(*SHOP, "7"): 0, (*CART, "7"): 0}),
            recorded(names.HOSTS_SILENT, at, {(*SHOP, "7"): 4, (*CART, "7"): 1}),
            recorded(names.FLEET_SILENT, 20, {(): 0}, by=()),
            recorded(names.FLEET_SILENT, 38, {(): 4 / 50}, by=()),
            fires("ShipperHostsEndedSilently", 20),
            fires("ShipperHostsEndedSilently", at, (*SHOP, "7")),
            fires("ShipperHostsEndedSilently", 89),
            fires("ShipperFleetSilent", at, by=()),
        ],
        _forgetful(),
    )


def _forgetful() -> BoardConfig:
    """Ended lives are looked at for ten minutes, so that the scenario is short."""
    config = BoardConfig()
    return replace_fields(config, windows=replace_fields(config.windows, ended=600.0))


def our_outage() -> Scenario:
    """A fifth of the fleet that falls silent together is an outage of ours: one page, and no ticket about dead hosts."""
    shop = hosts("7", 10, plain=True)
    cart = hosts("7", 30, service="cart", plain=True)
    cut = [replace(host, ends=20, farewell="") for host in cart[:10]]
    return Scenario(
        Fleet([*shop, *cut, *cart[10:]], 60),
        [
            fires("ShipperFleetSilent", 20, by=()),
            fires("ShipperFleetSilent", 34, (), by=()),
            *(fires("ShipperHostsEndedSilently", at) for at in (34, 45, 59)),
        ],
    )


def out_of_time() -> Scenario:
    """A drain that reached its deadline with data left is told, with how much; one that ended empty is not."""
    shop = [
        Host("7-0", "7", ends=20, farewell="expired", left=4096, plain=True),
        Host("7-1", "7", ends=20, farewell="expired", left=1024, plain=True),
        Host("7-2", "7", ends=20, plain=True),
    ]
    cart = [Host("c-0", "7", ends=20, service="cart", plain=True)]
    return Scenario(
        Fleet([*shop, *cart], 70),
        [
            fires("ShipperDrainExpired", 19),
            fires("ShipperDrainExpired", 21, (*SHOP, "7")),
            fires("ShipperDrainExpired", 69),
        ],
        _forgetful(),
    )


def records() -> Scenario:
    """Records set aside, given up and destroyed are told apart, each by service; none is told of a service in good health."""
    ill = {
        "a": {"quarantined_records": 1},
        "b": {"dropped_records": 1},
        "c": {"rejected_records": 2},
        "d": {"lost_bytes": 100},
        "e": {"service_lost_records": 1},
    }
    fleet = Fleet([Host(f"{name}-0", "7", service=name, ends=30, rises=rises) for name, rises in ill.items()], 60)
    fleet.hosts.append(Host("h-0", "7", service="healthy"))
    at = 40

    def told(alert: str, *services: str) -> Check:
        return fires(alert, at, *(("prod", service) for service in services), by=BY_SERVICE)

    return Scenario(
        fleet,
        [
            fires("ShipperRecordsQuarantined", at, ("prod", "a", "primary"), by=DESTINATION),
            told("ShipperRecordsDropped", "b", "c"),
            told("ShipperRecordsLost", "d", "e"),
            *(
                fires(name, 0, by=BY_SERVICE)
                for name in ("ShipperRecordsQuarantined", "ShipperRecordsDropped", "ShipperRecordsLost")
            ),
        ],
    )


def destinations() -> Scenario:
    """A destination that most hosts cannot reach is down; that one host cannot reach is not. Lateness and waiting are told."""
    down = [Host(f"d-{index}", "7", service="down", destination_up=int(index == 0)) for index in range(3)]
    partly = [Host(f"p-{index}", "7", service="partly", destination_up=int(index > 0)) for index in range(3)]
    late = [Host("l-0", "7", service="late", late_records=20)]
    waiting = [Host("w-0", "7", service="waiting", oldest=90)]
    fleet = Fleet([*down, *partly, *late, *waiting], 40)
    at = 38

    def told(alert: str, service: str) -> tuple[Check, Check]:
        return fires(alert, 2, by=DESTINATION), fires(alert, at, ("prod", service, "primary"), by=DESTINATION)

    return Scenario(
        fleet,
        [
            *told("ShipperDestinationDown", "down"),
            *told("ShipperExposureHigh", "late"),
            *told("ShipperRecordsWaiting", "waiting"),
        ],
    )


def fallback() -> Scenario:
    """A fallback that stands in is told by its name, also on one host; one that stands by is not, nor one that helped a drain."""
    helps = [Host(f"h-{index}", "7", service="helps", fallback=int(index == 0)) for index in range(3)]
    stands_by = [Host("s-0", "7", service="stands-by", fallback=0)]
    drains = [Host("d-0", "7", service="drains", ends=10, fallback=1)]
    fleet = Fleet([*helps, *stands_by, *drains], 40)
    told = ("prod", "helps", "archive")
    return Scenario(
        fleet,
        [
            *(fires("ShipperFallbackHelping", at, by=DESTINATION) for at in (2, 15)),
            fires("ShipperFallbackHelping", 38, told, by=DESTINATION),
        ],
    )


SCENARIOS = (silence, our_outage, out_of_time, records, destinations, fallback)
