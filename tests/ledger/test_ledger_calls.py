"""The smaller promises of the ledger: facts, streams, the account, the gateway's index."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Cut, Signal, StreamKind
from shipper.events import Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, StreamRow
from shipper.testing.clock import FakeClock


def reopen(ledger: Ledger) -> Ledger:
    """The same ledger in the next run."""
    ledger.close()
    return Ledger.open(ledger._store.path, report=Reporter(FakeClock()))


def row(id_: str, kind: StreamKind = StreamKind.DATA, start: int = 0, **more: object) -> StreamRow:
    """A stream of logs."""
    return StreamRow(id_, kind, Signal.LOGS, "file", f"/var/log/{id_}", start, **more)  # type: ignore[arg-type]


def cut(start: int, end: int, records: int = 1, **more: int) -> Cut:
    """A cut at event borders."""
    return Cut(start, end, start, end, records, 7, **more)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger with the stream ``a``."""
    opened = Ledger.open(tmp_path / "ledger.db", report=Reporter(FakeClock()))
    opened.put_stream(row("a"))
    yield opened
    opened.close()


def test_runs_and_accounts_are_numbered_across_restarts(ledger: Ledger) -> None:
    """Runs count up for ever, accounts from 1 in each run, and no pair is given twice."""
    assert [ledger.begin_run(), ledger.next_seq(), ledger.next_seq()] == [1, 1, 2]
    ledger = reopen(ledger)
    assert [ledger.next_seq(), ledger.begin_run(), ledger.next_seq()] == [3, 2, 1]
    ledger.close()


def test_facts_outlive_the_process(ledger: Ledger) -> None:
    """A fact put is found by the next run; one never put is None."""
    ledger.put("life", "x")
    ledger.put("life", "y")
    ledger = reopen(ledger)
    assert (ledger.get("life"), ledger.get("nothing")) == ("y", None)
    ledger.close()


def test_a_stream_keeps_what_was_seen_of_it(ledger: Ledger) -> None:
    """Announcing a stream again updates its name and meta, but neither its size nor its end goes back."""
    ledger.put_stream(row("b", start=5, meta={"inode": 7}))
    ledger.seen("b", 100)
    ledger.finish("b", 120)
    ledger.put_stream(StreamRow("b", StreamKind.DATA, Signal.LOGS, "file", "renamed", 5, {"inode": 8}))
    ledger = reopen(ledger)
    found = {stream.id: stream for stream in ledger.streams()}["b"]
    assert (found.name, found.meta, found.size, found.finished) == ("renamed", {"inode": 8}, 120, True)
    with pytest.raises(ValueError, match="cannot change its kind, signal or start"):
        ledger.put_stream(row("b", start=6))
    ledger.close()


def test_a_stream_that_is_deleted_from_its_beginning_keeps_its_start(ledger: Ledger) -> None:
    """A spool that begins later than it did, its delivered segments being deleted, is still the same stream."""
    assert ledger.put_shrinking(row("spool", start=5)).start == 5
    ledger.commit("otlp", "r", Signal.LOGS, [("spool", cut(5, 90))])
    ledger.acknowledge("otlp", "r")
    ledger = reopen(ledger)
    assert ledger.put_shrinking(row("spool", start=70)).start == 5
    assert ledger.low("spool", ["otlp"]) == 90
    with pytest.raises(ValueError, match="cannot change its kind"):
        ledger.put_shrinking(row("spool", StreamKind.ACCOUNT, start=70))
    ledger.close()


def test_a_retired_stream_stays_in_the_account(ledger: Ledger) -> None:
    """Retiring takes a stream out of `streams`, also for the next run, while its figures are still accounted for."""
    ledger.commit("otlp", "r", Signal.LOGS, [("a", cut(0, 9))])
    ledger.acknowledge("otlp", "r")
    ledger.finish("a", 9)
    ledger.retire("a")
    ledger = reopen(ledger)
    assert ledger.streams() == []
    assert [account.stream.id for account in ledger.account(["otlp"])] == ["a"]
    ledger.put_stream(row("a"))
    assert [stream.id for stream in ledger.streams()] == ["a"]
    ledger.close()


def test_what_was_never_made_known_is_refused(ledger: Ledger) -> None:
    """Calls about unknown streams or requests are errors of the caller and change nothing."""
    with pytest.raises(ValueError, match="never made known"):
        ledger.commit("otlp", "r", Signal.LOGS, [("a", cut(0, 5)), ("zz", cut(0, 5))])
    assert ledger.open_requests("otlp") == []
    assert ledger.cursor("otlp", "a").cut_to == 0
    with pytest.raises(ValueError, match="never made known"):
        ledger.cursor("otlp", "zz")
    with pytest.raises(ValueError, match="never made known"):
        ledger.seen("zz", 5)
    for call in (
        lambda: ledger.acknowledge("otlp", "r"),
        lambda: ledger.settle("otlp", "r", "dropped", "x"),
        lambda: ledger.replace("otlp", "r", []),
    ):
        with pytest.raises(ValueError, match="not open"):
            call()


