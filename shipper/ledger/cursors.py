"""Where each destination stands on each stream: cursors, their interval sets and the requests in flight, in file and memory.

This module only keeps them; what an acknowledgement or a loss means is in `delivery`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shipper.contracts import Cut, Signal
from shipper.intervals import IntervalSet
from shipper.ledger.journal import Mirror
from shipper.ledger.rows import Counts, Cursor, OpenRequest
from shipper.ledger.store import Store, Unfit
from shipper.ledger.streams import Streams

# Why a range is done, as it is stored. Plain strings: SQLite and dicts take them several times as fast as an enum's members.
Kind = Literal["a", "l", "q"]
ACKNOWLEDGED: Kind = "a"
LOST: Kind = "l"
QUARANTINED: Kind = "q"
KINDS: tuple[Kind, ...] = (ACKNOWLEDGED, LOST, QUARANTINED)


class State:
    """One cursor in memory. Counts change in place only in a `copy`; interval sets are replaced, never changed."""

    def __init__(self, id_: int, destination: str, stream: str, start: int) -> None:
        self.id = id_  # 0 until it is in the file
        self.destination = destination
        self.stream = stream
        self.start = start
        self.cut_to = start
        self.resume = start
        self.guard = 0
        self.shaping = ""
        self.read = self.acknowledged = self.filtered = self.sampled = 0
        self.dropped = self.quarantined = self.rejected = self.pending = 0
        # ``done`` is the union of the ranges, kept because every question is asked of it; while all of it is of one kind, which
        # is the usual case, it is that very set. The sets are shared between copies: replaced, never changed.
        self.done = IntervalSet()
        self.ranges = dict.fromkeys(KINDS, self.done)
        self.ahead = self.done  # in flight from ``cut_to`` on: cut out of order; replaced, never changed
        self.unwritten: dict[tuple[Kind, int], int | None] = {}  # (kind, start) -> end of changed rows, None: gone

    def copy(self) -> State:
        """A copy whose counts may change, and whose ranges may be replaced, without this one noticing."""
        other = State.__new__(State)
        other.__dict__.update(self.__dict__)
        other.ranges = self.ranges.copy()
        other.unwritten = {}
        return other

    def counts(self) -> Counts:
        """The counts as a value."""
        return Counts(
            self.read, self.acknowledged, self.filtered, self.sampled, self.dropped, self.quarantined, self.rejected
        )

    def cursor(self) -> Cursor:
        """Everything as a value of its own, which its owner may change at will."""
        return Cursor(
            cut_to=self.cut_to,
            resume=self.resume,
            guard=self.guard,
            done=self.done.copy(),
            acknowledged=self.ranges[ACKNOWLEDGED].copy(),
            counts=self.counts(),
            lost=self.ranges[LOST].copy(),
            quarantined=self.ranges[QUARANTINED].copy(),
            shaping=self.shaping,
            pending=self.pending,
            ahead=self.ahead.copy(),
        )


@dataclass(frozen=True, slots=True)
class InFlight:
    """An open request and its place: ``ordinal`` by commit, ``path`` orders the parts a request was replaced by."""

    request: OpenRequest
    ordinal: int
    path: str


class Cursors(Streams):
    """The cursors and requests in flight, mirrored in memory; the mirror always says what the file says."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._cursors: Mirror[tuple[str, str], State] = Mirror(store.journal)
        self._in_flight: Mirror[tuple[str, str], InFlight] = Mirror(store.journal)
        self._last_ordinal = 0
        self._load()

    def cursor(self, destination: str, stream: str) -> Cursor:
        """Where the destination stands on the stream; at the stream's start when nothing was ever cut for it."""
        return self._state(destination, stream).cursor()

    def destinations(self) -> list[str]:
        """All that anything was ever cut for."""
        return sorted({destination for (destination, _), _ in self._cursors.items()})

    def open_requests(self, destination: str) -> list[OpenRequest]:
        """The requests without an outcome, in the order of their commit: after a restart, send these unchanged first."""
        mine = [entry for (owner, _), entry in self._in_flight.items() if owner == destination]
        return [entry.request for entry in sorted(mine, key=lambda entry: (entry.ordinal, entry.path))]

    def has_sent_to(self, destination: str) -> bool:
        """Whether anything was ever cut for a destination."""
        return any(owner == destination for (owner, _), _ in self._cursors.items())

    def low(self, stream: str, destinations: Iterable[str]) -> int:
        """The position below which every one of the destinations is done; the stream's start when there are none."""
        start = self._stream(stream).start
        return min((self._state(name, stream).done.prefix(start) for name in destinations), default=start)

    def _state(self, destination: str, stream: str) -> State:
        """The cursor to look at; not to be changed."""
        state = self._cursors.get((destination, stream))
        return state or State(0, destination, stream, self._stream(stream).start)

    def _keep(self, states: Iterable[State]) -> None:
        """Write changed cursors and the intervals noted for them, and make them the present ones."""
        changed = list(states)
        self._sql.executemany(
            'UPDATE cursors SET cut_to = ?, resume = ?, guard = ?, shaping = ?, "read" = ?, acknowledged = ?, filtered = ?, '
            "sampled = ?, dropped = ?, quarantined = ?, rejected = ? WHERE id = ?",
            [(*_columns(state), state.id) for state in changed],
        )
        rows = [(state.id, kind, a, b) for state in changed for (kind, a), b in state.unwritten.items()]
        gone = [row[:3] for row in rows if row[3] is None]
        kept = [row for row in rows if row[3] is not None]
        if gone:
            self._sql.executemany("DELETE FROM intervals WHERE cursor = ? AND kind = ? AND start = ?", gone)
        if kept:
            self._sql.executemany(
                'INSERT INTO intervals VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "end" = excluded."end"', kept
            )
        for state in changed:
            state.unwritten = {}
            self._cursors.set((state.destination, state.stream), state)
            self._touch(state.stream)

    def _edit(self, destination: str, stream: str) -> State:
        """A copy of the cursor to change and hand to `_keep`; it is in the file, if need be since now."""
        state = self._state(destination, stream)
        if state.id:
            return state.copy()
        done = self._sql.execute(
            "INSERT INTO cursors VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (destination, stream, *_columns(state)),
        )
        state.id = int(done.lastrowid or 0)
        return state

    def _mark(self, state: State, kind: Kind, start: int, end: int) -> None:
        """Positions become done, for the reason ``kind``."""
        old = state.ranges[kind]
        new = old.copy()
        new.add(start, end)
        self._replace_range(state, kind, new, start, end)
        if state.done is old:
            state.done = new
        else:
            state.done = state.done.copy()
            state.done.add(start, end)

    def _unmark(self, state: State, start: int, end: int) -> None:
        """Positions are not done any more, whatever they were done for."""
        for kind, old in list(state.ranges.items()):
            if old.overlaps(start, end):
                new = old.copy()
                new.remove(start, end)
                self._replace_range(state, kind, new, start, end)
        done = state.done.copy()
        done.remove(start, end)
        state.done = done

    def _replace_range(self, state: State, kind: Kind, new: IntervalSet, start: int, end: int) -> None:
        """Note for `_keep` what changed in and beside ``[start, end)``; in the usual case one row that grew."""
        before = dict(state.ranges[kind].overlaps(start - 1, end + 1))
        after = dict(new.overlaps(start - 1, end + 1))
        for a in before:
            if a not in after:
                state.unwritten[(kind, a)] = None
        for a, b in after.items():
            if before.get(a) != b:
                state.unwritten[(kind, a)] = b
        state.ranges[kind] = new

    def _put_in_flight(self, request: OpenRequest, ordinal: int, path: str) -> None:
        """From now on the request is open."""
        self._sql.execute(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                request.destination,
                request.id,
                ordinal,
                path,
                request.signal.value,
                request.shaping,
                _dump(request.cuts),
            ),
        )
        self._in_flight.set((request.destination, request.id), InFlight(request, ordinal, path))

    def _take_in_flight(self, destination: str, request_id: str) -> InFlight:
        """The request is not open any more. Raises ValueError when it was not open."""
        entry = self._in_flight.get((destination, request_id))
        if entry is None:
            raise ValueError(f"request {request_id} is not open at {destination}")
        self._sql.execute("DELETE FROM requests WHERE destination = ? AND id = ?", (destination, request_id))
        self._in_flight.delete((destination, request_id))
        return entry

    def _in_flight_of(self, destination: str, stream: str) -> IntervalSet:
        """The positions of a stream that are in flight."""
        found = IntervalSet()
        for (owner, _), entry in self._in_flight.items():
            if owner == destination:
                for name, cut in entry.request.cuts:
                    if name == stream:
                        found.add(cut.start, cut.end)
        return found

    def _load(self) -> None:
        """Fill the mirrors from the file. Raises `Unfit` when the file contradicts itself."""
        by_id: dict[int, State] = {}
        for id_, destination, stream, *columns in self._sql.execute(
            'SELECT id, destination, stream, cut_to, resume, guard, shaping, "read", acknowledged, filtered, sampled, '
            "dropped, quarantined, rejected FROM cursors"
        ):
            row = self._streams.get(stream)
            if row is None:
                raise Unfit(f"a cursor of {destination} is on the unknown stream {stream}")
            state = by_id[id_] = State(id_, destination, stream, row.start)
            (
                state.cut_to, state.resume, state.guard, state.shaping, state.read, state.acknowledged, state.filtered,
                state.sampled, state.dropped, state.quarantined, state.rejected,
            ) = columns  # fmt: skip
            self._cursors.set((destination, stream), state)
        stored: dict[tuple[int, Kind], IntervalSet] = {}
        for id_, kind, start, end in self._sql.execute('SELECT cursor, kind, start, "end" FROM intervals'):
            stored.setdefault((id_, KINDS[KINDS.index(kind)]), IntervalSet()).add(start, end)
        for (id_, kind), ranges in stored.items():
            state = by_id[id_]
            state.ranges[kind] = ranges
            state.done = IntervalSet([*state.done, *ranges]) if state.done else ranges
        flying: dict[tuple[str, str], IntervalSet] = {}
        for destination, id_, ordinal, path, signal, shaping, cuts in self._sql.execute(
            "SELECT destination, id, ordinal, path, signal, shaping, cuts FROM requests"
        ):
            request = OpenRequest(id_, destination, Signal(signal), tuple(_parse(cuts)), shaping)
            self._in_flight.set((destination, id_), InFlight(request, ordinal, path))
            self._last_ordinal = max(self._last_ordinal, ordinal)
            for stream, cut in request.cuts:
                loaded = self._cursors.get((destination, stream))
                if loaded is None:
                    raise Unfit(f"request {id_} of {destination} is on the unknown stream {stream}")
                loaded.pending += cut.records
                flying.setdefault((destination, stream), IntervalSet()).add(cut.start, cut.end)
        for state in by_id.values():
            in_flight = flying.get((state.destination, state.stream), IntervalSet())
            _prove(state, in_flight)
            state.ahead = IntervalSet((max(a, state.cut_to), b) for a, b in in_flight if b > state.cut_to)
        self._store.journal.forget()


