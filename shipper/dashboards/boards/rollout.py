"""Rollout and rollback: is the machinery that deploys well? Deploys under way, how they went, and what hosts contradict."""

from shipper.dashboards import kit, names
from shipper.dashboards.boards.common import Words, markers, variables
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import Ask, Column, looks, of_row, of_series
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.sources import LOKI

SHOWN = 20
DEPLOYING, ROLLING_BACK = "1", "2"
_FORWARD, _BACK, _CAME_BACK = 'action!="rollback"', 'action="rollback"', 'episode!="1"'


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    words = _Deploys(config)
    made = kit.Board(
        uid=kit.ROLLOUT, title="Rollout and rollback", question="Do deploys and rollbacks run as they should?"
    )
    made.since = "now-24h"
    made.variables = variables(config, LOKI, generation=False)
    made.markers = markers(config, LOKI)
    made.row("Is a roll stuck?", [_now(words), _alerts(words), _progress(words)])
    made.row("How did the deploys go?", [_under_way(words), _hosts(words), _last(words), _tally(words)])
    made.row("What do the hosts contradict?", [_drift(words), _never_up(words), _again(words), _keepers(words)])
    return made


class _Deploys(Words):
    """Queries over what the deploy keeper keeps alive: a series a fact, its value the time it happened."""

    @property
    def key(self) -> str:
        """What tells deploys of a service apart."""
        return f"{self.config.labels.generation}, {self.config.labels.release}"

    def told(self, metric: str, *matchers: str, by: str = "") -> str:
        """When it happened, of each deploy that is kept."""
        return f"max by ({by or self.key}) ({self.here(metric, *matchers)})"

    def within(self, happened: str) -> str:
        """Those that happened in the time shown."""
        return f"{happened} > (time() - $__range_s)"


def _now(words: _Deploys) -> model.Panel:
    serving = words.here(names.HOSTS_COUNT)
    age = f"time() - max({words.here(names.NEWEST_STARTED)})"
    stuck = words.config.windows.rollout
    panel = kit.stat(
        Ask(
            1,
            "Is one under way?",
            "Generations that have hosts now; how long ago the newest began; and the share of all hosts that it has.",
            f"Two or more generations for longer than {duration(stuck)}: the roll is stuck; see what it waits for in your "
            "deploy tool, and the table beside this for hosts that never came.",
            width=8,
        ),
        [
            kit.number(f"count({serving} > 0) or vector(0)", "generations with hosts"),
            kit.number(age, "since the newest began"),
            kit.number(
                f"sum({serving} and on({words.by}) {words.here(names.NEWEST)}) / sum({serving})",
                "of hosts are the newest",
            ),
        ],
        unit=looks.PLAIN,
        names=True,
        thresholds=looks.thresholds(looks.OLD),
    )
    assert panel.field_config is not None
    panel.field_config.overrides += [
        kit.override("A", thresholds=looks.thresholds(looks.OLD, (2, looks.NEW), (3, looks.WARNING))),
        kit.override("B", unit=looks.SECONDS),
        kit.override("C", unit=looks.PERCENT, decimals=0),
    ]
    return panel


def _alerts(words: Words) -> model.Panel:
    watched = "ShipperRolloutStuck|ShipperHostsNeverUp|ShipperImageDrift|ShipperRollback|ShipperGenerationWithdrawn"
    firing = words.here("ALERTS", f'alertname=~"{watched}"', 'alertstate="firing"')
    return kit.table(
        Ask(
            2,
            "What do the alerts say?",
            "Alerts about deploys that fire now, for the chosen service.",
            "Each has a runbook; open it from the alert. Nothing here and still slow: the deploy tool itself is what to look at.",
            width=6,
        ),
        [kit.now(f"count by (alertname, {words.config.labels.generation}) ({firing})")],
        [Column("alertname", "Alert"), Column(words.config.labels.generation, "Generation")],
        no_value="none fires",
    )


