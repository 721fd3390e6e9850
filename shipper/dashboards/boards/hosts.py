"""Hosts: who lives, who died, and why. The third click of the path ends here, at one host's last words."""

from shipper.dashboards import kit, names
from shipper.dashboards.boards.common import OF_ENVIRONMENT, Words, markers, variables
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import Ask, Column, chosen, looks, of_row, of_series
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.sources import ELASTICSEARCH, LOKI, TEMPO

LAST_WORDS, ELASTIC_LAST_WORDS = 10, 12
BARS, ROWS = 40, 100
SHORT_LIFE = 600
STATES = {
    "1": ("running", looks.GOOD),
    "2": ("noticed: its end is announced", looks.WARNING),
    "3": ("draining", looks.NEW),
    "4": ("drained", looks.OLD),
    "5": ("expired: its time was too short", looks.BAD),
}
# What the last state of a host that is gone says of its end.
ENDS = {
    "1": ("fell silent", looks.BAD),
    "2": ("fell silent after a notice", looks.BAD),
    "3": ("fell silent while draining", looks.BAD),
    "4": ("drained", looks.GOOD),
    "5": ("expired: its time was too short", looks.BAD),
}
CARRIED = {variable.variable: chosen(variable.variable) for variable in (LOKI, TEMPO, ELASTICSEARCH)}


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    hosts = _Hosts(config)
    made = kit.Board(uid=kit.HOSTS, title="Hosts", question="Who lives, who died, and why?")
    made.variables = [
        *variables(config, LOKI, ELASTICSEARCH, TEMPO),
        kit.typed("instance", "Host", "A host's id; filled by a click on a host."),
    ]
    made.markers = markers(config, LOKI)
    made.row("Who lives, and who died?", [_counts(hosts), _ages(hosts), _lives(hosts), _ended(hosts)])
    made.row("How does a generation come up, and who fails in it?", [_arrivals(hosts), _worst(hosts)])
    made.row("The chosen host", [_about(hosts), _against(hosts)])
    made.row("Its last words (Loki)", [_last_words(), _accounts()], needs=LOKI)
    made.row("Its last words (Elasticsearch, OpenSearch)", [_elastic_last_words()], needs=ELASTICSEARCH)
    return made


class _Hosts(Words):
    """Queries over the hosts of the chosen generation, a series a host."""

    @property
    def instance(self) -> str:
        """The label that tells hosts apart."""
        return self.config.labels.instance

    def by_host(self, metric: str, *matchers: str) -> str:
        """The metric of every host that is there now: one that fell silent is gone after three pushes."""
        chosen_ones = self.here(metric, self.one, *matchers)
        present = f"present_over_time({chosen_ones}[{duration(self.config.windows.present)}])"
        return f"max by ({self.instance}) ({chosen_ones} and {present})"

    def known(self, metric: str) -> str:
        """The metric's last value of every host that was there at some time shown."""
        return f"max by ({self.instance}) (last_over_time({self.here(metric, self.one)}[$__range]))"

    def born(self) -> str:
        """When each host that was there was born."""
        return self.known(names.HOST_STARTED)

    def heard(self) -> str:
        """When each was last heard of, to the push; a life too short for that to be seen ended when it was born."""
        stamps = f"timestamp({self.here(names.HOST_INFO, self.one)})"
        seen = f"max_over_time({stamps}[$__range:{duration(self.config.intervals.push)}])"
        return f"(max by ({self.instance}) ({seen}) or {self.born()})"

    def ended(self) -> str:
        """When those that are gone were born; the youngest where they are many."""
        return f"topk({ROWS}, {self.born()} unless on({self.instance}) {self.by_host(names.HOST_INFO)})"

    @property
    def this(self) -> str:
        """The matcher of the chosen host."""
        return f'{self.instance}="$instance"'


def _counts(hosts: _Hosts) -> model.Panel:
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


def _ages(hosts: _Hosts) -> model.Panel:
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


def _lives(hosts: _Hosts) -> model.Panel:
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


def _ended(hosts: _Hosts) -> model.Panel:
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


def _arrivals(hosts: _Hosts) -> model.Panel:
    generation = hosts.config.labels.generation
    started = f"max by ({generation}) (last_over_time({hosts.here(names.STARTED)}[$__range]))"
    born = f"max by ({generation}, {hosts.instance}) (last_over_time({hosts.here(names.HOST_STARTED)}[$__range]))"
    after = f"({born} - on({generation}) group_left () {started})"
    newest = f"topk(20, {started})"
    of_newest = f"and on({generation}) {newest}"
    return kit.table(
        Ask(
            5,
            "How fast does a generation come up?",
            "The newest twenty generations: how many hosts each ever had in the time shown, and how long after its start half of "
            "them, and the last one, were born.",
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


def _worst(hosts: _Hosts) -> model.Panel:
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


def _about(hosts: _Hosts) -> model.Panel:
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


def _against(hosts: _Hosts) -> model.Panel:
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


def _open(instance: str) -> model.DashboardLink:
    return kit.to(kit.HOSTS, "Its last words", generation=chosen("generation"), instance=instance, also=CARRIED)


def _trace(column: str) -> model.DashboardLink:
    return kit.to(
        kit.TRIAGE,
        "This trace and its log lines",
        generation=chosen("generation"),
        trace=of_row(column),
        also=CARRIED,
    )


def _last_words() -> model.Panel:
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


def _accounts() -> model.Panel:
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


def _elastic_last_words() -> model.Panel:
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
