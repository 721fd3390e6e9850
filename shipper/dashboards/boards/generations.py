"""Generations, the scoreboard: how did each deploy start, those that were withdrawn or rolled back included.

Everything here is read from what rules record while a generation is young, so a row costs a few series however many hosts the
generation had, and a generation withdrawn at minute 20 is not missing (survivors alone would look fine).
"""

from shipper.dashboards import kit, names
from shipper.dashboards.boards import verdicts
from shipper.dashboards.boards.common import ACCUSING, Words, markers, variables
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import Ask, Column, looks, of_row
from shipper.dashboards.kit.sdk import model

ROWS = 50
IN_RANGE = "time() - $__range_s"


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    words = Words(config)
    made = kit.Board(
        uid=kit.GENERATIONS, title="Generations", question="How did each deploy start?", since=f"now-{words.history}"
    )
    made.variables = variables(config, generation=False)
    made.markers = markers(config)
    made.row("How did each deploy start?", [_scoreboard(words)])
    made.row(
        "Are we getting better at it?",
        [_failures(words), _frequency(words), _detection(words), _restoring(words), _starts(words), _sizes(words)],
    )
    return made


def _first_ratio(words: Words, age: str) -> str:
    return f"{words.first(names.ERRORS_FIRST, age)} / ({words.first(names.REQUESTS_FIRST, age)} > 0)"


def _scoreboard(words: Words) -> model.Panel:
    generation = words.config.labels.generation
    release = words.config.labels.release
    short, long = words.config.windows.ages
    started = f"topk({ROWS}, max by ({generation}) ({words.lasting(names.STARTED)}))"
    shown = f"and on({generation}) {started}"
    ratio = f"({_first_ratio(words, long)})"
    push = f"{words.config.intervals.evaluate:g}"
    age = f"max_over_time({words.here(names.AGE)}[{words.history}])"

    def of_each(expr: str) -> kit.Query:
        return kit.now(f"max by ({generation}) ({expr}) {shown}")

    def total(counted: str, rate: str) -> kit.Query:
        """Counted since birth where that was the whole life; else the sum of rates, which is off by a percent or so."""
        young = f"{words.first(counted, long)} and on({words.by}) ({age} <= {words.config.windows.first_long:g})"
        return of_each(f"({young}) or on({words.by}) sum_over_time({words.here(rate)}[{words.history}]) * {push}")

    action = f"max by ({generation}, action) ({words.here(names.DEPLOY_STARTED)})"
    return kit.table(
        Ask(
            1,
            "Which generation started badly?",
            f"The newest {ROWS} generations of the last {words.history}. Counts are of the whole life, exact where the age is "
            f"within {long}, else from rates; ratios are of the first {short} and {long} since birth. 'Times the median' sets the "
            f"first {long} against the median of all of them. An age is counted until "
            f"{duration(words.config.windows.remember)} after the last host.",
            "Sort by 'Times the median'; click the generation to compare it with the one before it at the same age.",
            width=24,
            height=16,
        ),
        [
            kit.now(f"{started} * 1000"),
            kit.now(f"max by ({generation}, {release}) ({words.release()}) {shown}"),
            kit.now(f"topk by ({generation}) (1, {action}) * 0 + 1 {shown}"),
            of_each(age),
            of_each(f"max_over_time({words.here(names.HOSTS_COUNT)}[{words.history}])"),
            total(names.REQUESTS_FIRST, names.REQUESTS_RATE),
            total(names.ERRORS_FIRST, names.ERRORS_RATE),
            of_each(_first_ratio(words, short)),
            of_each(ratio),
            of_each(f"{ratio} / scalar(quantile(0.5, {ratio}) > 0)"),
            of_each(verdicts.worst(words)),
            of_each(f"{words.here(names.DEPLOY_WITHDRAWN)} * 1000"),
        ],
        [
            Column("A", "Started", looks.WHEN, width=170),
            Column(
                generation,
                "Generation",
                link=kit.to(kit.COMPARE, "Compare with the one before, at the same age", generation=of_row(generation)),
            ),
            Column(release, "Release", link=kit.to(kit.TRIAGE, "Open it in Triage", generation=of_row(generation))),
            Column("action", "What", width=90),
            Column("D", "Age reached", looks.SECONDS, width=110),
            Column("E", "Hosts, most", looks.HOSTS, width=100, decimals=0),
            Column("F", "Requests", looks.COUNT, width=120, decimals=1),
            Column("G", "Errors", looks.COUNT, width=110, decimals=1),
            Column("H", f"Errors, first {short}", looks.PERCENT, width=130, decimals=2),
            Column("I", f"Errors, first {long}", looks.PERCENT, width=130, decimals=2),
            Column(
                "J",
                "Times the median",
                looks.FACTOR,
                width=140,
                decimals=1,
                thresholds=looks.thresholds(looks.OLD, (words.config.thresholds.young_factor, looks.BAD)),
            ),
            Column("K", "Worst verdict", width=140, thresholds=looks.thresholds(looks.OLD), mappings=verdicts.WORDS),
            Column("L", "Withdrawn", looks.WHEN, width=170),
        ],
        sort="Started",
    )


