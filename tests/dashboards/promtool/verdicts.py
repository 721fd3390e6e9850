"""What alerts make of verdicts: of the newest generation, fresh, and while they can still change."""

from __future__ import annotations

from shipper.dashboards import names
from tests.dashboards.promtool.run import Scenario, fires
from tests.dashboards.promtool.series import Fleet, hosts, roll

NEW = ("prod", "shop", "8")
ERRORS, LATENCY = "ShipperVerdictErrors", "ShipperVerdictLatency"
HOUR = 240  # in steps


def said(
    fleet: Fleet, code: int, since: int, until: int | None, subject: str = "errors", generation: str = "8"
) -> None:
    """A verdict as the watcher writes it."""
    about = {"generation": generation, "subject": subject, "baseline": "7", "since": since, "until": until}
    numbers = {
        names.VERDICT_REQUESTS: 6510, names.VERDICT_ERRORS: 262, names.VERDICT_BASELINE_REQUESTS: 9600,
        names.VERDICT_BASELINE_ERRORS: 48, names.VERDICT_FACTOR: 8.05, names.VERDICT_LOW: 5.9, names.VERDICT_HIGH: 11,
        names.VERDICT_SEEN: 1.6,
    }  # fmt: skip
    for metric, value in {names.VERDICT: code, **numbers}.items():
        fleet.fact(metric, value, **about)  # type: ignore[arg-type]


def both_serve(end: int = 120) -> Fleet:
    """A canary of one host beside four old ones."""
    return Fleet([*hosts("7", 4), *hosts("8", 1, born=20, release="r2")], end)


def worse_while_both_serve() -> Scenario:
    """Worse in errors pages after a minute and a half, in latency it is a ticket; it ends two minutes after the last word."""
    fleet = both_serve()
    said(fleet, 0, 24, 39)
    said(fleet, 1, 40, 80)
    said(fleet, 0, 24, 120, "latency")
    checks = [
        fires(ERRORS, 39),
        fires(ERRORS, 45),
        fires(ERRORS, 46, NEW),
        fires(ERRORS, 88, NEW),
        fires(ERRORS, 88 + 20, NEW),  # it is kept for five minutes
        fires(ERRORS, 88 + 22),
        *(fires(LATENCY, at) for at in (46, 88)),
    ]
    return Scenario(fleet, checks)


def worse_in_latency() -> Scenario:
    """What is worse in latency alone is told as that."""
    fleet = both_serve(60)
    said(fleet, -2, 24, None)
    said(fleet, 1, 30, None, "latency")
    return Scenario(fleet, [fires(LATENCY, 35), fires(LATENCY, 40, NEW), fires(ERRORS, 59)])


def no_page() -> Scenario:
    """Better, not enough data, cannot tell, and no difference: nobody is woken; nor for a generation that is not the newest."""
    fleet = both_serve(100)
    for code, since in ((-1, 24), (-2, 40), (-3, 56), (0, 72)):
        said(fleet, code, since, since + 15)
    said(fleet, 1, 30, None, generation="7")
    return Scenario(fleet, [fires(ERRORS, at) for at in (38, 54, 70, 86, 99)])


def long_ago() -> Scenario:
    """An hour after it began, one that serves alone is no longer told of; one beside which others serve is."""
    alone = Fleet(roll(hosts("7", 2, plain=True), "8", start=20, every=1), HOUR + 60)
    said(alone, 1, 30, None)
    beside = [("prod", "cart", "8")]
    alone.hosts += [*hosts("7", 1, plain=True, service="cart"), *hosts("8", 1, born=20, plain=True, service="cart")]
    for metric in (names.VERDICT, names.VERDICT_ERRORS):
        alone.fact(metric, 1, since=30, generation="8", subject="errors", baseline="7", service="cart")
    return Scenario(alone, [fires(ERRORS, HOUR, NEW, *beside), fires(ERRORS, HOUR + 50, *beside)])


SCENARIOS = (worse_while_both_serve, worse_in_latency, no_page, long_ago)
