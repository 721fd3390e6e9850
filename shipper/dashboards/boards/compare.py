"""Compare: one generation against the one before it, at the same age.

At minute 5 a healthy release looks ten times as bad as one that is two hours warm. So the line of the generation before is moved
forward by the time between both starts (``offset ${shift}s``, which only templating can do) and both begin at the same point.
"""

from collections.abc import Callable

from shipper.dashboards import kit, names
from shipper.dashboards.boards import differences
from shipper.dashboards.boards.common import Words, markers, variables
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.kit import Ask, Column, chosen, looks, of_row
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.sources import LOKI, TEMPO

COLORS = {"A": looks.fixed(looks.NEW), "B": looks.fixed(looks.OLD)}
EARLIER = " offset ${shift}s"


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    words = Words(config)
    made = kit.Board(uid=kit.COMPARE, title="Compare", question="Is it worse than the one before it, at the same age?")
    starts = [f"max({words.lasting(names.STARTED, which)})" for which in (words.one, _old(words))]
    made.variables = [
        *variables(config, LOKI, TEMPO),
        _baseline(words),
        kit.value_of("shift", " - ".join(starts)),
    ]
    made.markers = markers(config, LOKI)
    made.row("What is compared?", [_both(words), _sensitivity(words)])
    made.row("At the same age", [_errors(words), *_slow(words), _work(words), _hosts(words), *_heatmaps(words)])
    made.row("Where is the difference? Traces (Tempo)", [differences.routes()], needs=TEMPO)
    made.row("Where is the difference? Log lines (Loki)", [differences.kinds()], needs=LOKI)
    return made


def _baseline(words: Words) -> model.VariableModel:
    """What the chosen one is compared with: the newest that began before it, those that were withdrawn left out; or another."""
    generation = words.config.labels.generation
    began = f"max by ({generation}) ({words.lasting(names.STARTED)})"
    earlier = f"{began} < scalar(max({words.lasting(names.STARTED, words.one)}))"
    standing = f"{earlier} unless on({generation}) {words.here(names.DEPLOY_WITHDRAWN)}"
    return kit.newest_first("prev", "Compared with", f"topk(50, {standing})", generation)


def _old(words: Words) -> str:
    return f'{words.config.labels.generation}="$prev"'


def _pair(words: Words, metric: str) -> list[str]:
    """``metric`` of the chosen generation, and of the one before it moved to the same age."""
    return [words.here(metric, words.one), words.here(metric, _old(words)) + EARLIER]


def _enough_pair(words: Words, metric: str) -> list[str]:
    least = words.config.thresholds.requests
    values, requests = _pair(words, metric), _pair(words, names.REQUESTS_INCREASE)
    return [
        f"max({value} and on({words.by}) ({count} >= {least}))" for value, count in zip(values, requests, strict=True)
    ]


def _lines(expressions: list[str]) -> list[kit.Query]:
    return [
        kit.prom(expr, legend)
        for expr, legend in zip(expressions, ("$generation", "$prev, at the same age"), strict=True)
    ]


def _both(words: Words) -> model.Panel:
    generation, release = words.config.labels.generation, words.config.labels.release
    short, long = words.config.windows.ages

    def both(ask: Callable[[str], str], by: str = generation) -> kit.Query:
        """A row for each of the two; matched by equality, for a generation's name may hold anything."""
        return kit.now(" or ".join(f"max by ({by}) ({ask(which)})" for which in (words.one, _old(words))))

    def ratio(bad: str, age: str) -> kit.Query:
        return both(
            lambda which: f"{words.first(bad, age, which)} / ({words.first(names.REQUESTS_FIRST, age, which)} > 0)"
        )

    slow = bool(words.config.requests.durations)
    return kit.table(
        Ask(
            1,
            "What is compared with what?",
            f"The chosen generation and the one to compare it with (at first the newest before it that was not withdrawn), and "
            f"what they did in their first {short} and {long}.",
            "Check that both had requests enough and the same kind of work (the lines below) before believing any factor.",
            width=16,
            height=6,
        ),
        [
            both(lambda which: f"{words.lasting(names.STARTED, which)} * 1000"),
            both(lambda which: words.lasting(names.RELEASE_INFO, which), by=f"{generation}, {release}"),
            both(lambda which: f"max_over_time({words.here(names.HOSTS_COUNT, which)}[{words.history}])"),
            both(lambda which: words.first(names.REQUESTS_FIRST, long, which)),
            both(lambda which: words.first(names.ERRORS_FIRST, long, which)),
            ratio(names.ERRORS_FIRST, short),
            ratio(names.ERRORS_FIRST, long),
            *([ratio(names.SLOW_FIRST, long)] if slow else []),
        ],
        [
            Column("A", "Started", looks.WHEN, width=170),
            Column(generation, "Generation", link=kit.to(kit.HOSTS, "Open its hosts", generation=of_row(generation))),
            Column(release, "Release"),
            Column("C", "Hosts, most", looks.HOSTS, width=100, decimals=0),
            Column("D", f"Requests, {long}", looks.COUNT, width=120),
            Column("E", f"Errors, {long}", looks.COUNT, width=110),
            Column("F", f"Errors, first {short}", looks.PERCENT, width=130, decimals=2),
            Column("G", f"Errors, first {long}", looks.PERCENT, width=130, decimals=2),
            *([Column("H", f"Slow, first {long}", looks.PERCENT, width=120, decimals=2)] if slow else []),
        ],
        sort="Started",
    )


