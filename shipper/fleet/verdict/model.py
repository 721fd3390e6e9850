"""What goes into a verdict and what comes out: plain values that nobody changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Count(NamedTuple):
    """Requests, and how many of them were bad: failed, or took longer than the objective."""

    total: int = 0
    bad: int = 0

    @property
    def ratio(self) -> float:
        """Bad to all; 0 for no requests."""
        return self.bad / self.total if self.total else 0.0

    def plus(self, other: Count) -> Count:
        """Both together."""
        return Count(self.total + other.total, self.bad + other.bad)


class Cell(NamedTuple):
    """What is compared with its like only: one minute (since the epoch) of one route ("" where routes are not told apart)."""

    minute: int
    route: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """What one host served. ``born``: the minute of its birth; None when that was before the minutes looked at."""

    name: str
    counts: Mapping[Cell, Count]
    born: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """One generation's hosts. ``left_out``: requests known of, but not in which minute (a telemetry gap, a skewed clock)."""

    generation: str
    hosts: tuple[Host, ...] = ()
    left_out: int = 0

    @property
    def total(self) -> Count:
        """All that its hosts served."""
        return added(count for host in self.hosts for count in host.counts.values())


@dataclass(frozen=True, slots=True)
class Past:
    """Earlier generations at the same age, newest first; ``minutes`` is that age.

    ``born``: the minute the candidate began, where its hosts' counts reach back to it; None where they do not, and ``own`` is
    what was recorded of it at that age.
    """

    minutes: int
    counts: tuple[Count, ...] = ()
    own: Count | None = None
    born: int | None = None


class Kind(StrEnum):
    """What a verdict says."""

    WORSE = "worse"
    BETTER = "better"
    NO_DIFFERENCE = "no_difference"
    NOT_ENOUGH = "not_enough"
    CANNOT_TELL = "cannot_tell"


class Measure(StrEnum):
    """What is counted as bad."""

    ERRORS = "errors"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class OddHost:
    """One host that is worse than the others of its generation, and is left out of what is said of them."""

    name: str
    generation: str
    requests: int
    errors: int
    share: float
    """Of all the errors of its generation, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of one measure. ``errors`` are bad requests of that measure, without those of `hosts`.

    ``factor``: how many times the baseline's ratio; None where the baseline has none to multiply, or nothing was compared.
    ``interval``: 95 %, valid at every look; its upper end is None when there is none. ``seen``: the smallest factor that
    would have been seen four times in five; None: no factor would. ``needed``: about how many more requests it takes.
    ``minutes``: what the counts span. ``reasons``: why nothing more can be said, and what to know about the numbers.
    """

    kind: Kind
    measure: Measure = Measure.ERRORS
    candidate: str = ""
    baseline: str = ""
    design: str = ""
    requests: int = 0
    errors: int = 0
    baseline_requests: int = 0
    baseline_errors: int = 0
    factor: float | None = None
    interval: tuple[float, float | None] | None = None
    seen: float | None = None
    needed: int | None = None
    minutes: int = 0
    reasons: tuple[str, ...] = ()
    hosts: tuple[OddHost, ...] = ()
    bad: str = "failed"
    """What a bad request did, in words."""

    @property
    def seen_ratio(self) -> float | None:
        """The smallest ratio of bad requests that would have been seen, where `seen` is known."""
        if self.seen is None:
            return None
        return self.seen * (self.baseline_errors + 0.5) / (self.baseline_requests + 1)

    @property
    def host(self) -> OddHost | None:
        """The candidate's one bad host, where there is one."""
        return next((host for host in self.hosts if host.generation == self.candidate), None)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One look at a candidate: errors, and latency where it can be compared. ``at``: unix seconds of the server that was asked."""

    errors: Verdict
    latency: Verdict | None = None
    at: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def kind(self) -> Kind:
        """Worse in either is worse; anything else is as with the errors."""
        if self.latency is not None and self.latency.kind is Kind.WORSE:
            return Kind.WORSE
        return self.errors.kind

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The one or two of them."""
        return (self.errors,) if self.latency is None else (self.errors, self.latency)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: no number in it is NaN or infinite."""
        whole = {"verdict": self.kind.value, "at": self.at, "notes": list(self.notes)}
        return whole | {verdict.measure.value: asdict(verdict) for verdict in self.verdicts}


def added(counts: Iterator[Count]) -> Count:
    """The sum."""
    total = bad = 0
    for count in counts:
        total += count[0]
        bad += count[1]
    return Count(total, bad)
