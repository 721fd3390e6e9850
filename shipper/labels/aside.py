"""Setting aside what services of another life left in the spool: the root itself stays, for services live in it.

A spool that holds nothing of services (a gateway's, or one of an earlier version) is moved as a whole by `shipper.labels.life`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable

CARD = "host.json"
_PROCESS = re.compile(r"p\d{1,10}-[0-9a-f]{16}|job-[0-9a-f-]{36}", re.ASCII)
"""Directories of processes and of runs of jobs, as in shipper.handoff.places and jobs, which stand above this room."""


def holds_services(spool: str) -> bool:
    """Whether a directory is a root of the hand-off, be it an empty one."""
    try:
        mode, names = os.lstat(spool).st_mode, os.listdir(spool)
    except OSError:
        return False
    return bool(mode & 0o1000) or any(name == CARD or _PROCESS.fullmatch(name) for name in names)


def others_in(spool: str) -> list[str]:
    """What is in a root that no service and no sidecar of services put there: the spools of a gateway."""
    return sorted(
        name for name in os.listdir(spool) if name != CARD and not name.startswith(".") and not _PROCESS.fullmatch(name)
    )


def set_aside_services(spool: str, target: str, in_use: Callable[[str], bool]) -> list[str]:
    """Move the directories of processes that are gone to ``target``; their names. Raises OSError."""
    gone = [name for name in os.listdir(spool) if _PROCESS.fullmatch(name) and not in_use(os.path.join(spool, name))]
    for name in sorted(gone):
        move(os.path.join(spool, name), target)
    return gone


def move(path: str, target: str) -> str:
    """Move an entry into the directory ``target``, made if need be; where it is now. Raises OSError.

    From another file system it cannot be moved away; then it stays beside, under a name that is ignored.
    """
    directory, name = os.path.split(path)
    for aside in (target, os.path.join(directory, f".set-aside-{os.path.basename(os.path.dirname(target))}")):
        os.makedirs(aside, mode=0o700, exist_ok=True)
        place, count = os.path.join(aside, name), 0
        while os.path.lexists(place):
            count += 1
            place = os.path.join(aside, f"{name}.{count}")
        try:
            os.rename(path, place)
        except OSError as error:
            if error.errno != errno.EXDEV or aside != target:
                raise
        else:
            return place
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
