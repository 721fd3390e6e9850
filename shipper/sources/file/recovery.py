"""After a restart: finding the files of known streams again, wherever they are now, and telling those that are gone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shipper.clock import Clock
from shipper.contracts import StreamKind
from shipper.ledger import Cursor, Ledger, StreamRow
from shipper.sources.file.handles import TailedFile, regular
from shipper.sources.file.identity import HEAD_BYTES, Head, Key
from shipper.sources.file.rotation import agreement, siblings
from shipper.sources.file.stream import Changed, FileStream
from shipper.sources.file.table import GONE, FileTable

SOURCE = "file"
STARTED = "file.started"
COPIES = "file.copies"
TAKEN = "file.taken"
DELETED = "the file was deleted"
NOWHERE: Key = (0, 0)
LISTINGS = 4  # of a directory, before a file that is in none of them counts as deleted


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the ledger says of a stream: its row, where each destination stands, and below where all are done."""

    row: StreamRow
    cursors: tuple[Cursor, ...]
    low: int

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
        return max([self.row.size, *(cursor.reach for cursor in self.cursors)])


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier runs of this life left: streams, ids that were ever used, known copies; ``started``: there was one.

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
    return Memory(_streams(ledger, destinations), ids, copies, ledger.get(STARTED) is not None, taken)


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
    device, inode = stream.file.key if stream.file is not None else NOWHERE
    path = {"path": stream.path} if stream.path.isprintable() else {"path_hex": os.fsencode(stream.path).hex()}
    return {**path, "dev": device, "ino": inode, "head": [stream.head.length, stream.head.digest]}


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


def prepare(stream: FileStream, known: Remembered) -> None:
    """Tell a stream what an earlier run knew of it."""
    length, fingerprint = known.row.meta["head"]
    stream.head = Head(int(length), str(fingerprint))
    stream.path = known.path
    for cursor in known.cursors:
        stream.expect(cursor.cut_to, cursor.guard)
        stream.read_to = max(stream.read_to, cursor.cut_to)
    stream.released_to = max(stream.released_to, known.low)


class Recovery:
    """Puts remembered streams back on their files. Ask once, before the first scan."""

    def __init__(self, table: FileTable, clock: Clock, paths: Iterable[str]) -> None:
        """``paths``: all that match the patterns now."""
        self._table = table
        self._clock = clock
        self._inodes: dict[Key, str] = {}
        for path in paths:
            self._index(path)
        self._listed: set[str] = set()
        self._missing: list[tuple[FileStream, Remembered]] = []

    def resume(self, stream: FileStream, known: Remembered) -> None:
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

    def _settle(self, path: str, stream: FileStream, known: Remembered) -> None:
        file = self._table.of(known.key) or (self._table.take_up(path, known.key) if path else None)
        if path and file is None:
            self._table.reserved[known.key] = lambda found: self._put_back(found, stream, known)
        elif file is None or not self._put_back(file, stream, known):
            self._elsewhere(file, stream, known)

    def _locate(self, known: Remembered) -> str:
        """A name of the stream's inode, or nothing."""
        if _key_at(known.path) == known.key:
            return known.path
        directory = os.path.dirname(known.path)
        if known.key not in self._inodes and directory not in self._listed:
            self._listed.add(directory)
            for path, _ in siblings(known.path, ()):
                self._index(path)
        return self._inodes.get(known.key, "")

    def _index(self, path: str) -> None:
        key = _key_at(path)
        if key is not None:
            self._inodes.setdefault(key, path)

    def _put_back(self, file: TailedFile, stream: FileStream, known: Remembered) -> bool:
        """Let ``stream`` read ``file`` if that still holds what it held."""
        if file.stream is not None:
            return False
        try:
            size = file.status().st_size
            if known.row.finished:
                size = min(size, known.size)
            elif size < known.size:
                return False
            if agreement(file, size, stream) is None:
                return False
            stream.begin(file, size, file.read(HEAD_BYTES, 0), self._clock.monotonic())
        except (OSError, Changed):
            return False
        file.stream = stream
        file.size = size
        if known.row.finished:
            stream.seal(size, GONE)
            self._table.copies.remember(file, size)
        else:
            self._table.copies.note(file, size)
        return True

    def _elsewhere(self, file: TailedFile | None, stream: FileStream, known: Remembered) -> None:
        """The file was truncated, replaced or deleted; its content may have been copied or moved to another file system."""
        if known.row.finished and known.key == NOWHERE:
            stream.seal(0, GONE)  # said when it happened
            return
        other = self._table.copies.find(stream, file)
        same_name = other is not None and other.path == known.path
        if other is None or not same_name or not self._put_back(other, stream, known):
            self._table.part(stream, other, DELETED if file is None else GONE)


def _key_at(path: str) -> Key | None:
    try:
        status = regular(path)
    except OSError:  # not there, or not to be seen: then it is found by its name when it can be
        return None
    return status.st_dev, status.st_ino
