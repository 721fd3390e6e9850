"""After a restart: finding the files of known streams again, wherever they are now, and telling those that are gone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from shipper.clock import Clock
from shipper.contracts import StreamKind
from shipper.ledger import Cursor, Ledger, StreamRow
from shipper.sources.file.content import Changed, Content
from shipper.sources.file.handles import NO_DESCRIPTORS, TailedFile, regular
from shipper.sources.file.identity import HEAD_BYTES, Head, Key, is_related
from shipper.sources.file.kind import Kind, base_id, kind_of, output_of
from shipper.sources.file.parting import GONE, NOWHERE, Unsure
from shipper.sources.file.rotation import agreement, names
from shipper.sources.file.stream import FileStream
from shipper.sources.file.table import FileTable

SOURCE = "file"
STARTED = "file.started"
COPIES = "file.copies"
TAKEN = "file.taken"
REWRITTEN = "rewritten"
DELETED = "the file was deleted"
LISTINGS = 4  # of a directory, before a file that is in none of them counts as deleted


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the ledger says of a stream: its row, where each destination stands, and below where all are done.

    Or of a content with two streams (``parts``): then ``row`` is that of one of them, and ended when any is.
    """

    row: StreamRow
    cursors: tuple[Cursor, ...]
    low: int
    parts: tuple[Remembered, ...] = ()

    @property
    def streams(self) -> tuple[Remembered, ...]:
        """Each stream by itself."""
        return self.parts or (self,)

    @property
    def kind(self) -> Kind:
        """The kind of the file."""
        return kind_of(self.row.meta)

    def below(self, readable: int) -> Remembered:
        """Without the cursors that reach further than to ``readable``."""
        kept = tuple(each for each in self.cursors if each.reach <= readable)
        return replace(self, cursors=kept, parts=tuple(part.below(readable) for part in self.parts))

    @property
    def names(self) -> dict[str, str]:
        """The ids of the streams, by output."""
        return {output_of(each.row.meta): each.row.id for each in self.streams}

    @property
    def key(self) -> Key:
        """The inode it was read from last."""
        return int(self.row.meta["dev"]), int(self.row.meta["ino"])

    @property
    def path(self) -> str:
        """The name it had last."""
        return (
            os.fsdecode(bytes.fromhex(self.row.meta["path_hex"]))
            if "path_hex" in self.row.meta
            else self.row.meta["path"]
        )

    @property
    def size(self) -> int:
        """How far it was seen to reach."""
        return max([*(each.row.size for each in self.streams), *(cursor.reach for cursor in self.cursors)])


def together(streams: Iterable[Remembered]) -> list[Remembered]:
    """Streams of the same content as one, at the place of the first."""
    found: dict[str, list[Remembered]] = {}
    for each in streams:
        found.setdefault(base_id(each.row.id), []).append(each)
    return [_one(parts) for parts in found.values()]


def _one(parts: list[Remembered]) -> Remembered:
    if len(parts) == 1:
        return parts[0]
    finished = any(part.row.finished for part in parts)
    cursors = tuple(cursor for part in parts for cursor in part.cursors)
    row = replace(parts[0].row, finished=finished, size=max(part.row.size for part in parts))
    return Remembered(row, cursors, min(part.low for part in parts), tuple(parts))


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier runs of this life left: contents, ids that were ever used, known copies; ``started``: there was one.

    ``taken``: files that this life goes on with where an earlier life ended.
    """

    streams: list[Remembered]
    ids: frozenset[str]
    copies: dict[Key, tuple[int, Head]]
    started: bool
    taken: frozenset[Key] = frozenset()


def recall(ledger: Ledger, destinations: tuple[str, ...]) -> Memory:
    """Read it all. Runs on the ledger's thread."""
    copies = {
        (device, inode): (size, Head(length, fingerprint))
        for device, inode, size, length, fingerprint in json.loads(ledger.get(COPIES) or "[]")
    }
    ids = frozenset(account.stream.id for account in ledger.account(()))  # retired ones, too
    taken = frozenset((device, inode) for device, inode in json.loads(ledger.get(TAKEN) or "{}").get("files", ()))
    return Memory(together(_streams(ledger, destinations)), ids, copies, ledger.get(STARTED) is not None, taken)


def _streams(ledger: Ledger, destinations: tuple[str, ...]) -> list[Remembered]:
    """All streams of this source, those that can still grow first."""
    rows = sorted((row for row in ledger.streams() if row.source == SOURCE), key=lambda row: row.finished)
    return [
        Remembered(
            row,
            tuple(ledger.cursor(destination, row.id) for destination in destinations),
            ledger.low(row.id, destinations) if destinations else row.start,
        )
        for row in rows
    ]


def meta_of(stream: FileStream) -> dict[str, Any]:
    """What a row keeps of a stream so that it can be found again."""
    content = stream.content
    device, inode = content.file.key if content.file is not None else content.awaited or NOWHERE
    path = {"path": content.path} if content.path.isprintable() else {"path_hex": os.fsencode(content.path).hex()}
    head = [content.head.length, content.head.digest]
    rewritten = {REWRITTEN: True} if content.rewritten else {}
    return {**path, "dev": device, "ino": inode, "head": head, **rewritten, **content.kind.meta(stream.output)}


def row_of(stream: FileStream) -> StreamRow:
    """What the ledger keeps of a stream."""
    return StreamRow(
        stream.id,
        StreamKind.DATA,
        stream.signal,
        SOURCE,
        stream.name,
        stream.start,
        meta_of(stream),
        stream.size,
        stream.finished,
    )


