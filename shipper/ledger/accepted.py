"""What a gateway has accepted, by life and stream: the intervals that let it recognise a batch that comes again.

It is an index over what the spool's frames say, so it need not be durable before an acknowledgement: after a crash the
frames behind ``spool_indexed`` are read again. Nothing is mirrored in memory; a gateway serves thousands of lives.
"""

from __future__ import annotations

from shipper.intervals import IntervalSet
from shipper.ledger.store import Part, atomic


class Accepted(Part):
    """The gateway's dedupe index."""

    def accepted(self, life: str, stream: str) -> IntervalSet:
        """All positions of the stream that were accepted."""
        rows = self._sql.execute(
            'SELECT start, "end" FROM accepted WHERE life = ? AND stream = ? ORDER BY start', (life, stream)
        )
        return IntervalSet(rows)

    def accepted_streams(self, life: str) -> dict[str, IntervalSet]:
        """The same for every stream of a life; empty for a life never heard of."""
        found: dict[str, IntervalSet] = {}
        for stream, start, end in self._sql.execute(
            'SELECT stream, start, "end" FROM accepted WHERE life = ? ORDER BY stream, start', (life,)
        ):
            found.setdefault(stream, IntervalSet()).add(start, end)
        return found

    @atomic
    def add_accepted(self, life: str, stream: str, start: int, end: int, at_ns: int) -> None:
        """Accepted ``[start, end)`` at wall time ``at_ns`` (nanoseconds); merged with what it touches."""
        if end < start:
            raise ValueError(f"an interval cannot end before it starts: [{start}, {end})")
        self._heard(life, at_ns)
        if start == end:
            return
        key = (life, stream)
        swallowed: list[tuple[str, str, int]] = []
        # The intervals are disjoint, so from the last that begins in reach backwards the first that ends too early ends it.
        for a, b in self._sql.execute(
            'SELECT start, "end" FROM accepted WHERE life = ? AND stream = ? AND start <= ? ORDER BY start DESC',
            (*key, end),
        ):
            if b < start:
                break
            start, end = min(start, a), max(end, b)
            swallowed.append((*key, a))
        if len(swallowed) > 1 or (swallowed and swallowed[0][2] != start):
            self._sql.executemany("DELETE FROM accepted WHERE life = ? AND stream = ? AND start = ?", swallowed)
        self._sql.execute(
            'INSERT INTO accepted VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "end" = excluded."end"',
            (*key, start, end),
        )

    @atomic
    def life_ended(self, life: str, at_ns: int) -> None:
        """The life said farewell at ``at_ns``; from then on its intervals age."""
        self._heard(life, at_ns)

    def _heard(self, life: str, at_ns: int) -> None:
        """Keep the latest sign of a life. A living host sends accounts all the time, so silence ages like an end does."""
        self._sql.execute(
            "INSERT INTO lives VALUES (?, ?) ON CONFLICT DO UPDATE SET heard_ns = max(heard_ns, excluded.heard_ns)",
            (life, at_ns),
        )

    @atomic
    def forget_accepted(self, before_ns: int) -> int:
        """Forget the lives whose last sign is older than ``before_ns``; returns how many."""
        self._sql.execute(
            "DELETE FROM accepted WHERE life IN (SELECT life FROM lives WHERE heard_ns < ?)", (before_ns,)
        )
        return self._sql.execute("DELETE FROM lives WHERE heard_ns < ?", (before_ns,)).rowcount

    def spool_indexed(self, name: str) -> int:
        """Up to which position the frames of a spool are in this index; 0 for a spool never indexed."""
        row = self._sql.execute("SELECT position FROM spools WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    @atomic
    def set_spool_indexed(self, name: str, position: int) -> None:
        """All frames below ``position`` are in this index; set it in the call that adds the last of them."""
        self._sql.execute(
            "INSERT INTO spools VALUES (?, ?) ON CONFLICT DO UPDATE SET position = excluded.position", (name, position)
        )
