"""Interval sets: cursors, dedupe and the audit all stand on them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.intervals import IntervalSet

PAIRS = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
STEPS = st.lists(st.tuples(st.booleans(), PAIRS), max_size=25)


def positions(pairs: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in pairs for at in range(start, end)}


def build(steps: list[tuple[bool, tuple[int, int]]]) -> tuple[IntervalSet, set[int]]:
    intervals, model = IntervalSet(), set[int]()
    for adds, (start, end) in steps:
        if adds:
            intervals.add(start, end)
            model |= set(range(start, end))
        else:
            intervals.remove(start, end)
            model -= set(range(start, end))
    return intervals, model


@given(STEPS)
def test_behaves_as_a_set_of_positions(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    """Adding and removing intervals in any order gives the same positions as a plain set."""
    intervals, model = build(steps)
    assert positions(intervals.pairs()) == model
    assert intervals.total() == len(model)


@given(STEPS)
def test_keeps_intervals_merged_and_in_order(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    """No two kept intervals touch, none is empty, and they are in order."""
    pairs = build(steps)[0].pairs()
    assert all(start < end for start, end in pairs)
    assert all(before[1] < after[0] for before, after in pairwise(pairs))


@given(STEPS, PAIRS)
def test_answers_cover_and_missing(steps: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]) -> None:
    """Coverage, gaps and overlaps of any asked interval agree with the positions."""
    intervals, model = build(steps)
    wanted = set(range(*asked))
    assert intervals.covers(*asked) == (wanted <= model)
    assert positions(intervals.missing(*asked)) == wanted - model
    assert positions(intervals.overlaps(*asked)) & wanted == wanted & model


@given(STEPS, st.integers(0, 60))
def test_prefix_is_the_end_of_what_is_there_from_a_position_on(
    steps: list[tuple[bool, tuple[int, int]]], start: int
) -> None:
    """The prefix from a position is the first position after it that is not in the set."""
    intervals, model = build(steps)
    expected = start
    while expected in model:
        expected += 1
    assert intervals.prefix(start) == expected


def test_refuses_an_interval_that_ends_before_it_starts() -> None:
    """A negative interval is a bug of the caller and is said."""
    with pytest.raises(ValueError, match="cannot end before"):
        IntervalSet([(5, 3)])
