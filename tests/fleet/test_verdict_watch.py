"""Watching: a look a minute, until it is decided or the time is up."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from shipper.clock import Deadline
from shipper.fleet.verdict.model import Judgement, Kind, Verdict
from shipper.fleet.verdict.watch import decided, watch
from shipper.testing.clock import FakeClock

UNSURE = Verdict(Kind.NOT_ENOUGH)
SETTLED = Verdict(Kind.NO_DIFFERENCE, seen=1.9, minutes=10, baseline_requests=1000, baseline_errors=10)


def watched(story: list[Verdict], seconds: float = 1800) -> tuple[Judgement, list[float]]:
    """What came out, and at which seconds was looked."""
    clock = FakeClock(monotonic=0.0)
    at: list[float] = []
    verdicts = iter(story)

    def look() -> Judgement:
        at.append(clock.monotonic())
        return Judgement(next(verdicts))

    async def scenario() -> Judgement:
        async with clock.autojump():
            return await watch(look, clock, Deadline.after(clock, seconds), lambda judgement: None)

    return asyncio.run(scenario()), at


def test_it_looks_every_minute_until_worse() -> None:
    """Each look is a minute after the one before; the first worse one ends it."""
    found, at = watched([UNSURE, Verdict(Kind.CANNOT_TELL), Verdict(Kind.WORSE), UNSURE])
    assert (found.kind, at) == (Kind.WORSE, [0.0, 60.0, 120.0])


def test_it_ends_with_the_time() -> None:
    """When the time is up the last judgement stands, and nobody waits for a look that would come too late."""
    found, at = watched([UNSURE] * 9, seconds=150)
    assert (found.kind, at) == (Kind.NOT_ENOUGH, [0.0, 60.0, 120.0])


def test_no_difference_has_to_settle() -> None:
    """Early, or while only large factors would be seen, no difference is waited with."""
    early, coarse = replace(SETTLED, minutes=9), replace(SETTLED, seen=3.0, minutes=20)
    found, at = watched([early, coarse, SETTLED, UNSURE])
    assert (found.errors, len(at)) == (SETTLED, 3)
    assert not decided(Judgement(replace(SETTLED, seen=None)))
    assert decided(Judgement(replace(coarse, baseline_requests=100_000, baseline_errors=0)))
