"""The verdict on the newest generation on boards: its word first, then the numbers of its sentence, as `shipper verdict` says it.

A verdict that was not computed lately is none (``windows.verdict``): a board that shows the last one for ever lies.
"""

from shipper.dashboards import kit, names
from shipper.dashboards.boards.common import Words
from shipper.dashboards.duration import duration
from shipper.dashboards.expressions import Expressions
from shipper.dashboards.kit import Ask, Column, looks
from shipper.dashboards.kit.sdk import model

NOT_COMPUTED = "not computed"
WORDS = looks.words(
    {
        "1": ("worse", looks.BAD),
        "0": ("no difference seen", looks.OLD),
        "-1": ("better", looks.GOOD),
        "-2": ("not enough data", looks.OLD),
        "-3": ("cannot tell", looks.WARNING),
    },
    absent=(NOT_COMPUTED, looks.OLD),
)
"""What the values of `names.VERDICT` mean, in the words of `shipper verdict`."""


def words_of(words: Words) -> list[kit.Query]:
    """The verdict on errors, and on latency where durations are counted; NaN where there is none."""
    subjects = ("errors", "latency") if words.config.requests.durations else ("errors",)
    return [kit.number(f"max({_now(words, subject)}) or vector(NaN)", subject.capitalize()) for subject in subjects]


def numbers(words: Words) -> model.Panel:
    """The sentence as a row of a table: factor, interval, what was counted on both sides, what could have been seen."""
    lately = f"and on({words.by}, subject, baseline) {_now(words)}"

    def of(metric: str) -> kit.Query:
        return kit.now(f"max by (subject, baseline) ({words.here(metric)} {lately})")

    return kit.table(
        Ask(
            15,
            "What does the verdict stand on?",
            "The sentence of `shipper verdict`, a row for errors and one for latency: how many times the baseline's share the newest "
            "generation's is, the factors that the same test does not exclude, what was counted on both sides, and the smallest "
            "factor that would have been seen. Latency counts requests that took longer than "
            f"{duration(words.config.requests.objective)}.",
            "'Would have been seen' is large: there were too few requests to say anything; wait, or send it more of them. Where it "
            "cannot be told, `shipper verdict` says why.",
            width=24,
            height=5,
        ),
        [
            kit.now(f"max by (subject, baseline) ({_now(words)})"),
            of(names.VERDICT_FACTOR),
            of(names.VERDICT_LOW),
            of(names.VERDICT_HIGH),
            of(names.VERDICT_ERRORS),
            of(names.VERDICT_REQUESTS),
            of(names.VERDICT_BASELINE_ERRORS),
            of(names.VERDICT_BASELINE_REQUESTS),
            of(names.VERDICT_SEEN),
        ],
        [
            Column("subject", "In", width=90),
            Column("A", "Verdict", width=190, thresholds=looks.thresholds(looks.OLD), mappings=WORDS),
            Column("B", "Times the baseline", looks.FACTOR, width=150, decimals=1),
            Column("C", "From", looks.FACTOR, width=90, decimals=1),
            Column("D", "To", looks.FACTOR, width=90, decimals=1),
            Column("E", "Failed or late", looks.COUNT, width=120, decimals=0),
            Column("F", "Requests", looks.COUNT, width=120, decimals=0),
            Column("baseline", "Against generation", width=190),
            Column("G", "Its failed or late", looks.COUNT, width=130, decimals=0),
            Column("H", "Its requests", looks.COUNT, width=120, decimals=0),
            Column("I", "Would have been seen", looks.FACTOR, decimals=1),
        ],
        no_value=NOT_COMPUTED,
    )


def worst(words: Words) -> str:
    """The worst that was said of each generation within the history, in either subject."""
    return f"max_over_time({words.here(names.VERDICT)}[{words.history}])"


def _now(words: Words, subject: str = "") -> str:
    labels = words.config.labels
    here = (f'{labels.env}="$env"', f'{labels.service}="$service"', *((f'subject="{subject}"',) if subject else ()))
    return f"({Expressions(words.config).verdict(*here)} and on({words.by}) {words.here(names.NEWEST)})"
