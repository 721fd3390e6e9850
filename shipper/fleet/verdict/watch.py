"""Looking every minute until it is decided, or until the time is up."""

from __future__ import annotations

from collections.abc import Callable

from shipper.clock import Clock, Deadline
from shipper.fleet.verdict.judge import FLOOR
from shipper.fleet.verdict.model import Judgement, Kind, Verdict

EVERY = 60.0
"""Seconds from look to look: two queries a minute."""
SETTLED = 2.0
"""No difference is settled once a factor as small as this would have been seen, or a ratio of `FLOOR`..."""
SETTLED_MINUTES = 10
"""...over so many minutes; a release that is fine at first may still turn bad."""


def decided(judgement: Judgement) -> bool:
    """Whether further looks are not worth waiting for."""
    if judgement.kind in (Kind.WORSE, Kind.BETTER):
        return True
    return judgement.kind is Kind.NO_DIFFERENCE and _settled(judgement.errors)


async def watch(
    look: Callable[[], Judgement], clock: Clock, deadline: Deadline, tell: Callable[[Judgement], None]
) -> Judgement:
    """Look now and every minute, telling of each; the judgement that decided, or the last one before ``deadline``."""
    while True:
        begun = clock.monotonic()
        judgement = look()
        tell(judgement)
        if decided(judgement):
            return judgement
        rest = EVERY - (clock.monotonic() - begun)
        if deadline.remaining() <= max(rest, 0.0):
            return judgement
        await clock.sleep(max(rest, 0.0))


def _settled(verdict: Verdict) -> bool:
    ratio = verdict.seen_ratio
    if verdict.seen is None or ratio is None or verdict.minutes < SETTLED_MINUTES:
        return False
    return verdict.seen <= SETTLED or ratio <= FLOOR
