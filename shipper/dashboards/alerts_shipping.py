"""Alerts about the shipping itself: hosts that ended without a farewell, what was left behind, and destinations."""

from __future__ import annotations

from collections.abc import Iterator

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.expressions import Expressions, edge
from shipper.dashboards.ruleset import Alert
from shipper.dashboards.words import SHARE, SIZE, SPAN, VALUE, Words

_BY_DESTINATION = ("env", "service")


def endings(config: BoardConfig) -> Iterator[Alert]:
    """How hosts ended: in silence, all at once, or with data that nobody has."""
    e, words, limits, windows = Expressions(config), Words(config), config.thresholds, config.windows
    by = ("env", "service", "generation")
    ended = duration(windows.ended)
    seen = words.asked(f"{names.HOSTS_SEEN}{{{{}}}}", "humanize", by=by)
    yield Alert(
        "ShipperHostsEndedSilently",
        f"{names.HOSTS_SILENT} >= {limits.silent_hosts}\n"
        f"and on ({e.generation}) {names.HOSTS_SILENT} / {names.HOSTS_SEEN} > {limits.silent_share:g}\n"
        f"unless on () max_over_time({names.FLEET_SILENT}[{ended}]) >= {limits.outage_share:g}",
        "ticket",
        f"{VALUE} hosts of {words.generation} ended without a farewell",
        f"Of {seen} hosts heard of in the last {ended}, {VALUE} fell silent without saying what they had shipped. They were "
        "killed without notice, ran out of memory, or lost the network; what they had not shipped is gone.",
        names.BOARD_SHIPPING,
        wait=config.wait(120),
    )
    together = duration(windows.together)
    yield Alert(
        "ShipperFleetSilent",
        f"{names.FLEET_SILENT} >= {limits.outage_share:g}\n"
        f"and on () count({e.heard(windows.together + windows.silent)}) >= {limits.silent_hosts}",
        "page",
        f"{SHARE} of all hosts fell silent together",
        f"{SHARE} of the hosts that were heard of in the last {together} are not heard of any more, and said no farewell. So "
        "many do not die at once: most likely it is the way here (gateway, remote write, network). Other alerts cannot be "
        "trusted meanwhile. Hosts keep what they could not send.",
        names.BOARD_SHIPPING,
        wait=config.wait(30),
        variables=(),
    )
    expired = f'sum by ({e.host}) (max_over_time({names.FAREWELLS}{{outcome="expired"}}[{ended}])) > 0'
    left = f"sum by ({e.host}) (max_over_time({names.DRAIN_LEFT_BYTES}[{ended}])) > 0"
    yield Alert(
        "ShipperDrainExpired",
        f"sum by ({e.generation}) (({left}) and on ({e.host}) ({expired}))",
        "ticket",
        f"Hosts of {words.generation} ran out of time and left {SIZE} behind",
        f"In the last {ended} drains of hosts of this generation reached their deadline with {SIZE} not yet acknowledged. "
        "Their farewells say which ranges; `shipper audit` lists them.",
        names.BOARD_SHIPPING,
    )


