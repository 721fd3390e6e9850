"""Makes the root of the hand-off such that services of any user can hand over and the sidecar can read and delete.

Mode 3733: everybody may make an entry and reach one whose name is known, only the owner may list; sticky, so that nobody
removes what is not his; setgid, so that what services make belongs to the sidecar's group.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from shipper.handoff.places import open_root, why_not_open

ROOT_MODE = 0o3733


def prepare_root(path: str) -> str:
    """Make the root, or give the one that is there its mode; an empty text, or a sentence on why services cannot use it.

    Where another user owns the root, it is taken as it is when a service's directory would belong to our group or we are
    root; else the sentence says what to set.
    """
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        descriptor = open_root(path)
    except OSError as error:
        return why_not_open(path, error) if os.path.lexists(path) else f"{path} cannot be made: {error.strerror}"
    try:
        return _fit(path, descriptor)
    finally:
        os.close(descriptor)


def _fit(path: str, descriptor: int) -> str:
    found = os.fstat(descriptor)
    if os.geteuid() in (found.st_uid, 0):
        try:
            _own(path, found)
        except OSError as error:
            return f"{path} cannot be given the mode {ROOT_MODE:04o}: {error.strerror}"
        return _reached(path)
    return _foreign(path, found) or _reached(path)


def _own(path: str, found: os.stat_result) -> None:
    """Make the root ours, with the mode; by a descriptor, so that nothing else can be meant."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, os.geteuid(), os.getegid())
        if stat.S_IMODE(found.st_mode) != ROOT_MODE:
            os.fchmod(descriptor, ROOT_MODE)
    finally:
        os.close(descriptor)


def _foreign(path: str, found: os.stat_result) -> str:
    """What is wrong with a root of another user (an emptyDir belongs to root)."""
    whose = f"{path} belongs to uid {found.st_uid} and gid {found.st_gid} (mode {stat.S_IMODE(found.st_mode):04o})"
    if not found.st_mode & stat.S_ISGID or found.st_gid not in {os.getegid(), *os.getgroups()}:
        return (
            f"{whose} and this sidecar is uid {os.geteuid()}, so it could not read what services of other users put there: "
            f"set securityContext.fsGroup to {os.getegid()} (Kubernetes), or run "
            f"'chown {os.geteuid()}:{os.getegid()} {path}; chmod {ROOT_MODE:04o} {path}' when the host is made"
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return f"{whose} and cannot be read and written by uid {os.geteuid()}"
    return ""


def _reached(path: str) -> str:
    """What keeps services of other users from reaching the root: a directory above it that only we may pass."""
    above = os.path.dirname(os.path.abspath(path))
    while above != "/":
        if not stat.S_IMODE(os.stat(above).st_mode) & 0o001:
            return f"services of other users cannot reach {path}, because of the mode of {above}: 'chmod o+x {above}'"
        above = os.path.dirname(above)
    return ""
