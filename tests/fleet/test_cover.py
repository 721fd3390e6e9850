"""Choosing which stored batches give every position once."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shipper.fleet.cover import common, cover, without
from shipper.intervals import IntervalSet


@dataclass(frozen=True)
class Stored:
    """A batch."""

    start: int
    end: int
    records: int = 1


BATCHES = st.lists(
    st.builds(lambda at, size: Stored(at, at + size), st.integers(0, 30), st.integers(1, 12)), max_size=12
)
SETS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=6).map(
    lambda pairs: IntervalSet((at, at + size) for at, size in pairs)
)


def positions(ranges: IntervalSet) -> set[int]:
    """One by one."""
    return {position for start, end in ranges for position in range(start, end)}


@given(BATCHES)
def test_nothing_is_lost_and_nothing_needless_is_kept(batches: list[Stored]) -> None:
    """The chosen have every position that any batch has; the spare ones add none; overlaps lie in more than one chosen."""
    result = cover(batches)
    assert positions(result.ranges) == {position for one in batches for position in range(one.start, one.end)}
    assert sorted([*result.chosen, *result.spare], key=repr) == sorted(batches, key=repr)
    times = [position for one in result.chosen for position in range(one.start, one.end)]
    assert positions(result.overlaps) == {position for position in times if times.count(position) > 1}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_batches_that_fit_together_are_preferred(sizes: list[int], random: object) -> None:
    """Among exact repeats, in any order, of batches cut once, each is chosen once and nothing overlaps."""
    at, cuts = 0, []
    for size in sizes:
        cuts.append(Stored(at, at + size))
        at += size
    batches = cuts * 2
    random.shuffle(batches)  # type: ignore[attr-defined]
    result = cover(batches)
    assert result.chosen == cuts
    assert not result.overlaps


def test_a_batch_that_continues_exactly_is_taken_before_one_that_overlaps() -> None:
    """Positions cut in two ways: the batches that tile are chosen although another reaches further."""
    tiles = [Stored(0, 50), Stored(50, 60), Stored(60, 100)]
    result = cover([*tiles, Stored(30, 70)])
    assert result.chosen == tiles
    assert result.spare == [Stored(30, 70)]


@given(SETS, SETS, SETS)
def test_set_arithmetic(one: IntervalSet, two: IntervalSet, three: IntervalSet) -> None:
    """`without` and `common` are what they are for sets of positions."""
    assert positions(without(one, two, three)) == positions(one) - positions(two) - positions(three)
    assert positions(common(one, two)) == positions(one) & positions(two)