def _count(words: Words, metric: str, *matchers: str) -> str:
    """How many of these events there were in the shown time, told and inferred ones."""
    return f"(count({words.here(metric, *matchers)} > {IN_RANGE}) or vector(0))"


def _failures(words: Words) -> model.Panel:
    deploys = _count(words, names.DEPLOY_STARTED, 'action!="rollback"')
    rollbacks = _count(words, names.DEPLOY_STARTED, 'action="rollback"')
    failed = f"{rollbacks} + {_count(words, names.DEPLOY_WITHDRAWN)}"
    return kit.stat(
        Ask(
            2,
            "Which share of deploys failed?",
            "Rollbacks and withdrawals to deploys in the shown time.",
            "Compare with last month. A rise: read the worst rows above for what they have in common.",
            width=6,
            height=5,
        ),
        [kit.number(f"({failed}) / ({deploys} > 0)", "Failed")],
        unit=looks.PERCENT,
        no_value="no deploys",
    )


def _frequency(words: Words) -> model.Panel:
    deploys = _count(words, names.DEPLOY_STARTED, 'action!="rollback"')
    return kit.stat(
        Ask(
            3,
            "How often is it deployed?",
            "Deploys a day in the shown time, without rollbacks.",
            "Few and large deploys fail more: look whether the failed ones above came after long pauses.",
            width=6,
            height=5,
        ),
        [kit.number(f"{deploys} / ($__range_s / 86400)", "Deploys a day")],
        unit=looks.COUNT,
    )


def _detection(words: Words) -> model.Panel:
    firing = words.here("ALERTS_FOR_STATE", f'alertname=~"{ACCUSING}"')
    known = f"min by ({words.by}) (min_over_time({firing}[$__range]))"
    began = f"max by ({words.by}) (max_over_time({words.here(names.STARTED)}[$__range]))"
    return kit.stat(
        Ask(
            4,
            "How long until an alert knew?",
            "From the start of a bad generation to the moment its alert's condition first held: the median of the shown time.",
            "Longer than a few minutes: too little traffic to judge by, or the errors began later than the deploy.",
            width=6,
            height=5,
        ),
        [kit.number(f"quantile(0.5, {known} - on({words.by}) {began})", "Until an alert knew")],
        unit=looks.SECONDS,
        no_value="no bad generation",
    )


def _restoring(words: Words) -> model.Panel:
    release = words.config.labels.release
    rollbacks = words.here(names.DEPLOY_STARTED, 'action="rollback"')
    undone = f"max by (from_release) ({rollbacks} > {IN_RANGE})"
    came = words.here(names.DEPLOY_STARTED, 'action!="rollback"')
    bad = f'max by (from_release) (label_replace({came}, "from_release", "$1", "{release}", "(.*)"))'
    return kit.stat(
        Ask(
            5,
            "How long did a bad release stay?",
            "From the start of a deploy to the start of the rollback that took it back: the median of the shown time.",
            "Much longer than the alert needed: the way back is slow or nobody dares; rehearse it.",
            width=6,
            height=5,
        ),
        [kit.number(f"quantile(0.5, {undone} - on(from_release) {bad})", "Until the rollback")],
        unit=looks.SECONDS,
        no_value="no rollback",
    )


def _starts(words: Words) -> model.Panel:
    long = words.config.windows.ages[1]
    chosen = f'age="{long}"'
    errors, requests = (words.here(name, chosen) for name in (names.ERRORS_FIRST, names.REQUESTS_FIRST))
    newest = f"and on({words.by}) {words.here(names.NEWEST)}"
    return kit.timeseries(
        Ask(
            6,
            f"Are the first {long} of our deploys getting worse?",
            f"Error ratio since birth of the newest generation while it is younger than {long}, and the median of the generations "
            "before it (grey).",
            "The blue line above the grey one for several deploys in a row: it is not bad luck. Open the worst one from the table.",
        ),
        [
            kit.prom(
                f"sum({errors} {newest}) / (sum({requests} {newest}) >= {words.config.thresholds.requests})", "newest"
            ),
            kit.prom(f"max({words.here(names.FIRST_MEDIAN_PREV)})", "median before"),
        ],
        unit=looks.PERCENT,
        colors={"A": looks.fixed(looks.NEW), "B": looks.fixed(looks.OLD)},
        no_value="too few requests to say",
    )


def _sizes(words: Words) -> model.Panel:
    return kit.timeseries(
        Ask(
            7,
            "How many generations is that judged by?",
            "Generations before the newest whose first minutes are known and had requests enough.",
            f"Below {words.config.thresholds.predecessors}: there is no median to judge by, and only the alerts on objectives help.",
        ),
        [kit.prom(f"max({words.here(names.FIRST_COUNT_PREV)})", "generations before")],
        unit=looks.COUNT,
        steps=True,
        colors={"A": looks.fixed(looks.OLD)},
    )
