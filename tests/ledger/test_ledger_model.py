"""The ledger against a model that keeps one word per position, through any order of calls, failures and restarts."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from shipper.contracts import Cut, Signal, StreamKind
from shipper.errors import LedgerFull
from shipper.events import Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, StreamRow
from shipper.testing.clock import FakeClock

DESTINATIONS = ("otlp", "archive")
START = {"a": 0, "b": 7}
PAIRS = [(destination, stream) for destination in DESTINATIONS for stream in START]
DONE = ("acknowledged", "lost", "quarantined")

Pair = tuple[str, str]
Cuts = tuple[tuple[str, Cut], ...]
SIZES = st.lists(
    st.tuples(
        st.sampled_from(sorted(START)), st.integers(1, 9), st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)
    ),
    min_size=1,
    max_size=4,
)


class Boom(Exception):
    """A failure of the caller inside a transaction."""


class LedgerModel(RuleBasedStateMachine):
    """Every rule does the same to the ledger and to the model; the invariants compare them after each."""

    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "ledger.db"
        self.words: dict[Pair, dict[int, str]] = {pair: {} for pair in PAIRS}
        self.counts: dict[Pair, Counter[str]] = {pair: Counter() for pair in PAIRS}
        self.cut_to: dict[Pair, int] = {(d, s): START[s] for d, s in PAIRS}
        self.open: dict[str, list[tuple[str, Cuts]]] = {name: [] for name in DESTINATIONS}
        self.losses: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in DESTINATIONS}
        self.ids = 0
        self.marker = -1
        self.ledger = self.reopened()

    def reopened(self) -> Ledger:
        return Ledger.open(self.path, report=Reporter(FakeClock()))

    def new_id(self) -> str:
        self.ids += 1
        return f"r{self.ids}"

    def positions(self, pair: Pair, *wanted: str) -> IntervalSet:
        """The positions that carry one of the words."""
        return IntervalSet((at, at + 1) for at, word in self.words[pair].items() if word in wanted)

    def count(self, pair: Pair, cut: Cut, sign: int) -> None:
        self.counts[pair]["read"] += sign * cut.consumed
        self.counts[pair]["pending"] += sign * cut.records
        self.counts[pair]["filtered"] += sign * cut.filtered
        self.counts[pair]["sampled"] += sign * cut.sampled

    def say(self, pair: Pair, start: int, end: int, word: str) -> None:
        self.words[pair].update(dict.fromkeys(range(start, end), word))

    def skip_done(self, pair: Pair) -> None:
        self.cut_to[pair] = self.positions(pair, *DONE).prefix(self.cut_to[pair])

    def taken(self, destination: str, id_: str) -> tuple[int, Cuts]:
        """Take a request out of the model: its place and its cuts."""
        index = next(i for i, (name, _) in enumerate(self.open[destination]) if name == id_)
        return index, self.open[destination].pop(index)[1]

    def draw_cuts(
        self, destination: str, sizes: list[tuple[str, int, int, int, int]], skip: bool, ahead: int = 0
    ) -> Cuts:
        """Cuts that follow the cursors; with ``skip`` they begin behind what the destination is known to have.

        With ``ahead`` they begin so far behind that at the earliest: out of order. None is over what is in flight.
        """
        at = {stream: self.cut_to[(destination, stream)] for stream in START}
        flying = {stream: self.positions((destination, stream), "pending") for stream in START}
        cuts = []
        for stream, size, records, filtered, sampled in sizes:
            start = self.positions((destination, stream), *DONE).prefix(at[stream]) if skip else at[stream]
            start += ahead
            while found := flying[stream].overlaps(start, start + size):
                start = found[-1][1]
            at[stream] = start + size
            flying[stream].add(start, at[stream])
            cuts.append((stream, Cut(start, at[stream], start, at[stream] - 1, records, 1, 2, filtered, sampled)))
        return tuple(cuts)

    @initialize()
    def make_streams_known(self) -> None:
        for stream, start in START.items():
            self.ledger.put_stream(StreamRow(stream, StreamKind.DATA, Signal.LOGS, "test", stream, start))

    @rule(
        target=requests,
        destination=st.sampled_from(DESTINATIONS),
        sizes=SIZES,
        skip=st.booleans(),
        ahead=st.sampled_from([0, 0, 1, 7, 20]),
    )
    def commit(self, destination: str, sizes: list[tuple[str, int, int, int, int]], skip: bool, ahead: int) -> object:
        cuts, id_ = self.draw_cuts(destination, sizes, skip, ahead), self.new_id()
        self.ledger.commit(destination, id_, Signal.LOGS, cuts, "shape")
        for stream, cut in cuts:
            pair = (destination, stream)
            if self.positions(pair, *DONE, "pending").covers(self.cut_to[pair], cut.start):
                self.cut_to[pair] = cut.end
            self.say(pair, cut.start, cut.end, "pending")
            self.count(pair, cut, 1)
        self.open[destination].append((id_, cuts))
        return (destination, id_)

    @rule(request=consumes(requests), rejected=st.integers(0, 8))
    def acknowledge(self, request: tuple[str, str], rejected: int) -> None:
        destination, id_ = request
        self.ledger.acknowledge(destination, id_, rejected)
        for stream, cut in self.taken(destination, id_)[1]:
            counts = self.counts[(destination, stream)]
            refused = min(rejected, cut.records)
            rejected -= refused
            counts["pending"] -= cut.records
            counts["rejected"] += refused
            counts["acknowledged"] += cut.records - refused
            self.say((destination, stream), cut.start, cut.end, "acknowledged")

    @rule(request=consumes(requests), quarantine=st.booleans())
    def settle(self, request: tuple[str, str], quarantine: bool) -> None:
        destination, id_ = request
        self.ledger.settle(destination, id_, "quarantined" if quarantine else "dropped", "refused")
        word, count = ("quarantined", "quarantined") if quarantine else ("lost", "dropped")
        for stream, cut in self.taken(destination, id_)[1]:
            self.counts[(destination, stream)]["pending"] -= cut.records
            self.counts[(destination, stream)][count] += cut.records
            self.losses[destination][(count, "refused")] += cut.records
            self.say((destination, stream), cut.start, cut.end, word)

    @rule(target=requests, request=consumes(requests), extra=st.integers(0, 1))
    def replace_by_halves(self, request: tuple[str, str], extra: int) -> object:
        """Split every cut; the second half may turn out to hold another number of records."""
        destination, id_ = request
        index, cuts = self.taken(destination, id_)
        first: list[tuple[str, Cut]] = []
        second: list[tuple[str, Cut]] = []
        for stream, cut in cuts:
            middle = (cut.start + cut.end) // 2
            if middle == cut.start:
                first.append((stream, cut))
                continue
            records = cut.records // 2
            low = Cut(cut.start, middle, cut.resume, middle, records, 1)
            high = Cut(
                middle, cut.end, middle, cut.next_resume, cut.records - records + extra, 1, 2, cut.filtered, cut.sampled
            )
            first.append((stream, low))
            second.append((stream, high))
            self.counts[(destination, stream)]["pending"] += extra
            self.counts[(destination, stream)]["read"] += extra
        parts = [(self.new_id(), part) for part in (first, second) if part]
        self.ledger.replace(destination, id_, parts)
        self.open[destination][index:index] = [(part, tuple(held)) for part, held in parts]
        return multiple(*((destination, part) for part, _ in parts))

    @rule(pair=st.sampled_from(PAIRS), ahead=st.integers(-3, 6), size=st.integers(0, 9), records=st.integers(0, 4))
    def give_up(self, pair: Pair, ahead: int, size: int, records: int) -> None:
        start = max(START[pair[1]], self.cut_to[pair] + ahead)
        end = start + size
        if self.positions(pair, "pending").overlaps(start, end):
            with pytest.raises(ValueError, match="in flight"):
                self.ledger.give_up(*pair, start, end, records, "range_gone")
            return
        self.ledger.give_up(*pair, start, end, records, "range_gone")
        for a, b in self.positions(pair, *DONE).missing(start, end):
            self.say(pair, a, b, "lost")
        self.counts[pair]["read"] += records
        self.counts[pair]["dropped"] += records
        self.losses[pair[0]][("dropped", "range_gone")] += records
        self.skip_done(pair)

    @rule(pair=st.sampled_from(PAIRS), spans=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=3))
    def adopt(self, pair: Pair, spans: list[tuple[int, int]]) -> None:
        known = IntervalSet((start, start + size) for start, size in spans)
        self.ledger.adopt(*pair, known)
        for start, end in known:
            for at in range(max(start, START[pair[1]]), end):
                self.words[pair].setdefault(at, "acknowledged")
        self.skip_done(pair)

    @rule(request=requests, sizes=SIZES, destination=st.sampled_from(DESTINATIONS))
    def a_caller_fails_half_way(
        self, request: tuple[str, str], sizes: list[tuple[str, int, int, int, int]], destination: str
    ) -> None:
        def fail() -> None:
            with self.ledger.transaction():
                self.ledger.acknowledge(*request)
                self.ledger.commit(destination, self.new_id(), Signal.LOGS, self.draw_cuts(destination, sizes, False))
                raise Boom

        with pytest.raises(Boom):
            fail()

    @rule(request=requests, pair=st.sampled_from(PAIRS))
    def the_disk_fills_up_half_way(self, request: tuple[str, str], pair: Pair) -> None:
        def fill() -> None:
            with self.ledger.transaction():
                self.ledger.acknowledge(*request)
                end = self.ledger.cursor(*pair).reach
                self.ledger.give_up(*pair, end, end + 3, 2, "x" * 40_000)

        sql = self.ledger._store.sql
        pages = sql.execute("PRAGMA page_count").fetchone()[0]
        sql.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(LedgerFull, match="free space"):
            fill()
        sql.execute("PRAGMA max_page_count=1000000")

    @rule(request=requests)
    def refuses_an_id_in_use(self, request: tuple[str, str]) -> None:
        destination, id_ = request
        with pytest.raises(ValueError, match="already open"):
            self.ledger.commit(destination, id_, Signal.LOGS, self.draw_cuts(destination, [("a", 3, 1, 0, 0)], False))

    @rule(pair=st.sampled_from(PAIRS), size=st.integers(0, 60))
    def the_stream_is_seen(self, pair: Pair, size: int) -> None:
        self.ledger.seen(pair[1], size)

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = self.reopened()
        self.marker = -1

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        for pair in PAIRS:
            if not self.ledger.streams():
                return
            cursor = self.ledger.cursor(*pair)
            assert cursor.cut_to == self.cut_to[pair]
            assert cursor.acknowledged == self.positions(pair, "acknowledged")
            assert cursor.lost == self.positions(pair, "lost")
            assert cursor.quarantined == self.positions(pair, "quarantined")
            assert cursor.done == self.positions(pair, *DONE)
            assert cursor.pending == self.counts[pair]["pending"]
            ahead = self.positions(pair, "pending")
            ahead.remove(0, cursor.cut_to)
            assert cursor.ahead == ahead
            assert cursor.reach == max(self.cut_to[pair], *(at + 1 for at in self.words[pair]), 0)
            for name in ("read", "acknowledged", "filtered", "sampled", "dropped", "quarantined", "rejected"):
                assert getattr(cursor.counts, name) == self.counts[pair][name], name
        for destination in DESTINATIONS:
            assert [(r.id, r.cuts) for r in self.ledger.open_requests(destination)] == self.open[destination]
            found = Counter[tuple[str, str]]()
            for loss in self.ledger.losses(destination):
                found[(loss.how, loss.cause)] += loss.records
            assert found == self.losses[destination]

    @invariant()
    def every_record_and_position_is_accounted_for(self) -> None:
        for row in self.ledger.streams():
            for destination in DESTINATIONS:
                cursor = self.ledger.cursor(destination, row.id)
                c = cursor.counts
                settled = c.acknowledged + c.filtered + c.sampled + c.dropped + c.quarantined + c.rejected
                assert c.read == settled + cursor.pending
                flying = [
                    (cut.start, cut.end)
                    for request in self.ledger.open_requests(destination)
                    for stream, cut in request.cuts
                    if stream == row.id
                ]
                together = cursor.done.copy()
                for start, end in flying:
                    assert not together.overlaps(start, end)
                    together.add(start, end)
                assert together.covers(row.start, cursor.cut_to)
            low = self.ledger.low(row.id, DESTINATIONS)
            assert low == min(self.positions((d, row.id), *DONE).prefix(row.start) for d in DESTINATIONS)

    @invariant()
    def the_account_says_what_was_read(self) -> None:
        for account in self.ledger.account(DESTINATIONS):
            for destination, figures in account.destinations.items():
                pair = (destination, account.stream.id)
                known = self.positions(pair, *DONE, "pending")
                assert figures.read_to == self.ledger.cursor(*pair).reach
                assert list(figures.skipped) == known.missing(account.stream.start, figures.read_to)
                assert figures.unread == sum(b - a for a, b in known.missing(self.cut_to[pair], account.stream.size))

    @invariant()
    def the_incremental_account_misses_no_change(self) -> None:
        changed = {a.stream.id: a for a in self.ledger.account(DESTINATIONS, self.marker)}
        for account in self.ledger.account(DESTINATIONS):
            if account.stream.id in changed:
                assert changed[account.stream.id] == account
            else:
                assert self.last[account.stream.id].destinations == account.destinations
        self.last = {a.stream.id: a for a in self.ledger.account(DESTINATIONS)}
        self.marker = max((a.changed for a in self.last.values()), default=self.marker)

    def teardown(self) -> None:
        self.ledger.close()
        self.reopened().close()  # it proves itself when opened
        self.directory.cleanup()


def test_the_ledger_agrees_with_its_model() -> None:
    """Any order of calls, refused calls, full disks and restarts leaves the counts and ranges a plain model has."""
    LedgerModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    LedgerModel.TestCase("runTest").runTest()