def _sensitivity(words: Words) -> model.Panel:
    long = words.config.windows.ages[1]
    limits = words.config.thresholds
    new = f"sum({words.first(names.REQUESTS_FIRST, long, words.one)})"
    old = f"sum({words.first(names.REQUESTS_FIRST, long, _old(words))})"
    failed = f"sum({words.first(names.ERRORS_FIRST, long, _old(words))})"
    # The ratio before, with half an error where there was none: no errors in few requests is not an error ratio of 0.
    ratio = f"(clamp_min({failed}, 0.5) / {old})"
    return kit.stat(
        Ask(
            2,
            "What could have been seen at all?",
            f"The smallest factor between both error ratios that the requests of the first {long} could have shown, at "
            f"{limits.z:g} standard deviations and a design effect of {limits.design_effect:g} for bursts.",
            "A large number: 'no difference' below means nothing yet. Wait, or give the new generation more traffic.",
            width=8,
            height=6,
        ),
        [
            kit.number(
                f"1 + {limits.z:g} * sqrt({limits.design_effect:g} * (1 / {new} + 1 / {old}) * (1 - {ratio}) / {ratio})",
                "smallest factor that would have shown",
            )
        ],
        unit=looks.FACTOR,
        thresholds=looks.thresholds(looks.GOOD, (2, looks.WARNING), (4, looks.OLD)),
        no_value="too few requests to say",
    )


def _errors(words: Words) -> model.Panel:
    return kit.timeseries(
        Ask(
            3,
            "Does it fail more?",
            "Share of requests that failed: the chosen generation (blue), and the one before it moved to the same age (grey).",
            "Blue above grey from the start on: the release. Blue rises later: look at what happened then (markers).",
            height=9,
        ),
        _lines(_enough_pair(words, names.ERRORS_RATIO)),
        unit=looks.PERCENT,
        colors=COLORS,
        links=[
            kit.to(
                kit.TRIAGE,
                "Failing traces and log lines at this time",
                time=kit.AROUND_THE_POINT,
                generation=chosen("generation"),
            )
        ],
        no_value="too few requests to say",
    )


def _slow(words: Words) -> list[model.Panel]:
    if not words.config.requests.durations:
        return []
    panel = kit.timeseries(
        Ask(
            4,
            "Is it slower?",
            "Share of requests over the objective, both at the same age.",
            "Both high at first and falling alike is the cold start they share; only what stays apart is the release.",
            height=9,
        ),
        _lines(_enough_pair(words, names.SLOW_RATIO)),
        unit=looks.PERCENT,
        colors=COLORS,
        no_value="too few requests to say",
    )
    return [panel]


def _work(words: Words) -> model.Panel:
    return kit.timeseries(
        Ask(
            5,
            "Do both get the same work?",
            "Requests a second of both at the same age.",
            "Very different: the comparison is unfair (night against day, a canary against all). Choose another one to compare with.",
        ),
        _lines([f"max({one})" for one in _pair(words, names.REQUESTS_RATE)]),
        unit=looks.PER_SECOND,
        colors=COLORS,
    )


def _hosts(words: Words) -> model.Panel:
    return kit.timeseries(
        Ask(
            6,
            "Do its hosts come up as fast?",
            "Hosts alive of both at the same age.",
            "Slower or fewer: the image boots badly or health checks fail; open Rollout.",
        ),
        _lines([f"max({one})" for one in _pair(words, names.HOSTS_COUNT)]),
        unit=looks.HOSTS,
        colors=COLORS,
        steps=True,
    )


def _heatmaps(words: Words) -> list[model.Panel]:
    durations = words.config.requests.durations
    if not durations:
        return []
    unit = "s" if words.config.requests.unit == "seconds" else "ms"

    def buckets(generation: str, offset: str = "") -> kit.Query:
        return kit.heat(
            words.counted(durations, "$__rate_interval", by="le", suffix="_bucket", of=generation, offset=offset)
        )

    says = "How many requests took how long, over time; raw series, so only for as long as they are kept."
    return [
        kit.heatmap(
            Ask(
                7,
                "How long do its requests take?",
                says,
                "A second band that the other side lacks is a path that is slow: find it in the traces below.",
            ),
            buckets("$generation"),
            unit=unit,
        ),
        kit.heatmap(
            Ask(
                8,
                "How long did those of the one before take?",
                says,
                "Read it beside the other: same colours, same age.",
            ),
            buckets("$prev", EARLIER),
            unit=unit,
        ),
    ]
