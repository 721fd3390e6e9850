"""SLO and change: what did change cost this month? For the weekly review, not for three in the morning."""

from shipper.dashboards import kit, names
from shipper.dashboards.boards.common import Words, markers, variables
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import Ask, Column, looks, of_row
from shipper.dashboards.kit.sdk import model

WORST, RELEASES = 5, 15


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    words = _Budget(config)
    made = kit.Board(uid=kit.SLO, title="SLO and change", question="What did change cost, and what is left to spend?")
    made.since = "now-7d"
    made.variables = variables(config, generation=False)
    made.markers = markers(config)
    made.row("How much is left?", [_left(words), _burning(words), _budget_of_change(words)])
    made.row("When was it spent?", [_burn(words), *_slow(words), _days(words)])
    made.row("By what?", [_deploys(words), _releases(words)])
    return made


class _Budget(Words):
    """Queries over the objective's period, from what is recorded: no raw series lives that long."""

    @property
    def allowed(self) -> str:
        """The share of requests that may fail."""
        return f"{1 - self.config.objective.availability:.10g}"

    @property
    def period(self) -> str:
        """The time the error budget is for."""
        return duration(self.config.objective.period)

    def summed(self, rate: str) -> str:
        """How many there were in the period: a recorded rate, times the seconds between two recordings."""
        return f"sum_over_time({self.here(rate)}[{self.period}]) * {self.config.intervals.evaluate:g}"

    def born_in(self, metric: str) -> str:
        """What was counted in the first minutes of each generation of the period, by generation."""
        chosen = self.here(metric, f'age="{self.config.windows.ages[1]}"')
        return f"sum by ({self.by}) (last_over_time({chosen}[{self.period}]))"

    def budget(self) -> str:
        """How many requests may fail in the period, by its traffic until now."""
        return f"(sum({self.summed(names.SERVICE_REQUESTS_RATE)}) * {self.allowed})"

    def release_of(self) -> str:
        """1 with the release, one series a generation of the period."""
        return f"topk by ({self.by}) (1, last_over_time({self.here(names.RELEASE_INFO)}[{self.period}]))"


def _left(words: _Budget) -> model.Panel:
    objective = words.config.objective
    failed = f"sum({words.summed(names.SERVICE_ERRORS_RATE)})"
    panel = kit.stat(
        Ask(
            1,
            "How much error budget is left?",
            f"{objective.availability:.6g} of requests are promised to succeed over {words.period}. Left of what may fail, and what "
            "failed against what may, counted from the traffic until now.",
            "Under a quarter: ship fixes only, and smaller steps; what spent it is in the tables at the bottom.",
            width=10,
            height=6,
        ),
        [
            kit.number(f"1 - {failed} / {words.budget()}", "left"),
            kit.number(failed, "failed"),
            kit.number(words.budget(), "may fail"),
        ],
        unit=looks.COUNT,
        names=True,
        thresholds=looks.thresholds(looks.OLD),
        no_value="no requests yet",
    )
    assert panel.field_config is not None
    limits = looks.thresholds(looks.BAD, (0, looks.WARNING), (0.25, looks.GOOD))
    panel.field_config.overrides.append(kit.override("A", unit=looks.PERCENT, decimals=1, thresholds=limits))
    return panel


def _burning(words: _Budget) -> model.Panel:
    now = words.here(names.BURN_ERRORS)
    return kit.stat(
        Ask(
            2,
            "How fast is it burning now?",
            "Errors over each window against the budget: at 1 the budget lasts just the period, at 14.4 it is gone in two days.",
            "High in the short windows only: something began just now, open Triage. High in the long ones: it smoulders.",
            width=14,
            height=6,
        ),
        [kit.number(f"{now} / {words.allowed}", "{{window}}")],
        unit=looks.FACTOR,
        names=True,
        thresholds=looks.thresholds(
            looks.GOOD, (1, looks.WARNING), (max((one.factor for one in words.config.burn), default=14.4), looks.BAD)
        ),
    )


def _budget_of_change(words: _Budget) -> model.Panel:
    early = f"sum({words.born_in(names.ERRORS_FIRST)})"
    failed = f"sum({words.summed(names.SERVICE_ERRORS_RATE)})"
    age = words.config.windows.ages[1]
    panel = kit.stat(
        Ask(
            3,
            "How much of it did change cost?",
            f"Errors in the first {age} of every generation of the last {words.period}: as a share of all errors, and of the error "
            "budget. The rest is what the service costs when nobody deploys. All errors are summed from rates, which miss a little at "
            "the edges of hosts' lives.",
            "Most of it: better deploys (canaries, smaller steps, faster withdrawal) buy more than better code. Little: look at "
            "dependencies and load.",
            width=24,
            height=5,
        ),
        [
            kit.number(f"clamp_max({early} / ({failed} > 0), 1)", f"of all errors fell in first {age}"),
            kit.number(f"{early} / {words.budget()}", "of the budget went into deploys"),
            kit.number(f"count({words.born_in(names.REQUESTS_FIRST)})", "generations"),
        ],
        unit=looks.PERCENT,
        names=True,
        no_value="no errors",
    )
    assert panel.field_config is not None
    panel.field_config.overrides.append(kit.override("C", unit=looks.COUNT))
    return panel


