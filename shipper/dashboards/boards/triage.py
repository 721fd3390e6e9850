"""Triage, the landing page: is it the deploy, and which generation? The first row answers in five seconds.

The click path ends here and at Hosts: a point of the error lines narrows time and generation, a trace id in the list shows that
trace and its log lines, the host of a line opens that host's last words.
"""

from shipper.dashboards import kit, names
from shipper.dashboards.boards import examples, verdicts
from shipper.dashboards.boards.common import ROLE_COLORS, Words, markers, previous, variables
from shipper.dashboards.boards.examples import CARRIED
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.duration import duration
from shipper.dashboards.kit import Ask, Column, chosen, looks, of_row, of_series
from shipper.dashboards.kit.panels import LETTERS
from shipper.dashboards.kit.sdk import model
from shipper.dashboards.sources import ELASTICSEARCH, LOKI, TEMPO


def board(config: BoardConfig) -> kit.Board:
    """The board for this configuration."""
    words = Words(config)
    made = kit.Board(uid=kit.TRIAGE, title="Triage", question="Is it the deploy, and which generation?")
    made.variables = [
        *variables(config, LOKI, ELASTICSEARCH, TEMPO),
        previous(config),
        kit.typed("trace", "Trace", "A trace id; filled by a click in the list of failing traces."),
    ]
    made.markers = markers(config, LOKI)
    made.row("Is it the deploy?", [_verdict(words), _changes(words), _ratio(words), _hosts(words)])
    made.row("The verdict in numbers", [verdicts.numbers(words)], closed=True)
    made.row("How big, and where?", [_errors(words), *_slow(words), _traffic(words), _one_host(words)])
    made.row("Show me one: traces (Tempo)", [examples.failing_traces(), examples.one_trace()], needs=TEMPO)
    made.row("Show me one: log lines (Loki)", [examples.new_errors(), examples.lines()], needs=LOKI)
    made.row(
        "Show me one: log lines (Elasticsearch, OpenSearch)",
        [examples.elastic_errors(), examples.elastic_lines()],
        needs=ELASTICSEARCH,
    )
    return made


def _verdict(words: Words) -> model.Panel:
    limits = words.config.thresholds
    newest = f"and on({words.by}) {words.here(names.NEWEST)}"
    errors = words.here(names.ROLE_ERRORS, 'role="new"')
    apart = f"{words.here(names.ERRORS_Z)} and on() ({errors} >= {limits.errors})"
    panel = kit.stat(
        Ask(
            1,
            "Is the newest generation worse?",
            "Errors and latency: what `shipper verdict` says of it, computed by `shipper fleet watch` or a gateway; 'not computed' "
            f"where nobody did in the last {duration(words.config.windows.verdict)}. Besides, by the rules alone: Same minutes: by "
            "how many standard deviations its error ratio lies above that of the old ones while both serve; from "
            f"{limits.z:g} on it is hardly chance. First minutes: its error ratio since it began, as a multiple of the median of the "
            "generations before at that age. Grey is not 'good': it is 'no difference seen yet'.",
            "Red in any: open the row below for the numbers, find the generation in the lines, then see 'One host, or all of "
            "them?' before rolling back.",
            width=7,
            height=9,
        ),
        [
            *verdicts.words_of(words),
            kit.number(
                f"max({apart}) or vector(NaN)",
                "Same minutes, standard deviations",
            ),
            kit.number(
                f"max({_against_median(words, newest)}) or vector(NaN)", "First minutes, times the median before"
            ),
        ],
        unit=looks.PLAIN,
        thresholds=looks.thresholds(looks.OLD),
        names=True,
        no_value="not computed",
    )
    assert panel.field_config is not None
    *said, same, first = list(LETTERS[: len(panel.targets or ())])
    panel.field_config.overrides += [
        *(kit.override(letter, mappings=verdicts.WORDS) for letter in said),
        kit.override(
            same,
            decimals=1,
            thresholds=looks.thresholds(looks.OLD, (limits.z, looks.BAD)),
            mappings=looks.words({}, absent=("too few errors, or no old one beside it", looks.OLD)),
        ),
        kit.override(
            first,
            decimals=1,
            unit=looks.FACTOR,
            thresholds=looks.thresholds(looks.OLD, (limits.young_factor, looks.BAD)),
            mappings=looks.words({}, absent=("too few errors, or no measure before", looks.OLD)),
        ),
    ]
    return panel