def _progress(words: _Deploys) -> model.Panel:
    labels = words.config.labels
    newest = f"topk(5, max by ({labels.generation}) ({words.here(names.STARTED)}))"
    of_newest = f"and on({labels.generation}) {newest}"
    hosts = f"sum by ({labels.generation}) ({words.here(names.HOSTS_COUNT)})"
    told = words.told(names.DESIRED_HOSTS, by=labels.generation)
    return kit.table(
        Ask(
            3,
            "How far is each?",
            "The newest five generations with their hosts now, and how many the deploy told of (where it did).",
            "Fewer than told for longer than a boot takes: open its hosts. More than one with hosts: the roll goes on, or stopped.",
            width=10,
        ),
        [
            kit.now(f"{newest} * 1000"),
            kit.now(f"({hosts} or 0 * {newest}) {of_newest}"),
            kit.now(f"{told} {of_newest}"),
        ],
        [
            Column(
                labels.generation,
                "Generation",
                link=kit.to(kit.HOSTS, "Its hosts", generation=of_row(labels.generation)),
            ),
            Column("A", "Started", looks.SINCE, width=130),
            Column("B", "Hosts now", looks.HOSTS, width=90),
            Column("C", "Told", looks.HOSTS, width=70),
        ],
        sort="Started",
    )


def _under_way(words: _Deploys) -> model.Panel:
    by = words.key

    def running(*matchers: str) -> str:
        ended = (words.told(metric) for metric in (names.DEPLOY_FINISHED, names.DEPLOY_WITHDRAWN))
        return " ".join(
            [
                words.told(names.DEPLOY_STARTED, 'inferred!="true"', *matchers),
                *(f"unless on({by}) {end}" for end in ended),
            ]
        )

    shown = f"topk({SHOWN}, ({running(_FORWARD)}) > bool 0)"
    back = f"topk({SHOWN}, ({running(_BACK)}) > bool 0) * {ROLLING_BACK}"
    return kit.states(
        Ask(
            4,
            "Which deploys were under way when?",
            "A bar from the start of a deploy to its finish, failure or withdrawal, as the pipeline told. Those recognised by their "
            "hosts alone have no end and are not drawn.",
            "A bar that does not end: the pipeline died or never said finish; `shipper deploy finish|fail` ends it. Two at once: "
            "the graphs below show which one won.",
            width=24,
            height=7,
        ),
        [
            kit.prom(shown, f"{{{{{words.config.labels.release}}}}} {{{{{words.config.labels.generation}}}}}"),
            kit.prom(back, f"back to {{{{{words.config.labels.release}}}}} {{{{{words.config.labels.generation}}}}}"),
        ],
        mappings=looks.words(
            {DEPLOYING: ("deploying", looks.NEW), ROLLING_BACK: ("rolling back", looks.BAD)},
        ),
        no_value="none in the time shown",
    )


def _hosts(words: Words) -> model.Panel:
    generation = words.config.labels.generation
    return kit.timeseries(
        Ask(
            5,
            "Does one replace the other?",
            "Hosts by generation, stacked: the newest eight of the time shown.",
            "The sum dips: capacity was taken before it was given; roll in smaller steps. A step that stays: see what it waits for.",
            width=8,
            height=9,
        ),
        [kit.prom(f"{words.here(names.HOSTS_COUNT)} and on({words.by}) {words.recent()}", f"{{{{{generation}}}}}")],
        unit=looks.HOSTS,
        stack=True,
        steps=True,
        links=[kit.to(kit.HOSTS, "Its hosts", generation=of_series(generation))],
    )


def _last(words: _Deploys) -> model.Panel:
    labels = words.config.labels
    by = f"{words.key}, action, from_release, inferred"
    started = f"topk({SHOWN}, {words.told(names.DEPLOY_STARTED, by=by)})"
    finished = f"max by ({words.key}, status) ({words.here(names.DEPLOY_FINISHED)})"
    of_last = f"and on({words.key}) {started}"
    took = f"({finished} - on({words.key}) group_left () max by ({words.key}) ({started}))"
    return kit.table(
        Ask(
            6,
            "How long did the last deploys take, and how did they end?",
            f"The last {SHOWN} deploys and rollbacks, newest first. Inferred: nobody told of it, the hosts showed it.",
            "Failed: its generation should have no hosts left. Withdrawn: taken back before it replaced the other. Took ever longer: "
            "compare how its hosts came up.",
            width=16,
            height=9,
        ),
        [
            kit.now(f"{started} * 1000"),
            kit.now(f"{took} {of_last}"),
            kit.now(f"{words.told(names.DEPLOY_WITHDRAWN)} * 1000 {of_last}"),
        ],
        [
            Column("A", "Started", looks.SINCE, width=120),
            Column("action", "What", width=80),
            Column(labels.release, "Release"),
            Column("from_release", "Before it"),
            Column(
                labels.generation,
                "Generation",
                link=kit.to(kit.COMPARE, "Compare it with the one before", generation=of_row(labels.generation)),
            ),
            Column("status", "End", width=90),
            Column("B", "Took", looks.SECONDS, width=80),
            Column("C", "Withdrawn", looks.SINCE, width=110),
            Column("inferred", "Inferred", width=80),
        ],
        sort="Started",
        no_value="no deploy is known",
    )


