"""Shipping: is anything lost, late or stuck on its way off the hosts? For those who run Shipper itself."""

from shipper.dashboards import kit, names
from shipper.dashboards.boards import shipping_hosts
from shipper.dashboards.boards.common import markers, variables
from shipper.dashboards.boards.fleet_words import Fleet
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.expressions import edge
from shipper.dashboards.kit import Ask, looks
from shipper.dashboards.kit.sdk import model

LOSSES = (
    ("quarantined", names.QUARANTINED_RECORDS),
    ("rejected", names.REJECTED_RECORDS),
    ("dropped", names.DROPPED_RECORDS),
    ("lost in services", names.SERVICE_LOST_RECORDS),
    ("bytes lost in files", names.LOST_BYTES),
)


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    fleet = Fleet(config)
    made = kit.Board(uid=kit.SHIPPING, title="Shipping", question="Is anything lost, late, or stuck on its way?")
    made.variables = variables(config, generation=False)
    made.markers = markers(config)
    made.row("Is anything lost?", [_lost(fleet), _ends(fleet), _left(fleet)])
    made.row("Is anything late?", [_late(fleet), _oldest(fleet), _backlog(fleet)])
    made.row("Do the destinations take it?", [_destinations(fleet), _answers(fleet), _throughput(fleet)])
    made.row(
        "How are the hosts?",
        [shipping_hosts.states(fleet), shipping_hosts.notices(fleet), shipping_hosts.troubled(fleet)],
    )
    made.row(
        "What does Shipper cost on a host?",
        [shipping_hosts.cost(fleet), shipping_hosts.memory(fleet), shipping_hosts.held(fleet)],
        closed=True,
    )
    return made


def _lost(fleet: Fleet) -> model.Panel:
    return kit.stat(
        Ask(
            1,
            "Was anything lost, and by what?",
            "In the time shown, on all hosts of the environment. Quarantined: refused by a destination, kept on the host's disk. "
            "Rejected: a destination took the rest of a request. Dropped: a limit was reached. Lost in services: never handed over. "
            "Lost in files: removed or cut before it was read.",
            "Any red: find the hosts in the table below; `shipper quarantine` shows what was refused and why, `shipper audit` what "
            "is missing in the archive.",
            width=14,
            height=6,
        ),
        [kit.number(f"round(sum({fleet.grew(metric)})) or vector(0)", title) for title, metric in LOSSES],
        unit=looks.COUNT,
        names=True,
        thresholds=looks.thresholds(looks.GOOD, (1, looks.BAD)),
    )


def _ends(fleet: Fleet) -> model.Panel:
    window = duration(fleet.config.windows.ended)
    silent, seen = fleet.all(names.HOSTS_SILENT), fleet.all(names.HOSTS_SEEN)
    panel = kit.stat(
        Ask(
            2,
            "Did lives end in silence?",
            f"Hosts that fell silent without a farewell in the last {window}, their share of all heard of; and the share of the whole "
            "fleet that fell silent within minutes of each other.",
            "A few: bad luck of hardware and spot markets. Many of one generation: open its hosts. Many together, of all: it is us "
            "(gateway, network, Prometheus), not them.",
            width=10,
            height=6,
        ),
        [
            kit.number(f"sum({silent}) or vector(0)", "fell silent"),
            kit.number(f"sum({silent}) / (sum({seen}) > 0) or vector(0)", "of all heard of"),
            kit.number(f"max({names.FLEET_SILENT}) or vector(0)", "of the fleet, together"),
        ],
        unit=looks.PERCENT,
        names=True,
        thresholds=looks.thresholds(looks.OLD),
    )
    assert panel.field_config is not None
    limits = fleet.config.thresholds
    panel.field_config.overrides += [
        kit.override(
            "A", unit=looks.HOSTS, thresholds=looks.thresholds(looks.GOOD, (limits.silent_hosts, looks.WARNING))
        ),
        kit.override("B", decimals=1, thresholds=looks.thresholds(looks.GOOD, (limits.silent_share, looks.WARNING))),
        kit.override("C", decimals=1, thresholds=looks.thresholds(looks.GOOD, (limits.outage_share, looks.BAD))),
    ]
    return panel


def _left(fleet: Fleet) -> model.Panel:
    ended = f"round(sum by (outcome) (increase({fleet.all(names.FAREWELLS)}[$__rate_interval])))"
    left = f"sum(max_over_time({fleet.all(names.DRAIN_LEFT_BYTES)}[$__rate_interval]))"
    panel = kit.timeseries(
        Ask(
            3,
            "How do drains end?",
            "Farewells: drained, all was delivered in time; expired, the time was too short. In yellow the bytes that those left.",
            "Expired ones: raise the drain's deadline or the platform's grace period; see which destination was slow below.",
            width=24,
            height=7,
        ),
        [kit.prom(ended, "{{outcome}}"), kit.prom(left, "bytes left behind")],
        unit=looks.COUNT,
        steps=True,
        colors={
            "/^drained$/": looks.fixed(looks.GOOD),
            "/^expired$/": looks.fixed(looks.BAD),
            "/^bytes/": looks.fixed(looks.WARNING),
        },
    )
    assert panel.field_config is not None
    panel.field_config.overrides.append(kit.override("B", unit=looks.BYTES))
    return panel


