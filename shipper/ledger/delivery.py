"""What becomes of a range: cut, acknowledged, replaced by halves, set aside, given up, or known to be there already.

Two identities hold for every destination and stream after each of these calls, in memory and in the file:
``read == acknowledged + pending + filtered + sampled + dropped + quarantined + rejected`` (records), and every position
from the start to ``cut_to`` is either done or in flight, never both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shipper.contracts import Cut, Signal
from shipper.intervals import IntervalSet
from shipper.ledger.cursors import ACKNOWLEDGED, LOST, QUARANTINED, Cursors, Kind, State
from shipper.ledger.rows import Loss, OpenRequest, Settlement
from shipper.ledger.store import atomic

LARGEST = (1 << 63) - 1  # a position SQLite can hold; who claims to have more is not believed

_KIND_OF: dict[Settlement, Kind] = {"quarantined": QUARANTINED, "dropped": LOST}


class Delivery(Cursors):
    """The moves of a cursor. A call that is refused (ValueError) is a bug of the caller and changed nothing."""

    @atomic
    def commit(
        self,
        destination: str,
        request_id: str,
        signal: Signal,
        cuts: Sequence[tuple[str, Cut]],
        shaping: str = "",
    ) -> None:
        """Fix a request before it is sent: its cuts are in flight, the cursors move behind them, its events are read.

        A cut that begins at its stream's ``cut_to``, or behind nothing but what is done or in flight from there on, moves it.
        Any other cut behind it is one out of order: it is in flight, and ``cut_to`` stays. A cut over what the destination is
        known to have is sent again: it is in flight, not done, from now on. A cut over what is in flight is refused.
        """
        if not cuts:
            raise ValueError(f"request {request_id} has no cuts")
        if self._in_flight.get((destination, request_id)) is not None:
            raise ValueError(f"request {request_id} is already open at {destination}")
        states = self._edit_all(destination, cuts)
        for stream, cut in cuts:
            state = states[stream]
            if cut.start >= cut.end or cut.start < state.cut_to or state.ahead.overlaps(cut.start, cut.end):
                raise ValueError(
                    f"[{cut.start}, {cut.end}) of {stream} for {destination} begins before {state.cut_to} or is in flight"
                )
            follows = _follows(state, cut.start)
            if state.done.overlaps(cut.start, cut.end):
                self._unmark(state, cut.start, cut.end)
            if follows:
                state.cut_to = cut.end
                state.resume = cut.next_resume
                state.guard = cut.guard
                if state.ahead:
                    state.ahead = IntervalSet(pair for pair in state.ahead if pair[0] >= cut.end)
            else:
                state.ahead = IntervalSet([*state.ahead, (cut.start, cut.end)])
            state.shaping = shaping
            _count_cut(state, cut, 1)
        self._last_ordinal += 1
        self._put_in_flight(OpenRequest(request_id, destination, signal, tuple(cuts), shaping), self._last_ordinal, "")
        self._keep(states.values())

    @atomic
    def acknowledge(self, destination: str, request_id: str, rejected: int = 0) -> None:
        """The destination has the request; ``rejected`` records of it it refused in a partial success.

        A destination does not say which records it refused, so they are counted from the request's first cut on, and
        never more than it holds.
        """
        cuts = self._take_in_flight(destination, request_id).request.cuts
        states = self._edit_all(destination, cuts)
        for stream, cut in cuts:
            state = states[stream]
            refused = min(max(rejected, 0), cut.records)
            rejected -= refused
            state.pending -= cut.records
            state.rejected += refused
            state.acknowledged += cut.records - refused
            self._mark(state, ACKNOWLEDGED, cut.start, cut.end)
            _landed(state, cut)
        self._keep(states.values())

    @atomic
    def replace(
        self, destination: str, request_id: str, parts: Sequence[tuple[str, Sequence[tuple[str, Cut]]]]
    ) -> None:
        """Put several requests, each ``(new id, cuts)``, in the place of one; together they are the same ranges.

        They take over its place in the order of `open_requests`. Where the cuts count other records than before, the
        counts follow them.
        """
        entry = self._in_flight.get((destination, request_id))
        if entry is None:
            raise ValueError(f"request {request_id} is not open at {destination}")
        new_cuts = [pair for _, cuts in parts for pair in cuts]
        if not all(cuts for _, cuts in parts) or _ranges(new_cuts) != _ranges(entry.request.cuts):
            raise ValueError(f"the parts of request {request_id} are not what it was made of")
        ids = [id_ for id_, _ in parts]
        if len({*ids}) < len(ids) or any(self._in_flight.get((destination, i)) for i in ids if i != request_id):
            raise ValueError(f"a part of request {request_id} has the id of an open request")
        self._take_in_flight(destination, request_id)
        states = self._edit_all(destination, new_cuts)
        for stream, cut in entry.request.cuts:
            _count_cut(states[stream], cut, -1)
        for stream, cut in new_cuts:
            _count_cut(states[stream], cut, 1)
        for number, (id_, cuts) in enumerate(parts):
            part = OpenRequest(id_, destination, entry.request.signal, tuple(cuts), entry.request.shaping)
            self._put_in_flight(part, entry.ordinal, f"{entry.path}{number:04x}")
        self._keep(states.values())

    @atomic
    def settle(self, destination: str, request_id: str, how: Settlement, cause: str) -> None:
        """The whole request will not be delivered: it is set aside on disk (``quarantined``) or given up (``dropped``).

        ``cause`` is a fixed word (``rejected``, ``range_gone``, ...), see `losses`.
        """
        kind = _KIND_OF[how]
        cuts = self._take_in_flight(destination, request_id).request.cuts
        states = self._edit_all(destination, cuts)
        for stream, cut in cuts:
            state = states[stream]
            state.pending -= cut.records
            if kind is QUARANTINED:
                state.quarantined += cut.records
            else:
                state.dropped += cut.records
            self._mark(state, kind, cut.start, cut.end)
            _landed(state, cut)
            self._lose(state, how, cause, cut.records, cut.end - cut.start)
        self._keep(states.values())

    @atomic
    def give_up(self, destination: str, stream: str, start: int, end: int, records: int, cause: str) -> None:
        """Nothing of ``[start, end)`` will ever be cut: it is lost, and the cursor goes on behind it.

        ``records``: how many records it held, 0 when nobody can know. What is done already stays as it is. A range in
        flight is refused (ValueError): its request has to be replaced and settled, so that its records are counted.
        """
        if not start <= end or records < 0:
            raise ValueError(f"not a range to give up: [{start}, {end}) with {records} records")
        if self._in_flight_of(destination, stream).overlaps(start, end):
            raise ValueError(
                f"[{start}, {end}) of {stream} is in flight to {destination}; replace and settle its request"
            )
        state = self._edit(destination, stream)
        gaps = state.done.missing(max(start, state.start), end)
        for a, b in gaps:
            self._mark(state, LOST, a, b)
        state.read += records
        state.dropped += records
        self._lose(state, "dropped", cause, records, sum(b - a for a, b in gaps))
        _skip_done(state)
        self._keep([state])

    @atomic
    def adopt(self, destination: str, stream: str, intervals: IntervalSet) -> None:
        """The destination says it has these positions: they count as acknowledged, without records, as nobody read them.

        What is in flight stays so. ``cut_to`` moves behind what is done from it on; what lies further ahead shows in
        ``Cursor.done``, to be skipped when the cursor gets there. The caller leaves out what the stream cannot hold.
        """
        flying = self._in_flight_of(destination, stream)
        state = self._edit(destination, stream)
        for start, end in intervals:
            for a, b in flying.missing(max(start, state.start), min(end, LARGEST)):
                for c, d in state.done.missing(a, b):
                    self._mark(state, ACKNOWLEDGED, c, d)
        _skip_done(state)
        self._keep([state])

    def losses(self, destination: str) -> list[Loss]:
        """What was set aside or given up for this destination so far, by stream and cause."""
        rows = self._sql.execute(
            "SELECT c.stream, l.how, l.cause, l.records, l.positions FROM losses l JOIN cursors c ON c.id = l.cursor "
            "WHERE c.destination = ? ORDER BY c.stream, l.how, l.cause",
            (destination,),
        )
        return [Loss(*row) for row in rows]

    def _lose(self, state: State, how: Settlement, cause: str, records: int, positions: int) -> None:
        """Add to the loss table."""
        self._sql.execute(
            "INSERT INTO losses VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "records = records + excluded.records, positions = positions + excluded.positions",
            (state.id, how, cause, records, positions),
        )

    def _edit_all(self, destination: str, cuts: Iterable[tuple[str, Cut]]) -> dict[str, State]:
        """The cursors of all streams of a request, to change."""
        return {stream: self._edit(destination, stream) for stream in {name: None for name, _ in cuts}}


def _follows(state: State, start: int) -> bool:
    """Whether everything from ``cut_to`` to ``start`` is done or in flight."""
    if not state.ahead:
        return state.done.covers(state.cut_to, start)
    return all(state.ahead.covers(a, b) for a, b in state.done.missing(state.cut_to, start))


def _landed(state: State, cut: Cut) -> None:
    """A cut is not in flight any more."""
    if state.ahead.overlaps(cut.start, cut.end):
        ahead = state.ahead.copy()
        ahead.remove(cut.start, cut.end)
        state.ahead = ahead


def _count_cut(state: State, cut: Cut, sign: int) -> None:
    """Count a cut as read and pending, or (``sign`` -1) take that back."""
    state.read += sign * cut.consumed
    state.filtered += sign * cut.filtered
    state.sampled += sign * cut.sampled
    state.pending += sign * cut.records


def _skip_done(state: State) -> None:
    """Move ``cut_to`` behind what is done from it on; an event begins there, as far as anyone can know."""
    ahead = state.done.prefix(state.cut_to)
    if ahead > state.cut_to:
        state.cut_to = state.resume = ahead
        state.guard = 0


def _ranges(cuts: Iterable[tuple[str, Cut]]) -> dict[str, tuple[IntervalSet, int]]:
    """By stream, which positions the cuts hold and how many: two equal answers mean the same ranges, without overlap."""
    found: dict[str, tuple[IntervalSet, int]] = {}
    for stream, cut in cuts:
        positions, size = found.get(stream, (IntervalSet(), 0))
        positions.add(cut.start, cut.end)
        found[stream] = (positions, size + cut.end - cut.start)
    return found