def _against_median(words: Words, newest: str) -> str:
    """The error ratio of the first minutes over the median of those before, from as many errors on as the alert asks for."""
    age = words.config.windows.ages[1]
    errors, requests = (words.first(name, age) for name in (names.ERRORS_FIRST, names.REQUESTS_FIRST))
    enough = f"({errors} >= {words.config.thresholds.young_errors})"
    return f"{enough} / {requests} / scalar(max({words.here(names.FIRST_MEDIAN_PREV)}) > 0) {newest}"


def _changes(words: Words) -> model.Panel:
    labels = words.config.labels
    generation, release = labels.generation, labels.release
    told = (
        f"max by ({words.by}, {release}, action, from_release, episode, inferred) ({words.here(names.DEPLOY_STARTED)})"
    )
    started = f"{words.here(names.STARTED)} * on({words.by}) group_left({release}) {words.release()}"
    seen = f'label_replace({started}, "action", "no deploy event", "", "")'
    last = f"topk(5, {told} or on({words.by}) {seen})"
    of_last = f"on({generation}) {last}"
    age = words.config.windows.ages[1]
    first = f"{words.first(names.ERRORS_FIRST, age)} / ({words.first(names.REQUESTS_FIRST, age)} > 0)"
    return kit.table(
        Ask(
            2,
            "What changed last, and what would a rollback go to?",
            "The last five deploys and rollbacks, newest first; the line under the newest is the way back: its release, how many "
            "of its hosts still serve, and how its own first minutes went. 'Inferred' ones were told by nobody: a gateway recognised "
            "them by their hosts, and where there is 'no deploy event' the rules did.",
            "Nothing changed near the spike: it is not the deploy. The way back has hosts: a withdrawal is faster than a rollback; "
            "it has none: roll back to its release.",
            width=17,
            height=9,
        ),
        [
            kit.now(f"{last} * 1000"),
            kit.now(f"sum by ({generation}) ({words.here(names.HOSTS_COUNT)}) and {of_last}"),
            kit.now(f"sum by ({generation}) ({first}) and {of_last}"),
        ],
        [
            Column("A", "When", looks.SINCE, width=130),
            Column("action", "What", width=130),
            Column(release, "Release"),
            Column("from_release", "Before it"),
            Column(
                generation,
                "Generation",
                link=kit.to(
                    kit.COMPARE, "Compare it with the one before, at the same age", generation=of_row(generation)
                ),
            ),
            Column("inferred", "Inferred", width=80),
            Column("B", "Hosts now", looks.HOSTS, width=100),
            Column("C", "Errors, first minutes", looks.PERCENT, width=170, decimals=2),
        ],
        sort="When",
    )


def _ratio(words: Words) -> model.Panel:
    here = kit.to(
        kit.TRIAGE,
        "Failing traces and log lines of this generation at this time",
        time=kit.AROUND_THE_POINT,
        generation=of_series(words.config.labels.generation),
        also=CARRIED,
    )
    compare = kit.to(
        kit.COMPARE,
        "Compare with the one before, at the same age",
        generation=of_series(words.config.labels.generation),
    )
    return kit.timeseries(
        Ask(
            3,
            "Whose errors are they?",
            f"Share of requests that failed, by generation, over {duration(words.config.windows.rate)}. Red: an alert names it. "
            f"Blue: the newest. Grey: the ones before. Drawn from {words.config.thresholds.requests} requests on.",
            "One line rises at a marker and the grey ones stay: it is that deploy; click the spike. All rise together: look for "
            "what they share (a dependency, the network) before rolling back.",
            height=9,
        ),
        words.by_role(words.enough(words.here(names.ERRORS_RATIO))),
        unit=looks.PERCENT,
        colors=ROLE_COLORS,
        links=[here, compare],
        no_value="too few requests to say",
    )