def _late(fleet: Fleet) -> model.Panel:
    limit = fleet.config.thresholds.exposure
    within = f"sum by (destination) (rate({fleet.all(names.EXPOSURE + '_bucket', edge(limit))}[$__rate_interval]))"
    count = f"sum by (destination) (rate({fleet.all(names.EXPOSURE + '_count')}[$__rate_interval]))"
    return kit.timeseries(
        Ask(
            4,
            f"How much stays on a host for longer than {duration(limit)}?",
            "Exposure: from the moment a record is read until its destination has acknowledged it; a host that dies in between takes "
            "it along. Drawn is the share of records that took longer, by destination.",
            "Rises for one destination: see whether it answers slowly or refuses, below. For all: hosts are short of CPU or network.",
            width=8,
        ),
        [kit.prom(f"clamp_min(1 - {within} / ({count} > 0), 0)", "{{destination}}")],
        unit=looks.PERCENT,
        limits=looks.thresholds(looks.GOOD, (fleet.config.thresholds.exposure_share, looks.BAD)),
    )


def _oldest(fleet: Fleet) -> model.Panel:
    return kit.timeseries(
        Ask(
            5,
            "How old is the oldest that is not delivered?",
            "The oldest record that a destination has not acknowledged, on the worst host.",
            "A line that rises with the clock: that destination takes nothing from some host; the table below names it.",
            width=8,
        ),
        [kit.prom(f"max by (destination) ({fleet.alive(names.OLDEST_UNACKNOWLEDGED)})", "{{destination}}")],
        unit=looks.SECONDS,
        limits=looks.thresholds(looks.GOOD, (fleet.config.thresholds.unacknowledged, looks.BAD)),
    )


def _backlog(fleet: Fleet) -> model.Panel:
    return kit.timeseries(
        Ask(
            6,
            "How much waits?",
            "Bytes that were read and are not yet acknowledged, on all hosts, by destination.",
            "Grows: the destination takes less than is written; see its answers. High and falling: it was away and is catching up.",
            width=8,
        ),
        [kit.prom(f"sum by (destination) ({fleet.alive(names.BACKLOG_BYTES)})", "{{destination}}")],
        unit=looks.BYTES,
    )


def _destinations(fleet: Fleet) -> model.Panel:
    up = fleet.alive(names.DESTINATION_UP)
    return kit.timeseries(
        Ask(
            7,
            "Which destination cannot be reached, and by how many?",
            "The share of hosts whose last tries at a destination failed; and of those on which a fallback stands in for others.",
            "All of them: it is down, or its address or token is wrong. Some: look for what they share (zone, generation, image).",
            width=8,
        ),
        [
            kit.prom(f"avg by (destination) ({up} == bool 0)", "{{destination}}"),
            kit.prom(f"avg by (destination) ({fleet.alive(names.FALLBACK_HELPING)}) > 0", "{{destination}} stands in"),
        ],
        unit=looks.PERCENT,
        at_most=1,
        limits=looks.thresholds(looks.GOOD, (fleet.config.thresholds.destination_share, looks.BAD)),
    )


def _answers(fleet: Fleet) -> model.Panel:
    return kit.timeseries(
        Ask(
            8,
            "What do they answer?",
            "Requests a second to each destination, by what became of them.",
            "Retries: the destination is overloaded or away. Refusals: read one by `shipper quarantine show` on a host.",
            width=8,
        ),
        [kit.prom(fleet.rate(names.REQUESTS_SENT, "destination, outcome"), "{{destination}} {{outcome}}")],
        unit=looks.PER_SECOND,
    )


def _throughput(fleet: Fleet) -> model.Panel:
    return kit.timeseries(
        Ask(
            9,
            "How much is delivered?",
            "Records and bytes a second that destinations acknowledged, from all hosts.",
            "Falls while hosts serve as before: something upstream stopped (a file that is not matched, a service without the SDK).",
            width=8,
        ),
        [
            kit.prom(fleet.rate(names.ACKNOWLEDGED_RECORDS, "destination"), "records to {{destination}}"),
            kit.prom(fleet.rate(names.ACKNOWLEDGED_BYTES, "destination"), "bytes to {{destination}}"),
        ],
        unit=looks.COUNT,
    )
