"""Rollout and rollback: is the machinery that deploys well? Deploys under way, how they went, and what hosts contradict."""

from shipper.dashboards import kit, names
from shipper.dashboards.boards import contradictions
from shipper.dashboards.boards.common import Words, markers, variables
from shipper.dashboards.boards.deploy_words import SHOWN, Deploys
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import Ask, Column, looks, of_row, of_series
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.sources import LOKI

DEPLOYING, ROLLING_BACK = "1", "2"
_FORWARD, _BACK = 'action!="rollback"', 'action="rollback"'


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    words = Deploys(config)
    made = kit.Board(
        uid=kit.ROLLOUT, title="Rollout and rollback", question="Do deploys and rollbacks run as they should?"
    )
    made.since = "now-24h"
    made.variables = variables(config, LOKI, generation=False)
    made.markers = markers(config, LOKI)
    made.row("Is a roll stuck?", [_now(words), _alerts(words), _progress(words)])
    made.row("How did the deploys go?", [_under_way(words), _hosts(words), _last(words), _tally(words)])
    made.row(
        "What do the hosts contradict?",
        [
            contradictions.drift(words),
            contradictions.never_up(words),
            contradictions.again(words),
            contradictions.keepers(words),
        ],
    )
    return made


def _now(words: Deploys) -> model.Panel:
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


def _progress(words: Deploys) -> model.Panel:
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


def _under_way(words: Deploys) -> model.Panel:
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


def _last(words: Deploys) -> model.Panel:
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


def _tally(words: Deploys) -> model.Panel:
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