def prepare(content: Content, known: Remembered) -> None:
    """Tell a content and its streams what an earlier run knew of them."""
    length, fingerprint = known.row.meta["head"]
    content.head = Head(int(length), str(fingerprint))
    content.path = known.path
    content.rewritten = REWRITTEN in known.row.meta
    by_id = {stream.id: stream for stream in content.streams}
    for each in known.streams:
        stream = by_id[each.row.id]
        for cursor in each.cursors:
            content.expect(cursor.cut_to, cursor.guard)
            stream.read_to = max(stream.read_to, cursor.cut_to)
        stream.released_to = max(stream.released_to, each.low)


class Recovery:
    """Puts remembered streams back on their files. Ask once, before the first scan."""

    def __init__(self, table: FileTable, clock: Clock, paths: Iterable[str]) -> None:
        """``paths``: all that match the patterns now."""
        self._table = table
        self._clock = clock
        self._inodes: dict[Key, str] = {}
        self._paths = list(paths)
        for path in self._paths:
            self._index(path)
        self._listed: set[str] = set()
        self._missing: list[tuple[Content, Remembered]] = []

    def resume(self, stream: Content, known: Remembered) -> None:
        """Find the file of ``stream``; if it and any copy of it is gone, what was not read is reported as lost.

        A file that cannot be opened now is waited for, one that is not found is looked for again in `finish`.
        """
        stream.sighted(known.size, float("-inf"))
        path = self._locate(known)
        if not path and known.key != NOWHERE and self._table.of(known.key) is None:
            self._missing.append((stream, known))
        else:
            self._settle(path, stream, known)

    def finish(self) -> None:
        """Look again for what was not found, then take it for deleted.

        A listing made while files are being renamed may lack some that were there all the time; taking such a file for a
        new one would ship it twice.
        """
        for _ in range(LISTINGS):
            if not self._missing:
                return
            self._inodes.clear()
            self._listed.clear()
            missing, self._missing = self._missing, []
            for stream, known in missing:
                if path := self._locate(known):
                    self._settle(path, stream, known)
                else:
                    self._missing.append((stream, known))
        for stream, known in self._missing:
            self._settle("", stream, known)

    def _settle(self, path: str, stream: Content, known: Remembered) -> None:
        file = self._table.of(known.key) or (self._table.take_up(path, known.key) if path else None)
        if (path and file is None) or (file is not None and not self._ready(file, stream)):
            if known.row.finished:
                stream.seal(known.size, "")
            self._table.partings.reserve(stream, known.key, lambda found: self._claim(found, stream, known))
            if file is not None:
                self._table.look(file, force=True)
        elif file is None or not self._put_back(file, stream, known):
            self._elsewhere(file, stream, known)

    def _ready(self, file: TailedFile, stream: Content) -> bool:
        """False while it cannot be opened for want of descriptors, or the text of a compressed file is not known.

        What is compressed and begins otherwise has only the inode in common with what ``stream`` was reading.
        """
        try:
            file.length()
            if file.stream is not None or file.text is None or file.text.measured is not None:
                return True
            return not stream.head.matches(file.read(HEAD_BYTES, 0))
        except OSError as error:
            return error.errno not in NO_DESCRIPTORS

    def _claim(self, file: TailedFile, stream: Content, known: Remembered) -> bool:
        """What was waited for can be read: whether it is what ``stream`` was reading."""
        if self._put_back(file, stream, known):
            return True
        self._elsewhere(file, stream, known)
        return False

    def _locate(self, known: Remembered) -> str:
        """A name of the stream's inode, or nothing."""
        if _key_at(known.path) == known.key:
            return known.path
        directory = os.path.dirname(known.path)
        if known.key not in self._inodes and directory not in self._listed:
            try:
                found = names(directory)
            except OSError:  # no descriptor is left: it is asked once more, and then looked for until there is one
                return ""
            self._listed.add(directory)
            for path in found:
                self._index(path)
        return self._inodes.get(known.key, "")

    def _index(self, path: str) -> None:
        key = _key_at(path)
        if key is not None:
            self._inodes.setdefault(key, path)

    def _put_back(self, file: TailedFile, stream: Content, known: Remembered) -> bool:
        """Let ``stream`` read ``file`` if that still holds what it held."""
        if file.stream is not None:
            return False
        try:
            size = file.length()
            if known.row.finished:
                size = min(size, known.size)
            elif size < known.size:
                return False
            if agreement(file, size, stream) is None:
                return False
            stream.begin(file, size, file.read(min(size, HEAD_BYTES), 0), self._clock.monotonic())
        except (OSError, Changed):
            return False
        file.stream = stream
        file.size = size
        file.rewritten = stream.rewritten
        if file.text is not None:
            file.text.begun = True
        if known.row.finished:
            stream.seal(size, GONE)
            self._table.copies.remember(file, size)
        self._table.copies.note(file, size)
        return True

    def _elsewhere(self, file: TailedFile | None, stream: Content, known: Remembered) -> None:
        """The file was truncated, replaced or deleted; its content may have been copied or moved to another file system."""
        if known.row.finished and known.key == NOWHERE:
            stream.seal(0, GONE)  # said when it happened
            return
        moved = tuple(path for path in self._paths if is_related(path, stream.name))
        because = DELETED if file is None else GONE
        try:
            other = self._table.partings.search(stream, file, moved)
        except Unsure:
            self._table.partings.seek(stream, because, moved)
            return
        same_name = other is not None and other.path == known.path
        if other is None or not same_name or not self._put_back(other, stream, known):
            self._table.partings.part(stream, other, because)


def _key_at(path: str) -> Key | None:
    try:
        status = regular(path)
    except OSError:  # not there, or not to be seen: then it is found by its name when it can be
        return None
    return status.st_dev, status.st_ino