def _burn(words: _Budget) -> model.Panel:
    longs = "|".join(sorted({duration(window.long) for window in words.config.burn}))
    limits = sorted({window.factor for window in words.config.burn})
    windows = f'window=~"{longs}"'
    return kit.timeseries(
        Ask(
            4,
            "When did it burn?",
            "Errors over the long windows against the budget, with the deploys; the dashed lines are where the alerts begin.",
            "A rise that begins at a marker: that deploy; the tables below say how much it cost.",
            width=12,
            height=9,
        ),
        [kit.prom(f"{words.here(names.BURN_ERRORS, windows)} / {words.allowed}", "{{window}}")],
        unit=looks.FACTOR,
        limits=looks.thresholds(looks.GOOD, *((factor, looks.BAD) for factor in limits)),
    )


def _slow(words: _Budget) -> list[model.Panel]:
    """The same for latency, where there is a histogram to count slow requests by."""
    if not words.config.requests.durations:
        return []
    longs = "|".join(sorted({duration(window.long) for window in words.config.burn}))
    limit = duration(words.config.requests.objective)
    windows = f'window=~"{longs}"'
    return [
        kit.timeseries(
            Ask(
                5,
                "When were too many requests slow?",
                f"Requests over {limit} against the share that may be ({1 - words.config.objective.latency:.4g}), over the long "
                "windows.",
                "A rise at a marker without errors: a release that is slower, or one that starts cold; Compare tells which.",
                width=12,
                height=9,
            ),
            [
                kit.prom(
                    f"{words.here(names.BURN_SLOW, windows)} / {1 - words.config.objective.latency:.10g}", "{{window}}"
                )
            ],
            unit=looks.FACTOR,
        )
    ]


def _days(words: _Budget) -> model.Panel:
    errors, requests = (words.here(rate) for rate in (names.SERVICE_ERRORS_RATE, names.SERVICE_REQUESTS_RATE))
    return kit.timeseries(
        Ask(
            6,
            "Which days were bad?",
            "Share of requests that failed in the day before each point, a point a day.",
            "Narrow the time to a bad day, then read the tables: they show what was deployed in the period.",
            width=24,
            height=6,
        ),
        [kit.prom(f"sum_over_time({errors}[1d]) / (sum_over_time({requests}[1d]) > 0)", "failed", min_step="1d")],
        unit=looks.PERCENT,
        steps=True,
    )


def _deploys(words: _Budget) -> model.Panel:
    labels = words.config.labels
    errors, requests = words.born_in(names.ERRORS_FIRST), words.born_in(names.REQUESTS_FIRST)
    worst = f"topk({WORST}, ({errors} > 0) * on({words.by}) group_left({labels.release}) {words.release_of()})"
    of_worst = f"and on({words.by}) {worst}"
    return kit.table(
        Ask(
            7,
            "Which five deploys cost most?",
            f"The generations of the last {words.period} with most errors in their first {words.config.windows.ages[1]}: how many, "
            "what share of their requests, and what share of the budget.",
            "Compare each with the one before it, and ask what should have stopped it, and how long that took.",
            width=14,
            height=8,
        ),
        [
            kit.now(worst),
            kit.now(f"{errors} / ({requests} > 0) {of_worst}"),
            kit.now(f"({errors} / on() group_left () {words.budget()}) {of_worst}"),
            kit.now(
                f"sum by ({words.by}) (last_over_time({words.here(names.STARTED)}[{words.period}])) * 1000 {of_worst}"
            ),
        ],
        [
            Column(
                labels.generation,
                "Generation",
                link=kit.to(kit.COMPARE, "Compare it with the one before", generation=of_row(labels.generation)),
            ),
            Column(labels.release, "Release"),
            Column("D", "Started", looks.WHEN, width=170),
            Column("A", "Errors", looks.COUNT, width=90, decimals=0),
            Column("B", "Of its requests", looks.PERCENT, width=120, decimals=2),
            Column("C", "Of the budget", looks.PERCENT, width=120, decimals=2),
        ],
        sort="Errors",
        no_value="no errors in any first minutes",
    )


def _releases(words: _Budget) -> model.Panel:
    labels = words.config.labels
    ratio = f"sum_over_time({words.here(names.ERRORS_RATE)}[{words.period}]) * {words.config.intervals.evaluate:g}"
    errors = (
        f"sum by ({labels.release}) (sum by ({words.by}) ({ratio})"
        f" * on({words.by}) group_left({labels.release}) {words.release_of()})"
    )
    spent = f"topk({RELEASES}, {errors} > 0)"
    return kit.table(
        Ask(
            8,
            "Which release spent the budget?",
            f"Errors of each release over the last {words.period}, in all its generations and its whole life, and the share of the "
            "budget.",
            "A release that is old and high: nobody minds it; find out why. A new one: it was let live too long.",
            width=10,
            height=8,
        ),
        [kit.now(spent), kit.now(f"{spent} / on() group_left () {words.budget()}")],
        [
            Column(labels.release, "Release"),
            Column("A", "Errors", looks.COUNT, width=90, decimals=0),
            Column("B", "Of the budget", looks.PERCENT, width=120, decimals=2),
        ],
        sort="Errors",
        no_value="no errors",
    )
