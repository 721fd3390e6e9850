"""What the ledger keeps of the services' streams between runs, so that a restart neither loses nor repeats anything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shipper.contracts import StreamKind
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, StreamRow
from shipper.sources.services.series import Series
from shipper.sources.services.stream import ServiceStream

SOURCE = "services"
REFUSED = "services.refused"
_MOST_PAIRS = 1000  # of sequence numbers; a series with more holes is told less exactly


@dataclass(frozen=True, slots=True)
class Memory:
    """``rows`` by stream id, retired ones too; ``open``: ids of those that are not; ``refused``: counts by cause."""

    rows: dict[str, StreamRow]
    open: frozenset[str]
    refused: dict[str, int]


def recall(ledger: Ledger) -> Memory:
    """Read it all. Runs on the ledger's thread."""
    rows = {account.stream.id: account.stream for account in ledger.account(()) if account.stream.source == SOURCE}
    kept = json.loads(ledger.get(REFUSED) or "{}")
    return Memory(rows, frozenset(row.id for row in ledger.streams() if row.source == SOURCE), dict(kept))


def remember(ledger: Ledger, refused: dict[str, int]) -> None:
    """Keep the counts of what was refused."""
    ledger.put(REFUSED, json.dumps(refused))


def forget(ledger: Ledger, streams: Iterable[str]) -> None:
    """Streams that nothing is left of, and nobody waits for."""
    for stream in streams:
        ledger.retire(stream)


def row_of(stream: ServiceStream) -> StreamRow:
    """What the ledger keeps of a stream."""
    return StreamRow(
        stream.id,
        StreamKind.DATA,
        stream.signal,
        SOURCE,
        stream.name,
        stream.start,
        _meta(stream.series),
        stream.size,
        stream.finished,
    )


def _meta(series: Series) -> dict[str, Any]:
    return {
        "begins": series.begins,
        "seqs": series.seqs.pairs()[:_MOST_PAIRS],
        "excused": series.excused.pairs(),
        "owner": series.owner,
        "dropped": series.dropped,
        "holes": [[start, end, records] for start, (end, records) in series.holes.items()],
        "told": series.told,
    }


def restore(series: Series, row: StreamRow) -> None:
    """Tell a series what an earlier run knew of it; what does not make sense is not believed."""
    meta = row.meta
    series.begins = int(meta.get("begins", 0))
    series.seqs = IntervalSet((int(first), int(behind)) for first, behind in meta.get("seqs", ()))
    series.excused = IntervalSet((int(first), int(behind)) for first, behind in meta.get("excused", ()))
    series.dropped = {str(cause): int(count) for cause, count in dict(meta.get("dropped", {})).items()}
    series.holes = {int(start): (int(end), int(records)) for start, end, records in meta.get("holes", ())}
    series.told = dict(meta.get("told", {}))
