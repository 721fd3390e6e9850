"""Hosts: who lives, who died, and why. A click on one of them shows its last words below."""

from shipper.dashboards import kit, names
from shipper.dashboards.boards import one_host
from shipper.dashboards.boards.common import markers, variables
from shipper.dashboards.boards.examples import CARRIED
from shipper.dashboards.boards.host_words import ROWS, STATES, Hosts
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import Ask, Column, chosen, looks, of_row, of_series
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.sources import ELASTICSEARCH, LOKI, TEMPO

BARS = 40
SHORT_LIFE = 600
SKEW = 60  # seconds that a host's clock may be behind that of who told when its generation began
# What the last state of a host that is gone says of its end.
ENDS = {
    "1": ("fell silent", looks.BAD),
    "2": ("fell silent after a notice", looks.BAD),
    "3": ("fell silent while draining", looks.BAD),
    "4": ("drained", looks.GOOD),
    "5": ("expired: its time was too short", looks.BAD),
}


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    hosts = Hosts(config)
    made = kit.Board(uid=kit.HOSTS, title="Hosts", question="Who lives, who died, and why?")
    made.variables = [
        *variables(config, LOKI, ELASTICSEARCH, TEMPO),
        kit.typed("instance", "Host", "A host's id; filled by a click on a host."),
    ]
    made.markers = markers(config, LOKI)
    made.row("Who lives, and who died?", [_counts(hosts), _ages(hosts), _lives(hosts), _ended(hosts)])
    made.row("How does a generation come up, and who fails in it?", [_arrivals(hosts), _worst(hosts)])
    made.row("The chosen host", [one_host.about(hosts), one_host.against(hosts)])
    made.row("Its last words (Loki)", [one_host.last_words(), one_host.accounts()], needs=LOKI)
    made.row("Its last words (Elasticsearch, OpenSearch)", [one_host.elastic_last_words()], needs=ELASTICSEARCH)
    return made


def _counts(hosts: Hosts) -> model.Panel:
    window = duration(hosts.config.windows.ended)
    silent = hosts.here(names.HOSTS_SILENT, hosts.one)
    desired = f"max({hosts.here(names.DESIRED_HOSTS, hosts.one)})"
    peak = f"max(max_over_time({hosts.here(names.HOSTS_COUNT, hosts.one)}[$__range]))"
    panel = kit.stat(
        Ask(
            1,
            "How many are there, and are any missing?",
            "Hosts of the chosen generation: alive now; told by the deploy but never seen (needs a deploy event with "
            f"--desired-hosts); heard of in the last {window}; and of those, fallen silent without a farewell.",
            "Never seen: look at the cloud's console and at what boots, no telemetry can say more. Silent: find them in the table "
            "of ends below, and ask the platform why they died.",
            width=12,
            height=6,
        ),
        [
            kit.number(f"sum({hosts.here(names.HOSTS_COUNT, hosts.one)}) or vector(0)", "alive"),
            kit.number(f"clamp_min({desired} - {peak}, 0) or {desired}", "never seen"),
            kit.number(f"sum({hosts.here(names.HOSTS_SEEN, hosts.one)}) or vector(0)", "heard of"),
            kit.number(f"sum({silent}) or vector(0)", "fell silent"),
        ],
        unit=looks.HOSTS,
        names=True,
        thresholds=looks.thresholds(looks.OLD),
        no_value="not told",
    )
    assert panel.field_config is not None
    red = looks.thresholds(looks.GOOD, (1, looks.BAD))
    panel.field_config.overrides += [kit.override("B", thresholds=red), kit.override("D", thresholds=red)]
    return panel


def _ages(hosts: Hosts) -> model.Panel:
    age = f"(time() - {hosts.by_host(names.HOST_STARTED)})"
    spans = [("under 10 min", f"{age} < 600"), ("under 1 h", f"600 <= {age} < 3600")]
    spans += [("under 1 day", f"3600 <= {age} < 86400"), ("older", f"{age} >= 86400")]
    return kit.stat(
        Ask(
            2,
            "How old are they?",
            "Hosts of the chosen generation that are alive now, by the time since their birth.",
            "Many young ones without a deploy: something kills and replaces them; sort the ends below by how long they lived.",
            width=12,
            height=6,
        ),
        [kit.number(f"count({within}) or vector(0)", title) for title, within in spans],
        unit=looks.HOSTS,
        names=True,
    )


def _lives(hosts: Hosts) -> model.Panel:
    newest = f"max_over_time({hosts.here(names.HOST_STARTED, hosts.one)}[$__range] @ end())"
    return kit.states(
        Ask(
            3,
            "Who was in which state when?",
            f"The {BARS} youngest hosts of the chosen generation, a bar each, from birth to end; the last colour is how it ended.",
            "A bar that ends green fell silent: click it for its last words. Long draining bars: give drains more time, or see "
            "Shipping for a slow destination.",
            width=24,
            height=10,
        ),
        [
            kit.prom(
                f"max by ({hosts.instance}) (last_over_time({hosts.here(names.HOST_STATE, hosts.one)}[$__rate_interval]))"
                f" and on({hosts.instance}) topk({BARS}, max by ({hosts.instance}) ({newest}))",
                f"{{{{{hosts.instance}}}}}",
            )
        ],
        mappings=looks.words(STATES),
        links=[_open(of_series(hosts.instance))],
        no_value="no hosts",
    )


