"""The three inotify calls and the parsing of its queue (inotify(7)).

Bound by hand, because under load every event is on the hot path: a tuple out of one `struct` call costs a tenth of an
object with a path and a flag set in it, and a queue that is read too slowly overflows.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
Q_OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x1000000
ISDIR = 0x40000000

_HEAD = struct.Struct("iIII")
_READ_BYTES = 1 << 16


class Inotify:
    """One inotify instance. Raises OSError from every call as the kernel says it."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._add = libc.inotify_add_watch
        self._add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._remove = libc.inotify_rm_watch
        self._remove.argtypes = (ctypes.c_int, ctypes.c_int)
        self.fd: int = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")

    def add(self, path: str, mask: int) -> int:
        """Watch ``path``; the same watch descriptor as before if it is watched already."""
        return _checked(self._add(self.fd, os.fsencode(path), mask), path)

    def remove(self, watch: int) -> None:
        """Watch it no longer."""
        _checked(self._remove(self.fd, watch), str(watch))

    def read(self) -> Iterator[tuple[int, int, str]]:
        """All that is queued: watch descriptor (-1 for an overflow), mask, and the name within a directory or ``""``."""
        while True:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _cookie, length = _HEAD.unpack_from(data, at)
                at += _HEAD.size
                yield watch, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
                at += length
            if len(data) < _READ_BYTES // 2:
                return

    def close(self) -> None:
        """Give the descriptor back; all watches end."""
        os.close(self.fd)


def _checked(result: int, about: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)
    return result
