"""Windows of the lumberjack protocol, version 2, as Beats send them to Logstash.

A window is a frame that says how many documents follow, and those: each a frame with its number in the window, counted from 1,
and JSON; all of them together in one compressed frame where that is wanted. Numbers are 32 bits, big-endian.
Specification: ``PROTOCOL.md`` of logstash-input-beats; what clients and servers really do is in elastic/go-lumber.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from isal import isal_zlib

MOST_DOCUMENTS = 2048
"""Documents in a window; what Beats send (``bulk_max_size``), and what Logstash's memory is laid out for."""
MOST_BYTES = 2 << 20
"""Bytes of documents in a window, about. Netty, which Logstash listens with, has its memory in pieces of 4 MiB."""

_LEVEL = 1
_NUMBER = struct.Struct(">I")
_DOCUMENT = struct.Struct(">2sII")
_WINDOW = b"2W"
_COMPRESSED = b"2C"
_JSON = b"2J"


@dataclass(frozen=True, slots=True)
class Window:
    """Documents that are acknowledged by their number in it."""

    count: int
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, documents: list[bytes], *, compress: bool) -> Window:
        """The window of these documents, each a JSON object."""
        pack = _DOCUMENT.pack
        parts = [b""] * (2 * len(documents))
        parts[::2] = [pack(_JSON, number, len(document)) for number, document in enumerate(documents, 1)]
        parts[1::2] = documents
        frames = b"".join(parts)
        head = _WINDOW + _NUMBER.pack(len(documents))
        if compress:
            frames = isal_zlib.compress(frames, _LEVEL)
            head += _COMPRESSED + _NUMBER.pack(len(frames))
        return cls(len(documents), head + frames)

    def rest(self, done: int) -> Window:
        """What is left when the first ``done`` documents were acknowledged, as a window of its own."""
        return self if not done else Window.of(self.documents()[done:], compress=self._compressed)

    def documents(self) -> list[bytes]:
        """The documents in it."""
        frames = self.data[6:]
        if self._compressed:
            frames = zlib.decompress(frames[6:])
        found = []
        at = 0
        while at < len(frames):
            _, _, size = _DOCUMENT.unpack_from(frames, at)
            at += _DOCUMENT.size + size
            found.append(frames[at - size : at])
        return found

    @property
    def _compressed(self) -> bool:
        return self.data.startswith(_COMPRESSED, 6)


def windows(documents: Iterable[bytes], *, compress: bool) -> Iterator[Window]:
    """All documents in as few windows as their limits allow."""
    gathered: list[bytes] = []
    size = 0
    for document in documents:
        gathered.append(document)
        size += len(document)
        if len(gathered) >= MOST_DOCUMENTS or size >= MOST_BYTES:
            yield Window.of(gathered, compress=compress)
            gathered, size = [], 0
    if gathered:
        yield Window.of(gathered, compress=compress)