def _hosts(words: Words) -> model.Panel:
    return kit.timeseries(
        Ask(
            4,
            "Where is the roll?",
            "Hosts alive by generation, stacked; a host that ended leaves at once.",
            "Two colours side by side for long: the roll is stuck, open Rollout. A gap in the sum: capacity is missing.",
            height=9,
        ),
        words.by_role(words.here(names.HOSTS_COUNT)),
        unit=looks.HOSTS,
        colors=ROLE_COLORS,
        stack=True,
        steps=True,
        links=[kit.to(kit.HOSTS, "Open its hosts", generation=of_series(words.config.labels.generation))],
    )


def _errors(words: Words) -> model.Panel:
    seconds = f"{words.config.windows.role:g}"
    errors = words.here(names.ROLE_ERRORS, 'role=~"new|old"')
    return kit.timeseries(
        Ask(
            5,
            "How many errors a second, from the new ones and from the old?",
            "Failed requests a second over "
            f"{duration(words.config.windows.role)}, stacked: blue from the newest generation, grey from all others.",
            "Mostly blue: roll back or withdraw. Mostly grey: the new release is not the cause, and a rollback would not heal it.",
        ),
        [kit.prom(f"sum by (role) ({errors}) / {seconds}", "{{role}}")],
        unit=looks.PER_SECOND,
        stack=True,
        colors={"/^new$/": looks.fixed(looks.NEW), "/^old$/": looks.fixed(looks.OLD)},
    )


def _slow(words: Words) -> list[model.Panel]:
    if not words.config.requests.durations:
        return []
    panel = kit.timeseries(
        Ask(
            6,
            "Is it slow, too?",
            f"Share of requests that took longer than the objective ({duration(words.config.requests.objective)}), by generation.",
            "Slow without errors at the start of a generation is a cold start: compare at the same age before judging.",
        ),
        words.by_role(words.enough(words.here(names.SLOW_RATIO))),
        unit=looks.PERCENT,
        colors=ROLE_COLORS,
        links=[
            kit.to(
                kit.COMPARE,
                "Compare with the one before, at the same age",
                generation=of_series(words.config.labels.generation),
            )
        ],
        no_value="too few requests to say",
    )
    return [panel]


def _traffic(words: Words) -> model.Panel:
    return kit.timeseries(
        Ask(
            7,
            "Does it serve at all?",
            "Requests a second by generation, stacked.",
            "The newest has hosts but no share of the requests: look at the load balancer and its health checks, not at the code.",
        ),
        words.by_role(words.here(names.REQUESTS_RATE)),
        unit=looks.PER_SECOND,
        colors=ROLE_COLORS,
        stack=True,
    )


def _one_host(words: Words) -> model.Panel:
    requests = words.config.requests
    over = duration(words.config.windows.role)
    instance = words.config.labels.instance
    errors = words.counted(requests.errors, over, by="instance")
    total = words.counted(requests.requests, over, by="instance")
    worst = f"topk(10, {errors} > 0)"
    return kit.table(
        Ask(
            8,
            "One host, or all of them?",
            f"The ten hosts of the chosen generation with most errors in the last {over}: their share of the generation's errors, "
            "and their own error ratio.",
            f"One host has more than {words.config.thresholds.one_host:.0%}: drain that host, keep the release. Evenly spread: it "
            "is the generation.",
        ),
        [
            kit.now(worst),
            kit.now(f"{worst} / scalar(sum({errors}))"),
            kit.now(f"({worst}) / on({instance}) ({total} > 0)"),
        ],
        [
            Column(
                instance,
                "Host",
                link=kit.to(kit.HOSTS, "Its last words", instance=of_row(instance), generation=chosen("generation")),
            ),
            Column("A", "Errors", looks.COUNT, width=100, decimals=0),
            Column(
                "B",
                "Share of all",
                looks.PERCENT,
                width=120,
                decimals=0,
                thresholds=looks.thresholds(looks.OLD, (words.config.thresholds.one_host, looks.BAD)),
            ),
            Column("C", "Its error ratio", looks.PERCENT, width=130, decimals=2),
        ],
        sort="Errors",
        no_value="no errors",
    )
