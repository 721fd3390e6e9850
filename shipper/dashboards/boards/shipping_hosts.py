"""The hosts that ship: in which states they are, which of them have trouble, and what Shipper costs on them."""

from shipper.dashboards import kit, names
from shipper.dashboards.boards.fleet_words import Fleet
from shipper.dashboards.kit import Ask, Column, looks, of_row
from shipper.dashboards.kit.sdk import model

HOSTS_SHOWN = 10
STATES = (
    ("running", 1, looks.GOOD),
    ("noticed", 2, looks.WARNING),
    ("draining", 3, looks.NEW),
    ("drained", 4, looks.OLD),
    ("expired", 5, looks.BAD),
)


def states(fleet: Fleet) -> model.Panel:
    """How many are in which state."""
    state = f"last_over_time({fleet.all(names.HOST_STATE)}[$__rate_interval])"
    return kit.timeseries(
        Ask(
            10,
            "In which state are the hosts?",
            "Hosts by the state of their life: running, told of their end, draining, and for a moment drained or expired.",
            "Many noticed or draining at once without a deploy: the platform takes them; its status page says more.",
            width=7,
        ),
        [kit.prom(f"count({state} == {number})", title) for title, number, _ in STATES],
        unit=looks.HOSTS,
        stack=True,
        steps=True,
        colors={f"/^{title}$/": looks.fixed(color) for title, _, color in STATES},
    )


def notices(fleet: Fleet) -> model.Panel:
    """The notices that stand."""
    return kit.timeseries(
        Ask(
            11,
            "Which notices stand?",
            "Notices of an end that stand on hosts, by kind: advisory (may come), scheduled (at a known time), imminent (now).",
            "Many scheduled: maintenance; replace those hosts in good time. Imminent without end: spot capacity goes.",
            width=5,
        ),
        [kit.prom(f"sum by (kind) ({fleet.alive(names.NOTICES)})", "{{kind}}")],
        unit=looks.COUNT,
        steps=True,
    )


def troubled(fleet: Fleet) -> model.Panel:
    """Those with most problems."""
    labels = fleet.config.labels
    problems = f"sum by ({fleet.host}) ({fleet.grew(names.PROBLEMS)})"
    backlog = f"sum by ({fleet.host}) ({fleet.alive(names.BACKLOG_BYTES)})"
    oldest = f"max by ({fleet.host}) ({fleet.alive(names.OLDEST_UNACKNOWLEDGED)})"
    worst = f"(topk({HOSTS_SHOWN}, {problems} > 0) or 0 * topk({HOSTS_SHOWN}, {oldest} > 0))"
    return kit.table(
        Ask(
            12,
            "Which hosts have trouble?",
            f"The {HOSTS_SHOWN} hosts with most problems that Shipper reported in the time shown, and the {HOSTS_SHOWN} whose oldest "
            "record waits longest; with what waits there now.",
            "Click a host and read its last words; on the host, `shipper status` says what is wrong in words.",
            width=12,
        ),
        [
            kit.now(worst),
            kit.now(f"{oldest} and on({fleet.host}) {worst}"),
            kit.now(f"{backlog} and on({fleet.host}) {worst}"),
        ],
        [
            Column(
                labels.instance,
                "Host",
                link=kit.to(
                    kit.HOSTS,
                    "Its last words",
                    service=of_row(labels.service),
                    generation=of_row(labels.generation),
                    instance=of_row(labels.instance),
                ),
            ),
            Column(labels.service, "Service"),
            Column(labels.generation, "Generation"),
            Column("A", "Problems", looks.COUNT, width=90, decimals=0),
            Column("B", "Oldest", looks.SECONDS, width=90),
            Column("C", "Waits", looks.BYTES, width=90),
        ],
        sort="Problems",
        no_value="none",
    )


def cost(fleet: Fleet) -> model.Panel:
    """CPU."""
    cpu = f"rate({fleet.all(names.CPU_SECONDS)}[$__rate_interval])"
    return kit.timeseries(
        Ask(
            13,
            "How much of a core does it take?",
            "CPU of Shipper on its hosts: the median host, and the worst.",
            "The worst far above the median: that host writes far more, or its lines are very long; see its service's log volume.",
            width=8,
        ),
        [kit.prom(f"quantile(0.5, {cpu})", "median host"), kit.prom(f"max({cpu})", "worst host")],
        unit=looks.PERCENT,
    )


def memory(fleet: Fleet) -> model.Panel:
    """Memory and spool."""
    memory, spool = fleet.alive(names.RESIDENT_MEMORY), fleet.alive(names.SPOOL_BYTES)
    return kit.timeseries(
        Ask(
            14,
            "How much memory and disk?",
            "Resident memory of Shipper on the median and the worst host, and the largest spool on disk.",
            "A spool that grows: a destination takes nothing, see above. Memory that grows for days: tell us, with `shipper status`.",
            width=8,
        ),
        [
            kit.prom(f"quantile(0.5, {memory})", "memory, median host"),
            kit.prom(f"max({memory})", "memory, worst host"),
            kit.prom(f"max({spool})", "spool, worst host"),
        ],
        unit=looks.BYTES,
    )


def held(fleet: Fleet) -> model.Panel:
    """Streams and open files."""
    streams, files = fleet.alive(names.STREAMS), fleet.alive(names.OPEN_FILES)
    return kit.timeseries(
        Ask(
            15,
            "How much does it keep track of?",
            "Streams (files and spools that are read) and open files, on the host with most.",
            "Streams that only grow: log files are made and never removed; rotate them, or narrow `files.include`.",
            width=8,
        ),
        [kit.prom(f"max({streams})", "streams"), kit.prom(f"max({files})", "open files")],
        unit=looks.COUNT,
    )
