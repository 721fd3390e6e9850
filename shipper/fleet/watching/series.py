"""A judgement as series: one that is its word, coded, and one for each number of its sentence.

A number that a verdict does not have is no series; none of them is ever NaN or infinite. Two subjects: errors and latency.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from shipper.fleet.gauges import Described, Encoded, Series, labels
from shipper.fleet.gauges import encode as encode_gauges
from shipper.fleet.verdict.model import Judgement, Kind, Verdict
from shipper.fleet.watching.newest import Newest

VERDICT = "shipper.verdict"
REQUESTS = "shipper.verdict.requests"
ERRORS = "shipper.verdict.errors"
BASELINE_REQUESTS = "shipper.verdict.baseline_requests"
BASELINE_ERRORS = "shipper.verdict.baseline_errors"
FACTOR = "shipper.verdict.factor"
LOW = "shipper.verdict.interval_low"
HIGH = "shipper.verdict.interval_high"
SEEN = "shipper.verdict.seen_factor"

CODES: Mapping[Kind, int] = {
    Kind.WORSE: 1,
    Kind.NO_DIFFERENCE: 0,
    Kind.BETTER: -1,
    Kind.NOT_ENOUGH: -2,
    Kind.CANNOT_TELL: -3,
}
"""The value of `VERDICT`: of several the largest is the one to act on."""

_REQUEST = "{request}"
_HELP = {
    VERDICT: "1 worse, 0 no difference seen, -1 better, -2 not enough data, -3 cannot tell.",
    REQUESTS: "Requests of the generation that the verdict stands on.",
    ERRORS: "Those of them that failed, or took longer than the objective.",
    BASELINE_REQUESTS: "Requests of what it was held against.",
    BASELINE_ERRORS: "Those of them that failed, or took longer than the objective.",
    FACTOR: "How many times the baseline's share the generation's is.",
    LOW: "The lower end of the factor's 95 % interval.",
    HIGH: "The upper end of the factor's 95 % interval.",
    SEEN: "The smallest factor that would have been seen.",
}
_UNITS = dict.fromkeys(_HELP, "") | dict.fromkeys((REQUESTS, ERRORS, BASELINE_REQUESTS, BASELINE_ERRORS), _REQUEST)
_DESCRIBED = Described(VERDICT, _UNITS, _HELP)


def of_judgement(about: Newest, judgement: Judgement) -> dict[Series, int | float]:
    """Its series and their values."""
    resource = labels(
        {
            "service.name": about.service,
            "deployment.environment.name": about.env,
            "shipper.generation": about.generation,
        }
    )
    return {
        Series(name, resource, labels({"subject": verdict.measure.value, "baseline": verdict.baseline})): value
        for verdict in judgement.verdicts
        for name, value in _numbers(verdict)
    }


def encode(values: Mapping[Series, int | float], time_ns: int, ended: Iterable[Series] = ()) -> Encoded:
    """See `shipper.fleet.gauges.encode`."""
    return encode_gauges(_DESCRIBED, values, time_ns, ended)


def _numbers(verdict: Verdict) -> Iterator[tuple[str, int | float]]:
    yield VERDICT, CODES[verdict.kind]
    yield REQUESTS, verdict.requests
    yield ERRORS, verdict.errors
    if verdict.baseline:
        yield BASELINE_REQUESTS, verdict.baseline_requests
        yield BASELINE_ERRORS, verdict.baseline_errors
    low, high = verdict.interval or (None, None)
    for name, value in ((FACTOR, verdict.factor), (LOW, low), (HIGH, high), (SEEN, verdict.seen)):
        if value is not None and math.isfinite(value):
            yield name, value
