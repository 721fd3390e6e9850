"""Which streams this life has, and in which order they last changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from shipper.contracts import Signal, StreamKind
from shipper.ledger.journal import Mirror
from shipper.ledger.rows import StreamRow
from shipper.ledger.store import Part, Store, atomic


class Streams(Part):
    """The streams of the life, mirrored in memory."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._streams: Mirror[str, StreamRow] = Mirror(store.journal)
        self._retired: Mirror[str, bool] = Mirror(store.journal)
        self._changes = 0
        self._changed: dict[str, int] = {}  # in the order of change; a change undone stays noted, which costs nothing
        for id_, kind, signal, source, name, start, meta, size, finished, retired in self._sql.execute(
            "SELECT id, kind, signal, source, name, start, meta, size, finished, retired FROM streams"
        ):
            row = StreamRow(
                id_, StreamKind(kind), Signal(signal), source, name, start, json.loads(meta), size, bool(finished)
            )
            self._streams.set(id_, row)
            self._retired.set(id_, bool(retired))
            self._touch(id_)

    @atomic
    def put_stream(self, row: StreamRow) -> None:
        """Make a stream known, or bring what is known of it up to date; a retired one is in use again.

        Its kind, signal and start are fixed (ValueError); a size once seen and the end once reached are kept.
        """
        old = self._streams.get(row.id)
        if old is not None:
            if (old.kind, old.signal, old.start) != (row.kind, row.signal, row.start):
                raise ValueError(f"stream {row.id} cannot change its kind, signal or start: {old} -> {row}")
            row = replace(row, size=max(row.size, old.size), finished=row.finished or old.finished)
        self._sql.execute(
            "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (
                row.id,
                row.kind,
                row.signal,
                row.source,
                row.name,
                row.start,
                json.dumps(dict(row.meta)),
                row.size,
                row.finished,
            ),
        )
        self._streams.set(row.id, row)
        self._retired.set(row.id, False)
        self._touch(row.id)

    def put_shrinking(self, row: StreamRow) -> StreamRow:
        """`put_stream` for a stream whose beginning is deleted once it is delivered, as a spool's is.

        Where its bytes begin today is not where it began: a known stream keeps its start, so that a run goes on with the
        figures of the run before. Returns the row as it is known now.
        """
        old = self._streams.get(row.id)
        self.put_stream(row if old is None else replace(row, start=old.start))
        return self._stream(row.id)

    def streams(self) -> list[StreamRow]:
        """All streams that are not retired."""
        return [row for id_, row in self._streams.items() if not self._retired.get(id_)]

    @atomic
    def seen(self, stream: str, size: int) -> None:
        """The stream was seen to reach up to ``size``; free when that is not new."""
        row = self._stream(stream)
        if size != row.size:
            self._sql.execute("UPDATE streams SET size = ? WHERE id = ?", (size, stream))
            self._streams.set(stream, replace(row, size=size))
            self._touch(stream)

    @atomic
    def finish(self, stream: str, final: int) -> None:
        """Nothing will ever be appended again; ``final`` is the end. Free when that is known already."""
        row = self._stream(stream)
        if row.finished and row.size == final:
            return
        self._sql.execute("UPDATE streams SET size = ?, finished = 1 WHERE id = ?", (final, stream))
        self._streams.set(stream, replace(row, size=final, finished=True))
        self._touch(stream)

    @atomic
    def retire(self, stream: str) -> None:
        """Every destination is done with a finished stream: `streams` leaves it out, the account keeps its figures."""
        self._stream(stream)
        self._sql.execute("UPDATE streams SET retired = 1 WHERE id = ?", (stream,))
        self._retired.set(stream, True)

    def _stream(self, stream: str) -> StreamRow:
        """The row of a known stream; asking for an unknown one is a bug (ValueError)."""
        row = self._streams.get(stream)
        if row is None:
            raise ValueError(f"stream {stream} was never made known to the ledger")
        return row

    def _touch(self, stream: str) -> None:
        """Note that the account of this stream is no longer what it was."""
        self._changes += 1
        self._changed.pop(stream, None)
        self._changed[stream] = self._changes

    def _changed_since(self, marker: int) -> Iterator[tuple[StreamRow, int]]:
        """The streams that changed after ``marker``, newest change first."""
        for stream, change in reversed(self._changed.items()):
            if change <= marker:
                return
            row = self._streams.get(stream)
            if row is not None:  # absent when the call that made it known was rolled back
                yield row, change
