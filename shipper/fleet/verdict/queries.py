"""The two questions that Prometheus is asked at each look, and what their series are called.

The first is about generations: when each began, which have hosts now, and what each had counted at the candidate's age. The
second is about hosts: their counters at each full minute, as they are, so that increases are exact and nothing extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE = 60
BORN = "shipper_born"
"""A label we give to what shows that a counter began at 0 in that minute."""
PART = "shipper_part"
"""A label we give to the parts of the first question, as ``or`` does not look at names; and its values:"""
STARTED, AGE, HOSTS, BEGAN, NOW = "started", "age", "hosts", "began", "now"
AHEAD = 5
"""Minutes beyond now that are asked for, to see clocks that are fast."""


@dataclass(frozen=True, slots=True)
class Series:
    """What things are called in Prometheus (`shipper.verdict_names` has them; this room may not import those of the boards)."""

    requests: str
    durations: str
    generation_started: str
    started: str
    age: str
    hosts: str
    requests_first: str
    errors_first: str
    slow_first: str
    newest: str
    first_age: str = "30m"
    objective: float = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose counts: one service, in one environment or in the only one it has."""

    service: str
    env: str | None = None

    @property
    def matchers(self) -> str:
        """In a selector."""
        env = "" if self.env is None else f",env={quoted(self.env)}"
        return f"service={quoted(self.service)}{env}"


def about_generations(series: Series, asked: Asked, candidate: str) -> str:
    """Starts, hosts now, the candidate's age, what each of two weeks had at that age (in full minutes); the server's time."""
    by = "env,service,generation"
    first = "|".join((series.requests_first, series.errors_first, series.slow_first))
    counted = f'{{__name__=~"{first}",age={quoted(series.first_age)},{asked.matchers}}}'
    own = f"{series.age}{{generation={quoted(candidate)},{asked.matchers}}}[1h]"
    full = f"scalar(floor(max(last_over_time({own} @ end())) / {MINUTE}) * {MINUTE} or vector(0))"
    earlier = f"last_over_time(({counted} and on ({by}) ({series.age}{{{asked.matchers}}} <= {full}))[14d:1m])"
    told = {
        STARTED: f"last_over_time({series.started}{{{asked.matchers}}}[14d])",
        AGE: f"last_over_time({own})",
        HOSTS: f"{series.hosts}{{{asked.matchers}}}",
        BEGAN: f"min by ({by}) (last_over_time({series.generation_started}{{{asked.matchers}}}[1h]))",
        NOW: "vector(time())",
    }
    marked = (f'label_replace({query}, "{PART}", "{part}", "", "")' for part, query in told.items())
    return "\nor\n".join((earlier, *marked))


def about_hosts(series: Series, asked: Asked) -> str:
    """Each host's counters as they last stood within each minute, and where they were born."""
    within = f'le=~"{edge(series.objective)}|[+]Inf"'
    requests = f"{series.requests}{{{asked.matchers}}}"
    parts = (
        f"last_over_time({requests}[{MINUTE}s])",
        f"last_over_time({series.durations}_bucket{{{asked.matchers},{within}}}[{MINUTE}s])",
        f'label_replace(min_over_time({requests}[{MINUTE}s]) == 0, "{BORN}", "1", "", "")',
    )
    return "\nor\n".join(parts)


def edge(value: float) -> str:
    """A pattern for the end of a bucket, whichever way its number is spelled."""
    text = f"{value:.12g}"
    return text.replace(".", "[.]") + ("" if "." in text else "([.]0)?")


def quoted(value: str) -> str:
    """Any text as a PromQL string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