def _tally(words: _Deploys) -> model.Panel:
    def count(metric: str, *matchers: str) -> str:
        return f"count({words.within(words.told(metric, *matchers))}) or vector(0)"

    return kit.stat(
        Ask(
            7,
            "How often, in the time shown?",
            "Deploys, rollbacks, withdrawals and failed deploys whose moment lies in the time shown (at most 14 days are kept).",
            "More rollbacks and withdrawals than you like: SLO and change shows what they cost, Generations which they were.",
            width=24,
            height=4,
        ),
        [
            kit.number(count(names.DEPLOY_STARTED, 'action="deploy"'), "deploys"),
            kit.number(count(names.DEPLOY_STARTED, _BACK), "rollbacks"),
            kit.number(count(names.DEPLOY_WITHDRAWN), "withdrawals"),
            kit.number(count(names.DEPLOY_FINISHED, 'status="failed"'), "failed"),
        ],
        unit=looks.COUNT,
        names=True,
    )


def _drift(words: Words) -> model.Panel:
    release = words.config.labels.release
    info = words.here(names.HOST_INFO)
    alive = f"({info} and present_over_time({info}[{duration(words.config.windows.present)}]))"
    hosts = f"count by ({release}, image) ({alive})"
    return kit.table(
        Ask(
            8,
            "Does one release run from two images?",
            "Releases whose hosts run different images now, with the hosts of each image.",
            "A tag was pushed again, or a node kept an old image: pin by digest, replace the hosts of the smaller group.",
            height=7,
        ),
        [kit.now(f"topk({SHOWN}, {hosts} and on({release}) (count by ({release}) ({hosts}) > 1))")],
        [Column(release, "Release"), Column("image", "Image"), Column("A", "Hosts", looks.HOSTS, width=80)],
        sort="Hosts",
        no_value="no: one image each",
    )


def _never_up(words: _Deploys) -> model.Panel:
    generation = words.config.labels.generation
    told = words.told(names.DESIRED_HOSTS, by=generation)
    peak = f"max by ({generation}) (max_over_time({words.here(names.HOSTS_COUNT)}[$__range]))"
    missing = f"topk({SHOWN}, {told} - on({generation}) ({peak} or 0 * {told}) > 0)"
    return kit.table(
        Ask(
            9,
            "Which hosts never came up?",
            "Generations that never had as many hosts, in the time shown, as their deploy told of, and how many were missing.",
            "Look where hosts boot (console output, pod events, quota): a host that never ran Shipper cannot say why.",
            height=7,
        ),
        [kit.now(missing), kit.now(f"{told} and on({generation}) {missing}")],
        [
            Column(
                generation,
                "Generation",
                link=kit.to(kit.HOSTS, "Its hosts", generation=of_row(generation)),
            ),
            Column("A", "Missing", looks.HOSTS, width=90),
            Column("B", "Told", looks.HOSTS, width=80),
        ],
        sort="Missing",
        no_value="none that was told of",
    )


def _again(words: _Deploys) -> model.Panel:
    by = f"{words.config.labels.generation}, {words.config.labels.release}, episode"
    return kit.table(
        Ask(
            10,
            "Which generation came back under its old name?",
            "Generations that became the newest again after another one: an undo, or an old image launched again. Each time counts "
            "as an episode with a start of its own.",
            "This was a rollback, whatever it was called: tell of it by `shipper deploy rollback`, so that it is marked as one.",
            height=6,
        ),
        [kit.now(f"topk({SHOWN}, max by ({by}) ({words.here(names.EPISODE_STARTED, _CAME_BACK)})) * 1000")],
        [
            Column("A", "Since", looks.SINCE, width=130),
            Column(words.config.labels.generation, "Generation"),
            Column(words.config.labels.release, "Release"),
            Column("episode", "Episode", width=90),
        ],
        sort="Since",
        no_value="none",
    )


def _keepers(words: Words) -> model.Panel:
    return kit.table(
        Ask(
            11,
            "Who keeps the deploys in mind?",
            "The gateway that writes the deploy series now: exactly one, whichever of them holds the lease.",
            "None: no gateway, or none with an archive or a metrics destination; then markers come from the deploy log events. Two: "
            "they do not share an archive.",
            height=6,
        ),
        [kit.now(f"topk(5, max by (gateway) ({names.KEEPER_INFO}))")],
        [Column("gateway", "Gateway")],
        no_value="nobody",
    )
