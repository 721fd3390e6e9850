"""Asking the kernel whether anybody still has a file open for writing.

A read lease (fcntl(2), F_SETLEASE) is refused with EAGAIN while there is a writer. It is given back at once: holding it
would make the next writer's open() wait. Should one come in between, the kernel sends this process a signal whose default
would kill it; the descriptor is therefore told to use SIGURG, which nobody minds.
"""

from __future__ import annotations

import errno
import fcntl
import signal

_F_SETSIG = 10  # not in the fcntl module


def has_writers(fd: int) -> bool | None:
    """Whether the file behind a read-only descriptor is open for writing; None where that cannot be told.

    It cannot be told for files of other users without CAP_LEASE, and on file systems without leases.
    """
    try:
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