@pytest.mark.parametrize(
    ("cuts", "problem"),
    [
        ([], "no cuts"),
        ([("a", cut(0, 0))], "begins before 0"),
        ([("a", cut(0, 5)), ("a", cut(4, 9))], "begins before 5"),
        ([("a", cut(6, 9)), ("a", cut(8, 12))], "is in flight"),
    ],
)
def test_cuts_do_not_meet(ledger: Ledger, cuts: list[tuple[str, Cut]], problem: str) -> None:
    """A request whose cuts overlap one another, or what is in flight, or are empty is refused."""
    with pytest.raises(ValueError, match=problem):
        ledger.commit("otlp", "r", Signal.LOGS, cuts)
    assert ledger.cursor("otlp", "a").cut_to == 0


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [("x", [("a", cut(0, 5))])],
        [("x", [("a", cut(0, 5))]), ("y", [("a", cut(4, 10))])],
        [("x", [("a", cut(0, 10))]), ("y", [])],
        [("x", [("a", cut(0, 5))]), ("x", [("a", cut(5, 10))])],
        [("x", [("a", cut(0, 5))]), ("other", [("a", cut(5, 10))])],
    ],
)
def test_parts_are_the_same_ranges_under_new_ids(
    ledger: Ledger, parts: list[tuple[str, list[tuple[str, Cut]]]]
) -> None:
    """Replacing a request by parts that miss, repeat or confuse something is refused."""
    ledger.commit("otlp", "r", Signal.LOGS, [("a", cut(0, 10))])
    ledger.commit("otlp", "other", Signal.LOGS, [("a", cut(10, 20))])
    with pytest.raises(ValueError, match="part"):
        ledger.replace("otlp", "r", parts)
    assert [request.id for request in ledger.open_requests("otlp")] == ["r", "other"]


def test_halves_of_halves_stay_in_place(ledger: Ledger) -> None:
    """Parts take the place of their request in the order of resending, however often they are halved, over restarts."""
    ledger.commit("otlp", "r1", Signal.LOGS, [("a", cut(0, 8))], "shape")
    ledger.commit("otlp", "r2", Signal.LOGS, [("a", cut(8, 16))], "shape")
    ledger.replace("otlp", "r1", [("h1", [("a", cut(0, 4))]), ("h2", [("a", cut(4, 8))])])
    ledger.replace("otlp", "h1", [("q1", [("a", cut(0, 2))]), ("q2", [("a", cut(2, 4))])])
    ledger = reopen(ledger)
    assert [request.id for request in ledger.open_requests("otlp")] == ["q1", "q2", "h2", "r2"]
    assert {request.shaping for request in ledger.open_requests("otlp")} == {"shape"}
    ledger.close()


def test_a_cursor_is_its_callers_own(ledger: Ledger) -> None:
    """Changing the sets of a cursor that was handed out changes nothing in the ledger."""
    ledger.cursor("otlp", "a").done.add(0, 100)
    assert ledger.low("a", ["otlp"]) == 0
    assert not ledger.cursor("otlp", "a").done


def test_the_account_has_the_figures_of_every_destination(ledger: Ledger) -> None:
    """The account record's object says what is read, settled, pending and unread, and which ranges; no account streams."""
    ledger.put_stream(row("life", StreamKind.LIFE))
    ledger.put_stream(row("account", StreamKind.ACCOUNT))
    ledger.commit("otlp", "r1", Signal.LOGS, [("a", cut(0, 10, 5, filtered=1, sampled=2))])
    ledger.acknowledge("otlp", "r1", rejected=2)
    ledger.commit("otlp", "r2", Signal.LOGS, [("a", cut(10, 20, 4))])
    ledger.settle("otlp", "r2", "quarantined", "rejected")
    ledger.commit("otlp", "r3", Signal.LOGS, [("a", cut(20, 30, 3))])
    ledger.commit("otlp", "l", Signal.LOGS, [("life", cut(0, 10))])
    ledger.give_up("otlp", "a", 30, 40, 0, "truncated")
    ledger.seen("a", 100)
    (account,) = ledger.account(["otlp", "archive"])
    assert account.destinations["otlp"].as_json() == {
        "read_to": 40,
        "read": 15,
        "acknowledged": 3,
        "pending": 3,
        "filtered": 1,
        "sampled": 2,
        "dropped": 0,
        "quarantined": 4,
        "rejected": 2,
        "unread": 60,
        "acknowledged_ranges": [[0, 10]],
        "lost_ranges": [[30, 40]],
        "quarantined_ranges": [[10, 20]],
    }
    assert account.destinations["archive"].as_json()["unread"] == 100


