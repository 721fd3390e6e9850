"""Which stored batches are needed to have every position once; the others are duplicates.

Batches are cut once and resent unchanged, so nearly always a duplicate is an exact one. After a lost ledger the same
positions can be cut differently; then batches overlap in part, and are kept rather than lose what only they have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from shipper.intervals import IntervalSet


class Ranged(Protocol):
    """A batch as far as this page is concerned: positions ``[start, end)`` and how many records."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def records(self) -> int: ...


R = TypeVar("R", bound=Ranged)


@dataclass(slots=True)
class Cover(Generic[R]):
    """``chosen`` has every position that any batch has, in order; ``spare`` adds none; ``overlaps`` lie twice in chosen."""

    chosen: list[R] = field(default_factory=list)
    spare: list[R] = field(default_factory=list)
    overlaps: IntervalSet = field(default_factory=IntervalSet)

    @property
    def ranges(self) -> IntervalSet:
        """Every position that is there."""
        return IntervalSet((batch.start, batch.end) for batch in self.chosen)

    @property
    def records(self) -> int:
        """Records in the chosen batches (those in overlaps count twice: nobody knows how many they are)."""
        return sum(batch.records for batch in self.chosen)

    def take(self, batch: R, reached: int) -> int:
        """Choose a batch; returns the position up to which everything is covered now."""
        if batch.start < reached:
            self.overlaps.add(batch.start, min(reached, batch.end))
        self.chosen.append(batch)
        return max(reached, batch.end)


def cover(batches: Iterable[R]) -> Cover[R]:
    """Choose batches from left to right, one that continues exactly before one that overlaps, longer before shorter."""
    result: Cover[R] = Cover()
    reached = -1
    behind: R | None = None  # starts before ``reached`` and ends furthest behind it
    for batch in sorted(batches, key=lambda batch: (batch.start, -batch.end)):
        if behind is not None and batch.start > reached:
            reached, behind = result.take(behind, reached), None
        if batch.start >= reached:
            reached = result.take(batch, reached)
        elif batch.end <= reached:
            result.spare.append(batch)
        elif behind is None:
            behind = batch
        else:
            shorter, behind = sorted((behind, batch), key=lambda batch: batch.end)
            result.spare.append(shorter)
        if behind is not None and behind.end <= reached:
            result.spare.append(behind)
            behind = None
    if behind is not None:
        result.take(behind, reached)
    return result


def completed(whole: Cover[R], beside: Iterable[R]) -> Cover[R]:
    """``whole`` and what of ``beside`` has positions that it lacks; what both have is there once, as one was repaid the other."""
    here = whole.ranges
    more = cover(batch for batch in beside if here.missing(batch.start, batch.end))
    if not more.chosen:
        return whole
    overlaps = IntervalSet([*whole.overlaps, *more.overlaps, *here.common(more.ranges)])
    chosen = sorted([*whole.chosen, *more.chosen], key=lambda batch: (batch.start, batch.end))
    return Cover(chosen, [*whole.spare, *more.spare], overlaps)


def without(one: IntervalSet, *others: IntervalSet) -> IntervalSet:
    """Positions of ``one`` that are in none of ``others``."""
    for other in others:
        one = IntervalSet(gap for start, end in one for gap in other.missing(start, end))
    return one


def common(one: IntervalSet, other: IntervalSet) -> IntervalSet:
    """Positions that are in both."""
    return one.common(other)
