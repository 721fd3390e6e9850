"""Where the entries of an earlier life end in each sequence. The border is drawn once, before the new life reads its first entry.

Entries say of which boot they are. So where the boot tells lives apart, the earlier life gets all that was written in its boot,
also after its sidecar was gone; where it does not (a container on the same kernel), it gets what it had seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from shipper.events import Problem, Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, StreamRow
from shipper.sources.journal.files import JournalFiles
from shipper.sources.journal.places import Places
from shipper.sources.journal.position import ENTRY, start_of
from shipper.sources.journal.records import Records
from shipper.sources.journal.settings import JournalSettings
from shipper.sources.journal.source import NAME, SEQUENCE, SOURCE, STARTED, TAKEN, row_of

BORDERS = "journal.borders"
_ID = re.compile(r"(.+)-([0-9a-f]{32})")  # of a stream, as `JournalSource` makes it
Borders = dict[str, dict[str, int]]
"""By journal and sequence: the first entry that is the new life's."""


def draw(
    ledger: Ledger,
    journals: Sequence[JournalSettings],
    told: Mapping[str, IntervalSet],
    *,
    other_boot: bytes,
    report: Reporter,
) -> Borders:
    """Give every stream of an earlier life its end, once.

    ``journals``: as that life read them. ``told``: what destinations say they have of it. ``other_boot``: the boot that it
    lived in, empty where that is the present one or not known. Raises `StateError`.
    """
    drawn = ledger.get(BORDERS)
    if drawn is not None:
        found: Borders = json.loads(drawn)
        return found
    borders: Borders = {}
    ended: list[tuple[StreamRow, int]] = []
    for settings in journals:
        rows = [row for row in ledger.streams() if row.source == SOURCE and row.meta.get(NAME) == settings.name]
        spans = _spans(settings, other_boot, report)
        if settings.from_beginning or rows:
            for row in (unseen := _unseen(settings, spans, rows)):
                ledger.put_stream(row)
            rows += unseen
        for row in rows:
            cursors = [ledger.cursor(name, row.id).reach for name in ledger.destinations()]
            reached = max([row.size, *cursors, *(pair[1] for pair in told.get(row.id, IntervalSet()).pairs()[-1:])])
            end = max(-(-reached // ENTRY), spans.get(row.meta[SEQUENCE], (0, 0))[1])
            borders.setdefault(settings.name, {})[row.meta[SEQUENCE]] = end
            ended.append((row, start_of(end)))
    with ledger.transaction():
        for row, final in ended:
            ledger.finish(row.id, final)
        ledger.put(BORDERS, json.dumps(borders))
    return borders


def _unseen(
    settings: JournalSettings, spans: Mapping[str, tuple[int, int]], rows: Sequence[StreamRow]
) -> list[StreamRow]:
    """Sequences with entries of that boot which the earlier life had no time to find: they are its own as well."""
    known = {row.meta[SEQUENCE] for row in rows}
    return [
        row_of(settings, sequence, start_of(first), start_of(first))
        for sequence, (first, _) in spans.items()
        if sequence not in known
    ]


def told_only(told: Mapping[str, IntervalSet]) -> Borders:
    """The borders of a life whose ledger is gone, by what destinations say they have of it: nothing of that is read again."""
    borders: Borders = {}
    for stream, ranges in told.items():
        parsed = _ID.fullmatch(stream)
        if parsed and ranges:
            borders.setdefault(parsed[1], {})[parsed[2]] = -(-ranges.pairs()[0][1] // ENTRY)
    return borders


def take(ledger: Ledger, borders: Borders) -> None:
    """Tell the new life's ledger where it goes on. Before its first entry is read; telling it again changes nothing."""
    taken: Borders = json.loads(ledger.get(TAKEN) or "{}")
    for name, ends in borders.items():
        known = taken.setdefault(name, {})
        for sequence, end in ends.items():
            known[sequence] = max(end, known.get(sequence, 0))
    with ledger.transaction():
        ledger.put(TAKEN, json.dumps(taken))
        for name in borders:  # "start_at: end" is for the very first start on this disk
            ledger.put(f"{STARTED}.{name}", "1")


def _spans(settings: JournalSettings, boot: bytes, report: Reporter) -> dict[str, tuple[int, int]]:
    """By sequence, the first entry of a boot and the one behind its last, as far as they can be read."""
    if not boot:
        return {}
    places = Places(settings.directories, settings.files, nested=settings.nested)
    files = JournalFiles(places, Records(settings).understanding, report)
    spans: dict[str, tuple[int, int]] = {}
    try:
        files.look()
        for sequence, chain in files.chains.items():
            if span := chain.boot_span(boot):
                spans[sequence.hex()] = span
    except OSError as problem:
        report(Problem("journal", f"where an earlier boot ends cannot be read: {problem}", settings.name))
    finally:
        files.close()
    return spans
