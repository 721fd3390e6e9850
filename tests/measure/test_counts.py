"""The book of requests: what is counted where, what there is no room for, and that it survives being written down."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.measure.counts import IDLE_NS, OTHER, Book, Bounds, Key, Serving, Tally
from tests.measure.measurekit import BOUNDS

A = Key(Serving("a", "r1", "g1", "prod"))


def tally(*requests: tuple[Key, bool, int], declared: Key | None = None) -> Tally:
    found = Tally(BOUNDS.buckets_ns)
    if declared is not None:
        found.declare(declared)
    for key, error, duration in requests:
        found.count(key, error=error, duration_ns=duration)
    return found


def services(count: int, first: int = 0) -> list[Key]:
    return [Key(Serving(f"s{number}")) for number in range(first, first + count)]


def test_a_service_that_is_declared_has_both_outcomes_at_zero() -> None:
    """Errors are zero and not absent before the first one, so that the first one is seen as growth."""
    line = Book(BOUNDS).plus(tally(declared=A), 7).lines[A]
    assert (line.requests, line.errors, line.start_ns) == (0, 0, 7)


@pytest.mark.parametrize(
    ("duration", "bucket"),
    [(0, 0), (50_000_000, 0), (50_000_001, 1), (500_000_000, 2), (500_000_001, 3), (2**63, 5)],
)
def test_the_end_of_a_bucket_belongs_to_it(duration: int, bucket: int) -> None:
    """A request of exactly the objective is within the objective, as ``le`` says."""
    line = Book(BOUNDS).plus(tally((A, False, duration)), 1).lines[A]
    assert line.buckets.index(1) == bucket
    assert line.duration_ns == duration


def test_the_numbers_only_grow_and_keep_their_start() -> None:
    """Later finds are added; the start time is that of the first."""
    book = Book(BOUNDS).plus(tally((A, True, 1), (A, False, 2)), 10).plus(tally((A, False, 3)), 20)
    line = book.lines[A]
    assert (line.requests, line.errors, line.duration_ns, line.start_ns, line.seen_ns) == (3, 1, 6, 10, 20)


def test_adding_the_same_to_the_same_book_gives_the_same_book() -> None:
    """A commit that failed is tried again with the very same numbers."""
    book = Book(BOUNDS).plus(tally(*((key, False, 1) for key in services(6))), 1)
    more = tally(*((key, True, 1) for key in services(9)))
    assert book.plus(more, 5) == book.plus(more, 5)


def test_services_beyond_the_bound_are_counted_together_and_told() -> None:
    """The number of series of a host is bounded; no request goes uncounted for it."""
    book = Book(BOUNDS).plus(tally(*((key, False, 1) for key in services(8))), 1)
    assert len(book.lines) == 7
    assert book.lines[Key(Serving(OTHER))].requests == 2
    assert book.folded == {"service": 2}
    assert sum(line.requests for line in book.lines.values()) == 8


def test_an_idle_service_gives_way_to_a_new_one() -> None:
    """A machine that sees many releases in one life counts the newest ones, not the first six."""
    old, new = services(6), services(1, first=9)[0]
    book = Book(BOUNDS).plus(tally(*((key, False, 1) for key in old)), 1)
    book = book.plus(tally(*((key, False, 1) for key in old[1:])), IDLE_NS)
    book = book.plus(tally((new, False, 1)), IDLE_NS + 1)
    assert old[0] not in book.lines
    assert book.lines[new].requests == 1
    assert not book.folded


def test_routes_beyond_the_bound_are_counted_as_other() -> None:
    """A service with an id in each of its routes does not flood the store of metrics."""
    keys = [Key(A.who, f"/r{number}") for number in range(5)]
    book = Book(BOUNDS).plus(tally(*((key, False, 1) for key in [*keys, A])), 1)
    assert {key.route for key in book.lines} == {"", "/r0", "/r1", "/r2", OTHER}
    assert book.lines[Key(A.who, OTHER)].requests == 2
    assert book.folded == {"route": 2}


def test_routes_of_a_service_without_room_are_one() -> None:
    """What is folded is folded altogether: other services have no routes of their own."""
    book = Book(BOUNDS).plus(tally(*((key, False, 1) for key in services(6))), 1)
    book = book.plus(tally((Key(Serving("late"), "/a"), False, 1), (Key(Serving("later"), "/b"), False, 1)), 2)
    assert book.lines[Key(Serving(OTHER), OTHER)].requests == 2
    assert book.folded == {"service": 2}


keys = st.builds(
    Key, st.builds(Serving, st.text(max_size=3), st.text(max_size=3), st.text(max_size=2)), st.text(max_size=2)
)
finds = st.lists(st.tuples(keys, st.booleans(), st.integers(0, 2**64 - 1)), max_size=20)


@settings(max_examples=100, deadline=None)
@given(st.lists(finds, max_size=4))
def test_a_book_survives_the_ledger(history: list[list[tuple[Key, bool, int]]]) -> None:
    """What was written down is read back equal, and no request was lost to any bound on the way."""
    book = Book(BOUNDS)
    for now, found in enumerate(history, start=1):
        book = book.plus(tally(*found), now)
    assert Book.decode(book.encode(), BOUNDS) == book
    assert sum(line.requests for line in book.lines.values()) == sum(map(len, history))
    assert sum(line.errors for line in book.lines.values()) == sum(error for found in history for _, error, _ in found)
    assert len({key.who for key in book.lines}) <= BOUNDS.max_services + 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"version":2}', '{"version":1,"buckets":[1],"lines":[],"folded":{}}']
    + [
        json.dumps({"version": 1, "buckets": BOUNDS.buckets_ns, "lines": lines, "folded": {}})
        for lines in ([1], [[]], [["a"] * 15])
    ],
)
def test_what_is_no_book_is_refused(text: str) -> None:
    """Counts that were damaged, or have other buckets, are not mixed with ours."""
    with pytest.raises(ValueError, match=r"."):
        Book.decode(text, BOUNDS)


def test_a_book_with_other_bounds_is_taken_up_as_long_as_its_buckets_are_the_same() -> None:
    """Changing how many services are kept does not throw the counts away."""
    book = Book(BOUNDS).plus(tally((A, False, 1)), 1)
    wider = Bounds(BOUNDS.buckets_ns, 60, 60)
    assert Book.decode(book.encode(), wider).lines == book.lines
