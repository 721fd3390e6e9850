"""Descriptor numbers are shared with the service: it may close ours, and get the number for something of its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STANDARD = 3


def same_file(descriptor: int, device: int, inode: int) -> bool:
    """Whether the descriptor still is that file, and not closed or another's by now."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return found.st_ino == inode and found.st_dev == device and stat.S_ISREG(found.st_mode)


@contextmanager
def clear_of_standard() -> Iterator[None]:
    """Numbers given meanwhile are none of 0, 1 and 2: a daemon closed them, and what it prints must not go into our files."""
    fillers: list[int] = []
    with suppress(OSError):  # without /dev/null, or with all numbers in use: then as it comes
        fillers.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        while fillers[-1] < _STANDARD:
            fillers.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        os.close(fillers.pop())
    try:
        yield
    finally:
        for filler in fillers:
            os.close(filler)
