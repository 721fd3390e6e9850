"""Windows of the lumberjack protocol, version 2, as Beats send them to Logstash.

A window is a frame that says how many documents follow, and those: each a frame with its number in the window, counted from 1,
and JSON; all of them together in one compressed frame where that is wanted. Numbers are 32 bits, big-endian.
Specification: ``PROTOCOL.md`` of logstash-input-beats; what clients and servers really do is in elastic/go-lumber.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from isal import isal_zlib

MOST_DOCUMENTS = 2048
"""Documents in a window; what Beats send (``bulk_max_size``), and what Logstash's memory is laid out for."""
MOST_BYTES = 2 << 20
"""Bytes of documents in a window, about. Netty, which Logstash listens with, has its memory in pieces of 4 MiB."""

_LEVEL = 1
_NUMBER = struct.Struct(">I")
_DOCUMENT = struct.Struct(">2sII")
_pack = _DOCUMENT.pack
_HEAD = 6  # bytes of a frame's kind and of one number
_WINDOW = b"2W"
_COMPRESSED = b"2C"
_JSON = b"2J"


@dataclass(frozen=True, slots=True)
class Window:
    """Documents that are acknowledged by their number in it."""

    count: int
    data: bytes = field(repr=False)

    def rest(self, done: int) -> Window:
        """What is left when the first ``done`` documents were acknowledged, as a window of its own."""
        if not done:
            return self
        left = self.documents()[done:]
        gathered = _Gathered(compress=self._compressed)
        gathered.add([b"{"] * len(left), left)
        return gathered.window()

    def documents(self) -> list[bytes]:
        """The documents in it."""
        frames = self.data[_HEAD:]
        if self._compressed:
            frames = zlib.decompress(frames[_HEAD:])
        found = []
        at = 0
        while at < len(frames):
            _, _, size = _DOCUMENT.unpack_from(frames, at)
            at += _DOCUMENT.size + size
            found.append(frames[at - size : at])
        return found

    @property
    def _compressed(self) -> bool:
        return self.data.startswith(_COMPRESSED, _HEAD)


class Windows:
    """Puts documents into as few windows as the limits of one allow."""

    def __init__(self, *, compress: bool) -> None:
        self._compress = compress
        self._done: list[Window] = []
        self._gathered = _Gathered(compress=compress)

    def add(self, heads: Sequence[bytes], documents: Sequence[bytes]) -> None:
        """More documents, each a JSON object; ``heads``: what stands in each in the place of its first character."""
        size = sum(map(len, heads)) + sum(map(len, documents))
        gathered = self._gathered
        if gathered.count + len(documents) > MOST_DOCUMENTS or gathered.size + size > MOST_BYTES:
            if gathered.count:
                self._finish()
            if len(documents) > 1 and (len(documents) > MOST_DOCUMENTS or size > MOST_BYTES):
                middle = len(documents) // 2
                self.add(heads[:middle], documents[:middle])
                self.add(heads[middle:], documents[middle:])
                return
        self._gathered.add(heads, documents)

    def all(self) -> tuple[Window, ...]:
        """The windows of all documents; nothing is to be added any more."""
        if self._gathered.count:
            self._finish()
        return tuple(self._done)

    def _finish(self) -> None:
        self._done.append(self._gathered.window())
        self._gathered = _Gathered(compress=self._compress)


class _Gathered:
    """Documents that become one window; compressed as they come, while they are in the processor's cache."""

    def __init__(self, *, compress: bool) -> None:
        self.count = 0
        self.size = 0  # before compression
        self._packer = isal_zlib.compressobj(_LEVEL) if compress else None
        self._parts: list[bytes] = []

    def add(self, heads: Sequence[bytes], documents: Sequence[bytes]) -> None:
        """See `Windows.add`."""
        parts = [b""] * (3 * len(documents))
        parts[::3] = [
            _pack(_JSON, number, len(head) + len(document) - 1)
            for number, head, document in zip(count(self.count + 1), heads, documents, strict=False)
        ]
        parts[1::3] = heads
        parts[2::3] = [document[1:] for document in documents]
        frames = b"".join(parts)
        self.count += len(documents)
        self.size += len(frames)
        self._parts.append(frames if self._packer is None else self._packer.compress(frames))

    def window(self) -> Window:
        """All of it as it goes over the wire."""
        head = _WINDOW + _NUMBER.pack(self.count)
        if self._packer is not None:
            self._parts.append(self._packer.flush())
            head += _COMPRESSED + _NUMBER.pack(sum(map(len, self._parts)))
        return Window(self.count, b"".join((head, *self._parts)))