def test_only_changed_streams_are_accounted_for_again(ledger: Ledger) -> None:
    """With the marker of the last answer only what changed since comes, in the order of change."""
    ledger.put_stream(row("b"))
    ledger.put_stream(row("c"))
    marker = max(account.changed for account in ledger.account(["otlp"]))
    assert ledger.account(["otlp"], marker) == []
    ledger.seen("c", 0)  # not news
    ledger.seen("b", 10)
    ledger.seen("a", 10)
    ledger.seen("b", 11)
    assert [account.stream.id for account in ledger.account(["otlp"], marker)] == ["a", "b"]


def test_a_lying_destination_cannot_reject_more_than_it_got(ledger: Ledger) -> None:
    """A partial success that names absurd numbers is counted within what the request held."""
    for number, rejected in enumerate((10**9, -5)):
        ledger.commit("otlp", "r", Signal.LOGS, [("a", cut(number * 5, number * 5 + 5, 3))])
        ledger.acknowledge("otlp", "r", rejected)
    counts = ledger.cursor("otlp", "a").counts
    assert (counts.rejected, counts.acknowledged) == (3, 3)


def test_a_destination_that_claims_absurd_positions_does_no_harm(ledger: Ledger) -> None:
    """What is adopted is cut to what belongs to the stream and to what a position can be."""
    ledger.put_stream(row("late", start=100))
    ledger.adopt("otlp", "late", IntervalSet([(0, 150), (1 << 70, 1 << 71)]))
    ledger.adopt("otlp", "a", IntervalSet([(5, 1 << 70)]))
    assert ledger.cursor("otlp", "late").done == IntervalSet([(100, 150)])
    assert ledger.cursor("otlp", "late").cut_to == 150
    assert ledger.cursor("otlp", "a").cut_to == 0
    reopen(ledger).close()


SPANS = st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 50), st.integers(0, 10)), max_size=40)


@settings(max_examples=40, deadline=None)
@given(SPANS)
def test_accepted_intervals_are_kept_merged(spans: list[tuple[str, int, int]]) -> None:
    """Whatever order intervals are accepted in, the index holds their union in as few rows as possible."""
    wanted: dict[str, IntervalSet] = {}
    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger.open(Path(directory) / "ledger.db", report=Reporter(FakeClock()))
        for stream, start, size in spans:
            ledger.add_accepted("life", stream, start, start + size, 1)
            if size:
                wanted.setdefault(stream, IntervalSet()).add(start, start + size)
        assert ledger.accepted_streams("life") == wanted
        assert all(ledger.accepted("life", stream) == wanted[stream] for stream in wanted)
        rows = ledger._store.sql.execute("SELECT count(*) FROM accepted").fetchone()[0]
        assert rows == sum(len(ranges) for ranges in wanted.values())
        ledger.close()


def test_a_life_is_forgotten_some_time_after_its_last_sign(ledger: Ledger) -> None:
    """Intervals go when the life was last heard of before the given time, by its farewell or by a batch after it."""
    ledger.add_accepted("ended", "a", 0, 5, 100)
    ledger.life_ended("ended", 150)
    ledger.add_accepted("reopened", "a", 0, 5, 100)
    ledger.life_ended("reopened", 150)
    ledger.add_accepted("reopened", "a", 5, 9, 300)
    ledger.add_accepted("reopened", "a", 9, 10, 50)  # a clock that jumped back makes nothing older
    assert ledger.forget_accepted(150) == 0
    assert ledger.forget_accepted(300) == 1
    assert ledger.accepted_streams("ended") == {}
    assert ledger.accepted_streams("reopened") == {"a": IntervalSet([(0, 10)])}


def test_the_index_and_its_position_in_the_spool_go_together(ledger: Ledger) -> None:
    """What is indexed of a spool is remembered by name; a spool never indexed is at 0."""
    with ledger.transaction():
        ledger.add_accepted("life", "a", 0, 5, 1)
        ledger.set_spool_indexed("logs", 500)
    ledger.set_spool_indexed("logs", 700)
    ledger = reopen(ledger)
    assert (ledger.spool_indexed("logs"), ledger.spool_indexed("traces")) == (700, 0)
    ledger.close()


def test_thousands_of_streams_cost_one_interval_row_each(ledger: Ledger) -> None:
    """Acknowledgements in any order leave one row for a stream whose prefix is complete."""
    names = [f"s{number}" for number in range(1000)]
    with ledger.transaction():
        for name in names:
            ledger.put_stream(row(name))
        for step in range(3):
            cuts = [(name, cut(step * 5, step * 5 + 5)) for name in names]
            ledger.commit("otlp", f"r{step}", Signal.LOGS, cuts)
        for step in (1, 0, 2):
            ledger.acknowledge("otlp", f"r{step}")
    assert ledger._store.sql.execute("SELECT count(*) FROM intervals").fetchone()[0] == 1000
    assert all(ledger.low(name, ["otlp"]) == 15 for name in names)
