"""The text in a gzip file (RFC 1952), by position: a rotated log that was compressed before anybody read it.

Positions are offsets in the uncompressed text, so a range can be read again, also by a later run. A gzip file can only be
unpacked from its beginning; so a few states of the unpacker are kept, at most a megabyte for a file, and reading goes on
from the nearest. Damage ends the text: what is before it is read, what is behind it is counted in compressed bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zlib import _Decompress

MAGIC = b"\x1f\x8b\x08"
CHUNK = 32 << 10  # compressed bytes read at once
STEP = 1 << 20  # text unpacked at once when it is only measured
KEPT = 64 << 10  # bytes of text kept with a head: the next range begins a little before the last one's end
HEADS = 2  # readers of different positions that do not disturb each other
MARKS = 8  # states kept along the text, to read again what was read before
_GZIP = 16 + zlib.MAX_WBITS

ReadRaw = Callable[[int, int], bytes]  # (size, position) -> bytes, as os.pread


@dataclass(frozen=True, slots=True)
class Measured:
    """What a gzip file of ``packed`` bytes holds: ``size`` bytes of text; ``rest`` packed bytes are ``damage`` or missing.

    ``damage`` is empty when the file is whole, otherwise it says what is wrong with it; ``rest`` may be 0 when it just stops.
    """

    packed: int
    size: int
    rest: int = 0
    damage: str = ""


class _Unpacker:
    """Unpacks one file from wherever it stands; member after member, as gzip(1) does."""

    __slots__ = ("_inflater", "_input", "_member", "_more", "_raw_at", "at", "damage")

    def __init__(self) -> None:
        self.at = 0  # position in the text
        self.damage = ""
        self._raw_at = 0
        self._input = b""
        self._more = False  # the inflater may give more without more input
        self._member = 0  # where the present member begins
        self._inflater: _Decompress = zlib.decompressobj(_GZIP)

    def copy(self) -> _Unpacker:
        """The same, to go on from here once more."""
        twin = _Unpacker()
        twin.at, twin.damage, twin._raw_at, twin._member = self.at, self.damage, self._raw_at, self._member
        twin._input, twin._more, twin._inflater = self._input, self._more, self._inflater.copy()
        return twin

    @property
    def consumed(self) -> int:
        """So many packed bytes were good for what was unpacked."""
        return self._raw_at - len(self._input)

    def next(self, read: ReadRaw, limit: int) -> bytes:
        """The next bytes of the text, ``limit`` at most; none at its end, and where ``damage`` is."""
        while not self.damage:
            if self._inflater.eof and not self._next_member(read):
                return b""
            if not self._input and not self._more and not self._refill(read):
                if self.consumed > self._member:
                    self.damage = "it ends in the middle"
                return b""
            before = self._inflater.copy()
            try:
                data = self._inflater.decompress(self._input, limit)
            except zlib.error as error:
                if limit <= 1:
                    self.damage = str(error).partition(": ")[2] or str(error)
                    return b""
                self._inflater, limit = before, limit // 2  # else what is before the damage would be lost with it
                continue
            self._more = len(data) == limit and not self._inflater.eof
            self._input = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if data:
                self.at += len(data)
                return data
        return b""

    def _next_member(self, read: ReadRaw) -> bool:
        """Go on with the member behind this one, over the padding between them; False when there is none."""
        self._input = self._input.lstrip(b"\0")
        while not self._input:
            if not self._refill(read):
                return False
            self._input = self._input.lstrip(b"\0")
        self._member = self.consumed
        self._inflater = zlib.decompressobj(_GZIP)
        return True

    def _refill(self, read: ReadRaw) -> bool:
        self._input = read(CHUNK, self._raw_at)
        self._raw_at += len(self._input)
        return bool(self._input)


def measure(read: ReadRaw, packed: int) -> Measured:
    """Unpack all of a file of ``packed`` bytes, keeping nothing. Takes its time: about a second for 300 MB of text.

    Raises OSError when it cannot be read.
    """
    unpacker = _Unpacker()

    def bounded(size: int, position: int) -> bytes:
        return read(min(size, max(0, packed - position)), position)

    while unpacker.next(bounded, STEP):
        pass
    rest = packed - unpacker.consumed if unpacker.damage else 0
    return Measured(packed, unpacker.at, rest, unpacker.damage)


@dataclass(slots=True)
class _Head:
    """Somebody reading on: an unpacker, and the last of what it gave."""

    unpacker: _Unpacker
    tail: bytes = b""

    @property
    def since(self) -> int:
        """From here on nothing has to be unpacked again."""
        return self.unpacker.at - len(self.tail)


@dataclass(slots=True)
class GzipText:
    """The text of one gzip file. ``measured`` is None until somebody has measured it; ``begun``: it may be read."""

    measured: Measured | None = None
    begun: bool = False
    _heads: list[_Head] = field(default_factory=list)
    _marks: dict[int, _Unpacker] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many bytes of text there are, as far as that is known."""
        return 0 if self.measured is None else self.measured.size

    def accept(self, measured: Measured) -> None:
        """It was measured; what was kept of it as it was before is of no use any more."""
        if measured != self.measured:
            self.measured = measured
            self.rest()

    def rest(self) -> None:
        """Keep nothing in memory until it is read again."""
        self._heads.clear()
        self._marks.clear()

    def read(self, read: ReadRaw, size: int, position: int) -> bytes:
        """Up to ``size`` bytes of the text at ``position``; fewer only at its end. Raises OSError."""
        head = self._head_for(position)
        pieces = [head.tail[position - head.since :]] if position < head.unpacker.at else []
        wanted = position + size if self.measured is None else min(position + size, self.measured.size)
        while head.unpacker.at < wanted:
            data = head.unpacker.next(read, min(STEP, wanted - head.unpacker.at))
            if not data:
                break
            begin = head.unpacker.at - len(data)
            if head.unpacker.at > position:
                pieces.append(data[max(0, position - begin) :])
            head.tail = (head.tail + data)[-KEPT:] if len(data) < KEPT else data[-KEPT:]
            self._mark(head.unpacker)
        return b"".join(pieces)[:size]

    def _head_for(self, position: int) -> _Head:
        """Whoever has the least to unpack before ``position``; the least recently used makes room for a new one."""
        usable = [head for head in self._heads if head.since <= position]
        nearest = max(usable, key=lambda head: head.unpacker.at, default=None)
        mark = max((at for at in self._marks if at <= position), default=0)
        if nearest is None or nearest.unpacker.at < mark:
            known = self._marks.get(mark)
            nearest = _Head(_Unpacker() if known is None else known.copy())
            del self._heads[: len(self._heads) + 1 - HEADS]
        else:
            self._heads.remove(nearest)
        self._heads.append(nearest)
        return nearest

    def _mark(self, unpacker: _Unpacker) -> None:
        """Keep this state if it is far enough from those that are kept."""
        distance = max(STEP, self.size // MARKS)
        number = unpacker.at // distance
        if number and not any(at // distance == number for at in self._marks):
            self._marks[unpacker.at] = unpacker.copy()
