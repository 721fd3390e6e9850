"""The chosen host: what it is, whether it is the host or its generation, and what it said last.

The third click of the path from a spike to a host's last words ends here (docs/dashboards.md).
"""

from shipper.dashboards import kit, names
from shipper.dashboards.boards.common import OF_ENVIRONMENT
from shipper.dashboards.boards.examples import CARRIED
from shipper.dashboards.boards.host_words import STATES, Hosts
from shipper.dashboards.kit import Ask, Column, chosen, looks, of_row
from shipper.dashboards.kit.sdk import model

LAST_WORDS, ELASTIC_LAST_WORDS = 10, 12


def about(hosts: Hosts) -> model.Panel:
    """The host as it described itself."""
    labels = hosts.config.labels
    kept = f"{hosts.instance}, {labels.generation}, {labels.release}, image, zone, host_type, shipper_version"

    def last(metric: str) -> str:
        return f"max by ({hosts.instance}) (last_over_time({hosts.here(metric, hosts.this)}[$__range]))"

    return kit.table(
        Ask(
            7,
            "What is this host, and how is it?",
            "The chosen host as it described itself: what it runs, where, since when, its last state, what it left at its end, and "
            "what waits on it while it lives.",
            "Compare image and zone with a host that is well. Bytes left: its drain was too short, or a destination too slow.",
            width=14,
            height=6,
        ),
        [
            kit.now(f"topk(1, max by ({kept}) (last_over_time({hosts.here(names.HOST_INFO, hosts.this)}[$__range])))"),
            kit.now(f"{last(names.HOST_STARTED)} * 1000"),
            kit.now(last(names.HOST_STATE)),
            kit.now(last(names.DRAIN_LEFT_BYTES)),
            kit.now(f"sum by ({hosts.instance}) ({hosts.here(names.BACKLOG_BYTES, hosts.this)})"),
        ],
        [
            Column(hosts.instance, "Host"),
            Column(labels.generation, "Generation"),
            Column(labels.release, "Release"),
            Column("image", "Image"),
            Column("zone", "Zone"),
            Column("host_type", "Type"),
            Column("shipper_version", "Shipper"),
            Column("B", "Born", looks.SINCE),
            Column("C", "State", mappings=looks.words(STATES)),
            Column("D", "Left behind", looks.BYTES),
            Column("E", "Waits", looks.BYTES),
        ],
        no_value="no host chosen: click one",
    )


def against(hosts: Hosts) -> model.Panel:
    """The host beside its generation."""
    errors = hosts.counted(hosts.config.requests.errors, "$__rate_interval", by="instance")
    total = hosts.counted(hosts.config.requests.requests, "$__rate_interval", by="instance")
    this = f'label_replace(vector(1), "{hosts.instance}", "$instance", "", "")'
    return kit.timeseries(
        Ask(
            8,
            "Is it worse than its generation?",
            "Share of failed requests: the chosen host in red, all hosts of the generation together in blue.",
            "Only the red line rises: drain this host. Both rise alike: it is not the host.",
            width=10,
            height=6,
        ),
        [
            kit.prom(f"sum({errors}) / (sum({total}) > 0)", "its generation"),
            kit.prom(
                f"sum({errors} and on({hosts.instance}) {this}) / (sum({total} and on({hosts.instance}) {this}) > 0)",
                "this host",
            ),
        ],
        unit=looks.PERCENT,
        colors={"A": looks.fixed(looks.NEW), "B": looks.fixed(looks.BAD)},
    )


def _trace(column: str) -> model.DashboardLink:
    return kit.to(
        kit.TRIAGE,
        "This trace and its log lines",
        generation=chosen("generation"),
        trace=of_row(column),
        also=CARRIED,
    )


def last_words() -> model.Panel:
    """Its last lines."""
    return kit.table(
        Ask(
            LAST_WORDS,
            "What did it write last?",
            "The last lines of the chosen host, the newest first, from all of its services.",
            "Read upwards from the end. Nothing about an end: it was killed from outside; see what Shipper knew of it beside this.",
            width=16,
            height=11,
        ),
        [kit.log_lines(f'{OF_ENVIRONMENT} | shipper_host="$instance" | scope_name!="shipper.account"', limit=200)],
        [
            Column("Time", "When", width=180),
            Column("severity_text", "Level", width=80),
            Column("Line", "Line"),
            Column("trace_id", "Trace", link=_trace("trace_id"), width=120),
        ],
        first=[kit.parts_of("labels")],
        no_value="no host chosen, or it wrote nothing in the time shown",
    )


def accounts() -> model.Panel:
    """What its Shipper stated of its life."""
    return kit.table(
        Ask(
            11,
            "What did Shipper say of its end?",
            "What the host's Shipper stated of the life itself: its birth, its accounts of what was read and delivered, its farewell.",
            "No farewell at the end: it fell silent. A farewell with bytes left: `shipper audit` names what is missing.",
            width=8,
            height=11,
        ),
        [kit.log_lines(f'{OF_ENVIRONMENT} | shipper_host="$instance" | scope_name="shipper.account"', limit=20)],
        [Column("Time", "When", width=180), Column("Line", "Statement")],
        no_value="no host chosen, or its statements are not kept in Loki",
    )


def elastic_last_words() -> model.Panel:
    """Its last lines, where they are kept in Elasticsearch or OpenSearch."""
    lucene = (
        'resource.attributes.service.name:"$service" AND resource.attributes.deployment.environment.name:"$env"'
        ' AND resource.attributes.shipper.host:"$instance"'
    )
    return kit.table(
        Ask(
            ELASTIC_LAST_WORDS,
            "What did it write at the end?",
            "The last documents of the chosen host, the newest first, from all of its services.",
            "Read upwards from the end. Nothing about an end: it was killed from outside; ask the platform.",
            width=24,
            height=11,
        ),
        [kit.elastic_lines(lucene, limit=200)],
        [
            Column("@timestamp", "When", width=180),
            Column("severity_text", "Level", width=80),
            Column("body.text", "Line"),
            Column("trace_id", "Trace", link=_trace("trace_id"), width=120),
        ],
        no_value="no host chosen, or it wrote nothing in the time shown",
    )
