"""Whether a process lives, told by the POSIX lock on its ``alive`` file.

A pid means nothing across PID namespaces, and a lock of the other kind (flock) is kept by forked children. A POSIX lock
goes with the process that took it, however it ends. It also goes when that process closes *any* descriptor of the file.
"""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = struct.Struct("hhqqi4x")  # type, whence, start, length, pid (Linux, 64 bit)


def lock_alive(descriptor: int) -> bool:
    """Take the lock for this process; False when another has it. Raises OSError where the file system has no locks."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_alive(file: int | str) -> bool:
    """Whether another process holds the lock. ``file``: a descriptor (of any mode) or a path, not followed if a link.

    Not for the own file: a process does not see its own lock, and closing the file opened here would release it.
    Raises OSError when the file cannot be opened or asked.
    """
    if isinstance(file, str):
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return is_alive(descriptor)
        finally:
            os.close(descriptor)
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(file, fcntl.F_GETLK, asked)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
