"""The on-host account of a life, as the rest of the sidecar sees it: one object, one file, nothing half-done.

Each concern has a file of its own (`facts`, `streams`, `cursors`, `delivery`, `accepted`, `kept`); they are joined here because a
transaction may span them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shipper.contracts import Signal, StreamKind
from shipper.events import Reporter, Said
from shipper.ledger.accepted import Accepted
from shipper.ledger.cursors import ACKNOWLEDGED, LOST, QUARANTINED
from shipper.ledger.delivery import Delivery
from shipper.ledger.facts import Facts
from shipper.ledger.kept import Kept
from shipper.ledger.rows import Cursor, DestinationAccount, StreamAccount, StreamRow
from shipper.ledger.store import Store, Unfit


class Ledger(Facts, Delivery, Accepted, Kept):
    """The account of one life in one SQLite file. Use it from one thread at a time, or through `LedgerThread`.

    Every changing call is a transaction of its own unless made inside `transaction`. It raises `LedgerFull` when the disk is
    full or fails: then nothing changed, in the file or in memory, and the same call may be made again.
    """

    @classmethod
    def open(cls, path: Path, *, report: Reporter, power_safe: bool = False) -> Ledger:
        """Open ``path``, making it if need be. ``power_safe``: a commit survives a power cut too, at the price of an fsync;
        needed where what is acknowledged is deleted and the disk outlives the host (a gateway).

        Raises `StateDamaged` when the file is corrupt, contradicts itself, or is not a ledger this version knows: it was then
        set aside, so opening again begins a new one. Raises `StateUnwritable`, `StateLocked` or `LedgerFull` otherwise.
        """
        store = Store(path, power_safe=power_safe)
        try:
            ledger = cls(store)
        except (Unfit, LookupError, TypeError, ValueError, sqlite3.Error) as error:
            raise store.unusable(error) from error
        flying = sum(1 for _ in ledger._in_flight.values())
        if flying:
            report(Said(f"{path}: {flying} requests without an outcome from the run before are sent again unchanged"))
        return ledger

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several calls that take effect together or not at all; may be nested."""
        with self._store.transaction():
            yield

    def account(
        self,
        destinations: Iterable[str],
        changed_since: int = -1,
        *,
        signals: Mapping[str, Collection[Signal]] | None = None,
    ) -> list[StreamAccount]:
        """The figures of every data stream, retired ones included, least recently changed first.

        ``signals``: what those take that do not take all; of a stream of another signal nothing is said for them.

        With ``changed_since`` (the largest ``changed`` of an earlier answer of this process) only of those that changed
        after it; that costs nothing for the others.
        """
        names = list(destinations)
        limited = signals or {}

        def takes(name: str, signal: Signal) -> bool:
            return name not in limited or signal in limited[name]

        found = [
            StreamAccount(row, {name: self._figures(name, row) for name in names if takes(name, row.signal)}, change)
            for row, change in self._changed_since(changed_since)
            if row.kind is StreamKind.DATA
        ]
        return found[::-1]

    def _figures(self, destination: str, row: StreamRow) -> DestinationAccount:
        """What the account says of one stream at one destination."""
        state = self._state(destination, row.id)
        cursor = state.cursor()
        read_to = cursor.reach
        return DestinationAccount(
            read_to=read_to,
            skipped=tuple(_uncut(cursor, read_to)),
            counts=state.counts(),
            pending=state.pending,
            unread=sum(b - a for a, b in _uncut(cursor, row.size)),
            acknowledged=tuple(state.ranges[ACKNOWLEDGED].pairs()),
            lost=tuple(state.ranges[LOST].pairs()),
            quarantined=tuple(state.ranges[QUARANTINED].pairs()),
        )

    def close(self) -> None:
        """Close the file; nothing may be called afterwards."""
        self._store.close()


def _uncut(cursor: Cursor, to: int) -> list[tuple[int, int]]:
    """The ranges up to ``to`` that were neither cut nor are known to be there."""
    return [gap for a, b in cursor.done.missing(cursor.cut_to, to) for gap in cursor.ahead.missing(a, b)]