def records(config: BoardConfig) -> Iterator[Alert]:
    """Records that did not get where they should, by cause."""
    e, words, windows = Expressions(config), Words(config), config.windows
    ended = duration(windows.ended)

    def risen(*metrics: str) -> str:
        """The sum of several counters, also where a host knows one of them only."""
        rises = (f'label_replace(increase({one}[{ended}]), "of", "{one}", "", "")' for one in metrics)
        together = "\nor\n".join(rises)
        return f"sum by ({e.service}) (\n{together}\n)"

    yield Alert(
        "ShipperRecordsQuarantined",
        f"sum by ({e.service}, destination) (increase({names.QUARANTINED_RECORDS}[{ended}])) > 0",
        "ticket",
        f"{words.label('destination')} refuses records of {words.service}",
        f"About {VALUE} records were refused by {words.label('destination')} for what they hold, in the last {ended}, and "
        "set aside on the hosts. They end with the host unless they are sent on: `shipper quarantine`.",
        names.BOARD_SHIPPING,
        variables=_BY_DESTINATION,
    )
    yield Alert(
        "ShipperRecordsDropped",
        risen(names.DROPPED_RECORDS, names.REJECTED_RECORDS) + " > 0",
        "ticket",
        f"Records of {words.service} were given up",
        f"About {VALUE} records were dropped, or refused as part of a request, in the last {ended}: they are at no "
        "destination. `shipper status` on a host says why.",
        names.BOARD_SHIPPING,
        variables=_BY_DESTINATION,
    )
    yield Alert(
        "ShipperRecordsLost",
        risen(names.LOST_BYTES, names.SERVICE_LOST_RECORDS) + " > 0",
        "ticket",
        f"Data of {words.service} was destroyed before it could be read",
        f"About {VALUE} (bytes of files, and records inside services) were lost in the last {ended}: a file was truncated or "
        "rotated away, a disk was full, or a service could not hand its records over.",
        names.BOARD_SHIPPING,
        variables=_BY_DESTINATION,
    )


def destinations(config: BoardConfig) -> Iterator[Alert]:
    """What a sudden death would cost now, and who does not answer."""
    e, words, limits, windows = Expressions(config), Words(config), config.thresholds, config.windows
    by = f"{e.service}, destination"
    rate = duration(windows.rate)
    within = f"sum by ({by}) (rate({names.EXPOSURE}_bucket{{{edge(limits.exposure)}}}[{rate}]))"
    counted = f"sum by ({by}) (rate({names.EXPOSURE}_count[{rate}]))"
    name = words.label("destination")
    yield Alert(
        "ShipperExposureHigh",
        f"1 - {within} / ({counted} > 0) > {limits.exposure_share:g}",
        "ticket",
        f"Records of {words.service} reach {name} late",
        f"{SHARE} of the records took longer than {duration(limits.exposure)} from being written to being acknowledged by "
        f"{name}. A host that dies now takes them with it: see whether the destination is slow or the hosts are busy.",
        names.BOARD_SHIPPING,
        wait=config.wait(300),
        variables=_BY_DESTINATION,
    )
    oldest = names.OLDEST_UNACKNOWLEDGED
    present = duration(windows.present)
    yield Alert(
        "ShipperRecordsWaiting",
        f"max by ({by}) ({oldest} and present_over_time({oldest}[{present}])) > {limits.unacknowledged:g}",
        "ticket",
        f"Records of {words.service} have been waiting for {name} for {SPAN}",
        f"On at least one host the oldest record that {name} has not acknowledged is {SPAN} old. That is what a sudden death "
        "of the host would cost.",
        names.BOARD_SHIPPING,
        wait=config.wait(120),
        variables=_BY_DESTINATION,
    )
    up = f"({names.DESTINATION_UP} and present_over_time({names.DESTINATION_UP}[{present}]))"
    yield Alert(
        "ShipperDestinationDown",
        f"1 - avg by ({by}) ({up}) >= {limits.destination_share:g}",
        "page",
        f"{name} does not take what {words.service} sends",
        f"{SHARE} of the hosts cannot deliver to {name}. What they cannot send they keep on disk, until they end.",
        names.BOARD_SHIPPING,
        wait=config.wait(120),
        variables=_BY_DESTINATION,
    )
    helping = f"({names.FALLBACK_HELPING} and present_over_time({names.FALLBACK_HELPING}[{present}]))"
    yield Alert(
        "ShipperFallbackHelping",
        f"sum by ({by}) ({helping}) > 0",
        "ticket",
        f"{name} stands in for destinations of {words.service} that are down",
        f"On {VALUE} hosts {name} gets what others do not take. Those are repaid by the hosts when they are well; what a host "
        "owes them when it ends is only there, until somebody replays it.",
        names.BOARD_SHIPPING,
        wait=config.wait(300),
        variables=_BY_DESTINATION,
    )
