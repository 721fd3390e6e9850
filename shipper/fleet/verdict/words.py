"""A verdict as a sentence: what is said, and on what it stands. Never a bare colour or score."""

from __future__ import annotations

from shipper.fleet.verdict.judge import ENOUGH, FLOOR, SAME_MINUTES
from shipper.fleet.verdict.model import Judgement, Kind, Verdict

_SAID = {
    Kind.WORSE: "worse",
    Kind.BETTER: "better",
    Kind.NO_DIFFERENCE: "no difference seen",
    Kind.NOT_ENOUGH: "not enough data",
}


def sentence(verdict: Verdict) -> str:
    """For example ``worse (×4.1, 95 % interval 2.6 to 6.4, 262 of 6,510 requests failed against ...)``; one line."""
    if verdict.kind is Kind.CANNOT_TELL:
        counted = f" ({_own(verdict)})" if verdict.requests else ""
        return f"cannot tell: {'; '.join(verdict.reasons)}{counted}"
    parts = [_times(verdict), _interval(verdict), f"{_own(verdict)} against {_other(verdict)}", _seen(verdict)]
    if verdict.kind is Kind.NOT_ENOUGH:
        parts.insert(0, _needed(verdict))
    told = f"{_SAID[verdict.kind]} ({', '.join(part for part in parts if part)})"
    return "; ".join((told, *verdict.reasons))


def lines(judgement: Judgement) -> list[str]:
    """All of a judgement: a line each for errors and latency, and what to know."""
    named = [f"{verdict.measure.value}: {sentence(verdict)}" for verdict in judgement.verdicts]
    return [*named, *(f"note: {note}" for note in judgement.notes)]


def times(value: float) -> str:
    """A factor in two digits, for example ×0.82, ×4.1 or ×23."""
    return f"×{_number(value)}"


def _own(verdict: Verdict) -> str:
    return f"{verdict.errors:,} of {verdict.requests:,} requests {verdict.bad}"


def _other(verdict: Verdict) -> str:
    counted = f"{verdict.baseline_errors:,} of {verdict.baseline_requests:,}"
    if verdict.design == SAME_MINUTES:
        span = "the same minute" if verdict.minutes == 1 else f"the same {verdict.minutes} minutes"
        return f"{counted} of generation {verdict.baseline} in {span}"
    return f"{counted} of {verdict.baseline} in their first {verdict.minutes} minutes"


def _times(verdict: Verdict) -> str:
    if verdict.factor is not None:
        return times(verdict.factor)
    return "no factor: none of the old ones " + verdict.bad if verdict.baseline_requests else ""


def _interval(verdict: Verdict) -> str:
    if verdict.interval is None:
        return ""
    low, high = verdict.interval
    if high is None:
        return f"95 % interval from {_number(low)} on"
    return f"95 % interval {_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.95 else f"{value:.2g}"


def _seen(verdict: Verdict) -> str:
    if verdict.seen is None:
        return "no factor would have been seen"
    if not verdict.baseline_errors and verdict.seen_ratio is not None:
        return f"{verdict.seen_ratio:.2%} would have been seen"
    return f"a {times(verdict.seen)} would have been seen"


def _needed(verdict: Verdict) -> str:
    if verdict.needed is None:
        return "no number of requests would show it"
    shows = f"a ×{ENOUGH:g}" if verdict.baseline_errors else f"{FLOOR:.1%}"
    return f"needs ~{_round(verdict.needed):,} more requests to show {shows}"


def _round(value: int) -> int:
    """Two digits: it is an estimate."""
    size = int(10 ** max(0, len(str(value)) - 2))
    return -(-value // size) * size
