"""Giving back disk space inside a file that somebody still writes: fallocate(2) with FALLOC_FL_PUNCH_HOLE."""

from __future__ import annotations

import ctypes
import os

_PUNCH_KEEP_SIZE = 0x03  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


def punch(descriptor: int, start: int, end: int) -> bool:
    """Give the space of ``[start, end)`` of a file back; the bytes read as zeros. False where that cannot be done.

    ``descriptor`` need not be open for writing.
    """
    try:
        writing = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        done = _libc.fallocate(writing, _PUNCH_KEEP_SIZE, ctypes.c_long(start), ctypes.c_long(end - start))
        return bool(done == 0)
    finally:
        os.close(writing)