def _ended(hosts: Hosts) -> model.Panel:
    of_ended = f"and on({hosts.instance}) {hosts.ended()}"
    return kit.table(
        Ask(
            4,
            "Who ended, and how?",
            f"Hosts of the chosen generation that are gone, the latest first (at most {ROWS}): how they ended, how long they "
            "lived (to the push), and what they had not delivered when they left.",
            "Fell silent: click for the last words, then ask the platform. Expired with bytes left: raise the drain's deadline. "
            f"Lives under {duration(SHORT_LIFE)}: something kills hosts at birth, look for what they have in common.",
            width=24,
            height=9,
        ),
        [
            kit.now(f"{hosts.heard()} * 1000 {of_ended}"),
            kit.now(f"{hosts.known(names.HOST_STATE)} {of_ended}"),
            kit.now(f"clamp_min({hosts.heard()} - on({hosts.instance}) {hosts.ended()}, 0)"),
            kit.now(f"{hosts.known(names.DRAIN_LEFT_BYTES)} {of_ended}"),
        ],
        [
            Column(hosts.instance, "Host", link=_open(of_row(hosts.instance))),
            Column("A", "Last heard", looks.SINCE, width=120),
            Column("B", "End", width=150, mappings=looks.words(ENDS)),
            Column(
                "C",
                "Lived",
                looks.SECONDS,
                width=90,
                thresholds=looks.thresholds(looks.WARNING, (SHORT_LIFE, looks.OLD)),
            ),
            Column("D", "Left behind", looks.BYTES, width=100, thresholds=looks.thresholds(looks.OLD, (1, looks.BAD))),
        ],
        sort="Last heard",
        no_value="nobody ended",
    )


def _arrivals(hosts: Hosts) -> model.Panel:
    generation = hosts.config.labels.generation
    started = f"max by ({generation}) (last_over_time({hosts.here(names.STARTED)}[$__range]))"
    born = f"max by ({generation}, {hosts.instance}) (last_over_time({hosts.here(names.HOST_STARTED)}[$__range]))"
    since = f"{born} - on({generation}) group_left () {started}"
    after = f"clamp_min({since} >= -{SKEW}, 0)"  # others are of a time before, when the generation had its name already
    newest = f"topk(20, {started})"
    of_newest = f"and on({generation}) {newest}"
    return kit.table(
        Ask(
            5,
            "How fast does a generation come up?",
            "The newest twenty generations: how many hosts each ever had in the time shown, and how long after its start half of "
            "them, and the last one, were born. Of one that came back under its name: since it came back.",
            "The last one much later than the others in the row: a roll that waited, see Rollout. All late: images that boot "
            "slowly, or a cloud without capacity.",
            height=9,
        ),
        [
            kit.now(f"{newest} * 1000"),
            kit.now(f"count by ({generation}) ({born}) {of_newest}"),
            kit.now(f"quantile by ({generation}) (0.5, {after}) {of_newest}"),
            kit.now(f"max by ({generation}) ({after}) {of_newest}"),
        ],
        [
            Column(
                generation,
                "Generation",
                link=kit.to(kit.HOSTS, "Its hosts", generation=of_row(generation), also=CARRIED),
            ),
            Column("A", "Started", looks.SINCE, width=120),
            Column("B", "Hosts", looks.HOSTS, width=80),
            Column("C", "Half born after", looks.SECONDS, width=120),
            Column("D", "Last born after", looks.SECONDS, width=120),
        ],
        sort="Started",
    )


def _worst(hosts: Hosts) -> model.Panel:
    over = duration(hosts.config.windows.role)
    errors = hosts.counted(hosts.config.requests.errors, over, by="instance")
    total = hosts.counted(hosts.config.requests.requests, over, by="instance")
    worst = f"topk(10, {errors} / ({total} > 0) > 0)"
    return kit.table(
        Ask(
            6,
            "Which hosts fail the largest share?",
            f"The ten hosts of the chosen generation with the highest error ratio in the last {over}, with their requests.",
            "One far above the others, with requests enough: drain that host. All alike: it is the generation, go to Compare.",
            height=9,
        ),
        [kit.now(worst), kit.now(f"{total} and on({hosts.instance}) {worst}")],
        [
            Column(hosts.instance, "Host", link=_open(of_row(hosts.instance))),
            Column("A", "Error ratio", looks.PERCENT, width=120, decimals=2),
            Column("B", "Requests", looks.COUNT, width=100, decimals=0),
        ],
        sort="Error ratio",
        no_value="no errors",
    )


def _open(instance: str) -> model.DashboardLink:
    return kit.to(kit.HOSTS, "Its last words", generation=chosen("generation"), instance=instance, also=CARRIED)