def _prove(state: State, flying: IntervalSet) -> None:
    """Check the two identities every cursor must satisfy. Raises `Unfit`."""
    who = f"the cursor of {state.destination} on {state.stream}"
    settled = state.acknowledged + state.filtered + state.sampled + state.dropped + state.quarantined + state.rejected
    if state.read != settled + state.pending:
        raise Unfit(f"{who} has read {state.read} records but accounts for {settled + state.pending}")
    covered = state.done.copy()
    for start, end in flying:
        if state.done.overlaps(start, end):
            raise Unfit(f"{who} has [{start}, {end}) in flight that is partly done")
        covered.add(start, end)
    if not covered.covers(state.start, state.cut_to):
        raise Unfit(f"{who} is neither done nor in flight for {covered.missing(state.start, state.cut_to)}")


def _columns(state: State) -> tuple[int | str, ...]:
    """The columns of a cursor that change, in the order of the table."""
    return (
        state.cut_to, state.resume, state.guard, state.shaping, state.read, state.acknowledged, state.filtered,
        state.sampled, state.dropped, state.quarantined, state.rejected,
    )  # fmt: skip


def _dump(cuts: Sequence[tuple[str, Cut]]) -> str:
    return json.dumps(
        [
            (name, c.start, c.end, c.resume, c.next_resume, c.records, c.observed_ns, c.guard, c.filtered, c.sampled)
            for name, c in cuts
        ],
        separators=(",", ":"),
    )


def _parse(text: str) -> Iterator[tuple[str, Cut]]:
    for name, *numbers in json.loads(text):
        yield name, Cut(*numbers)
