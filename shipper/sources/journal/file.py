"""One journal file: its entries by number, and the fields of each, read with pread and believed only where it makes sense.

journald writes through a mapping and cuts a file off when it archives it, so the file is not mapped here: a short read is an
answer, a SIGBUS is not. Entries are only ever appended; what the header counts is there, and a half-written one is not counted.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shipper.sources.journal import layout
from shipper.sources.journal.compressed import TooMuch, decompressed
from shipper.sources.journal.layout import Header, Unreadable, parse_header

LARGEST_FIELD = 64 << 20  # bytes; of a larger one only its size is told
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SMALL = 8 << 10  # bytes read at a place that was not expected
_LARGE = 256 << 10  # and at most where reading goes on
_LIKELY = 1024  # bytes that hold nearly every entry
_MOST_FIELDS = 1 << 16
_REMEMBERED = 1 << 14  # fields of a file that are kept ready
_SHORT = 4096  # bytes of the longest of them
_BOOTS = 100  # that are looked back for one of them
_TRIED = 1000  # entries behind a damaged one, before the rest of the file is given up

Understand = Callable[[bytes], tuple[Any, Any]]
"""Makes what is kept of a field, given as ``NAME=value``: its name, and anything."""


class Damaged(ValueError):
    """What the file says cannot be; the text says what."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``realtime``: microseconds since the epoch at which it was received. ``fields``: where they lie."""

    seq: int
    realtime: int
    boot: bytes
    head: bytes  # all that tells it from others: number, times, boot, hash of its fields
    fields: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries that were there and cannot be read: their numbers are in ``[start, end)``."""

    start: int
    end: int
    why: str


class Fields(dict[int, tuple[Any, Any]]):
    """What is made of the fields of a file, by where they lie; those that only one entry has are not kept."""

    __slots__ = ("_file", "_understand")

    def __init__(self, file: JournalFile, understand: Understand) -> None:
        self._file = file
        self._understand = understand

    def __missing__(self, at: int) -> tuple[Any, Any]:
        payload, entries = self._file.field(at)
        made = self._understand(payload)
        if entries > 1 and len(payload) <= _SHORT:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[at] = made
        return made


class JournalFile:
    """An open journal file. Raises `Unreadable` where it is none, OSError as the kernel says."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, _FLAGS)
        try:
            status = os.fstat(self.fd)
            self.key = (status.st_dev, status.st_ino)
            self.header: Header = parse_header(os.pread(self.fd, layout.HEADER_BYTES, 0))
        except BaseException:
            os.close(self.fd)
            raise
        self.fields: Fields | None = None
        self._compact = self.header.compact
        self._offsets = array("Q")  # where the entries lie
        self._array = 0  # the array in which the next one is listed; 0: none yet
        self._taken = 0  # of it
        self._window = (0, b"")
        self._step = _SMALL
        self._hint = (0, 0)  # the number of an entry, and how many are before it
        self._broken = ""  # why no more entries can be listed

    def refresh(self) -> bool:
        """Look how far it reaches now; True when it has grown. Raises OSError, `Unreadable`."""
        header = parse_header(os.pread(self.fd, layout.HEADER_BYTES, 0))
        grown = header.entries > self.header.entries
        if header != self.header:
            if header.sequence_id != self.header.sequence_id or header.entries < self.header.entries:
                raise Unreadable("it was overwritten")
            self.header = header
            self._window = (0, b"")
            self._broken = ""
        return grown

    @property
    def empty(self) -> bool:
        """Whether it has no entry."""
        return not self.header.entries

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)
        self.fd = -1

    # Entries -----------------------------------------------------------------------------------------------------------

    def index(self, seq: int) -> int:
        """How many entries have a lower number. Raises OSError."""
        if self._hint[0] == seq:
            return self._hint[1]
        low, high = 0, self._listed()
        while low < high:
            middle = (low + high) // 2
            if self._number(middle) < seq:
                low = middle + 1
            else:
                high = middle
        self._hint = (seq, low)
        return low

    def entries(self, seq: int) -> Iterator[Entry | Gap]:
        """The entries from a number on, and what stands in place of those that make no sense. Raises OSError."""
        at, before, count = self.index(seq), seq - 1, self._listed()
        while at < count:
            try:
                entry = self._after(at, before)
            except Damaged as problem:
                at, following = self._sound(at + 1, before, count)
                yield Gap(before + 1, following, str(problem))
                before = following - 1
                continue
            at += 1
            before = entry.seq
            self._hint = (entry.seq + 1, at)
            yield entry
        if self._broken and before < self.header.tail:
            yield Gap(before + 1, self.header.tail + 1, self._broken)

    def _after(self, index: int, before: int) -> Entry:
        entry = self._entry(self._offsets[index])
        if not before < entry.seq <= self.header.tail:
            raise Damaged(f"entry {index} has the number {entry.seq} and stands behind {before}")
        return entry

    def _sound(self, index: int, before: int, count: int) -> tuple[int, int]:
        """The next entry that makes sense, from ``index`` on, and its number; the end where there is none."""
        for at in range(index, min(count, index + _TRIED)):
            try:
                return at, self._after(at, before).seq
            except Damaged:
                continue
        return count, self.header.tail + 1

    def boot_span(self, boot: bytes) -> tuple[int, int] | None:
        """The number of the first entry of a boot, and the one behind its last; None where it is none of the last boots."""
        behind = self._listed()
        for _ in range(_BOOTS):
            if not behind:
                break
            last = self._boot(behind - 1)
            low, high = 0, behind - 1
            while low < high:
                middle = (low + high) // 2
                if self._boot(middle) == last:
                    high = middle
                else:
                    low = middle + 1
            if last == boot:
                return self._number(low), self._number(behind - 1) + 1
            behind = low
        return None

    def _boot(self, index: int) -> bytes:
        try:
            return self._head(index)[1]
        except Damaged:
            return b""

    def _number(self, index: int) -> int:
        """The number of an entry; of a damaged one, that of one before it."""
        while index >= 0:
            try:
                return self._head(index)[0]
            except Damaged:
                index -= 1
        return 0

    def _head(self, index: int) -> tuple[int, bytes]:
        """Number and boot of an entry that is looked at alone."""
        at = self._offsets[index]
        data = os.pread(self.fd, layout.ENTRY_HEAD.size, at)
        if len(data) < layout.ENTRY_HEAD.size or data[0] != layout.ENTRY:
            raise Damaged(f"there is no entry at byte {at}")
        _, _, _, seq, _, _, boot, _ = layout.ENTRY_HEAD.unpack(data)
        return seq, boot

    def _entry(self, at: int) -> Entry:
        self._see(at, _LIKELY)
        base, data = self._window
        start = at - base
        items = start + layout.ENTRY_HEAD.size
        if items > len(data):
            raise Damaged(f"the file ends before byte {items}")
        kind, _, size, seq, realtime, _, boot, _ = layout.ENTRY_HEAD.unpack_from(data, start)
        count, over = divmod(size - layout.ENTRY_HEAD.size, 4 if self._compact else 16)
        if kind != layout.ENTRY or over or not 0 <= count <= _MOST_FIELDS or not 0 < seq < 1 << 48:
            raise Damaged(f"there is no entry at byte {at}")
        form = _items(count, self._compact)
        if start + size <= len(data):
            fields = form.unpack_from(data, items)
        else:
            fields = form.unpack(self._bytes(at + layout.ENTRY_HEAD.size, form.size))
        return Entry(seq, realtime, boot, data[start + 16 : items], fields if self._compact else fields[::2])

    def _listed(self) -> int:
        """How many entries are listed, all of which the header counts; fewer where the lists are damaged. Raises OSError."""
        while len(self._offsets) < self.header.entries and not self._broken:
            try:
                self._list_more(self.header.entries)
            except Damaged as problem:
                self._broken = str(problem)
        return len(self._offsets)

    def _list_more(self, wanted: int) -> None:
        """Take what is new of the present array, and go on to the next one where it is used up."""
        width, code = (4, "I") if self._compact else (8, "Q")
        self._array = self._array or self.header.arrays_at
        head = os.pread(self.fd, layout.ARRAY_HEAD.size, self._array)
        if len(head) < layout.ARRAY_HEAD.size:
            raise Damaged(f"the file ends before byte {self._array}")
        kind, _, size, following = layout.ARRAY_HEAD.unpack(head)
        room, over = divmod(size - layout.ARRAY_HEAD.size, width)
        if kind != layout.ENTRY_ARRAY or over or not 0 < room <= 1 << 28:
            raise Damaged(f"there is no list of entries at byte {self._array}")
        count = min(room - self._taken, wanted - len(self._offsets))
        data = os.pread(self.fd, count * width, self._array + layout.ARRAY_HEAD.size + self._taken * width)
        more = struct.unpack(f"<{len(data) // width}{code}", data[: len(data) // width * width])
        more = more[: more.index(0)] if 0 in more else more
        self._offsets.extend(more)
        self._taken += len(more)
        if len(more) < count:
            raise Damaged(f"a list of entries at byte {self._array} has gaps")
        if self._taken == room and len(self._offsets) < wanted:
            if following <= self._array:
                raise Damaged(f"a list of entries at byte {self._array} leads nowhere")
            self._array, self._taken = following, 0

    # Fields ------------------------------------------------------------------------------------------------------------

    def field(self, at: int) -> tuple[bytes, int]:
        """A field as ``NAME=value``, and how many entries have it. Raises `Damaged`, OSError."""
        start = layout.DATA_PAYLOAD_COMPACT if self._compact else layout.DATA_PAYLOAD
        head = self._bytes(at, start)
        kind, flags, size = layout.OBJECT.unpack_from(head)
        if kind != layout.DATA or not start < size <= layout.LARGEST_OBJECT:
            raise Damaged(f"there is no field at byte {at}")
        (entries,) = layout.DATA_ENTRIES.unpack_from(head, layout.DATA_ENTRIES_AT)
        if size - start > LARGEST_FIELD:
            name = self._bytes(at + start, 64).partition(b"=")[0] if not flags & 7 else b"_TOO_LARGE"
            return omitted(name, size - start), entries
        payload = self._bytes(at + start, size - start)
        if flags & 7:
            try:
                payload = decompressed(payload, flags, LARGEST_FIELD)
            except TooMuch as much:
                return omitted(b"_TOO_LARGE", much.size), entries
            except ValueError as problem:
                raise Damaged(f"the field at byte {at} cannot be decompressed: {problem}") from problem
        return payload, entries

    def _see(self, at: int, size: int) -> None:
        """Have the window hold an entry; the fields that are new in it lie before it, and what is read next behind it."""
        base, data = self._window
        start = at - base
        if start < 0 or start + size > len(data):
            onwards = 0 <= start <= 2 * len(data)
            self._step = min(2 * self._step, _LARGE) if onwards else _SMALL
            base = max(0, at - self._step // 4)
            self._window = (base, os.pread(self.fd, at - base + self._step, base))

    def _bytes(self, at: int, size: int) -> bytes:
        base, data = self._window
        start = at - base
        found = data[start : start + size] if start >= 0 else b""
        if len(found) < size:
            found = os.pread(self.fd, size, at)
            if len(found) < size:
                raise Damaged(f"the file ends before byte {at + size}")
        return found


def omitted(name: bytes, size: int) -> bytes:
    """What stands in place of a field that is too large to be read."""
    return name + b"=(%d bytes that are too large to be shipped)" % size


@lru_cache(256)
def _items(count: int, compact: bool) -> struct.Struct:
    return struct.Struct(f"<{count}I" if compact else f"<{2 * count}Q")
