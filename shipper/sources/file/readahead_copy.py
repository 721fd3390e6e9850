"""The unread part of a file, kept on our own disk: a sparse file with every byte at the position that it has in the original.

So a range that is read from it gives the same records under the same positions. It has the beginning too, by which files
are recognised; between that and ``start`` there is a hole. Where that hole ends is written down before it is made.
"""

from __future__ import annotations

import os
from collections.abc import Container
from contextlib import suppress

from shipper.holes import punch
from shipper.sources.file.identity import HEAD_BYTES

PAGE = 4096
_FROM = ".from"  # suffix of the file that says where the hole ends
_DRAFT = ".new"
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Kept:
    """What is kept of one content: ``[start, end)`` and its first bytes. All methods raise OSError as the kernel says."""

    def __init__(self, path: str, head: bytes, start: int, end: int) -> None:
        self.path = path
        self.begin = head.rfind(b"\n", 0, HEAD_BYTES) + 1 or HEAD_BYTES  # the hole begins behind a whole line
        self.start = start
        self.end = end

    @classmethod
    def make(cls, path: str, head: bytes, start: int) -> Kept:
        """Begin a copy from ``start`` on of what begins with ``head``; a hole that is no longer than that is none."""
        kept = cls(path, head, 0, 0)
        _discard(path)
        os.close(os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600))
        kept.append(head[:HEAD_BYTES])
        if start > HEAD_BYTES:
            kept.drop(start)
        return kept

    @classmethod
    def found(cls, path: str) -> Kept | None:
        """What an earlier run kept there, if it did."""
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            return None
        try:
            head, end = os.pread(descriptor, HEAD_BYTES, 0), os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        start = 0
        with suppress(FileNotFoundError), open(path + _FROM, encoding="ascii") as note:
            start = int(note.read())
        return cls(path, head, start, max(start, end))

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self.end - self.start

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """The hole, where there is one."""
        return [(self.begin, self.start)] if self.start > self.begin else []

    def append(self, data: bytes) -> None:
        """What follows in the original."""
        descriptor = os.open(self.path, _FLAGS)
        try:
            at = self.end
            while data:
                written = os.pwrite(descriptor, data, at)
                data, at = data[written:], at + written
            self.end = at  # only when all is there: else it is written once more
        finally:
            os.close(descriptor)

    def drop(self, below: int) -> None:
        """Keep no more than the beginning of what lies below a position; that may be further than is kept at all."""
        with open(self.path + _FROM + _DRAFT, "w", encoding="ascii") as note:
            note.write(str(below))
        os.replace(self.path + _FROM + _DRAFT, self.path + _FROM)
        self.start = below
        end = min(self.end, below) // PAGE * PAGE
        if end > PAGE:
            descriptor = os.open(self.path, _FLAGS)
            try:
                punch(descriptor, PAGE, end)  # where that cannot be done, the space goes with the file
            finally:
                os.close(descriptor)
        self.end = max(self.end, below)

    def remove(self) -> None:
        """It is not needed any more."""
        _discard(self.path)


def remove_others(directory: str, known: Container[str]) -> None:
    """Remove every copy that is not at one of these paths."""
    with suppress(FileNotFoundError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name.removesuffix(_DRAFT).removesuffix(_FROM))
            if path not in known:
                _discard(path)


def _discard(path: str) -> None:
    for each in (path, path + _FROM, path + _FROM + _DRAFT):
        with suppress(FileNotFoundError):
            os.unlink(each)
