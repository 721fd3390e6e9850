"""Where the bytes of an earlier life end and those of the next begin, in every file the earlier one read.

The border is drawn once, before the new life reads its first byte, and written into the earlier life's ledger: each of its
streams gets its end there. A file nobody has written to since this boot began is the earlier life's to its end. In one that
has grown since, nobody can tell who wrote what lies behind the last size the earlier life saw: up to there, at the border
between two events, it is the earlier life's, and what lies behind is the new one's. So every byte has exactly one owner.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from shipper.clock import Clock
from shipper.events import Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, StreamRow
from shipper.shape import Multiline
from shipper.sources.file.content import Content
from shipper.sources.file.handles import TailedFile, regular
from shipper.sources.file.identity import (
    GUARD_BYTES,
    HEAD_BYTES,
    Head,
    Key,
    guard_of,
    parse_id,
    remembered_id,
    stream_id,
)
from shipper.sources.file.kind import base_id, base_ids, ids_of
from shipper.sources.file.known import READABLE, Resumed
from shipper.sources.file.recognise import Recogniser
from shipper.sources.file.recovery import (
    COPIES,
    SOURCE,
    STARTED,
    TAKEN,
    Memory,
    Recovery,
    Remembered,
    recall,
    row_of,
    together,
)
from shipper.sources.file.settings import FileSettings

BORDERS = "file.borders"
_WINDOW = 1 << 20  # before the last size seen, in which a border is looked for
_LINE = 4096  # behind it, to see whether another event begins there

Entries = dict[Key, tuple[int, Head]]  # how many bytes of a file are not the new life's, and what it begins with


@dataclass(frozen=True, slots=True)
class _Ended:
    """A stream and its end. ``readable``: what lies behind was destroyed; None: nothing was."""

    row: StreamRow
    final: int
    readable: int | None = None


def draw(
    ledger: Ledger,
    settings: FileSettings,
    told: Mapping[str, IntervalSet],
    *,
    born_ns: int,
    boot_ns: int,
    clock: Clock,
    report: Reporter,
) -> str:
    """Give every stream of an earlier life its end, once; the borders, as `take` wants them.

    ``told``: what destinations say they have of that life, of which its ledger may know nothing after a power cut.
    ``born_ns``: when that life began; ``boot_ns``: when this boot did, 0 where that cannot be told. Raises `StateError`; then
    nothing was drawn.
    """
    drawn = ledger.get(BORDERS)
    if drawn is not None:
        return drawn
    ended, copies, own = _Surveyor(ledger, settings, told, (born_ns, boot_ns), clock, report).survey()
    drawn = _dump({**copies, **own}, own, started=ledger.get(STARTED) is not None)
    with ledger.transaction():
        for each in ended:
            meta = {**each.row.meta, **({} if each.readable is None else {READABLE: each.readable})}
            ledger.put_stream(replace(each.row, meta=meta, size=each.final))
            ledger.finish(each.row.id, each.final)
        ledger.put(BORDERS, drawn)
    return drawn


def told_only(told: Mapping[str, IntervalSet]) -> str:
    """The borders of a life whose ledger is gone, by what destinations say they have of it: nothing of that is read again."""
    reached: dict[str, int] = {}
    for stream, ranges in told.items():
        if ranges:  # of two streams of a file neither may have bytes left
            base, end = base_id(stream), ranges.pairs()[0][1]
            reached[base] = min(end, reached.get(base, end))
    entries: Entries = {}
    for base, end in reached.items():
        parsed = parse_id(base)
        if parsed is not None:
            key, head = parsed
            entries[key] = max(entries.get(key, (0, head)), (end, head), key=lambda entry: entry[0])
    return _dump(entries, entries, started=bool(entries))


def take(ledger: Ledger, life: str, drawn: str) -> None:
    """Tell the new life's ledger, once, what is not its own: it reads on from there. Before its first file is read."""
    taken = json.loads(ledger.get(TAKEN) or '{"lives": [], "files": []}')
    if life in taken["lives"]:
        return
    borders = json.loads(drawn)
    entries = {(entry[0], entry[1]): entry for entry in json.loads(ledger.get(COPIES) or "[]")}
    entries.update({(entry[0], entry[1]): entry for entry in borders["files"]})
    with ledger.transaction():
        ledger.put(COPIES, json.dumps(list(entries.values())))
        if borders["started"]:  # "start_at: end" is for the very first start on this disk
            ledger.put(STARTED, "1")
        ledger.put(TAKEN, json.dumps({"lives": [*taken["lives"], life], "files": [*taken["files"], *borders["own"]]}))


