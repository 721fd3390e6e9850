"""The balance of one stream: what was claimed, what is here, and what to call the difference.

While a life goes on, what is not acknowledged is *pending*. Once it has ended, by farewell or by silence, what is neither
here nor declared (dropped, quarantined) is *missing*; so is, at any time, what a destination said to have and has not.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from shipper.fleet.cover import Cover, common, without
from shipper.fleet.holdings import Held, Stored
from shipper.fleet.report import Counts, StreamReport
from shipper.fleet.statements import Claims, StatedStream
from shipper.intervals import IntervalSet


@dataclass(frozen=True, slots=True)
class Standing:
    """What may still come: the life goes on; or a living gateway may hold what it took lately.

    ``provable`` is false when what it sent came through something that keeps no ranges, a Collector for example.
    """

    going_on: bool
    on_the_way: bool
    provable: bool = True


@dataclass(slots=True)
class _Shares:
    """Positions that are not here, by what that means."""

    missing: IntervalSet
    unproved: IntervalSet
    pending: IntervalSet


def balance(
    stated: StatedStream,
    before: StatedStream | None,
    name: str,
    held: Held,
    whole: Cover[Stored],
    left: IntervalSet,
    standing: Standing,
    elsewhere: IntervalSet,
) -> StreamReport:
    """Compare a stream's claims for destination ``name`` with what is here.

    ``before``: what was stated so long ago that nothing of it is on its way any more. ``whole``: what is here and sound,
    each position once. ``left``: what a farewell says did not get out. ``elsewhere``: what this archive is not owed, because a
    destination has it that stood in for ``name``, or that ``name`` stood in for.
    """
    nothing = Claims(read_to=stated.start)
    claims = stated.destinations.get(name) or nothing
    if not standing.provable:
        claims = msgspec.structs.replace(claims, trusted=False)
    due = (before.destinations.get(name) if before and standing.on_the_way else None) or nothing
    due = claims if standing.going_on and not standing.on_the_way else due
    here = whole.ranges
    declared = IntervalSet([*claims.lost_ranges, *claims.quarantined_ranges])
    existing = left.copy()
    reach = max(claims.read_to, stated.start, *(end for _, end in here), 0 if standing.going_on else stated.size)
    existing.add(min(stated.start, reach), reach)
    elsewhere = common(without(existing, here), elsewhere)  # also what was given up for this destination later
    absent = without(existing, here, declared, elsewhere)
    # What somebody else's archive got was read, by whoever sent it there.
    unread = min(claims.unread, without(_span(stated), here, declared, elsewhere).total())
    damaged = without(_ranges(held.damaged), here)
    shares = _share(absent, claims, due, standing)
    for start, end in damaged:
        shares.missing.add(start, end)
    shares.pending = without(shares.pending, damaged)
    return StreamReport(
        id=stated.id,
        name=stated.name,
        signal=stated.signal,
        destination=name,
        trusted=claims.trusted,
        read_to=claims.read_to,
        counts=_count(claims, due, held, whole, shares, standing, unread),
        missing_ranges=shares.missing.pairs(),
        damaged_ranges=damaged.pairs(),
        pending_ranges=shares.pending.pairs(),
        unproved_ranges=shares.unproved.pairs(),
        lost_ranges=without(IntervalSet(claims.lost_ranges), here, elsewhere).pairs(),
        quarantined_ranges=without(IntervalSet(claims.quarantined_ranges), here, elsewhere).pairs(),
        overlapping_ranges=whole.overlaps.pairs(),
        elsewhere_ranges=elsewhere.pairs(),
    )


def gaps(stream: str, held: Held, whole: Cover[Stored], standing: Standing) -> StreamReport:
    """A stream that no account names: what lies between stored ranges must have existed."""
    here = whole.ranges
    pairs = here.pairs()
    damaged = without(_ranges(held.damaged), here)
    missing = damaged.copy()
    if pairs and not (standing.going_on or standing.on_the_way):
        for start, end in here.missing(pairs[0][0], pairs[-1][1]):
            missing.add(start, end)
    counts = Counts(archived=whole.records, duplicates=sum(batch.records for batch in whole.spare))
    counts.missing = sum(batch.records for batch in _uncovered(held, whole))
    counts.read = counts.archived + counts.missing
    return StreamReport(
        id=stream,
        name="",
        signal=held.signal,
        stated=False,
        counts=counts,
        missing_ranges=missing.pairs(),
        damaged_ranges=damaged.pairs(),
        overlapping_ranges=whole.overlaps.pairs(),
    )


def _share(absent: IntervalSet, claims: Claims, due: Claims, standing: Standing) -> _Shares:
    """A local relay's word proves nothing either way, so what it took is neither proved nor missing.

    While something may still come, only what is ``due`` is missing: acknowledged, and long enough ago.
    """
    unproved = IntervalSet() if claims.trusted else common(absent, IntervalSet(claims.acknowledged_ranges))
    absent = without(absent, unproved)
    if not (standing.going_on or standing.on_the_way):
        return _Shares(absent, unproved, IntervalSet())
    overdue = common(absent, IntervalSet(due.acknowledged_ranges))
    return _Shares(overdue, unproved, without(absent, overdue))


def _count(
    claims: Claims, due: Claims, held: Held, whole: Cover[Stored], shares: _Shares, standing: Standing, unread: int
) -> Counts:
    open_ended = standing.going_on or standing.on_the_way
    left_host = claims.acknowledged + claims.pending
    skipped = IntervalSet(claims.skipped_ranges)
    read = [b for b in whole.chosen if b.start < claims.read_to and not skipped.overlaps(b.start, b.end)]
    short = max(0, left_host - sum(batch.records + batch.filtered for batch in read))
    damaged = sum(batch.records for batch in _uncovered(held, whole))
    if not claims.trusted:
        missing = min(short, claims.pending) if shares.missing and not open_ended else 0
    elif open_ended:
        acknowledged = IntervalSet(due.acknowledged_ranges)
        arrived = sum(b.records + b.filtered for b in whole.chosen if acknowledged.overlaps(b.start, b.end))
        missing = due.acknowledged - arrived
    else:
        missing = short
    missing = max(0, missing, damaged)
    rest = max(0, short - missing)
    counts = Counts(
        archived=whole.records,
        filtered=claims.filtered + sum(batch.filtered for batch in whole.chosen),
        sampled=claims.sampled,
        dropped=claims.dropped,
        quarantined=claims.quarantined,
        rejected=claims.rejected,
        missing=missing,
        duplicates=sum(batch.records for batch in whole.spare),
        unread=unread,
    )
    if open_ended:
        counts.unproved = min(rest, claims.acknowledged) if shares.unproved else 0
        counts.pending = rest - counts.unproved
    else:
        counts.unproved = rest
    # what is here or lost beyond the last statement was evidently read too
    counts.read = max(claims.read, _accounted(counts))
    return counts


def _accounted(counts: Counts) -> int:
    declared = counts.filtered + counts.sampled + counts.dropped + counts.quarantined + counts.rejected
    return counts.archived + counts.pending + counts.unproved + counts.missing + declared


def _uncovered(held: Held, whole: Cover[Stored]) -> list[Stored]:
    """Damaged batches of which no sound copy is here; each once, however often it was stored."""
    here = whole.ranges
    return [batch for batch in set(held.damaged) if not here.covers(batch.start, batch.end)]


def _span(stated: StatedStream) -> IntervalSet:
    """All of a stream that is known to exist."""
    span = IntervalSet()
    span.add(min(stated.start, stated.size), stated.size)
    return span


def _ranges(batches: list[Stored]) -> IntervalSet:
    return IntervalSet((batch.start, batch.end) for batch in batches)