def _dump(entries: Entries, own: Iterable[Key], *, started: bool) -> str:
    files = [[*key, size, head.length, head.digest] for key, (size, head) in entries.items()]
    return json.dumps({"started": started, "files": files, "own": sorted(own)})


class _Surveyor:
    """Finds the files of an earlier life and decides their borders."""

    def __init__(
        self,
        ledger: Ledger,
        settings: FileSettings,
        told: Mapping[str, IntervalSet],
        lived: tuple[int, int],
        clock: Clock,
        report: Reporter,
    ) -> None:
        self._ledger = ledger
        self._told = told
        self._born_ns, self._boot_ns = lived
        self._clock = clock
        self._destinations = tuple(ledger.destinations())
        self._memory: Memory = recall(ledger, self._destinations)
        self._resumed = Resumed(settings, clock=clock, report=report)
        self._report = report

    def survey(self) -> tuple[list[_Ended], Entries, Entries]:
        """The ends of all streams; what copies, and what its own files hold that is not the new life's. Closes all files."""
        try:
            return self._survey()
        finally:
            self._resumed.pool.close_all()

    def _survey(self) -> tuple[list[_Ended], Entries, Entries]:
        table, memory = self._resumed.table, self._memory
        table.copies.known.update(memory.copies)
        paths = self._resumed.patterns.walk().files
        recovery = Recovery(table, self._clock, paths)
        ended: dict[str, list[_Ended]] = {}
        cut_short: Entries = {}
        for known in memory.streams:
            content = self._resumed.make(known)
            shorter = None if known.row.finished else self._cut_short(known)
            if shorter is None:
                recovery.resume(content, known)
                self._close(content)
            else:
                cut_short[known.key] = shorter
                ended[known.row.id] = [_Ended(each.row, known.size, shorter[0]) for each in known.streams]
        recovery.finish()
        borders: Entries = {}
        for known in memory.streams:
            if known.row.id not in ended:
                ended[known.row.id] = self._end(known, borders)
        borders = {**cut_short, **borders}
        self._over(recovery, {**table.copies.known, **borders})
        unseen = self._unseen(paths, borders) if memory.started else []
        return [*chain.from_iterable(ended.values()), *unseen], table.copies.known, borders

    def _close(self, content: Content) -> None:
        if content.file is not None:
            self._resumed.pool.close(content.file)  # as many as there are files may be more than can be open

    def _cut_short(self, known: Remembered) -> tuple[int, Head] | None:
        """A file that a power cut left shorter than it was seen, and otherwise the same: its size and head."""
        try:
            status = regular(known.path)
            if (status.st_dev, status.st_ino) != known.key or not status.st_size < known.size:
                return None
            with open(known.path, "rb") as file:
                head = file.read(HEAD_BYTES)
                length, fingerprint = known.row.meta["head"]
                whole = min(int(length), status.st_size)
                if whole < int(length) or not Head(int(length), str(fingerprint)).matches(head):
                    return None
                for cursor in known.cursors:
                    if cursor.guard and cursor.cut_to <= status.st_size:
                        file.seek(max(0, cursor.cut_to - GUARD_BYTES))
                        if guard_of(file.read(min(GUARD_BYTES, cursor.cut_to))) != cursor.guard:
                            return None
        except OSError:
            return None
        return status.st_size, Head.of(head[: status.st_size])

    def _end(self, known: Remembered, borders: Entries) -> list[_Ended]:
        """The end of the streams of one content; where it is on its file, also what of that is not the new life's."""
        content = self._resumed.contents[known.row.id]
        if content.finished or content.file is None:
            if not content.finished and known.size:  # it cannot be opened now: what the ledger knows has to do
                length, fingerprint = known.row.meta["head"]
                borders[known.key] = (known.size, Head(int(length), str(fingerprint)))
                return [_Ended(each.row, known.size) for each in known.streams]
            destroyed = not known.row.finished and content.extent < content.size
            readable = content.extent if destroyed else None
            return [_Ended(row_of(stream), content.size, readable) for stream in content.streams]
        border = self._border(content.file, known)
        content.head = Head.of(content.file.read(min(HEAD_BYTES, border), 0))
        self._close(content)
        if border:
            borders[content.file.key] = (border, content.head)
        return [_Ended(row_of(stream), border) for stream in content.streams]

    def _border(self, file: TailedFile, known: Remembered) -> int:
        status = file.status()
        if status.st_size <= known.size or status.st_mtime_ns < self._boot_ns:
            return status.st_size
        low = max([known.row.start, *(cursor.reach for cursor in known.cursors)])
        for each in known.streams:
            told = self._told.get(each.row.id)
            if told:
                low = max(low, min(told.pairs()[-1][1], status.st_size))
        rule = None if known.kind.format is not None else self._resumed.group_of(known).multiline
        return event_border(file, low, max(low, known.size), rule)

    def _unseen(self, paths: Sequence[str], borders: Entries) -> list[_Ended]:
        """Files that its ledger does not know, though they are the earlier life's: written in its time and not since, or
        known to a destination."""
        ids = base_ids(self._memory.ids)
        found: list[_Ended] = []
        for path in paths:
            try:
                ended = self._unseen_at(path, ids, borders)
            except OSError:  # gone, or not to be read: then it is the new life's, when it can be
                continue
            ids |= base_ids(each.row.id for each in ended)
            found += ended
        return found

    def _unseen_at(self, path: str, ids: set[str], borders: Entries) -> list[_Ended]:
        table, status = self._resumed.table, regular(path)
        key = (status.st_dev, status.st_ino)
        if key in borders:
            return []
        file = table.of(key) or table.take_up(path, key)
        group = self._resumed.patterns.group_of(path)
        if file is None or group is None or file.stream is not None:
            return []
        size, head = file.length(), file.read(HEAD_BYTES, 0)
        if file.text is not None:  # compressed: whoever goes on reads what of it is new
            self._resumed.pool.close(file)
            return []
        if table.copies.passed(file, size, head):  # as it is now: it may have been truncated and begun anew since
            self._resumed.pool.close(file)
            return []
        told = self._told_by_content()
        named = remembered_id(key, head, ids, list(told)) if head else None
        old = self._born_ns <= status.st_mtime_ns < self._boot_ns
        copy = named is None and old and bool(head) and table.copies.doubt(file, size, head, first_scan=False)
        if copy or not head or not (old or named):
            self._resumed.pool.close(file)
            return []
        final = size if old or named is None else min(size, told[named])
        kind = Recogniser(self._clock, self._report).decide(file, group)
        content = self._resumed.new(ids_of(named or stream_id(key, head, ids), kind), path, group, kind)
        content.begin(file, final, head[:final], self._clock.monotonic())
        self._resumed.pool.close(file)
        borders[key] = (final, content.head)
        return [_Ended(row_of(stream), final) for stream in content.streams]

    def _told_by_content(self) -> dict[str, int]:
        """How far destinations say they have something of a file, by the id of its content."""
        reached: dict[str, int] = {}
        for stream, ranges in self._told.items():
            if ranges:
                reached[base_id(stream)] = max(reached.get(base_id(stream), 0), ranges.pairs()[-1][1])
        return reached

    def _over(self, recovery: Recovery, entries: Mapping[Key, Any]) -> None:
        """Streams that are over: what their files hold of them is not read again, should a pattern match them now."""
        open_ = {base_id(known.row.id) for known in self._memory.streams}
        rows = [account.stream for account in self._ledger.account(())]
        over = [
            Remembered(
                replace(row, finished=True),
                tuple(self._ledger.cursor(name, row.id) for name in self._destinations),
                row.size,
            )
            for row in rows
            if row.source == SOURCE and base_id(row.id) not in open_
        ]
        for known in together(over):
            if known.key not in entries and os.path.exists(known.path):
                content = self._resumed.make(known)
                recovery.resume(content, known)
                self._close(content)


def event_border(file: TailedFile, low: int, size: int, rule: Multiline | None) -> int:
    """The last position at or below ``size`` where an event ends, but not below ``low``; ``file`` goes on behind ``size``.

    Raises OSError.
    """
    base = max(low, size - _WINDOW)
    data = file.read(size - base + _LINE, base)
    borders = _line_borders(data, min(size - base, len(data)), 1 if rule is None else rule.max_lines)
    if rule is not None:
        for at in borders:
            line = data[at:].partition(b"\n")[0].removesuffix(b"\r")
            if rule.begins(line):
                return base + at
    return base + borders[0] if borders else low


def _line_borders(data: bytes, end: int, most: int) -> Sequence[int]:
    """Where lines begin in ``data``, at ``end`` or before, the last first."""
    found: list[int] = []
    while len(found) < most and (newline := data.rfind(b"\n", 0, end)) >= 0:
        found.append(newline + 1)
        end = newline
    return found
